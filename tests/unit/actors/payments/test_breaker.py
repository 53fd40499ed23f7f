"""The circuit breaker, by a clock that the test holds."""

import asyncio

import pytest

from actors.payments.breaker import PROBE_SECONDS, Breaker
from actors.payments.contract import StripeAway, StripeRefused


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock, failures_max=3, open_seconds=10.0)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(StripeAway, match="gone"), breaker.calling():
            raise StripeAway("gone", 1.0)


def turned_away(breaker: Breaker) -> float:
    """Return for how long."""
    with pytest.raises(StripeAway, match="lately") as away:
        breaker.check()
    with pytest.raises(StripeAway, match="lately"), breaker.calling():
        pytest.fail("it called")
    return away.value.retry_after_seconds


def test_it_opens_after_failures_in_a_row(breaker, clock):
    fail(breaker, 2)
    with breaker.calling():
        pass
    fail(breaker, 2)
    breaker.check()
    fail(breaker)
    assert breaker.is_open()
    assert turned_away(breaker) == 10.0
    clock.now += 4
    assert turned_away(breaker) == 6.0


def test_one_call_finds_out_whether_stripe_is_back(breaker, clock):
    fail(breaker, 3)
    clock.now += 10
    breaker.check()
    with breaker.calling():
        assert turned_away(breaker) == PROBE_SECONDS
    assert not breaker.is_open()
    fail(breaker, 2)
    breaker.check()


def test_if_it_is_not_everybody_waits_again(breaker, clock):
    fail(breaker, 3)
    clock.now += 10
    fail(breaker)
    assert turned_away(breaker) == 10.0
    clock.now += 10
    fail(breaker)
    assert turned_away(breaker) == 10.0


@pytest.mark.parametrize("ending", [asyncio.CancelledError, RuntimeError])
def test_who_gives_up_has_found_out_nothing(breaker, clock, ending):
    fail(breaker, 3)
    clock.now += 10
    with pytest.raises(ending), breaker.calling():
        raise ending
    assert breaker.is_open()
    breaker.check()  # somebody else may try
    with breaker.calling():
        pass
    assert not breaker.is_open()


def test_what_was_under_way_and_fails_late_is_no_news(breaker, clock):
    late = breaker.calling()
    late.__enter__()
    fail(breaker, 3)
    clock.now += 5
    assert not late.__exit__(StripeAway, StripeAway("gone", 1.0), None)
    assert turned_away(breaker) == 5.0


def test_what_was_under_way_and_succeeds_is_good_news(breaker):
    late = breaker.calling()
    late.__enter__()
    fail(breaker, 3)
    late.__exit__(None, None, None)
    breaker.check()


def test_a_refusal_is_not_counted(breaker):
    for _ in range(10):
        with pytest.raises(StripeRefused), breaker.calling():
            raise StripeRefused("no", "never")
    breaker.check()
