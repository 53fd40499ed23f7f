"""The inbox of an owner: bounded, in order of arrival, and never waited on in vain."""

import asyncio

import pytest

from actors.intake import Intake, Waiting
from actors.wire import Answers, Envelope, Halted, Recovering, Reply
from tests.unit.actors.given import envelopes
from tests.unit.engine.domain.given import hold
from tests.virtual_time import VirtualClocks


def batch(size: int, customer: str = "ann") -> list[Envelope]:
    return envelopes(*(hold(customer, key=str(number), ga=1) for number in range(size)))


def ignored(_reply: Reply) -> None:
    """Take a reply of which the test wants to know nothing."""


def offered(intake: Intake, *sizes: int) -> list[list[Envelope]]:
    """Put batches of these sizes into an inbox that has room for them, and return them."""
    batches = [batch(size) for size in sizes]
    for one in batches:
        assert intake.offer(one, ignored), "the test wanted all of these in the inbox"
    return batches


async def taken(intake: Intake, commands_max: int, timeout_seconds: float) -> list[list[Envelope]]:
    """Return the batches that were taken."""
    return [one.envelopes for one in await intake.take(commands_max, timeout_seconds)]


# -- bounds ----------------------------------------------------------------------------


async def test_an_inbox_takes_commands_up_to_its_limit_and_not_one_more() -> None:
    intake = Intake(10)
    offered(intake, 4, 6)
    assert intake.commands == 10
    assert not intake.offer(batch(1), ignored)
    assert intake.commands == 10


async def test_a_batch_that_does_not_fit_is_refused_whole_and_a_smaller_one_still_fits() -> None:
    intake = Intake(10)
    offered(intake, 8)
    assert not intake.offer(batch(3), ignored)
    assert intake.offer(batch(2), ignored)


async def test_what_was_taken_makes_room() -> None:
    intake = Intake(10)
    offered(intake, 10)
    await intake.take(100, 1.0)
    assert intake.commands == 0
    assert intake.offer(batch(10), ignored)


async def test_answering_everyone_empties_the_inbox() -> None:
    intake = Intake(10)
    first: list[Reply] = []
    second: list[Reply] = []
    assert intake.offer(batch(4), first.append)
    assert intake.offer(batch(6), second.append)
    intake.answer_all(Halted("because"))
    assert first == second == [Halted("because")]
    assert intake.commands == 0
    assert await intake.take(100, 0.01) == []


# -- order -----------------------------------------------------------------------------


async def test_batches_are_taken_in_order_of_arrival() -> None:
    intake = Intake(100)
    arrived = offered(intake, 1, 2, 3)
    assert await taken(intake, 100, 1.0) == arrived


async def test_a_take_stays_within_its_commands_and_leaves_the_rest_in_order() -> None:
    intake = Intake(100)
    first, second, third, fourth = offered(intake, 3, 3, 3, 1)
    assert await taken(intake, 7, 1.0) == [first, second]
    assert await taken(intake, 4, 1.0) == [third, fourth]


async def test_a_small_batch_does_not_overtake_a_large_one() -> None:
    intake = Intake(100)
    first, second, third = offered(intake, 2, 9, 1)
    assert await taken(intake, 5, 1.0) == [first]
    assert await taken(intake, 9, 1.0) == [second]
    assert await taken(intake, 9, 1.0) == [third]


async def test_a_batch_larger_than_a_take_is_taken_alone_rather_than_never() -> None:
    intake = Intake(100)
    large, small = offered(intake, 9, 1)
    assert await taken(intake, 5, 1.0) == [large]
    assert await taken(intake, 5, 1.0) == [small]


# -- waiting ---------------------------------------------------------------------------


async def test_a_take_waits_for_the_first_batch() -> None:
    intake = Intake(10)
    taking = asyncio.create_task(taken(intake, 10, 5.0))
    await asyncio.sleep(1.0)
    assert not taking.done()
    arrived = offered(intake, 1)
    assert await taking == arrived


async def test_a_take_from_a_filled_inbox_does_not_wait() -> None:
    intake = Intake(10)
    offered(intake, 1)
    began = VirtualClocks.monotonic()
    await intake.take(10, 5.0)
    assert VirtualClocks.monotonic() == began


async def test_a_take_gives_up_after_its_timeout() -> None:
    intake = Intake(10)
    began = VirtualClocks.monotonic()
    assert await intake.take(10, 2.5) == []
    assert VirtualClocks.monotonic() == pytest.approx(began + 2.5)


async def test_a_timeout_of_nothing_returns_at_once() -> None:
    assert await Intake(10).take(10, 0) == []


async def test_a_poke_ends_the_wait_with_nothing() -> None:
    intake = Intake(10)
    taking = asyncio.create_task(intake.take(10, 3_600.0))
    await asyncio.sleep(1.0)
    intake.poke()
    assert await taking == []


async def test_a_poke_is_used_up_by_one_take() -> None:
    intake = Intake(10)
    taking = asyncio.create_task(intake.take(10, 3_600.0))
    await asyncio.sleep(1.0)
    intake.poke()
    await taking
    began = VirtualClocks.monotonic()
    assert await intake.take(10, 2.0) == []
    assert VirtualClocks.monotonic() == pytest.approx(began + 2.0)


# -- answers ---------------------------------------------------------------------------


async def test_the_first_answer_is_the_only_one() -> None:
    told: list[Reply] = []
    waiting = Waiting(batch(1), told.append)
    answers = Answers([None], None)
    waiting.answer(answers)
    waiting.answer(Recovering())
    assert told == [answers]
