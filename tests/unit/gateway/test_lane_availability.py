"""What a lane knows of its event: how old it may be, and what may be refused from it."""

import asyncio

import pytest

from actors.wire import Answers
from engine.domain.commands import Item, ReadAvailability
from engine.domain.outcomes import DONE, Refusal, Refused
from engine.limits import REQUEST_DEADLINE_MS
from gateway.batcher import Unanswered
from tests.unit.gateway.fake_owners import command, counts, gone, now

GA = (Item("ga", 1),)


async def test_a_lane_refuses_nothing_before_it_knows_anything(lane) -> None:
    assert lane.refusal(GA) is None


@pytest.mark.parametrize(
    ("known", "code"),
    [
        (counts(held=0), Refusal.SOLD_OUT),
        (counts(held=4), Refusal.NOT_ENOUGH),
        (counts(available=1), None),
        (counts(limited=True), None),
    ],
)
async def test_an_exhausted_stock_is_refused_with_its_sequence(owners, lane, known, code) -> None:
    owners.availability = known
    await lane.ask(command())
    refusal = lane.refusal(GA)
    if code is None:
        assert refusal is None
        return
    refused, sequence = refusal
    assert (refused.code, sequence) == (code, 7)


async def test_nothing_is_refused_from_what_is_older_than_a_tenth_of_a_second(owners, lane) -> None:
    owners.availability = counts()
    await lane.ask(command())
    await asyncio.sleep(0.099)
    assert lane.refusal(GA) is not None
    await asyncio.sleep(0.002)
    assert lane.refusal(GA) is None


async def test_availability_is_as_old_as_the_question_not_as_the_answer(owners, lane) -> None:
    owners.availability = counts()
    owners.takes_seconds = 0.08
    await lane.ask(command())
    assert lane.refusal(GA) is not None
    await asyncio.sleep(0.03)
    assert lane.refusal(GA) is None


async def test_an_older_answer_does_not_replace_a_newer_one(owners, lane) -> None:
    answers = iter([counts(9), counts(8, available=5)])
    owners.reply = lambda batch: Answers([DONE] * len(batch), next(answers))
    await lane.ask(command(0))
    await lane.ask(command(1))
    assert lane.availability == counts(9)


async def test_reading_asks_only_when_what_is_known_is_too_old(owners, lane) -> None:
    owners.availability = counts()
    assert await lane.read_availability() == counts()
    assert await lane.read_availability() == counts()
    assert len(owners.batches) == 1
    await asyncio.sleep(0.2)
    owners.availability = counts(8)
    assert await lane.read_availability() == counts(8)
    assert [envelope.command for batch in owners.batches for envelope in batch] == [
        ReadAvailability()
    ] * 2


async def test_many_readers_ask_one_question(owners, lane) -> None:
    owners.availability = counts()
    owners.takes_seconds = 0.01
    found = await asyncio.gather(*(lane.read_availability() for _ in range(500)))
    assert found == [counts()] * 500
    assert owners.sizes == [1]


async def test_a_reader_that_leaves_does_not_end_the_question_of_the_others(owners, lane) -> None:
    owners.availability = counts()
    owners.takes_seconds = 0.05
    leaving = asyncio.create_task(lane.read_availability())
    staying = asyncio.create_task(lane.read_availability())
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert await staying == counts()


async def test_a_slow_owner_is_read_all_the_same(owners, lane) -> None:
    """Its answer is older than the limit, but not older than the question."""
    owners.availability = counts()
    owners.takes_seconds = 0.5
    began = now()
    assert await asyncio.gather(*(lane.read_availability() for _ in range(3))) == [counts()] * 3
    assert now() - began <= 1.1
    late = asyncio.create_task(lane.read_availability())
    await asyncio.sleep(0.3)
    owners.availability = counts(8)
    assert (await late).sequence == 8
    assert len(owners.batches) <= 3


async def test_reading_an_event_that_is_none_says_so(owners, lane) -> None:
    owners.reply = lambda _batch: Answers([Refused(Refusal.EVENT_NOT_FOUND)], None)
    assert await lane.read_availability() is None


async def test_reading_from_a_dead_owner_ends_at_the_deadline(owners, lane) -> None:
    owners.reply = gone
    began = now()
    assert await lane.read_availability() is Unanswered.RECOVERING
    assert now() - began <= REQUEST_DEADLINE_MS / 1_000 + 0.25
