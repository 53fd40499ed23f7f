"""Gives way to sales: whoever was kept waiting for a core waits again, of its own accord.

Niceness alone does not leave the others enough: whoever wakes up waits for the end of a slice,
nice or not, and a nice process with much to do begins one as soon as a core is free.
"""

from pathlib import Path

#: So many times as long as it was kept waiting, a thread waits by itself; but not for longer
#: than this at a time, seconds: on a full machine, too, what is left for later gets done.
_TIMES = 4.0
_SECONDS_MAX = 1.0
#: What the kernel counts of the thread that reads it: nanoseconds on a core, then those of
#: waiting for one. See the kernel's scheduler/sched-stats.
_COUNTS = Path("/proc/thread-self/schedstat")


class Courtesy:
    """What one thread owes to others. Always asked by the same one."""

    def __init__(self) -> None:
        self._waited_ns = _waited_ns()

    def due(self) -> float:
        """Return how long to wait before going on, seconds; what was due before is paid."""
        before, self._waited_ns = self._waited_ns, _waited_ns()
        return min(_TIMES * (self._waited_ns - before) / 1e9, _SECONDS_MAX)


def _waited_ns() -> int:
    """Return how long this thread could have run and did not."""
    return int(_COUNTS.read_text().split()[1])
