"""Arrivals by the clock on the wall, whether or not those before them have been served."""

from collections.abc import Iterable


class Arrivals:
    """Hands out arrivals to whoever is free. Times are seconds of one monotonic clock.

    What nobody was free for in time is skipped, and counted: if it were left out silently,
    a service that stands still would look fast, because nobody would come to wait.

    Args:
        moments: when each is due, in order.
        patience: how late one may begin, seconds.
    """

    def __init__(self, moments: Iterable[float], patience: float) -> None:
        self._moments = iter(moments)
        self._patience = patience
        self.skipped = 0
        self.begun = 0

    def take(self, now: float) -> float | None:
        """Return when the next one is due, that may be in the past; None after the last."""
        for due in self._moments:
            if now - due <= self._patience:
                self.begun += 1
                return due
            self.skipped += 1
        return None

    def close(self, now: float) -> None:
        """Count what was due until now and was not taken as skipped."""
        for due in self._moments:
            if due > now:
                return
            self.skipped += 1
