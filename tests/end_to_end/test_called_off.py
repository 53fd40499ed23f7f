"""An event is called off, and owner and payment desk are killed in the middle of it."""

import asyncio
import logging
import os
import signal
import time

import pytest

from engine.domain.booking import Status
from engine.domain.records import CallingOff, EventCancelled, RefundRequested, RefundSettled
from tests.end_to_end.money import settled
from tests.end_to_end.shop import Shop
from tests.end_to_end.till import Till, till_of


@pytest.mark.parametrize(
    ("confirmed", "held"), [(60, 1_500), pytest.param(200, 5_000, marks=pytest.mark.drill)]
)
async def test_killed_in_the_middle_it_goes_on_and_everything_goes_back_once(
    shop: Shop, confirmed: int, held: int
):
    async with till_of(shop, 20_000) as till:
        bought = await _bought(till, confirmed)
        open_ = await asyncio.gather(*(till.opened(f"open-{number}") for number in range(10)))
        await till.buyers.rush([f"holder-{number}" for number in range(50)], count=held)
        owner, desk = await shop.service.owner(till.event_id), shop.desk()
        assert owner is not None
        assert desk is not None
        await till.call_off()
        os.kill(owner.pid, signal.SIGKILL)
        await _some_refunded(till)
        os.kill(desk, signal.SIGKILL)
        await till.call_off()

        state = await settled(till, 60.0)
        assert {booking.status for booking in state.bookings.values()} == {
            Status.REFUNDED,
            Status.CANCELLED,
        }
        assert len(await till.records(EventCancelled)) == 1
        assert len(await till.records(RefundRequested)) == confirmed
        assert len(await till.records(RefundSettled)) == confirmed
        accounts = {one["id"]: one for one in till.accounts()}
        for one in bought:
            account = accounts[one.intent_id]
            assert (account["refunds"], account["refunded"]) == (1, account["captured"])
        assert {accounts[one.intent_id]["status"] for one in open_} == {"canceled"}
        steps = [
            (entry.epoch, record.left)
            for entry in await till.entries()
            for record in entry.records
            if isinstance(record, CallingOff)
        ]
        logging.getLogger(__name__).warning("bookings left, by epoch: %s", steps)


async def _bought(till: Till, count: int) -> list:
    names = [f"buyer-{number}" for number in range(count)]
    bought = []
    for start in range(0, count, 20):
        bought += await asyncio.gather(*(till.paid(name, 2) for name in names[start : start + 20]))
    for one in bought:
        await till.becomes(one, "CONFIRMED")
    return bought


async def _some_refunded(till: Till) -> None:
    """Return when Stripe has given back a part of it."""
    deadline = time.monotonic() + 30.0
    while not any(one["refunds"] for one in till.accounts()):
        assert time.monotonic() < deadline, "nothing is given back"
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("buyers", [40])
async def test_owner_and_gateways_killed_while_many_pay_nothing_is_lost(shop: Shop, buyers: int):
    async with till_of(shop, 4 * buyers) as till:

        async def buy(number: int) -> None:
            await asyncio.sleep(number * 4.0 / buyers)
            one = await till.paid(f"buyer-{number}", 2)
            await till.becomes(one, "CONFIRMED")
            if number % 4 == 0:
                await till.refund(one, 1)

        buying = asyncio.gather(*(buy(number) for number in range(buyers)))
        await asyncio.sleep(0.7)
        await shop.service.kill_owner(till.event_id)
        await asyncio.sleep(0.7)
        for gateway in shop.service.gateways():
            os.kill(gateway, signal.SIGKILL)
        await asyncio.sleep(1.5)
        await shop.service.kill_owner(till.event_id)
        await buying
        state = await settled(till, 60.0)
        paid = [one for one in state.bookings.values() if one.status is Status.CONFIRMED]
        assert len(paid) == buyers
