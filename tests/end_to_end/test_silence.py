"""Processes that do not answer (FAULTS.md, 4)."""

import asyncio
import os
import signal
import time

from actors.contract import DESK
from tests.calls import GRANTED
from tests.end_to_end.buyers import on_sale
from tests.end_to_end.service import Service
from tests.end_to_end.verify import verify


async def test_a_frozen_owner_is_replaced_within_ten_seconds_without_any_help(service: Service):
    async with on_sale(service, 100) as buyers:
        await buyers.held("ann")
        frozen = await service.owner(buyers.event_id)
        assert frozen is not None
        os.kill(frozen.pid, signal.SIGSTOP)
        began = time.monotonic()
        call = await buyers.insist("bob", "1")
        took = time.monotonic() - began
        assert call.outcome == GRANTED
        assert took < 10.0
        assert frozen.pid not in service.processes()
        await verify(buyers)


async def test_a_frozen_payment_desk_is_replaced_within_ten_seconds_without_any_help(
    service: Service,
):
    frozen = await service.owner(DESK)
    assert frozen is not None
    os.kill(frozen.pid, signal.SIGSTOP)
    began = time.monotonic()
    while (await service.owner(DESK)) == frozen:
        assert time.monotonic() - began < 10.0
        await asyncio.sleep(0.05)
    assert frozen.pid not in service.processes()
