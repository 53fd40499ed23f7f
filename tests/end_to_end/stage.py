"""One service of the run at a time: what is idle beside a drill takes from it all the same.

A service without work takes a fifth of a core here, with its Ray, its actors and the owners of
the drills before. Drills are therefore ordered by the service that they need, and the one
before is closed when the next one comes.
"""

from collections.abc import Callable, Sequence

#: Fixtures by which drills are ordered; without any of them a drill comes first. `far` cannot
#: be closed before the run ends.
ORDER = ("office", "two_offices", "alone", "machines", "shop", "far")


class Stage:
    """Who is on it, and how to have them leave."""

    def __init__(self) -> None:
        self._who = ""
        self._leave: Callable[[], None] | None = None

    def enter(self, who: str, leave: Callable[[], None] | None = None) -> None:
        """Have whoever is on it leave, unless that is who enters."""
        if who != self._who:
            if self._leave is not None:
                self._leave()
            self._who, self._leave = who, leave


def place_of(fixtures: Sequence[str]) -> int:
    """Return the place in the run of a drill that uses these fixtures."""
    return max((number for number, name in enumerate(ORDER, 1) if name in fixtures), default=0)
