"""The whole service ends, in good order or not, and comes back (FAULTS.md, 30 and 15)."""

import asyncio
import logging
import os
import signal
import socket
import time
from contextlib import AsyncExitStack

import pytest

from engine.domain.records import HoldExpired
from engine.journal.connect import connect
from tests.calls import GRANTED, UNKNOWN
from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.promised import TEN_SECONDS
from tests.end_to_end.service import Service, until
from tests.end_to_end.verify import journalled, verify

log = logging.getLogger(__name__)

#: What is promised; `TEN_SECONDS` is for drills that others run beside.
_EXIT_SECONDS = 10.0
_TTL_SECONDS = 5
#: The whole service starts from nothing, while other drills have the machine as well.
_PATIENCE_SECONDS = 60.0


@TEN_SECONDS
async def test_asked_to_stop_under_load_it_answers_what_was_asked_and_leaves_nothing_behind(
    alone: Service, within_seconds: float
):
    async with on_sale(alone, 50_000) as buyers:
        everyone = [f"buyer-{number}" for number in range(100)]
        load = asyncio.create_task(buyers.rush(everyone, connections=64, seconds=3.0))
        await asyncio.sleep(1.5)
        asked_to_stop_at = time.monotonic()
        alone.ask_to_stop()
        assert await asyncio.to_thread(alone.wait) == 0
        took = time.monotonic() - asked_to_stop_at
        log.warning("stopped %.1f s after it was asked to", took)
        assert took < within_seconds
        await until(lambda: not alone.processes(), within_seconds - took, "no process is left")
        calls, _ = await load
        cut_off = [call for call in calls if call.outcome == UNKNOWN and call.code is None]
        assert not [call for call in cut_off if call.asked_at < asked_to_stop_at]

        await asyncio.to_thread(alone.start)
        await buyers.insist_on([call for call in calls if call.outcome == UNKNOWN])
        assert buyers.under_way(asked_to_stop_at), "nobody asked"
        await verify(buyers)


@pytest.mark.drill
async def test_asked_to_stop_it_ends_in_time_whatever_clients_and_store_do(alone: Service):
    async with AsyncExitStack() as stack:
        buyers = await stack.enter_async_context(on_sale(alone, 100))
        await buyers.held("ann")
        events = f"/api/v1/events/{buyers.event_id}"
        half = f"POST {events}/holds HTTP/1.1\r\nhost: here\r\ncontent-length: 60\r\n\r\n{{"
        stream = f"GET {events}/availability/stream HTTP/1.1\r\nhost: here\r\n\r\n"
        host, _, port = alone.url.removeprefix("http://").partition(":")
        for text in (half, stream):
            client = stack.enter_context(socket.create_connection((host, int(port))))
            client.sendall(text.encode())
        os.kill(alone.store(), signal.SIGSTOP)
        asked = asyncio.create_task(buyers.hold("bob", "1"))
        await asyncio.sleep(0.5)
        asked_to_stop_at = time.monotonic()
        alone.ask_to_stop()
        assert await asyncio.to_thread(alone.wait) == 0
        took = time.monotonic() - asked_to_stop_at
        log.warning("stopped %.1f s after it was asked to", took)
        assert took < _EXIT_SECONDS
        assert (await asked).code == "recovering"
        await until(lambda: not alone.processes(), 5.0, "no process is left")
        await asyncio.to_thread(alone.start)
        assert (await buyers.insist("bob", "1")).outcome == GRANTED
        await verify(buyers)


async def test_after_a_power_cut_every_event_is_there_and_holds_expire_with_nobody_asking(
    alone: Service,
):
    async with AsyncExitStack() as stack:
        events = [
            await stack.enter_async_context(
                on_sale(alone, 100, hold_ttl_seconds=_TTL_SECONDS if number else 600)
            )
            for number in range(3)
        ]
        for buyers in events:
            await buyers.rush(["ann", "bob", "carl"], count=60, connections=10)
        await asyncio.to_thread(alone.cut_power)
        await asyncio.to_thread(alone.start)
        lasting, *expiring = events
        async with asyncio.timeout(_TTL_SECONDS + _PATIENCE_SECONDS):
            while True:
                if sum([await _expired(buyers) for buyers in expiring]) == 120:
                    break
                await asyncio.sleep(0.1)
        assert await lasting.availability() == {"available": 40, "held": 60, "sold": 0}
        now_ms = time.time_ns() // 1_000_000
        for buyers in events:
            await verify(buyers, settled_at_ms=now_ms)


async def _expired(buyers: Buyers) -> int:
    """Return how many holds the journal says have expired; touches no owner."""
    async with connect(buyers.service.store_url) as client:
        entries = await journalled(client, buyers.event_id)
    return sum(isinstance(record, HoldExpired) for entry in entries for record in entry.records)


async def test_killed_without_its_children_it_can_be_started_again_on_the_same_port(
    alone: Service,
):
    async with on_sale(alone, 100) as buyers:
        await buyers.held("ann")
        port = int(alone.url.rpartition(":")[2])
        alone.kill_supervisor()
        await until(lambda: not alone.gateways(), 30.0, "the gateways follow")
        await asyncio.to_thread(alone.start, port)
        await buyers.held("bob")
        assert await buyers.availability() == {"available": 98, "held": 2, "sold": 0}
        await verify(buyers)
