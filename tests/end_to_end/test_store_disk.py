"""The store's disk is full, or keeps half of what was under way (FAULTS.md, 10 and 11)."""

import asyncio
import logging
import random
import secrets
import time
from pathlib import Path

import pytest

from tests.calls import UNKNOWN
from tests.end_to_end.buyers import on_sale
from tests.end_to_end.far import Far
from tests.end_to_end.service import Service, until
from tests.end_to_end.verify import verify
from tests.servers import append_only_file, tear

# The proxy lives in the loop of the whole run, and so do the tests.
pytestmark = pytest.mark.asyncio(loop_scope="session")

log = logging.getLogger(__name__)

#: From the moment that there is room again until the event is served.
_RECOVERY_SECONDS = 10.0
#: Room for a part of what 32 buyers ask for at once.
_ROOM_BYTES = 1_500


async def test_while_the_disk_is_full_nothing_is_promised_and_with_room_it_heals_by_itself(
    service: Service,
):
    """A store that forces every write to disk ends at the first one that fails."""
    async with on_sale(service, 50_000) as buyers:
        owner = await service.owner(buyers.event_id)
        store = service.store()
        async with buyers.asking():
            await asyncio.sleep(0.5)
            service.fill_disk(service.store_file().stat().st_size + _ROOM_BYTES)
            try:
                await until(lambda: store not in service.processes(), 20.0, "the store ends")
                full_at = time.monotonic()
                # Longer than a request may take: those that came while it was full are answered.
                await asyncio.sleep(6.0)
            finally:
                free_at = time.monotonic()
                service.free_disk()
            await buyers.held("dora")
            assert time.monotonic() - free_at < _RECOVERY_SECONDS
        # What was durable before has long been answered a second later.
        told = [call for call in buyers.calls if full_at + 1.0 < call.answered_at < free_at]
        assert told, "nobody was answered while the disk was full"
        assert {(call.outcome, call.code) for call in told} == {(UNKNOWN, "recovering")}
        assert await service.owner(buyers.event_id) == owner, "an owner died of it"
        await verify(buyers)


async def test_a_store_killed_under_load_whose_file_is_torn_keeps_what_anyone_was_told(far: Far):
    seed = secrets.randbits(32)
    log.warning("seed %d", seed)
    async with on_sale(far.service, 50_000) as buyers:
        async with buyers.asking():
            await asyncio.sleep(0.5)
            file = append_only_file(far.store)
            try:
                async with asyncio.timeout(60.0):
                    answered = await _untold(far, file, buyers.event_id)
                killed_at = time.monotonic()
                far.store.kill()
                tear(far.store, random.Random(seed).randrange(answered, file.stat().st_size))
                await asyncio.to_thread(far.store.start)
            finally:
                far.proxy.mute = False
            await buyers.held("dora")
        assert buyers.under_way(killed_at), "nobody asked"
        await verify(buyers)


async def _untold(far: Far, file: Path, event_id: str) -> int:
    """Have the store write what nobody is told of; return where in its file that begins.

    A power cut might have come before it.
    """
    while True:
        far.proxy.mute = True
        answered = _size(file)
        for _ in range(50):
            await asyncio.sleep(0.02)
            if event_id in _written_since(file, answered):
                return answered
        # What was under way had reached the file before: the owner waits for its answer.
        far.proxy.mute = False
        await asyncio.sleep(0.1)


def _size(file: Path) -> int:
    return file.stat().st_size


def _written_since(file: Path, start: int) -> str:
    with file.open("rb") as reading:
        reading.seek(start)
        return reading.read().decode(errors="replace")
