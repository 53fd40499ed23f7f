"""One owner in its good days: recovering, serving, expiring."""

import asyncio
import os

import msgspec
import pytest

from actors import owner as owner_module
from actors.owner import Phase
from actors.wire import Answers, Health, Overloaded, Recovering, decode_health
from engine.domain import snapshot as snapshot_module
from engine.domain.booking import Status
from engine.domain.commands import ReadAvailability
from engine.domain.outcomes import Granted, Refusal
from engine.domain.records import HoldExpired
from engine.domain.state import check_fully
from engine.journal.contract import Unavailable
from engine.journal.entry import START, Position
from tests.unit.actors.given import (
    GatedJournal,
    held,
    outcomes,
    read,
    shown,
    submitted,
    until,
)
from tests.unit.engine.domain.given import EVENT_ID, TTL_MS, hold, release
from tests.virtual_time import now_ms

# -- recovering ------------------------------------------------------------------------


async def test_the_constructor_neither_waits_nor_asks_the_store(stage) -> None:
    stage.store.away = True
    owner = stage.owner()
    assert owner.phase is Phase.RECOVERING
    assert not stage.store.entries[EVENT_ID]


async def test_the_first_touch_begins_its_life(stage) -> None:
    owner = stage.owner()
    assert await submitted(owner, ReadAvailability()) == Recovering()
    await until(lambda: owner.phase is Phase.SERVING)
    assert isinstance(await submitted(owner, ReadAvailability()), Answers)


async def test_starting_twice_claims_once(stage) -> None:
    owner = stage.owner()
    owner.start()
    owner.start()
    await until(lambda: owner.phase is Phase.SERVING)
    assert await stage.journal().head() == Position(1, 0)


async def test_it_ends_though_a_library_loses_its_cancellation(stage, monkeypatch) -> None:
    monkeypatch.setattr(owner_module, "_INSIST_SECONDS", 0.01)
    owner = stage.owner()
    cancelled = 0

    async def loses_one(*_: object) -> list:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled += 1
            if cancelled > 1:
                raise
        return []

    monkeypatch.setattr(owner._intake, "take", loses_one)
    owner.start()
    await until(lambda: owner.phase is Phase.SERVING)
    async with asyncio.timeout(10):
        await owner.stop()
    assert cancelled == 2


async def test_a_recovering_owner_says_so_and_decides_nothing(stage) -> None:
    await stage.crash(await stage.on_sale())
    stage.store.away = True
    owner = stage.owner()
    for _ in range(3):
        assert await submitted(owner, hold("ann", ga=1)) == Recovering()
    assert await owner.live_facts() is None
    stage.store.away = False
    await until(lambda: owner.phase is Phase.SERVING)
    assert owner.state.bookings == {}


async def test_an_owner_logs_which_process_has_recovered(stage, logged) -> None:
    owner = await stage.serving(node="n7")
    (said,) = (line for line in logged if line["event"] == "recovered")
    assert (said["event_id"], said["pid"], said["node"]) == (EVENT_ID, os.getpid(), "n7")
    assert said["epoch"] == owner.health().epoch


async def test_a_new_owner_knows_what_the_last_one_has_answered(stage) -> None:
    first = await stage.on_sale()
    booking = await held(first, "ann", ga=2)
    await stage.crash(first)
    second = await stage.serving()
    assert await shown(second, "ann") == booking
    again = await submitted(second, hold("ann", ga=2))
    assert again.outcomes == [Granted(booking, "EUR", replayed=True)]


async def test_an_owner_says_who_it_is_in_its_health_and_in_its_claim(stage) -> None:
    owner = await stage.on_sale()
    await held(owner, "ann", ga=1)
    health = owner.health()
    assert (health.phase, health.epoch, health.sequence, health.bookings) == ("serving", 1, 2, 1)
    claimant = decode_health(stage.store.claimants[EVENT_ID])
    assert isinstance(claimant, Health)
    assert (claimant.incarnation, claimant.pid, claimant.node) == (
        health.incarnation,
        health.pid,
        "n1",
    )


async def test_health_is_answered_in_every_phase(stage) -> None:
    stage.store.away = True
    owner = stage.owner()
    assert owner.health().phase == "recovering"


# -- serving ---------------------------------------------------------------------------


async def test_what_somebody_has_asked_who_has_left_is_decided_all_the_same(stage) -> None:
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    journal.before.clear()
    asking = submitted(owner, hold("ann", ga=1))
    await asyncio.sleep(0.1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    journal.before.set()
    await shown(owner, "ann")
    assert owner.state.held_units == 1


async def test_nobody_is_answered_before_the_entry_is_durable(stage) -> None:
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    for gate in (journal.before, journal.after):
        gate.clear()
        asked = submitted(owner, hold("ann", key=str(id(gate)), ga=1), read("bob"))
        await asyncio.sleep(30)
        assert not asked.done()
        gate.set()
        reply = await asked
        (entry,) = [seen for seen in await stage.entries() if seen.sequence == owner.state.sequence]
        assert entry.records[0].booking == reply.outcomes[0].booking


async def test_what_comes_in_during_an_append_becomes_the_next_entry(stage) -> None:
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    journal.before.clear()
    first = submitted(owner, hold("ann", ga=1))
    await until(lambda: journal.appends == 2)
    others = [submitted(owner, hold(name, ga=1)) for name in ("bob", "cid", "dan")]
    await asyncio.sleep(1)
    journal.before.set()
    replies = await asyncio.gather(first, *others)
    assert [reply.outcomes[0].booking.sequence for reply in replies] == [2, 3, 3, 3]
    assert journal.appends == 3


async def test_reads_see_only_what_is_durable(stage) -> None:
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    journal.before.clear()
    holding = submitted(owner, hold("ann", ga=1))
    reading = submitted(owner, read("ann"), ReadAvailability())
    facts = asyncio.create_task(owner.live_facts())
    await asyncio.sleep(1)
    assert [task.done() for task in (holding, reading, facts)] == [False] * 3
    journal.before.set()
    await asyncio.gather(holding, reading, facts)


async def test_a_full_inbox_is_overloaded_and_recovers_at_once(stage, monkeypatch) -> None:
    monkeypatch.setattr(owner_module, "INBOX_COMMANDS_MAX", 3)
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    journal.before.clear()
    under_way = submitted(owner, hold("ann", ga=1))
    await until(lambda: journal.appends == 2)
    waiting = submitted(owner, *(hold("bob", key=str(number), ga=1) for number in range(3)))
    await asyncio.sleep(0)
    assert await submitted(owner, hold("cid", ga=1)) == Overloaded()
    journal.before.set()
    assert isinstance(await under_way, Answers)
    assert isinstance(await waiting, Answers)
    assert await held(owner, "cid", ga=1)


async def test_a_command_that_waited_too_long_for_its_turn_is_not_carried_out(stage) -> None:
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    journal.before.clear()
    under_way = submitted(owner, hold("ann", ga=1))
    await until(lambda: journal.appends == 2)
    late = submitted(owner, hold("bob", ga=1), budget_ms=500)
    await asyncio.sleep(1)
    journal.before.set()
    await under_way
    assert (await late).outcomes == [None]
    assert (await outcomes(owner, read("bob")))[0].code is Refusal.BOOKING_NOT_FOUND


async def test_a_client_that_left_does_not_disturb_the_others(stage) -> None:
    journal = GatedJournal(stage.store, EVENT_ID)
    owner = await stage.on_sale(journal)
    journal.before.clear()
    gone, there = submitted(owner, hold("ann", ga=1)), submitted(owner, hold("bob", ga=1))
    await until(lambda: journal.appends == 2)
    gone.cancel()
    journal.before.set()
    assert isinstance(await there, Answers)
    assert (await shown(owner, "ann")).status is Status.RESERVED, "it was decided all the same"


async def test_a_batch_that_is_no_batch_hurts_nobody_else(stage) -> None:
    owner = await stage.on_sale()
    with pytest.raises(msgspec.DecodeError):
        await owner.submit(b"\xc1")
    assert await held(owner, "ann", ga=1)


async def test_the_live_facts_do_not_wait_for_the_next_command(stage) -> None:
    owner = await stage.on_sale()
    await asyncio.sleep(0.5)
    asked_at = now_ms()
    assert await owner.live_facts() is not None
    assert now_ms() - asked_at < 100


async def test_the_live_facts_are_of_one_and_the_same_moment_under_load(stage) -> None:
    owner = await stage.on_sale(capacities={"ga": 1_000})
    for number in range(30):
        facts = asyncio.create_task(owner.live_facts())
        holds = [submitted(owner, hold(f"c{number}-{i}", ga=1)) for i in range(3)]
        seen = await facts
        (kind,) = seen.availability.ticket_types
        assert seen.availability.sequence == seen.sequence
        await asyncio.gather(*holds)
        replayed = await stage.replayed()
        assert kind.held <= replayed.held_units
    await stage.assert_agrees(owner)


# -- expiry ----------------------------------------------------------------------------


async def test_stock_comes_back_when_a_hold_expires_though_nobody_asks(stage) -> None:
    owner = await stage.on_sale()
    booking = await held(owner, "ann", ga=2)
    await asyncio.sleep(TTL_MS / 1_000 - 0.001)
    assert owner.state.held_units == 2
    await asyncio.sleep(0.010)
    assert owner.state.stocks["ga"].available == 10
    entry = (await stage.entries())[-1]
    assert entry.records == (HoldExpired(booking.booking_id, entry.at_ms),)
    assert 0 <= entry.at_ms - booking.expires_at_ms <= 5


async def test_a_mass_expiry_goes_on_without_pause_until_all_is_back(stage, monkeypatch) -> None:
    monkeypatch.setattr("actors.turn.TURN_EXPIRIES_MAX", 4)
    owner = await stage.on_sale(capacities={"ga": 50})
    await outcomes(owner, *(hold(f"c{number}", ga=1) for number in range(50)))
    await asyncio.sleep(TTL_MS / 1_000 + 0.010)
    assert owner.state.held_units == 0
    check_fully(owner.state)


async def test_an_owner_that_comes_late_expires_what_is_overdue(stage) -> None:
    first = await stage.on_sale()
    await held(first, "ann", ga=2)
    await stage.crash(first)
    await asyncio.sleep((TTL_MS + 1) / 1_000)
    owner = await stage.serving()
    await until(lambda: owner.state.held_units == 0)
    assert (await shown(owner, "ann")).status is Status.EXPIRED


async def test_an_owner_whose_clock_is_an_hour_back_expires_nothing_early_and_all_in_time(
    stage,
) -> None:
    first = await stage.on_sale()
    booking = await held(first, "ann", ga=2)
    await stage.crash(first)
    await asyncio.sleep(1)
    restarted_at = now_ms()
    owner = await stage.serving(behind_ms=3_600_000, idle_seconds=3_600)
    await until(lambda: owner.state.held_units == 0)
    assert booking.expires_at_ms <= now_ms() <= restarted_at + TTL_MS + 1_000
    assert [entry.at_ms for entry in await stage.entries()] == sorted(
        entry.at_ms for entry in await stage.entries()
    ), "the journal's time went back"
    await stage.assert_agrees(owner)


# -- snapshots -------------------------------------------------------------------------


async def test_many_snapshots_under_load_keep_every_digest_the_same(stage, monkeypatch) -> None:
    monkeypatch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", 10)
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_SLICE_BOOKINGS", 4)
    owner = await stage.on_sale(capacities={"ga": 500})
    seen = set()
    for number in range(120):
        await outcomes(owner, hold(f"c{number}", ga=1), release(f"c{number - 3}"))
        await asyncio.sleep(0.003)
        seen |= {ref.position for ref in await stage.journal().snapshots()}
    assert len(seen) >= 4, "the test wanted many snapshots"
    assert min(stage.store.entries[EVENT_ID]) > START._replace(epoch=1), "nothing was trimmed"
    facts = await owner.live_facts()
    await stage.crash(owner)
    follower = await stage.serving()
    recovered = await follower.live_facts()
    assert (recovered.sequence, recovered.digest) == (facts.sequence, facts.digest)
    check_fully(follower.state)


async def test_a_snapshot_is_written_every_so_many_records_and_not_between(
    stage, monkeypatch
) -> None:
    monkeypatch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", 10)
    owner = await stage.on_sale(capacities={"ga": 100})
    seen = set()
    for number in range(19):
        await held(owner, f"c{number}", ga=1)
        await asyncio.sleep(0.1)
        seen |= {ref.sequence for ref in await stage.journal().snapshots()}
    assert seen == {10, 20}


async def test_an_event_with_many_bookings_is_snapshotted_less_often(stage, monkeypatch) -> None:
    """Half as many records as there are bookings: snapshots stay a constant share of the work."""
    monkeypatch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", 2)
    owner = await stage.on_sale(capacities={"ga": 200})
    await outcomes(owner, *(hold(f"c{number}", ga=1) for number in range(40)))
    written = []
    for number in range(40, 85):
        await asyncio.sleep(1)
        written.append(len(await stage.journal().snapshots()))
        await held(owner, f"c{number}", ga=1)
    assert written[:35] == [1] * 35
    assert written[-1] == 2


async def test_one_snapshot_is_written_at_a_time(stage, monkeypatch) -> None:
    monkeypatch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", 2)
    owner = await stage.on_sale(capacities={"ga": 100})
    begin, begun = owner._journal.begin_snapshot, []

    async def slowly(*args: object) -> str:
        begun.append(args)
        await asyncio.sleep(10)
        return await begin(*args)

    monkeypatch.setattr(owner._journal, "begin_snapshot", slowly)
    for number in range(10):
        await held(owner, f"c{number}", ga=1)
    await asyncio.sleep(9)
    assert len(begun) == 1
    await asyncio.sleep(2)
    await held(owner, "late", ga=1)
    assert len(begun) == 2


async def test_an_owner_that_had_much_to_replay_spares_the_next_one_that(
    stage, monkeypatch
) -> None:
    first = await stage.on_sale()
    for number in range(5):
        await held(first, f"c{number}", ga=1)
    await stage.crash(first)
    monkeypatch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", 5)
    await held(await stage.serving(), "late", ga=1)
    await asyncio.sleep(1)
    assert [ref.sequence for ref in await stage.journal().snapshots()] == [7]


async def test_a_snapshot_that_the_store_did_not_take_is_given_up_and_tried_again(
    stage, monkeypatch, logged
) -> None:
    monkeypatch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", 3)
    owner = await stage.on_sale(capacities={"ga": 100})
    journal = owner._journal

    async def no_room(*_: object) -> str:
        raise Unavailable("disk full")

    with monkeypatch.context() as full:
        full.setattr(journal, "begin_snapshot", no_room)
        for number in range(5):
            await held(owner, f"c{number}", ga=1)
        await until(lambda: any(line["event"] == "snapshot_abandoned" for line in logged))
    for number in range(5, 10):
        await held(owner, f"c{number}", ga=1)
    await until(lambda: any(line["event"] == "snapshot" for line in logged))
    await stage.assert_agrees(owner)
