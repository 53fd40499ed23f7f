"""A circuit breaker: while Stripe is away, nobody waits for it.

Own, because purgatory and aiobreaker read the wall clock, let every caller try at once when
the pause is over, and do not say how much of it is left.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors.payments.contract import StripeAway

#: Calls in a row without an answer, until Stripe counts as away.
FAILURES_MAX = 5
#: How long it is left alone then, seconds: a buyer can wait so long, and one call each five
#: seconds is no burden on whoever is getting up again.
OPEN_SECONDS = 5.0
#: What is told to those who come while one call finds out, seconds.
PROBE_SECONDS = 1.0


class Breaker:
    """Counts calls without an answer.

    Closed: everybody may call. Open: nobody, for a while. Then one call finds out whether
    Stripe is back, while all others are still turned away.

    Args:
        clock: seconds of a clock that does not go back.
        failures_max: in a row, until it opens.
        open_seconds: from then to the next attempt.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        failures_max: int = FAILURES_MAX,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        self._clock = clock
        self._failures_max = failures_max
        self._open_seconds = open_seconds
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False

    def is_open(self) -> bool:
        """Return whether Stripe counts as away."""
        return self._open_until is not None

    def check(self) -> None:
        """Find out whether a call is worth while.

        Raises:
            StripeAway: it is not; says for how long.
        """
        if self._open_until is None:
            return
        left = self._open_until - self._clock()
        if left > 0 or self._probing:
            raise StripeAway("Stripe has not answered lately", max(left, PROBE_SECONDS))

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Watch one call: it failed if StripeAway comes out of the block.

        One that is cancelled says nothing about Stripe.

        Raises:
            StripeAway: as `check` does, and whatever comes out of the block.
        """
        self.check()
        probe = self._probing = self.is_open()
        answered = False
        try:
            yield
            answered = True
        except StripeAway:
            self._failed(probe)
            raise
        finally:
            if probe:
                self._probing = False
            if answered:
                self._failures, self._open_until = 0, None

    def _failed(self, probe: bool) -> None:
        """Count; what was under way when it opened, and fails now, is no news."""
        self._failures += 1
        if probe or (not self.is_open() and self._failures >= self._failures_max):
            self._open_until = self._clock() + self._open_seconds
