"""One buyer with very many sessions, who never pays (FAULTS.md, 24)."""

import asyncio
import time
from collections import Counter

from engine.domain.records import HoldExpired
from engine.journal.connect import connect
from tests.calls import GRANTED
from tests.end_to_end.buyers import on_sale
from tests.end_to_end.service import Service
from tests.end_to_end.verify import journalled, verify

#: Long enough for two crowds to come and go on a busy machine before the first hold expires.
_TTL_SECONDS = 8


async def test_a_thousand_sessions_get_no_more_than_one_and_all_stock_comes_back_exactly_once(
    service: Service,
):
    async with on_sale(service, 20, max_per_customer=4, hold_ttl_seconds=_TTL_SECONDS) as buyers:
        sessions, _ = await buyers.rush(["greedy"], count=1_000, connections=200)
        assert Counter(call.code for call in sessions) == {None: 4, "limit_per_customer": 996}
        # Four accomplices hold the rest, and nothing is left for anybody else.
        gang = [f"accomplice-{number}" for number in range(4)]
        calls, _ = await buyers.rush(gang, count=40, connections=40)
        assert Counter(call.code for call in calls) == {None: 16, "limit_per_customer": 24}
        assert await buyers.availability() == {"available": 0, "held": 20, "sold": 0}
        assert (await buyers.hold("ann", "1")).code == "not_enough"

        held = [call for call in buyers.calls if call.outcome == GRANTED]
        async with asyncio.timeout(_TTL_SECONDS + 5.0):
            while True:
                if (await buyers.availability())["available"] == 20:
                    break
                await asyncio.sleep(0.1)
        now_ms = time.time_ns() // 1_000_000
        assert now_ms >= max(call.seen.expires_at_ms for call in held if call.seen)
        async with connect(service.store_url) as client:
            entries = await journalled(client, buyers.event_id)
        expired = Counter(
            record.booking_id
            for entry in entries
            for record in entry.records
            if isinstance(record, HoldExpired)
        )
        assert expired == {call.booking_id: 1 for call in held}
        again, _ = await buyers.rush([f"buyer-{number}" for number in range(20)], count=20)
        assert [call.outcome for call in again] == [GRANTED] * 20
        await verify(buyers, settled_at_ms=now_ms)
