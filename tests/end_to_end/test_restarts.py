"""The whole service ends, in good order or not, and comes back (FAULTS.md, 30, 9 and 15)."""

import asyncio
import time

from engine.domain.records import HoldExpired
from engine.journal.connect import connect
from tests.calls import GRANTED, UNKNOWN
from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.service import Service, until
from tests.end_to_end.verify import journalled, verify

_EXIT_SECONDS = 10.0
_TTL_SECONDS = 5


async def test_asked_to_stop_under_load_it_answers_what_is_under_way_and_leaves_nothing(
    alone: Service,
):
    async with on_sale(alone, 50_000) as buyers:
        everyone = [f"buyer-{number}" for number in range(100)]
        load = asyncio.create_task(buyers.rush(everyone, connections=64, seconds=4.0))
        await until(lambda: _grows(alone, buyers), 20.0, "there is load")
        await asyncio.sleep(1.0)
        asked_to_stop_at = time.monotonic()
        alone.ask_to_stop()
        assert await asyncio.to_thread(alone.wait, 30.0) == 0
        took = time.monotonic() - asked_to_stop_at
        assert took < _EXIT_SECONDS
        await until(lambda: not alone.processes(), _EXIT_SECONDS - took, "no process is left")
        calls, _ = await load
        lost = [call for call in calls if call.outcome == UNKNOWN and call.code is None]
        before = [call for call in lost if call.asked_at < asked_to_stop_at]
        assert not before, f"{len(before)} requests were cut off"

        await asyncio.to_thread(alone.start)
        unknown = [call for call in calls if call.outcome == UNKNOWN]
        await buyers.insist_on(unknown)
        verdict = await verify(buyers)
        assert verdict.granted > 500, "there was no load"
