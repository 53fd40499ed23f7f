"""Money that comes when the hold has ended, or just then (FAULTS.md, 6 and 21)."""

import asyncio
import random
import time

import pytest

from engine.domain.payment import PaymentState
from engine.domain.records import PaymentReturning
from engine.limits import HOLD_TTL_SECONDS_MIN, PAYMENT_GRACE_MS
from tests.calls import REFUSED
from tests.end_to_end.money import settled
from tests.end_to_end.shop import Shop
from tests.end_to_end.till import Till, till_of
from tests.stripe_sandbox import Refused

_GRACE_SECONDS = PAYMENT_GRACE_MS / 1_000


@pytest.mark.drill
async def test_a_card_that_wins_the_race_against_the_end_of_its_hold_gets_its_tickets(shop: Shop):
    async with till_of(shop, 2, hold_ttl_seconds=HOLD_TTL_SECONDS_MIN) as till:
        shop.sandbox.faults({"kind": "success_after_cancel_race", "seconds": 20.0})
        ann = await till.opened("ann", 2)
        await _struck(shop, "success_after_cancel_race")
        assert (await till.buyers.hold("bob", "1")).outcome == REFUSED, "Stripe was not asked"
        shop.sandbox.pay(ann.intent_id)
        await till.becomes(ann, "CONFIRMED")
        await settled(till)


async def test_money_for_a_hold_that_was_given_back_returns_once(shop: Shop):
    """The same arbitration as after the grace, at the pace of a test of every commit."""
    async with till_of(shop, 2) as till:
        shop.sandbox.faults({"kind": "success_after_cancel_race", "seconds": 20.0})
        ann = await till.opened("ann", 2)
        await till.buyers.release("ann", ann.booking_id)
        bob = await till.bought("bob", 2)
        await _struck(shop, "success_after_cancel_race")
        shop.sandbox.pay(ann.intent_id)
        await settled(till)
        await _keeps_and_returns(till, keeps=bob.booking_id, returns=ann.booking_id)


@pytest.mark.drill
async def test_after_the_grace_the_new_buyer_keeps_the_tickets_and_the_late_one_the_money(
    shop: Shop,
):
    async with till_of(shop, 2, hold_ttl_seconds=HOLD_TTL_SECONDS_MIN) as till:
        ann = await till.opened("ann", 2)
        shop.sandbox.faults({"kind": "success_after_cancel_race", "seconds": 600.0})
        await till.becomes(ann, "EXPIRED", HOLD_TTL_SECONDS_MIN + _GRACE_SECONDS + 5.0)
        bob = await till.bought("bob", 2)
        shop.sandbox.pay(ann.intent_id)
        await settled(till)
        await _keeps_and_returns(till, keeps=bob.booking_id, returns=ann.booking_id)
        assert await till.status(ann) == "EXPIRED"


@pytest.mark.drill
async def test_after_the_grace_late_money_gets_its_tickets_if_they_are_still_there(shop: Shop):
    async with till_of(shop, 2, hold_ttl_seconds=HOLD_TTL_SECONDS_MIN) as till:
        ann = await till.opened("ann", 2)
        shop.sandbox.faults({"kind": "success_after_cancel_race", "seconds": 600.0})
        await till.becomes(ann, "EXPIRED", HOLD_TTL_SECONDS_MIN + _GRACE_SECONDS + 5.0)
        shop.sandbox.pay(ann.intent_id)
        await till.becomes(ann, "CONFIRMED")
        await settled(till)


async def test_money_for_a_payment_that_was_given_up_gets_its_tickets_if_they_are_there(
    shop: Shop,
):
    """Three cards have failed, the stock is free again, and a fourth card wins the race."""
    async with till_of(shop, 2) as till:
        shop.sandbox.faults({"kind": "success_after_cancel_race", "times": 1, "seconds": 20.0})
        ann = await till.opened("ann", 2)
        for _ in range(3):
            with pytest.raises(Refused):
                shop.sandbox.pay(ann.intent_id, "pm_card_chargeDeclined")
        await till.becomes(ann, "CANCELLED")
        await _struck(shop, "success_after_cancel_race")
        shop.sandbox.pay(ann.intent_id)
        await till.becomes(ann, "CONFIRMED")
        await settled(till)
        assert await till.records(PaymentReturning) == []


@pytest.mark.parametrize("buyers", [24, pytest.param(200, marks=pytest.mark.drill)])
async def test_paid_in_the_moment_of_its_end_each_hold_has_either_tickets_or_its_money(
    shop: Shop, buyers: int
):
    """Real clocks: some pay before, some after, some while Stripe is being asked."""
    async with till_of(shop, buyers, hold_ttl_seconds=HOLD_TTL_SECONDS_MIN) as till:
        shop.sandbox.faults(
            {
                "kind": "latency",
                "only": "payment_intents.cancel",
                "seconds_min": 0.0,
                "seconds_max": 0.1,
            }
        )
        names = [f"buyer-{number}" for number in range(buyers)]
        open_ = await asyncio.gather(*(till.opened(name) for name in names))
        bookings = (await till.state()).bookings
        moments = random.Random(buyers)

        async def pay(number: int) -> bool:
            one = open_[number]
            ends_at = bookings[one.booking_id].expires_at_ms / 1_000
            await asyncio.sleep(ends_at - time.time() + moments.uniform(-0.1, 0.2))
            try:
                shop.sandbox.pay(one.intent_id)
            except Refused:
                return False
            return True

        paid = await asyncio.gather(*(pay(number) for number in range(buyers)))
        await settled(till)
        statuses = [await till.status(one) for one in open_]
        assert statuses == ["CONFIRMED" if was else "EXPIRED" for was in paid]
        assert {True, False} == set(paid), "nobody was late, or everybody"


async def _struck(shop: Shop, kind: str) -> None:
    """Return when a fault has struck, and no further one of its kind is to come."""
    deadline = time.monotonic() + 20.0
    while any(
        one["kind"] == kind and one["struck"] < (one["times"] or 1)
        for one in shop.sandbox.show_faults()
    ):
        assert time.monotonic() < deadline, f"no {kind} after 20 s"
        await asyncio.sleep(0.02)


async def _keeps_and_returns(till: Till, *, keeps: str, returns: str) -> None:
    state = await till.state()
    late, new = state.bookings[returns].payment, state.bookings[keeps].payment
    assert late is not None
    assert new is not None
    assert (late.state, late.refunded_minor) == (PaymentState.RETURNED, 9_000)
    assert (new.state, new.refunded_minor) == (PaymentState.CAPTURED, 0)
    refunds = {one["metadata"]["booking"]: one["refunds"] for one in till.accounts()}
    assert refunds == {returns: 1, keeps: 0}
    assert await till.buyers.availability() == {"available": 0, "held": 0, "sold": 2}
