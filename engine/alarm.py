"""A timer for what is put off at every turn and hardly ever rings.

A timer of the event loop, made and cancelled for each turn, costs an owner several microseconds.
This one leaves the loop's alone, and looks when that is due whether it still should ring.
"""

import asyncio
import math
from collections.abc import Callable

#: uvloop's timers are of whole milliseconds: what is due sooner than this is due.
_SOON_SECONDS = 0.0005


class Alarm:
    """Rings once after it was set, unless it is set anew or off by then.

    Args:
        ring: is called then, by the event loop in which it was first set.
    """

    __slots__ = ("_due", "_looks_at", "_loop", "_ring", "_timer")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._due = math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        self._looks_at = math.inf

    def set(self, seconds: float) -> None:
        """Ring after so many seconds, and not when it was to ring before."""
        loop = self._loop
        if loop is None:
            # Once: finding the running loop costs a system call each time.
            loop = self._loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        if self._timer is not None:
            if self._looks_at <= self._due:
                return
            self._timer.cancel()
        self._look_when_due(loop)

    def off(self) -> None:
        """Do not ring."""
        self._due = math.inf

    def _look_when_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks_at = self._due
        self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        assert self._loop is not None, "nobody has set it"
        self._timer = None
        if self._due <= self._loop.time() + _SOON_SECONDS:
            self._due = math.inf
            self._ring()
        elif self._due < math.inf:
            self._look_when_due(self._loop)
