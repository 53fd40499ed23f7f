"""Two owners of one event, both alive: the journal knows which one counts (FAULTS.md, 3)."""

import asyncio

from redis.asyncio import Redis

from engine.journal.embedded import EmbeddedStore
from tests.calls import GRANTED, UNKNOWN
from tests.end_to_end.buyers import on_sale
from tests.end_to_end.by_hand import HandEvent
from tests.end_to_end.service import Service
from tests.end_to_end.verify import verify
from tests.proxy import Proxy


async def test_a_second_owner_started_by_hand_costs_no_buyer_anything(service: Service, tmp_path):
    async with on_sale(service, 50_000) as buyers, Redis.from_url(service.store_url) as client:
        first = await service.owner(buyers.event_id)
        assert first is not None
        event = HandEvent(tmp_path, service.store_url, client, buyers.event_id)
        try:
            async with buyers.asking():
                intruder = await event.start_owner()
                claim = await intruder.in_phase("serving")
                assert claim.epoch == 2
                # Fenced by its successor, whom Ray has started where it ended.
                assert await intruder.ended() == 1
        finally:
            await event.close()
        last = await service.owner(buyers.event_id)
        assert last is not None
        assert last.incarnation not in (first.incarnation, claim.incarnation)
        assert first.pid not in service.processes()
        await verify(buyers)


async def test_a_frozen_owner_that_comes_back_says_nothing_appends_nothing_and_goes(
    by_hand: HandEvent,
):
    first = await by_hand.on_sale(10)
    await by_hand.ask(first, by_hand.hold("ann"))
    first.freeze()
    second = await by_hand.start_owner()
    await second.in_phase("serving")
    await by_hand.ask(second, by_hand.release("ann"), by_hand.hold("bob", quantity=6))
    late = [
        asyncio.create_task(by_hand.ask(first, by_hand.read("ann"))),
        asyncio.create_task(by_hand.ask(first, by_hand.hold("carl", quantity=6))),
    ]
    await by_hand.proofs_are_old()
    first.thaw()
    assert await first.ended() == 1
    calls = [call for answers in await asyncio.gather(*late) for call in answers]
    assert [call.outcome for call in calls] == [UNKNOWN, UNKNOWN]
    assert "fenced" in first.log
    assert max(entry.sequence for entry in await by_hand.entries() if entry.epoch == 1) == 2
    await by_hand.verify(second)


async def test_an_append_that_arrives_behind_the_successors_claim_is_refused(
    by_hand: HandEvent, store: EmbeddedStore
):
    async with Proxy(store) as proxy:
        first = await by_hand.on_sale(10, redis_url=proxy.url)
        order = proxy.hold_request("EVALSHA")
        late = asyncio.create_task(by_hand.ask(first, by_hand.hold("ann", quantity=6)))
        await order.reached()
        first.freeze()
        second = await by_hand.start_owner()
        await by_hand.ask(second, by_hand.read("nobody"))
        await second.in_phase("serving")
        (bob,) = await by_hand.ask(second, by_hand.hold("bob", quantity=6))
        assert bob.outcome == GRANTED
        order.release()
        await order.answered()
        first.thaw()
        assert await first.ended() == 1
        (ann,) = await late
        assert ann.outcome == UNKNOWN
        (retry,) = await by_hand.ask(second, by_hand.hold("ann", quantity=6))
        assert retry.code == "not_enough"
        await by_hand.verify(second)
