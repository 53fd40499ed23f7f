"""The pace of Stripe's API, in virtual time."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.payments.contract import StripeAway
from actors.payments.limiter import (
    BURST_SECONDS,
    FAIR_EVERY,
    PACE_MIN,
    RECOVERY_SECONDS,
    WAIT_SECONDS_MAX,
    Limiter,
    Priority,
)
from tests.virtual_time import VirtualLoop

CREATE, CANCEL, REFUND = "payment_intents.create", "payment_intents.cancel", "refunds.create"
OF = {CREATE: Priority.OPENING, CANCEL: Priority.CLOSING, REFUND: Priority.OWED}


class Crowd:
    """Calls that go through a limiter, and when each got its turn."""

    def __init__(self, **limits: float) -> None:
        self.waited: dict[str, list[float]] = defaultdict(list)
        options: dict[str, Any] = {"wait_seconds_max": 1e9, **limits}
        self.limiter = Limiter(waited=self._measure, **options)
        self.turns: list[tuple[float, str]] = []

    def _measure(self, operation: str, seconds: float) -> None:
        self.waited[operation].append(seconds)

    async def call(self, operation: str) -> None:
        await self.limiter.wait(operation, OF[operation])
        self.turns.append((asyncio.get_running_loop().time(), operation))

    async def come(self, **counts: int) -> None:
        names = {"create": CREATE, "cancel": CANCEL, "refund": REFUND}
        calls = [names[name] for name, count in counts.items() for _ in range(count)]
        await asyncio.gather(*map(self.call, calls))

    def order(self) -> str:
        """Return the turns as letters: create, refund, close."""
        letter = {CREATE: "c", CANCEL: "x", REFUND: "r"}
        return "".join(letter[operation] for _, operation in self.turns)


def most_within(times: list[float], seconds: float) -> int:
    """Return how many there are in any span of this length."""
    return max(sum(first <= time < first + seconds for time in times) for first in times)


async def test_nobody_waits_without_need():
    crowd = Crowd()
    for _ in range(50):
        await crowd.come(create=1)
        await asyncio.sleep(0.04)
    assert max(crowd.waited[CREATE]) == 0


async def test_an_operation_keeps_its_pace():
    crowd = Crowd()
    began = asyncio.get_running_loop().time()
    await crowd.come(create=100)
    # Five at once, then one each 40 ms.
    assert asyncio.get_running_loop().time() - began == pytest.approx(95 / 25)
    assert len(crowd.waited[CREATE]) == 100
    assert max(crowd.waited[CREATE]) == pytest.approx(95 / 25)


async def test_operations_do_not_wait_for_one_another():
    crowd = Crowd()
    began = asyncio.get_running_loop().time()
    await crowd.come(create=55, cancel=55, refund=55)
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0)


async def test_all_together_keep_the_pace_of_the_account():
    crowd = Crowd(account_per_second=25)
    began = asyncio.get_running_loop().time()
    await crowd.come(create=40, cancel=40, refund=25)
    assert asyncio.get_running_loop().time() - began == pytest.approx(100 / 25)


async def test_money_goes_first_then_buyers_then_stock():
    crowd = Crowd(account_per_second=25)
    await crowd.come(create=5)
    crowd.turns.clear()
    await crowd.come(cancel=2, create=2, refund=2)
    assert crowd.order() == "rrxccx"  # the eighth turn goes to whoever has had none for longest


async def test_whoever_came_first_goes_first():
    crowd = Crowd()
    turns: list[int] = []

    async def call(number: int) -> None:
        await crowd.call(CREATE)
        turns.append(number)

    await asyncio.gather(*map(call, range(30)))
    assert turns == list(range(30))


async def test_a_flood_of_refunds_does_not_stop_cancellations():
    crowd = Crowd(account_per_second=25)
    await crowd.come(refund=500, create=10, cancel=10)
    for operation in "cx":
        last = crowd.order().rindex(operation)
        assert last < 21 * FAIR_EVERY
    assert crowd.order()[:last].count("r") > 20 * (FAIR_EVERY - 2)


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.sampled_from([CREATE, CANCEL, REFUND])),
        min_size=1,
        max_size=120,
    ),
    st.sampled_from([1.0, 7.5, 25.0]),
    st.sampled_from([1.0, 25.0, 100.0]),
)
def test_no_span_of_time_sees_more_than_its_share(calls, endpoint, account):
    crowd = Crowd(account_per_second=account, endpoint_per_second=endpoint)

    async def later(delay: float, operation: str) -> None:
        await asyncio.sleep(delay)
        await crowd.call(operation)

    async def all_of_them() -> None:
        await asyncio.gather(*(later(*call) for call in calls))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(all_of_them())
    assert len(crowd.turns) == len(calls)
    for pace, wanted in ((account, set(OF)), *((endpoint, {name}) for name in OF)):
        times = [time for time, operation in crowd.turns if operation in wanted]
        for seconds in (0.1, 1.0, 5.0) if times else ():
            burst = max(BURST_SECONDS * pace, 1)
            assert most_within(times, seconds) <= burst + pace * seconds + 1e-6


async def test_who_would_wait_too_long_is_turned_away_and_told_for_how_long():
    limiter = Limiter()
    waiting = [asyncio.create_task(limiter.wait(CREATE, Priority.OPENING)) for _ in range(255)]
    await asyncio.sleep(0)
    assert limiter.waiting() == 250
    with pytest.raises(StripeAway) as away:
        await limiter.wait(CREATE, Priority.OPENING)
    assert WAIT_SECONDS_MAX < away.value.retry_after_seconds < WAIT_SECONDS_MAX + 0.1
    began = asyncio.get_running_loop().time()
    await limiter.wait(REFUND, Priority.OWED)  # goes first, and has a pace of its own
    assert asyncio.get_running_loop().time() - began < 0.1
    await asyncio.gather(*waiting)


async def test_who_has_left_takes_no_turn():
    crowd = Crowd()
    tasks = [asyncio.create_task(crowd.call(CREATE)) for _ in range(30)]
    await asyncio.sleep(0)
    for task in tasks[5:25]:
        task.cancel()
    await asyncio.sleep(0)
    assert crowd.limiter.waiting() == 5
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert asyncio.get_running_loop().time() - began == pytest.approx(5 / 25)
    assert len(crowd.turns) == 10


async def test_one_who_leaves_in_the_moment_of_the_turn_leaves_it_to_the_next():
    crowd = Crowd(endpoint_per_second=1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await crowd.call(CREATE)
    leaving = asyncio.create_task(crowd.call(CREATE))
    staying = asyncio.create_task(crowd.call(CREATE))

    def leave() -> None:
        leaving.cancel()
        crowd.limiter._grant()  # as the alarm does, before the one who leaves can say so

    loop.call_at(began + 1.0 - 1e-7, leave)
    await staying
    assert leaving.cancelled()
    assert loop.time() - began == pytest.approx(1.0)


async def pace(crowd: Crowd, operation: str = CREATE) -> float:
    """Return how many a second go through, taken over the next two turns."""
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(crowd.call(operation) for _ in range(6)))
    began = loop.time()
    await crowd.call(operation)
    return 1 / (loop.time() - began)


async def test_asked_for_patience_it_pauses_and_comes_back_slowly():
    crowd = Crowd()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):  # answers to calls that left together
        crowd.limiter.slow_down(CREATE, 2.0, whole_account=False)
    await crowd.call(CREATE)
    assert loop.time() - began == pytest.approx(2.0)
    assert await pace(crowd) == pytest.approx(25 * 0.6, rel=0.2)
    assert await pace(crowd, REFUND) == pytest.approx(25)
    await asyncio.sleep(RECOVERY_SECONDS)
    assert await pace(crowd) == pytest.approx(25)


async def test_it_slows_down_to_a_limit_and_no_further():
    crowd = Crowd()
    for _ in range(20):
        crowd.limiter.slow_down(CREATE, 0.0, whole_account=False)
        await asyncio.sleep(1.0)
    crowd.limiter.slow_down(CREATE, 0.0, whole_account=False)
    assert 25 * PACE_MIN <= await pace(crowd) < 25 * PACE_MIN * 3
    assert await pace(crowd, REFUND) == pytest.approx(25)


async def test_a_whole_account_is_slowed_down_together():
    crowd = Crowd(account_per_second=25)
    crowd.limiter.slow_down(CREATE, 0.0, whole_account=True)
    assert await pace(crowd, REFUND) == pytest.approx(25 / 2, rel=0.1)
