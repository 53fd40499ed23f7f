"""One owner in its bad days; the numbers are those of FAULTS.md."""

import asyncio
from collections.abc import Callable

import pytest

from actors import turn as turn_module
from actors.owner import EventOwner, Phase
from actors.wire import Halted, Recovering, Reply
from engine.domain.commands import CreateEvent
from engine.domain.outcomes import Granted
from engine.domain.snapshot import digest
from engine.domain.state import check_fully
from engine.journal.entry import Position
from engine.journal.memory import Fault
from tests.contract.rigs import flip_bit
from tests.unit.actors.given import (
    GatedJournal,
    Stage,
    held,
    outcomes,
    read,
    submitted,
    until,
)
from tests.unit.engine.domain.given import EVENT_ID, TTL_MS, an_event, hold
from tests.virtual_time import VirtualClocks

OTHER_EVENT_ID = "evt_0000000000zz"

# -- 1: killed in the middle of a batch ------------------------------------------------


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
async def test_an_owner_killed_around_its_append_leaves_all_of_the_batch_or_nothing(
    stage, written: bool
) -> None:
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    (journal.after if written else journal.before).clear()
    batch = [hold(name, ga=1) for name in ("ann", "bob", "cid")]
    submitted(owner, *batch)
    await until(lambda: journal.appends == 2)
    await asyncio.sleep(0.001)
    await stage.crash(owner)
    follower = await stage.serving()
    assert len(follower.state.bookings) == (3 if written else 0)
    again = await outcomes(follower, *batch)
    assert [outcome.replayed for outcome in again] == [written] * 3
    await stage.assert_agrees(follower)


async def test_a_retry_after_a_kill_gets_the_first_answer(stage) -> None:
    owner = await stage.on_sale()
    first = await held(owner, "ann", ga=2)
    await stage.crash(owner)
    follower = await stage.serving()
    assert await outcomes(follower, hold("ann", ga=2)) == [Granted(first, "EUR", replayed=True)]
    assert follower.state.held_units == 2


# -- 8: lost replies -------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.REPLY_LOST, Fault.REQUEST_LOST])
async def test_a_lost_append_is_one_entry_and_one_answer(stage, fault: Fault) -> None:
    owner = await stage.on_sale()
    stage.store.faults.extend([fault] * 3)
    booking = await held(owner, "ann", ga=2)
    assert [entry.sequence for entry in await stage.entries()] == [1, 2]
    assert booking.sequence == 2
    await held(owner, "bob", ga=1)
    await stage.assert_agrees(owner)


# -- 12: the store is away -------------------------------------------------------------


async def test_an_owner_that_starts_without_a_store_lives_and_serves_when_it_returns(stage) -> None:
    await stage.crash(await stage.on_sale())
    stage.store.away = True
    owner = stage.owner()
    owner.start()
    await asyncio.sleep(300)
    assert owner.health().phase == "recovering"
    stage.store.away = False
    returned_at = VirtualClocks.monotonic()
    await until(lambda: owner.phase is Phase.SERVING)
    assert VirtualClocks.monotonic() - returned_at <= 10
    assert await held(owner, "ann", ga=1)
    assert stage.left == []


async def test_a_serving_owner_survives_a_long_absence_of_the_store(stage) -> None:
    owner = await stage.on_sale(hold_ttl_ms=3_600_000)
    stage.store.faults.append(Fault.AWAY)
    asked = submitted(owner, hold("ann", ga=2))
    await asyncio.sleep(300)
    assert not asked.done(), "an answer without a durable entry"
    stage.store.away = False
    returned_at = VirtualClocks.monotonic()
    reply = await asked
    assert VirtualClocks.monotonic() - returned_at <= 10
    assert len(reply.outcomes) == 1
    assert [entry.sequence for entry in await stage.entries()] == [1, 2]
    assert stage.left == []
    await stage.assert_agrees(owner)


async def test_holds_that_ran_out_while_the_store_was_away_expire_once_at_its_return(stage) -> None:
    owner = await stage.on_sale(idle_seconds=3_600)
    await held(owner, "ann", ga=2)
    stage.store.away = True
    await asyncio.sleep(TTL_MS / 1_000 + 60)
    stage.store.away = False
    await until(lambda: owner.state.sequence == 3)
    await asyncio.sleep(5)
    assert [entry.sequence for entry in await stage.entries()] == [1, 2, 3]
    await stage.assert_agrees(owner)


# -- 17: damage ------------------------------------------------------------------------


def bit_flip(entries: dict[Position, bytes]) -> Position:
    entries[Position(1, 3)] = flip_bit(entries[Position(1, 3)], 200)
    return Position(1, 3)


def gap(entries: dict[Position, bytes]) -> Position:
    del entries[Position(1, 2)]
    return Position(1, 3)


def duplicate(entries: dict[Position, bytes]) -> Position:
    entries[Position(1, 5)] = entries[Position(1, 4)]
    return Position(1, 5)


async def damaged(stage: Stage, damage: Callable[[dict[Position, bytes]], Position]) -> str:
    """Damage a journal of four entries and return the id of the entry to be named."""
    first = await stage.on_sale()
    for name in ("ann", "bob", "cid"):
        await held(first, name, ga=1)
    await stage.crash(first)
    return str(damage(stage.store.entries[EVENT_ID]))


@pytest.mark.parametrize("damage", [bit_flip, gap, duplicate])
async def test_a_damaged_journal_halts_its_event_and_names_the_entry(stage, logged, damage) -> None:
    named = await damaged(stage, damage)
    owner = stage.owner()
    owner.start()
    await until(lambda: owner.phase is Phase.HALTED)
    reply = await submitted(owner, hold("dan", ga=1))
    assert isinstance(reply, Halted)
    assert named in reply.reason
    assert owner.health().phase == "halted"
    assert await owner.live_facts() is None
    (line,) = [line for line in logged if line["event"] == "halted"]
    assert (line["log_level"], line["event_id"], named in line["reason"]) == (
        "critical",
        EVENT_ID,
        True,
    )
    assert stage.left == [], "Ray would start it again and again"


@pytest.mark.parametrize("damage", [bit_flip, gap, duplicate])
async def test_damage_to_one_event_does_not_reach_another(stage, damage) -> None:
    await damaged(stage, damage)
    halted, other = stage.owner(), stage.owner(stage.journal(OTHER_EVENT_ID))
    for owner in (halted, other):
        owner.start()
    await until(lambda: other.phase is Phase.SERVING and halted.phase is Phase.HALTED)
    await outcomes(other, CreateEvent(an_event(event_id=OTHER_EVENT_ID)))
    assert await held(other, "ann", ga=1)


async def test_a_journal_that_has_lost_its_end_halts_a_reading_owner(stage) -> None:
    owner = await stage.on_sale()
    await held(owner, "ann", ga=1)
    del stage.store.entries[EVENT_ID][Position(1, 2)]
    await asyncio.sleep(2)
    assert await submitted(owner, read("ann")) == Recovering()
    reply = await submitted(owner, read("ann"))
    assert reply == Halted("JournalLost: 1-2, 1-1")


async def test_a_journal_that_has_lost_its_end_halts_a_writing_owner(stage) -> None:
    owner = await stage.on_sale()
    await held(owner, "ann", ga=1)
    del stage.store.entries[EVENT_ID][Position(1, 2)]
    assert await submitted(owner, hold("bob", ga=1)) == Recovering()
    assert owner.phase is Phase.HALTED
    assert [entry.sequence for entry in await stage.entries()] == [1]


async def halting_reply(owner: EventOwner) -> Reply:
    """Send a hold that halts the owner and return what the next one is told."""
    assert await submitted(owner, hold("ann", ga=1)) == Recovering()
    assert owner.phase is Phase.HALTED
    return await submitted(owner, hold("ann", ga=1))


async def test_a_broken_invariant_halts_before_anything_is_journalled(stage) -> None:
    owner = await stage.on_sale()
    owner.state.stocks["ga"].available -= 1
    reply = await halting_reply(owner)
    assert isinstance(reply, Halted)
    assert reply.reason.startswith("AssertionError: I1: allotment ga")
    assert [entry.sequence for entry in await stage.entries()] == [1]


async def test_an_error_of_ours_halts_the_event_rather_than_leave_everyone_waiting(
    stage, monkeypatch, logged
) -> None:
    owner = await stage.on_sale()

    def mistaken(*_: object) -> None:
        raise KeyError("vip")

    monkeypatch.setattr(turn_module, "decide", mistaken)
    assert await halting_reply(owner) == Halted("KeyError: vip")
    (line,) = [line for line in logged if line["event"] == "halted"]
    assert line["exc_info"], "nobody could find the mistake"


async def test_a_restart_after_a_broken_invariant_is_as_good_as_new(stage) -> None:
    """What was wrong was in memory only: the journal is the truth."""
    owner = await stage.on_sale()
    await held(owner, "bob", ga=1)
    owner.state.held_units += 1
    await halting_reply(owner)
    await stage.crash(owner)
    follower = await stage.serving()
    assert await held(follower, "ann", ga=1)
    check_fully(follower.state)


# -- the picture for an audit ----------------------------------------------------------


async def test_whoever_waits_for_the_facts_of_an_owner_that_leaves_is_told_none(stage) -> None:
    journal = GatedJournal(stage.store, EVENT_ID)
    old = await stage.on_sale(journal)
    journal.before.clear()
    asked = submitted(old, hold("ann", ga=1))
    await until(lambda: journal.appends == 2)
    facts = asyncio.create_task(old.live_facts())
    await asyncio.sleep(0)
    await stage.serving()
    journal.before.set()
    assert await facts is None
    assert await asked == Recovering()


async def test_the_facts_of_an_owner_are_durable_even_while_a_turn_is_under_way(stage) -> None:
    """Asked just as the turn before ends, when the next batch is there already."""
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    journal.before.clear()
    first = submitted(owner, hold("ann", ga=1))
    await until(lambda: journal.appends == 2)
    facts = asyncio.create_task(owner.live_facts())
    second = submitted(owner, hold("bob", ga=1))
    await asyncio.sleep(0)
    journal.before.set()
    seen = await facts
    assert seen.sequence == seen.availability.sequence
    assert seen.availability.ticket_types[0].held == seen.sequence - 1
    durable = await stage.replayed()
    assert seen.sequence <= durable.sequence
    await asyncio.gather(first, second)
    assert digest(owner.state) == digest(await stage.replayed())
