"""A machine dies with all its owners (FAULTS.md, 14)."""

import asyncio
import logging
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.machines import events, owners_on, served_again
from tests.end_to_end.service import Service
from tests.end_to_end.verify import verify


def standing(pid: int) -> tuple[int, str]:
    """Return niceness and what is added to the OOM score; left to Ray, 15 and 1000."""
    adjusted = Path(f"/proc/{pid}/oom_score_adj").read_text()
    return os.getpriority(os.PRIO_PROCESS, pid), adjusted


#: Ray gives each owner to either machine by chance. That so many come to the same one happens once
#: in 32,000 runs.
_OWNERS_MAX = 16


async def test_owners_are_spread_and_run_as_the_service_itself(on_machines: Service, machines):
    gateway = on_machines.gateways()[0]
    async with AsyncExitStack() as stack:
        everyone: list[Buyers] = []
        shares = [0]
        while len(everyone) < 4 or min(shares) == 0:
            assert len(everyone) < _OWNERS_MAX, f"all of them are on one machine: {shares}"
            buyers = await stack.enter_async_context(on_sale(on_machines, 100))
            await buyers.held("ann")
            everyone.append(buyers)
            owner = await on_machines.owner(buyers.event_id)
            assert owner is not None
            assert standing(owner.pid) == standing(gateway)
            shares = [len(await owners_on(worker, everyone)) for worker in machines.workers]
            assert sum(shares) == len(everyone), "the head has to keep the cluster"


async def test_a_machine_that_dies_takes_no_promise_with_it(on_machines: Service, machines):
    async with events(on_machines, 4) as everyone, AsyncExitStack() as load:
        for buyers in everyone:
            await buyers.held("ann")
            await load.enter_async_context(buyers.asking(4))
        owned = [(worker, await owners_on(worker, everyone)) for worker in machines.workers]
        victim, bereft = max(owned, key=lambda one: len(one[1]))
        assert bereft
        await asyncio.sleep(0.5)
        died_at = time.monotonic()
        victim.kill()
        machines.workers.remove(victim)
        took = await served_again(everyone, died_at)
        logging.getLogger(__name__).info("%d events again after %.1f s", len(bereft), took)
        await load.aclose()
        assert all(buyers.under_way(died_at) for buyers in everyone), "nobody asked"
        assert not victim.processes()
        for buyers in everyone:
            await verify(buyers)
        (other,) = machines.workers
        assert await owners_on(other, everyone) == everyone


@pytest.mark.drill
async def test_machine_after_machine_dies_and_the_last_one_serves_everything(
    on_machines: Service, machines
):
    while len(machines.workers) < 3:
        machines.workers.append(machines.add())
    async with events(on_machines, 6) as everyone, AsyncExitStack() as load:
        for buyers in everyone:
            await buyers.held("ann")
            await load.enter_async_context(buyers.asking(4))
        for _ in range(2):
            await asyncio.sleep(1.0)
            died_at = time.monotonic()
            machines.workers.pop(0).kill()
            await served_again(everyone, died_at)
        await load.aclose()
        for buyers in everyone:
            await verify(buyers)
        (last,) = machines.workers
        assert await owners_on(last, everyone) == everyone
