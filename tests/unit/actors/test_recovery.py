"""From the journal back into memory, whatever has become of the snapshots (FAULTS.md, 16)."""

import asyncio

import pytest
from msgspec.structs import replace

from actors.recovery import rebuild, take_over
from actors.snapshots import digest_slowly, write_snapshot
from engine.domain import snapshot as snapshot_module
from engine.domain.records import HoldPlaced
from engine.domain.snapshot import capture, digest
from engine.domain.state import EventState
from engine.journal.contract import Fenced, SequenceGap, SnapshotRef
from engine.journal.entry import CorruptEntry, Entry, Position
from engine.journal.memory import Fault, MemoryJournal, MemoryStore
from tests.contract.rigs import flip_bit
from tests.samples import MINE, NOW_MS, THEIRS
from tests.unit.actors.story import LAST, NEWER, OLDER, Story
from tests.unit.engine.domain.given import EVENT_ID, Sale, hold, release
from tests.virtual_time import VirtualClocks


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several slices in every snapshot."""
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_SLICE_BOOKINGS", 3)


@pytest.fixture
async def story() -> Story:
    return await Story().begin()


# -- good snapshots --------------------------------------------------------------------


async def test_an_empty_journal_gives_an_empty_state() -> None:
    recovered = await rebuild(MemoryJournal(MemoryStore(), EVENT_ID))
    assert digest(recovered.state) == digest(EventState())


async def test_a_journal_without_snapshots_is_replayed_from_its_beginning() -> None:
    story = await Story().begin(snapshots_at=())
    story.tells(await rebuild(story.journal), replayed_since=0)


async def test_only_the_tail_behind_the_newest_snapshot_is_replayed(story) -> None:
    story.tells(await rebuild(story.journal), replayed_since=NEWER)


async def test_a_journal_that_ends_with_its_snapshot_has_no_tail() -> None:
    story = await Story().begin(snapshots_at=(OLDER, LAST))
    story.tells(await rebuild(story.journal), replayed_since=LAST)


async def test_entries_below_the_previous_snapshot_are_dropped_and_those_above_stay(story) -> None:
    assert min(story.store.entries[EVENT_ID]) == Position(1, OLDER)


async def test_an_audit_rebuilds_the_state_as_it_was_at_any_sequence_still_kept() -> None:
    story = await Story().begin(snapshots_at=())
    digests = {}
    state = Sale(capacities={"ga": 100}).state
    for turn in story.sale.entries:
        state = (await rebuild(story.journal, until=turn.sequence)).state
        digests[turn.sequence] = digest(state)
    assert state.sequence == LAST
    await story.snapshot()
    again = await rebuild(story.journal, until=OLDER)
    assert digest(again.state) == digests[OLDER], "the snapshot of a later state was used"


async def test_the_digest_of_a_snapshot_is_that_of_the_state_it_was_taken_from(story) -> None:
    ref = await story.snapshot()
    assert ref.digest == digest(story.sale.state)
    assert await digest_slowly(capture(story.sale.state)) == ref.digest


async def test_a_snapshot_lets_the_turns_go_on_between_its_slices(story) -> None:
    turns = 0

    async def sell() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    selling = asyncio.create_task(sell())
    ref = await story.snapshot()
    selling.cancel()
    assert turns >= ref.slices > 5


async def test_a_sale_that_goes_on_meanwhile_does_not_change_the_picture(story) -> None:
    before = digest(story.sale.state)
    writing = asyncio.create_task(story.snapshot())
    await asyncio.sleep(0.003)
    story.sale.ask(hold("late", ga=1), release("c0"))
    assert (await writing).digest == before != digest(story.sale.state)


# -- damaged journals ------------------------------------------------------------------


@pytest.mark.parametrize("sequence", [NEWER + 1, LAST - 1])
async def test_a_flipped_bit_is_named(story, sequence: int) -> None:
    entries, position = story.store.entries[EVENT_ID], Position(1, sequence)
    entries[position] = flip_bit(entries[position], 150)
    with pytest.raises(CorruptEntry) as corrupt:
        await rebuild(story.journal)
    assert corrupt.value.args[0] == position


async def test_a_missing_entry_is_named_by_the_one_behind_it(story) -> None:
    del story.store.entries[EVENT_ID][Position(1, LAST - 2)]
    with pytest.raises(SequenceGap) as gap:
        await rebuild(story.journal)
    assert gap.value.args == (Position(1, LAST - 1), LAST - 2)


async def test_an_entry_that_stands_twice_is_named(story) -> None:
    entries = story.store.entries[EVENT_ID]
    entries[Position(1, LAST + 1)] = entries[Position(1, LAST)]
    with pytest.raises(CorruptEntry) as corrupt:
        await rebuild(story.journal)
    assert corrupt.value.args[0] == Position(1, LAST + 1)


async def test_damage_below_the_newest_snapshot_is_not_looked_at(story) -> None:
    entries, position = story.store.entries[EVENT_ID], Position(1, OLDER + 2)
    entries[position] = flip_bit(entries[position], 150)
    story.tells(await rebuild(story.journal), replayed_since=NEWER)


async def test_a_snapshot_finished_by_an_owner_of_the_past_does_not_pass_for_damage(story) -> None:
    """The newest is damaged, and the one to fall back to is trimmed away as it is read."""
    newest, previous = await story.journal.snapshots()
    story.store.slices[newest.key][0] = b""

    class Overtaken(MemoryJournal):
        async def read_snapshot(self, ref: SnapshotRef) -> list[bytes]:
            if ref == previous:
                await story.snapshot()
            return await super().read_snapshot(ref)

    story.tells(await rebuild(Overtaken(story.store, EVENT_ID)), replayed_since=LAST)


# -- taking over -----------------------------------------------------------------------


async def test_taking_over_claims_the_next_epoch_and_gives_the_same_state(story) -> None:
    recovered = await take_over(story.journal, THEIRS, NOW_MS, b"me")
    story.tells(recovered, replayed_since=NEWER)
    assert recovered.head == await story.journal.head() == Position(2, 0)
    claim = await story.journal.read_back(recovered.head)
    assert (claim.nonce, story.store.claimants[EVENT_ID]) == (THEIRS, b"me")


async def test_the_claim_comes_before_the_tail_is_read(story) -> None:
    """Otherwise the old owner could still write what the new one would never know."""
    seen: list[str] = []

    class Watched(MemoryJournal):
        async def claim(self, *args: object) -> Position:
            seen.append("claim")
            return await super().claim(*args)

        async def snapshots(self) -> list[SnapshotRef]:
            seen.append("snapshots")
            with pytest.raises(Fenced):
                await story.journal.append(Entry(1, LAST + 1, NOW_MS, MINE), Position(1, LAST))
            return await super().snapshots()

    recovered = await take_over(Watched(story.store, EVENT_ID), THEIRS, NOW_MS, b"")
    assert seen == ["claim", "snapshots"]
    story.tells(recovered, replayed_since=NEWER)


async def test_taking_over_waits_for_a_store_that_is_away_for_as_long_as_it_takes(
    story, logged
) -> None:
    story.store.away = True
    taking = asyncio.create_task(take_over(story.journal, THEIRS, NOW_MS, b""))
    await asyncio.sleep(303.3)
    assert not taking.done()
    story.store.away = False
    returned_at = VirtualClocks.monotonic()
    story.tells(await taking, replayed_since=NEWER)
    assert VirtualClocks.monotonic() - returned_at <= 1.0
    assert {line["event"] for line in logged} == {"store_unreachable"}


async def test_a_store_that_goes_away_between_claim_and_replay_is_claimed_again(story) -> None:
    class Leaving(MemoryJournal):
        async def claim(self, *args: object) -> Position:
            claim = await super().claim(*args)
            story.store.away = claim.epoch == 2
            return claim

    taking = asyncio.create_task(take_over(Leaving(story.store, EVENT_ID), THEIRS, NOW_MS, b""))
    await asyncio.sleep(10)
    story.store.away = False
    recovered = await taking
    story.tells(recovered, replayed_since=NEWER)
    assert recovered.head == Position(3, 0)


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.REPLY_LOST])
async def test_a_claim_that_is_not_answered_is_made_again(story, fault: Fault) -> None:
    story.store.faults.append(fault)
    recovered = await take_over(story.journal, THEIRS, NOW_MS, b"")
    story.tells(recovered, replayed_since=NEWER)
    assert recovered.head == await story.journal.head()


async def test_of_two_that_take_over_at_once_the_later_claim_wins(story) -> None:
    both = await asyncio.gather(
        take_over(story.journal, MINE, NOW_MS, b""), take_over(story.journal, THEIRS, NOW_MS, b"")
    )
    heads = [recovered.head for recovered in both]
    assert sorted(heads) == [Position(2, 0), Position(3, 0)]
    loser = min(heads)
    with pytest.raises(Fenced):
        await story.journal.append(Entry(loser.epoch, LAST + 1, NOW_MS, MINE), loser)


async def test_a_contested_claim_is_made_again(story, logged) -> None:
    contested = iter([True, False])

    class Contested(MemoryJournal):
        async def claim(self, *args: object) -> Position:
            if next(contested):
                raise Fenced(Position(2, 0), Position(2, 0))
            return await super().claim(*args)

    story.tells(
        await take_over(Contested(story.store, EVENT_ID), THEIRS, NOW_MS, b""),
        replayed_since=NEWER,
    )
    assert [line["event"] for line in logged] == ["claim_contested"]


async def test_an_owner_that_wrote_nothing_may_snapshot_and_be_followed(story) -> None:
    """Its snapshot stands at its own epoch and the last sequence of the one before."""
    idle = await take_over(story.journal, THEIRS, NOW_MS, b"")
    await write_snapshot(story.journal, capture(idle.state), Position(2, LAST), THEIRS)
    follower = await take_over(story.journal, MINE, NOW_MS, b"")
    story.tells(follower, replayed_since=LAST)
    entry = Entry(3, LAST + 1, NOW_MS, MINE)
    await story.journal.append(entry, follower.head)
    assert (await rebuild(story.journal)).state.sequence == LAST + 1


async def test_a_journal_that_oversells_is_refused(story) -> None:
    sold_twice = story.sale.placed("eve", ga=6)
    lines = tuple(replace(line, quantity=600) for line in sold_twice.lines)
    forged = HoldPlaced(replace(sold_twice, lines=lines, units=600))
    head = Position(1, LAST)
    await story.journal.append(Entry(1, LAST + 1, NOW_MS, MINE, (forged,)), head)
    with pytest.raises(AssertionError, match="I1: allotment ga oversold"):
        await rebuild(story.journal)
