"""Kill -9 an owner, at chosen and at random moments (FAULTS.md, 1)."""

import asyncio
import logging
import random
import time

import pytest

from engine.domain.records import HoldPlaced, HoldReleased
from tests.calls import GRANTED, UNKNOWN
from tests.end_to_end.buyers import on_sale
from tests.end_to_end.by_hand import HandEvent
from tests.end_to_end.hand_owner import Moment
from tests.end_to_end.service import Service
from tests.end_to_end.verify import verify


@pytest.mark.parametrize("moment", Moment)
async def test_a_batch_is_all_or_nothing_and_its_retry_gets_the_first_answer(
    by_hand: HandEvent, moment: Moment
):
    first = await by_hand.on_sale(dies=moment, dies_at_append=3)
    await by_hand.ask(first, by_hand.hold("carl"), by_hand.hold("dora"))
    batch = [by_hand.hold("ann", quantity=2), by_hand.release("carl"), by_hand.hold("bob")]
    answers = await by_hand.ask(first, *batch)
    assert await first.ended() == -9

    told = GRANTED if moment is Moment.AFTER_ANSWER else UNKNOWN
    assert [call.outcome for call in answers] == [told] * 3
    last = (await by_hand.entries())[-1]
    if moment is Moment.BEFORE_APPEND:
        assert last.sequence == 2, "something of the batch is in the journal"
    else:
        assert [type(record) for record in last.records] == [HoldReleased, HoldPlaced, HoldPlaced]

    second = await by_hand.start_owner()
    await second.in_phase("serving")
    again = await by_hand.ask(second, *batch)
    assert [call.outcome for call in again] == [GRANTED] * 3
    was_done = moment is not Moment.BEFORE_APPEND
    assert [call.replayed for call in again] == [was_done, False, was_done]
    if told == GRANTED:
        assert [call.seen for call in again] == [call.seen for call in answers]
    await by_hand.verify(second)


async def test_killed_again_and_again_under_load_it_loses_nothing_that_anyone_was_told(
    service: Service,
):
    seed = random.randrange(1 << 32)
    logging.getLogger(__name__).warning("seed %d", seed)
    moments = random.Random(seed)
    async with on_sale(service, 50_000) as buyers:
        killed_at = []
        async with buyers.asking():
            owner = await service.owner(buyers.event_id)
            for _ in range(3):
                await asyncio.sleep(moments.uniform(0.2, 0.7))
                killed = await service.kill_owner(buyers.event_id)
                killed_at.append(time.monotonic())
                assert owner is not None
                assert killed.incarnation == owner.incarnation, "it had died by itself before"
                owner = await service.successor(buyers.event_id, killed)
        # Not at each: all may just be told that it restarts, and pause.
        assert any(buyers.under_way(at) for at in killed_at), "nobody asked"
        verdict = await verify(buyers)
        assert verdict.refused == 0
