"""The pace at which Stripe may be asked, and who goes first where not all can go at once.

Own, because the limiters on PyPI (aiolimiter, pyrate-limiter) serve in the order of arrival,
cannot say how long a wait will be, and do not slow down when they are told to.

An instance belongs to one event loop, and paces what goes through it: processes that share
an account divide its limits among them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from enum import IntEnum

from actors.payments.contract import StripeAway

#: What Stripe grants an account in live mode, and each operation of it, requests per second
#: (docs.stripe.com/rate-limits). In test mode an account has 25.
ACCOUNT_PER_SECOND = 100.0
ENDPOINT_PER_SECOND = 25.0
#: Requests that may leave at once, as seconds of the full pace: Stripe's own buckets are
#: larger, so that what bunches up on the way does not overflow them.
BURST_SECONDS = 0.2
#: Whoever would wait longer is turned away at once: a buyer has gone by then, and everybody
#: else asks again. Bounds what waits to 250 calls for each operation and priority.
WAIT_SECONDS_MAX = 10.0
#: One turn of so many goes to the operation that has had none for longest, whatever its
#: priority: a flood of refunds slows cancellations down, but never stops them.
FAIR_EVERY = 8
#: The slowest pace, as a share of the full one, and the time from standstill back to the
#: full one, seconds. Each 429 halves the pace, but those that come within SLOWED_SECONDS
#: of one another are answers to the same mistake.
PACE_MIN = 1 / 16
RECOVERY_SECONDS = 30.0
SLOWED_SECONDS = 1.0
#: What is due so soon is due: less than a timer's precision.
_SOON_SECONDS = 1e-6


class Priority(IntEnum):
    """Who goes first: the lowest."""

    #: Money is to be taken or given back, or it is to be found out what became of it.
    OWED = 0
    #: A buyer waits.
    OPENING = 1
    #: Stock waits, for as long as the payment's grace allows.
    CLOSING = 2


def _nothing(operation: str, seconds: float) -> None:
    """Measure nothing."""


class _Bucket:
    """A token bucket, kept as the time at which it will be full."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._slack = max(BURST_SECONDS - 1 / per_second, 0.0)
        self._full_at = float("-inf")
        self._slowed_at = float("-inf")
        self._slowed_to = 1.0

    def rate(self, now: float) -> float:
        """Return the pace, per second."""
        recovered = (now - self._slowed_at) / RECOVERY_SECONDS
        return self._per_second * min(self._slowed_to + recovered, 1.0)

    def free_at(self) -> float:
        """Return the time from which there is a token."""
        return self._full_at - self._slack

    def expected(self, ahead: int, now: float) -> float:
        """Return how long the next one waits behind so many others, seconds."""
        return max(self.free_at() - now, 0.0) + ahead / self.rate(now)

    def take(self, now: float) -> None:
        self._full_at = max(self._full_at, now) + 1 / self.rate(now)

    def slow_down(self, now: float, pause_seconds: float) -> None:
        if now - self._slowed_at >= SLOWED_SECONDS:
            self._slowed_to = max(self.rate(now) / self._per_second / 2, PACE_MIN)
            self._slowed_at = now
        self._full_at = max(self._full_at, now + self._slack + pause_seconds)


class _Lane:
    """Calls of one operation and priority that wait; `last` is the number of its last turn."""

    def __init__(self) -> None:
        self.turns: deque[asyncio.Future[None]] = deque()
        self.last = 0


class Limiter:
    """Lets calls of Stripe through, in order of priority, and in each of arrival.

    Args:
        account_per_second: of all calls together.
        endpoint_per_second: of each operation.
        wait_seconds_max: whoever would wait longer is turned away.
        waited: is told of every call that was let through: operation, seconds it waited.
    """

    def __init__(
        self,
        account_per_second: float = ACCOUNT_PER_SECOND,
        endpoint_per_second: float = ENDPOINT_PER_SECOND,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
        waited: Callable[[str, float], None] = _nothing,
    ) -> None:
        self._account = _Bucket(account_per_second)
        self._endpoint_per_second = endpoint_per_second
        self._wait_seconds_max = wait_seconds_max
        self._waited = waited
        self._endpoints: dict[str, _Bucket] = {}
        self._lanes: dict[tuple[Priority, str], _Lane] = {}
        self._number = 0
        self._alarm: asyncio.TimerHandle | None = None

    def waiting(self) -> int:
        """Return how many calls wait for their turn."""
        return sum(len(lane.turns) for lane in self._lanes.values())

    async def wait(self, operation: str, priority: Priority) -> None:
        """Return when it is this call's turn.

        Raises:
            StripeAway: it would have to wait too long; says for how long.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        expected = self._expected(operation, priority, now)
        if expected > self._wait_seconds_max:
            raise StripeAway(f"too many calls wait for {operation}", expected)
        turn = loop.create_future()
        lane = self._lanes.setdefault((priority, operation), _Lane())
        lane.turns.append(turn)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in lane.turns:
                lane.turns.remove(turn)
            raise
        self._waited(operation, loop.time() - now)

    def slow_down(self, operation: str, pause_seconds: float, whole_account: bool) -> None:
        """Heed a 429: pause, go on at half the pace, and recover little by little.

        Args:
            operation: that was asked for too often.
            pause_seconds: for which Stripe wants to hear nothing of it.
            whole_account: it was all operations together that were too much.
        """
        now = asyncio.get_running_loop().time()
        self._endpoint(operation).slow_down(now, pause_seconds)
        if whole_account:
            self._account.slow_down(now, pause_seconds)

    def _endpoint(self, operation: str) -> _Bucket:
        bucket = self._endpoints.get(operation)
        if bucket is None:
            bucket = self._endpoints[operation] = _Bucket(self._endpoint_per_second)
        return bucket

    def _expected(self, operation: str, priority: Priority, now: float) -> float:
        before = [
            (name, len(lane.turns))
            for (rank, name), lane in self._lanes.items()
            if rank <= priority
        ]
        here = sum(waiting for name, waiting in before if name == operation)
        everywhere = sum(waiting for _, waiting in before)
        return max(
            self._endpoint(operation).expected(here, now), self._account.expected(everywhere, now)
        )

    def _grant(self) -> None:
        """Let through whoever can go now, and come back when the next one can."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while (key := self._next(now)) is not None:
            lane, operation = self._lanes[key], key[1]
            turn = lane.turns.popleft()
            if turn.done():
                continue  # cancelled, and about to find out
            self._number += 1
            lane.last = self._number
            self._account.take(now)
            self._endpoint(operation).take(now)
            turn.set_result(None)
        if self._alarm is not None:
            self._alarm.cancel()
        turns = [self._endpoint(operation).free_at() for _, operation in self._occupied()]
        self._alarm = (
            loop.call_at(max(min(turns), self._account.free_at()), self._grant) if turns else None
        )

    def _next(self, now: float) -> tuple[Priority, str] | None:
        """Return the lane whose first call goes next, None if nobody can go."""
        due = now + _SOON_SECONDS
        if self._account.free_at() > due:
            return None
        free = [key for key in self._occupied() if self._endpoint(key[1]).free_at() <= due]
        fair = (self._number + 1) % FAIR_EVERY == 0

        def order(key: tuple[Priority, str]) -> tuple[int, int]:
            return 0 if fair else key[0], self._lanes[key].last

        return min(free, key=order, default=None)

    def _occupied(self) -> Iterator[tuple[Priority, str]]:
        return (key for key, lane in self._lanes.items() if lane.turns)
