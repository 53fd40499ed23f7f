"""The whole service stops, in good order or by a power cut, while many pay (FAULTS.md, 30)."""

import asyncio
import time

import pytest

from engine.domain.booking import Status
from tests.end_to_end.money import settled
from tests.end_to_end.shop import Shop
from tests.end_to_end.till import till_of

_BUYERS = 60


@pytest.mark.drill
@pytest.mark.parametrize("how", ["asked to stop", "without power"])
async def test_stopped_while_many_pay_it_has_lost_nothing_when_it_is_back(shop: Shop, how: str):
    port = int(shop.service.url.rpartition(":")[2])
    async with till_of(shop, 4 * _BUYERS, hold_ttl_seconds=60) as till:
        shop.sandbox.faults({"kind": "latency", "seconds_min": 0.0, "seconds_max": 0.5})

        async def buy(number: int) -> None:
            await asyncio.sleep(number * 3.0 / _BUYERS)
            one = await till.paid(f"buyer-{number}", 2)
            await till.becomes(one, "CONFIRMED", 60.0)
            if number % 3 == 0:
                await till.refund(one, 1)

        buying = asyncio.gather(*(buy(number) for number in range(_BUYERS)))
        await asyncio.sleep(1.5)
        began = time.monotonic()
        if how == "asked to stop":
            await asyncio.to_thread(shop.service.stop)
            assert time.monotonic() - began < 10.0
            assert till.broken == [], "somebody got no answer"
        else:
            await asyncio.to_thread(shop.service.cut_power)
        await asyncio.to_thread(shop.service.start, port)
        await buying
        shop.sandbox.clear_faults()
        await till.reconciled()
        state = await settled(till, 60.0)
        assert [one.status for one in state.bookings.values()] == [Status.CONFIRMED] * _BUYERS
        assert len(till.accounts()) == _BUYERS
