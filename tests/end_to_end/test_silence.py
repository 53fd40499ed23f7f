"""Processes that do not answer (FAULTS.md, 4).

That they are noticed within five seconds is proven in the tests of the warden, on a clock of
their own; how long a process then takes to start depends on what else the machine has to do.
"""

import asyncio
import os
import signal
import time

import pytest

from actors.contract import DESK
from tests.calls import GRANTED
from tests.end_to_end.buyers import on_sale
from tests.end_to_end.one_thread import NotPermitted, busiest, cpu_ticks, stopped
from tests.end_to_end.promised import TEN_SECONDS
from tests.end_to_end.service import Service
from tests.end_to_end.verify import verify


@TEN_SECONDS
async def test_a_frozen_owner_is_replaced_without_any_help(service: Service, within_seconds: float):
    async with on_sale(service, 100) as buyers:
        await buyers.held("ann")
        frozen = await service.owner(buyers.event_id)
        assert frozen is not None
        os.kill(frozen.pid, signal.SIGSTOP)
        began = time.monotonic()
        call = await buyers.insist("bob", "1")
        took = time.monotonic() - began
        assert call.outcome == GRANTED
        assert took < within_seconds
        assert frozen.pid not in service.processes()
        await verify(buyers)


@TEN_SECONDS
async def test_an_owner_whose_loop_is_stuck_is_replaced_without_any_help(
    service: Service, within_seconds: float
):
    """Its other threads go on: to Ray, and to the machine, it looks as alive as ever."""
    async with on_sale(service, 10_000) as buyers:
        await buyers.held("ann")
        stuck = await service.owner(buyers.event_id)
        assert stuck is not None
        before = cpu_ticks(stuck.pid)
        await buyers.rush(["ann", "bob", "carl"], count=2_000)
        loop = busiest(before, cpu_ticks(stuck.pid))
        try:
            async with stopped(loop):
                began = time.monotonic()
                call = await buyers.insist("dora", "1")
                took = time.monotonic() - began
        except NotPermitted as error:
            pytest.skip(f"this machine lets nobody trace: {error}")
        assert call.outcome == GRANTED
        assert 1.0 < took < within_seconds, "at once: another thread was stopped"
        assert stuck.pid not in service.processes()
        await verify(buyers)


@TEN_SECONDS
async def test_a_frozen_payment_desk_is_replaced_without_any_help(
    service: Service, within_seconds: float
):
    frozen = await service.owner(DESK)
    assert frozen is not None
    os.kill(frozen.pid, signal.SIGSTOP)
    began = time.monotonic()
    while (await service.owner(DESK)) == frozen:
        assert time.monotonic() - began < within_seconds
        await asyncio.sleep(0.05)
    assert frozen.pid not in service.processes()
