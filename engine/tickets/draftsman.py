"""Draws tickets in a process of its own, in such time as nobody else has a use for.

    python -m engine.tickets.draftsman

reads what is to be drawn on its standard input and writes papers to its output, until the
input ends. `Draftsman` runs it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO

import msgspec
from msgspec import Struct

from engine.domain.event import Event
from engine.limits import DRAWING_SECONDS_MAX
from engine.tickets.sheet import Sheet

_LENGTH_BYTES = 4


class NotDrawn(Exception):
    """There is no paper. Argument: why."""


class _Wanted(Struct, frozen=True, array_like=True):
    """The arguments of `paper.draw`."""

    event: Event
    sheets: tuple[Sheet, ...]
    issued_at_ms: int


class _Drawn(Struct, frozen=True, array_like=True):
    """A paper, or what went wrong."""

    paper: bytes
    mistake: str = ""


class Draftsman:
    """Whoever draws papers, one at a time; calls block.

    Python draws with its lock held, and what draws with the lowest priority holds it for
    long: in the same process, whatever must answer in time would wait for that.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._closed = False

    def draw(self, event: Event, sheets: tuple[Sheet, ...], issued_at_ms: int) -> bytes:
        """Return what `paper.draw` makes of these.

        Raises:
            NotDrawn: that has raised something, takes longer than DRAWING_SECONDS_MAX, or
                the process has ended over it twice; or `close` was called.
        """
        wanted = msgspec.msgpack.encode(_Wanted(event, sheets, issued_at_ms))
        with self._turn:
            answer = self._ask(wanted)
            if answer is None:
                # Killed by somebody: for want of memory, say. Once, that may be by chance.
                answer = self._ask(wanted)
        if answer is None:
            raise NotDrawn("the process that draws has ended over it, twice")
        drawn = msgspec.msgpack.decode(answer, type=_Drawn)
        if drawn.mistake:
            raise NotDrawn(drawn.mistake)
        return drawn.paper

    def close(self) -> None:
        """End the process, and whatever is being drawn."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
        with self._turn:
            self._end()

    def _ask(self, wanted: bytes) -> bytes | None:
        """Return the process's answer, None if it has ended instead."""
        if self._closed:
            raise NotDrawn("nothing is drawn any more")
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        # One that has stopped must not stop whoever waits for it.
        give_up = time.monotonic() + DRAWING_SECONDS_MAX
        patience = threading.Timer(DRAWING_SECONDS_MAX, process.kill)
        patience.start()
        try:
            _write(process.stdin, wanted)
            answer = _read(process.stdout)
        except (EOFError, BrokenPipeError):
            answer = None
        finally:
            patience.cancel()
        if answer is None:
            self._end()
            if time.monotonic() >= give_up:
                raise NotDrawn(f"it takes longer than {DRAWING_SECONDS_MAX} seconds")
        return answer

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine.tickets.draftsman"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _write(file: IO[bytes], message: bytes) -> None:
    file.write(len(message).to_bytes(_LENGTH_BYTES) + message)
    file.flush()


def _read(file: IO[bytes]) -> bytes | None:
    """Return the next message, None at the end.

    Raises:
        EOFError: it ends in the middle of one.
    """
    head = file.read(_LENGTH_BYTES)
    if not head:
        return None
    length = int.from_bytes(head)
    message = file.read(length)
    if len(head) < _LENGTH_BYTES or len(message) < length:
        raise EOFError
    return message


def main() -> None:
    """Draw until the input ends."""
    # Only here: whoever has a `Draftsman` needs none of it.
    from engine.tickets import paper  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever has started us
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    while (message := _read(asked)) is not None:
        wanted = msgspec.msgpack.decode(message, type=_Wanted)
        try:
            drawn = _Drawn(paper.draw(wanted.event, wanted.sheets, wanted.issued_at_ms))
        except Exception as error:  # noqa: BLE001 - told to whoever wants the paper
            drawn = _Drawn(b"", f"{type(error).__name__}: {error}")
        _write(answers, msgspec.msgpack.encode(drawn))
        # The lowest there is. At the lowest niceness, a buyer's hold would still have to wait
        # for the end of a slice; who is idle gives way at once. Not before the first paper,
        # with which the fonts are read: on a full machine that would take a minute.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


if __name__ == "__main__":
    with contextlib.suppress(EOFError, BrokenPipeError):  # whoever has asked is gone
        main()
