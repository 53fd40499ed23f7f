"""The audit finds what is wrong, and nothing that is not."""

import pytest
from msgspec.structs import replace

from actors.audit import audit
from actors.owner import EventOwner
from actors.snapshots import write_snapshot
from actors.wire import LiveFacts
from engine.domain.records import HoldPlaced
from engine.domain.snapshot import capture
from engine.journal.contract import Unavailable
from engine.journal.entry import Entry, Position
from engine.journal.memory import MemoryJournal
from tests.contract.rigs import flip_bit
from tests.unit.actors.given import Stage, held, outcomes
from tests.unit.engine.domain.given import EVENT_ID, hold, release


async def sold(stage: Stage) -> EventOwner:
    """Return an owner with seven entries behind it: ann has left, bob and four others hold."""
    owner = await stage.on_sale(capacities={"ga": 20})
    for name in ("ann", "bob", "cid"):
        await held(owner, name, ga=2)
    await outcomes(owner, release("ann"))
    await outcomes(owner, hold("dan", ga=1), hold("eve", ga=1))
    return owner


async def snapshot(stage: Stage, owner: EventOwner) -> None:
    position = Position(1, owner.state.sequence)
    await write_snapshot(stage.journal(), capture(owner.state), position, b"n")


async def facts(owner: EventOwner) -> LiveFacts:
    seen = await owner.live_facts()
    assert seen is not None
    return seen


async def test_an_event_in_order_agrees_and_says_what_was_looked_at(stage) -> None:
    owner = await sold(stage)
    report = await audit(stage.journal(), await facts(owner))
    assert (report["agree"], report["violations"]) == (True, [])
    assert (report["sequence"], report["entries_replayed"], report["bookings"]) == (6, 6, 5)
    assert report["live"] == report["recomputed"]
    (kind,) = report["recomputed"]["ticket_types"]
    assert (kind["available"], kind["held"]) == (14, 6)


async def test_an_event_without_an_owner_is_audited_from_the_store_alone(stage) -> None:
    await stage.crash(await sold(stage))
    report = await audit(stage.journal(), None)
    assert (report["agree"], report["live"], report["sequence"]) == (True, None, 6)


async def test_what_is_sold_after_the_facts_were_taken_is_left_out(stage) -> None:
    owner = await sold(stage)
    seen = await facts(owner)
    await held(owner, "fay", ga=1)
    report = await audit(stage.journal(), seen)
    assert (report["agree"], report["sequence"]) == (True, 6)


async def test_a_trimmed_journal_is_audited_from_its_older_snapshot(stage) -> None:
    owner = await sold(stage)
    await snapshot(stage, owner)
    await held(owner, "fay", ga=1)
    await snapshot(stage, owner)
    await held(owner, "gus", ga=1)
    report = await audit(stage.journal(), await facts(owner))
    assert (report["agree"], report["entries_replayed"]) == (True, 2)


async def test_a_snapshot_that_is_finished_during_the_audit_is_no_violation(stage) -> None:
    owner = await sold(stage)
    await snapshot(stage, owner)
    await held(owner, "fay", ga=1)
    await snapshot(stage, owner)
    await held(owner, "gus", ga=1)
    seen = await facts(owner)
    finished: list[int] = []

    class Overtaken(MemoryJournal):
        async def read_snapshot(self, ref):
            slices = await super().read_snapshot(ref)
            if not finished:
                finished.append(ref.sequence)
                await snapshot(stage, owner)
            return slices

    report = await audit(Overtaken(stage.store, EVENT_ID), seen)
    assert finished
    assert report["agree"], report["violations"]


# -- what is wrong ---------------------------------------------------------------------


async def test_a_live_state_that_differs_is_found(stage) -> None:
    owner = await sold(stage)
    wrong = replace(await facts(owner), digest="0" * 32)
    (violation,) = (await audit(stage.journal(), wrong))["violations"]
    assert violation.startswith("I4: live state 0000")


async def test_a_damaged_entry_is_found_and_named(stage) -> None:
    owner = await sold(stage)
    entries, position = stage.store.entries[EVENT_ID], Position(1, 4)
    entries[position] = flip_bit(entries[position], 160)
    report = await audit(stage.journal(), await facts(owner))
    assert not report["agree"]
    assert report["violations"][0].startswith("I5: CorruptEntry: 1-4")


async def test_a_gap_is_found_and_named(stage) -> None:
    owner = await sold(stage)
    del stage.store.entries[EVENT_ID][Position(1, 4)]
    report = await audit(stage.journal(), await facts(owner))
    assert "I5: SequenceGap: 1-5, 4" in report["violations"]


async def test_a_snapshot_of_another_state_is_found(stage) -> None:
    """It restores without complaint, but the entries tell another story."""
    owner = await sold(stage)
    await snapshot(stage, owner)
    other = Stage()
    stranger = await other.on_sale(capacities={"ga": 20})
    for number in range(5):
        await held(stranger, f"c{number}", ga=1)
    await snapshot(stage, stranger)
    await other.strike()
    report = await audit(stage.journal(), await facts(owner))
    assert any(violation.startswith("I4: live state") for violation in report["violations"])


async def test_a_booking_that_is_placed_twice_is_found(stage) -> None:
    owner = await sold(stage)
    again = HoldPlaced(owner.state.bookings[next(iter(owner.state.bookings))])
    at = Position(1, owner.state.sequence)
    await stage.journal().append(Entry(1, at.sequence + 1, 1, owner._nonce, (again,)), at)
    report = await audit(stage.journal(), None)
    assert report["violations"][0].startswith(("I3", "I6"))


async def test_a_store_that_does_not_answer_is_not_a_violation(stage) -> None:
    owner = await sold(stage)
    seen = await facts(owner)
    stage.store.away = True
    with pytest.raises(Unavailable):
        await audit(stage.journal(), seen)
