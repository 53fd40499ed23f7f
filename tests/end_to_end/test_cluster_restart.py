"""The head dies, gateways lose their node, everything starts cold (FAULTS.md, 15)."""

import asyncio
import logging
import time
from contextlib import AsyncExitStack

import pytest

from tests.end_to_end.machines import events, served_again, winners
from tests.end_to_end.service import Service, until
from tests.end_to_end.verify import verify


@pytest.mark.drill
async def test_gateways_that_lose_their_node_find_another_one(on_machines: Service, machines):
    async with events(on_machines, 1) as (buyers,):
        gateways = on_machines.gateways()
        lost_at = time.monotonic()
        machines.head.kill_node()
        async with buyers.asking(4):
            await until(
                lambda: not set(gateways) & set(on_machines.gateways()), 60.0, "all are new"
            )
            await served_again([buyers], lost_at)
        # An audit is worked out on some node, and comes back through the gateway's own.
        await verify(buyers)


@pytest.mark.drill
async def test_without_the_head_sales_go_on_and_a_cold_cluster_has_everything_from_the_store(
    on_machines: Service, machines
):
    async with events(on_machines, 3) as everyone:
        supervisor, gateways = on_machines.runtime.pid, on_machines.gateways()
        async with AsyncExitStack() as load:
            for buyers in everyone:
                await load.enter_async_context(buyers.asking(4))
            for buyers in everyone:
                # Their gateways know the owner then, and they keep their connections.
                await until(lambda them=buyers: winners(them) >= 4, 60.0, "everybody got one")
            machines.head.kill()
            lost_at = time.monotonic()
            await served_again(everyone, lost_at)
            assert on_machines.gateways() == gateways
            machines.close()
            await asyncio.sleep(5.0)
            died_at = time.monotonic()
            await asyncio.to_thread(machines.start, workers=2)
            back_at = time.monotonic()
            took = await served_again(everyone, back_at)
            logging.getLogger(__name__).info(
                "cluster back after %.1f s, served after %.1f", back_at - died_at, took
            )
        assert on_machines.alive()
        assert on_machines.runtime.pid == supervisor
        assert not set(on_machines.gateways()) & set(gateways), "they belonged to the old cluster"
        for buyers in everyone:
            await verify(buyers)
