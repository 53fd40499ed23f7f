"""Two live owners of one event: the older appends nothing and leaves (FAULTS.md, 3)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from actors import owner as owner_module
from actors.owner import Phase
from actors.wire import Answers, Recovering
from engine.domain.booking import Status
from engine.domain.commands import CreateEvent, ReadAvailability
from engine.journal.entry import Entry, Position
from engine.journal.memory import Fault, MemoryJournal
from engine.limits import FENCE_CHECK_MS
from tests.unit.actors.given import (
    GatedJournal,
    held,
    outcomes,
    read,
    shown,
    submitted,
    until,
)
from tests.unit.engine.domain.given import EVENT_ID, an_event, hold, release

OTHER_EVENT_ID = "evt_0000000000zz"


async def test_an_owner_with_a_successor_appends_nothing_says_retry_and_leaves(
    stage, logged
) -> None:
    old = await stage.on_sale()
    new = await stage.serving()
    first, second = submitted(old, hold("ann", ga=1)), submitted(old, hold("bob", ga=1), read("x"))
    assert await asyncio.gather(first, second) == [Recovering(), Recovering()]
    assert stage.left == [(old, Phase.FENCED)]
    assert old.health().phase == "fenced"
    assert await submitted(old, ReadAvailability()) == Recovering()
    assert await old.live_facts() is None
    assert [entry.position for entry in await stage.entries()] == [Position(1, 1)]
    assert [line["event"] for line in logged].count("fenced") == 1
    assert await held(new, "ann", ga=1)
    assert [entry.position for entry in await stage.entries()] == [Position(1, 1), Position(2, 2)]


async def test_an_append_in_doubt_is_given_up_when_a_successor_has_come(stage) -> None:
    old = await stage.on_sale()
    stage.store.faults.append(Fault.REQUEST_LOST)
    asked = submitted(old, hold("ann", ga=1))
    await until(lambda: not stage.store.faults)
    new = await stage.serving()
    assert await asked == Recovering()
    assert stage.left == [(old, Phase.FENCED)]
    assert new.state.bookings == {}


async def test_a_grant_that_was_durable_before_the_successor_came_is_given_by_either(stage) -> None:
    old = await stage.on_sale()
    stage.store.faults.append(Fault.REPLY_LOST)
    asked = submitted(old, hold("ann", ga=1))
    await until(lambda: not stage.store.faults)
    new = await stage.serving()
    (granted,) = (await asked).outcomes
    assert await shown(new, "ann") == granted.booking
    assert await submitted(old, hold("bob", ga=1)) == Recovering()


async def test_an_idle_owner_finds_out_by_itself_that_it_has_a_successor(stage) -> None:
    old = await stage.on_sale()
    await stage.serving()
    await asyncio.sleep(6)
    assert stage.left == [(old, Phase.FENCED)]


async def test_an_owner_that_holds_something_finds_out_long_before_it_expires(stage) -> None:
    old = await stage.on_sale()
    await held(old, "ann", ga=1)
    await stage.serving()
    await asyncio.sleep(6)
    assert stage.left == [(old, Phase.FENCED)]


async def test_a_snapshot_that_a_successor_has_overtaken_is_given_up(
    stage, monkeypatch, logged
) -> None:
    monkeypatch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", 3)
    old = await stage.on_sale()
    begin = old._journal.begin_snapshot

    async def overtaken(*args: object) -> str:
        key = await begin(*args)
        await stage.serving()
        return key

    monkeypatch.setattr(old._journal, "begin_snapshot", overtaken)
    await held(old, "ann", ga=1)
    await held(old, "bob", ga=1)
    await until(lambda: "snapshot_abandoned" in {line["event"] for line in logged})
    assert await stage.journal().snapshots() == []
    await asyncio.sleep(6)
    assert stage.left == [(old, Phase.FENCED)]


async def test_an_owner_that_was_cut_off_from_the_store_learns_of_its_successor(stage) -> None:
    """Frozen with its node while another was started, thawed a minute later."""
    journal = GatedJournal(stage.store, EVENT_ID)
    old = await stage.on_sale(journal)
    journal.before.clear()
    asked = submitted(old, hold("ann", ga=1))
    await until(lambda: journal.appends == 2)
    new = await stage.serving()
    sold = await held(new, "bob", ga=6)
    await asyncio.sleep(60)
    journal.before.set()
    assert await asked == Recovering()
    assert stage.left == [(old, Phase.FENCED)]
    assert list(new.state.bookings) == [sold.booking_id]
    await stage.assert_agrees(new)


@pytest.mark.parametrize("command", [read("ann"), ReadAvailability(), hold("eve", ga=99)])
async def test_a_successor_makes_reads_and_refusals_stale_for_a_moment_at_most(
    stage, command
) -> None:
    old = await stage.on_sale()
    await held(old, "ann", ga=1)
    new = await stage.serving()
    await outcomes(new, release("ann"))
    await asyncio.sleep((FENCE_CHECK_MS + 1) / 1_000)
    assert await submitted(old, command) == Recovering()
    assert stage.left == [(old, Phase.FENCED)]


async def test_an_append_that_is_answered_late_proves_nothing_about_successors(stage) -> None:
    """The entry was taken a minute ago; the answer says nothing about what came since."""
    journal = GatedJournal(stage.store, EVENT_ID)
    old = await stage.on_sale(journal)
    journal.after.clear()
    asked = submitted(old, hold("ann", ga=1))
    await until(lambda: journal.appends == 2)
    new = await stage.serving()
    await outcomes(new, release("ann"))
    await asyncio.sleep(60)
    journal.after.set()
    assert isinstance(await asked, Answers), "its entry is durable"
    assert await submitted(old, read("ann")) == Recovering()
    assert (await shown(new, "ann")).status is Status.CANCELLED


async def test_a_long_recovery_proves_nothing_about_successors(stage) -> None:
    class LongJournal(MemoryJournal):
        async def replay(self, after: Position) -> AsyncIterator[Entry]:
            entries = [entry async for entry in super().replay(after)]
            await asyncio.sleep(30)
            for entry in entries:
                yield entry

    first = await stage.on_sale()
    await held(first, "ann", ga=1)
    old = stage.owner(LongJournal(stage.store, EVENT_ID))
    old.start()
    await asyncio.sleep(10)
    new = await stage.serving()
    await outcomes(new, release("ann"))
    await until(lambda: old.phase is not Phase.RECOVERING)
    assert await submitted(old, read("ann")) == Recovering()


async def test_reads_wait_for_the_proof_while_the_store_is_away(stage) -> None:
    owner = await stage.on_sale()
    await held(owner, "ann", ga=1)
    await asyncio.sleep(2)
    stage.store.away = True
    reading = submitted(owner, read("ann"), budget_ms=60_000)
    await asyncio.sleep(30)
    assert not reading.done()
    stage.store.away = False
    assert isinstance(await reading, Answers)


async def test_an_owner_started_while_another_starts_leaves_one_of_them(stage) -> None:
    both = [stage.owner(), stage.owner()]
    for owner in both:
        owner.start()
    await until(lambda: all(owner.phase is Phase.SERVING for owner in both))
    await asyncio.sleep(6)
    ((loser, phase),) = stage.left
    assert phase is Phase.FENCED
    (winner,) = [owner for owner in both if owner is not loser]
    await outcomes(winner, CreateEvent(an_event()))
    assert await held(winner, "ann", ga=1)
