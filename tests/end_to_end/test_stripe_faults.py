"""Stripe answers late, wrong, not at all, or is away for the length of a sale (FAULTS.md, 19)."""

import asyncio
import time
import urllib.error
from typing import Any

import httpx
import pytest

from tests.calls import GRANTED
from tests.end_to_end.money import settled
from tests.end_to_end.shop import Shop
from tests.end_to_end.till import Purchase, Till, till_of

_TROUBLES: list[dict[str, Any]] = [
    {"kind": "timeout_before_commit", "seconds": 0.2, "probability": 0.1},
    {"kind": "timeout_after_commit", "seconds": 0.2, "probability": 0.15},
    {"kind": "rate_limit", "probability": 0.1},
    {"kind": "webhook_duplicate", "copies": 2, "probability": 0.3},
    {"kind": "webhook_delay", "seconds_max": 1.0, "probability": 0.3},
    {"kind": "webhook_drop", "probability": 0.1},
]
#: A refund that such a failure has left in doubt is waited out: a minute.
_FAILURES: list[dict[str, Any]] = [
    {"kind": "server_error_before_commit", "probability": 0.1},
    {"kind": "server_error_after_commit", "probability": 0.1},
]


@pytest.mark.parametrize(
    ("buyers", "operations", "seconds"),
    [(6, "payment_intents.*", 60.0), pytest.param(80, "*", 400.0, marks=pytest.mark.drill)],
)
async def test_whatever_goes_wrong_with_its_calls_everybody_pays_once(
    shop: Shop, buyers: int, operations: str, seconds: float
):
    async with till_of(shop, 3 * buyers) as till:
        failures = [{**fault, "only": operations} for fault in _FAILURES]
        shop.sandbox.faults(*_TROUBLES, *failures)

        async def buy(number: int) -> Purchase:
            one = await till.paid(f"buyer-{number}", 2)
            if number % 4 == 0:
                await till.buyers.held(f"buyer-{number}", "another")  # left to its end
            return one

        everybody = await asyncio.gather(*(buy(number) for number in range(buyers)))
        await till.reconciled()
        for one in everybody:
            await till.becomes(one, "CONFIRMED", seconds)
        for one in everybody[::3]:
            await till.refund(one, 1)
        for one in everybody[1::3]:
            await till.refund(one)
        await asyncio.sleep(3.0)
        shop.sandbox.clear_faults()
        await till.reconciled()
        state = await settled(till, seconds, holds=(buyers + 3) // 4)
        assert sum(1 for one in till.accounts() if one["captured"]) == buyers
        assert all(state.bookings[one.booking_id].payment for one in everybody)


@pytest.mark.parametrize("away_seconds", [6.0, pytest.param(60.0, marks=pytest.mark.drill)])
async def test_while_stripe_is_away_sales_go_on_and_nothing_is_lost(
    shop: Shop, away_seconds: float
):
    async with till_of(shop, 1_000) as till, till_of(shop, 10, hold_ttl_seconds=5) as brief:
        refunded, partly = await till.bought("refunded", 2), await till.bought("partly", 2)
        begun, left = await till.opened("begun", 2), await till.opened("left", 2)
        unpaid = await brief.opened("unpaid", 2)
        owner = await shop.service.owner(till.event_id)
        shop.sandbox.faults({"kind": "outage", "seconds": away_seconds})
        away_until = time.monotonic() + away_seconds
        with pytest.raises((urllib.error.URLError, OSError)):
            shop.sandbox.pay(begun.intent_id)

        await till.refund(refunded)
        await till.refund(partly, 1)
        await till.buyers.release("left", left.booking_id)
        calls, _ = await till.buyers.rush(["ann", "bob"], count=200, connections=20)
        assert {call.outcome for call in calls} == {GRANTED}
        answers = await _begin_to_pay(till, 12)
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["code"] for answer in answers} == {"payments_unavailable"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        waited = max(answer.elapsed.total_seconds() for answer in answers)
        assert waited < 16.0
        await asyncio.sleep(max(0.0, away_until - time.monotonic()))

        back_at = time.monotonic()
        for one in [await till.opened("again", 1), begun]:
            shop.sandbox.pay(one.intent_id)
            await till.becomes(one, "CONFIRMED")
        await till.becomes(refunded, "REFUNDED")
        assert time.monotonic() - back_at < 15.0, "it took long to notice that Stripe was back"
        await brief.becomes(unpaid, "EXPIRED")
        for call in calls:
            assert call.seen is not None
        await till.call_off()
        await settled(till)
        await settled(brief)
        assert await shop.service.owner(till.event_id) == owner


async def _begin_to_pay(till: Till, customers: int) -> list[httpx.Response]:
    async def begin(number: int) -> httpx.Response:
        customer = f"payer-{number}"
        return await till.ask_to_pay(customer, await till.held(customer))

    return list(await asyncio.gather(*(begin(number) for number in range(customers))))


@pytest.mark.drill
async def test_a_storm_of_429_slows_it_down_and_ends(shop: Shop):
    async with till_of(shop, 100) as till:
        shop.sandbox.faults({"kind": "rate_limit", "times": 40})
        everybody = await asyncio.gather(*(till.paid(f"buyer-{number}") for number in range(40)))
        for one in everybody:
            await till.becomes(one, "CONFIRMED", 60.0)
        await settled(till)
        assert shop.sandbox.show_faults() == []
