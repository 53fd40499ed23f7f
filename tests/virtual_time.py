"""An event loop whose time passes only while it has nothing to do.

Every pause is over at once, however long it is: a test of five minutes without a store
takes milliseconds, and nothing depends on how busy the machine is. A test that waits for
what will never happen fails instead of hanging.
"""

import asyncio
import selectors
from collections.abc import MutableMapping
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from actors import group_commit, intake, owner, recovery, turn, warden

#: Wall time at the loop's zero, Unix milliseconds.
EPOCH_MS = 1_800_000_000_000
#: No test lives longer than this, virtual seconds.
_LIFE_SECONDS = 6 * 3_600.0
#: Rounds of the loop in which time may stand still, before somebody must be going in circles.
_ROUNDS_MAX = 20_000


class Stuck(Exception):
    """Everything waits for ever, or something runs for ever. Argument: the loop's time."""


class _Skipping(selectors.DefaultSelector):
    """Never sleeps: tells the loop how long it would have slept."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list:
        self.loop.skip(timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready, then jumps to the next timer."""

    def __init__(self) -> None:
        selector = _Skipping()
        selector.loop = self
        self._now = 1_000.0
        self._rounds = 0
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def skip(self, seconds: float | None) -> None:
        self._rounds = 0 if seconds else self._rounds + 1
        if seconds is None or self._now > _LIFE_SECONDS or self._rounds > _ROUNDS_MAX:
            raise Stuck(self._now)
        self._now += seconds


class VirtualClocks:
    """Stands where a module has imported `time`, and reads the running loop's time."""

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    @staticmethod
    def monotonic_ns() -> int:
        return round(asyncio.get_running_loop().time() * 1e9)

    @staticmethod
    def time_ns() -> int:
        return EPOCH_MS * 1_000_000 + VirtualClocks.monotonic_ns()


def now_ms() -> int:
    """Return the virtual wall time, Unix milliseconds."""
    return VirtualClocks.time_ns() // 1_000_000


def let_time_be_virtual(monkeypatch: pytest.MonkeyPatch) -> list[MutableMapping[str, Any]]:
    """Have the actors read the running loop's time; return the list of what they log."""
    for module in (intake, owner, turn, warden):
        monkeypatch.setattr(module, "time", VirtualClocks)
    capture = LogCapture()
    for module in (group_commit, owner, recovery, warden):
        monkeypatch.setattr(
            module, "log", structlog.wrap_logger(None, processors=[capture]), raising=False
        )
    return capture.entries
