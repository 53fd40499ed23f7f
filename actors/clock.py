"""The owner's time: it only goes forward, and never jumps."""

import time
from collections.abc import Callable


class TurnClock:
    """Milliseconds since the epoch, anchored once and then counted monotonically.

    The wall clock of a machine may be set back or forth while holds are running. Holds
    must last as long as they were promised all the same, so the wall clock is only asked
    once; a restarted owner anchors at whichever is later, the wall clock or the last
    instant in its journal.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._offset_ns = wall_ns() - monotonic_ns()

    def not_before(self, instant_ms: int) -> None:
        """Move the anchor so that time goes on from `instant_ms` at the earliest."""
        behind_ms = instant_ms - self.now_ms()
        if behind_ms > 0:
            self._offset_ns += behind_ms * 1_000_000

    def now_ms(self) -> int:
        """Return the time, Unix milliseconds."""
        return (self._monotonic_ns() + self._offset_ns) // 1_000_000
