"""Snapshots that are damaged, and crashes while one is written (FAULTS.md, 16)."""

import asyncio
from collections.abc import Callable

import pytest

from actors.recovery import rebuild
from engine.domain import snapshot as snapshot_module
from engine.domain.snapshot import capture, digest, encode_slices
from engine.journal.contract import EpochStray, SequenceGap, SnapshotRef, Unavailable
from engine.journal.entry import Position, seal
from engine.journal.memory import MemoryJournal, MemoryStore
from engine.journal.sealed import seal_manifest
from tests.contract.rigs import flip_bit
from tests.unit.actors.story import LAST, NEWER, OLDER, Story
from tests.unit.engine.domain.given import EVENT_ID, Sale


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several slices in every snapshot."""
    monkeypatch.setattr(snapshot_module, "SNAPSHOT_SLICE_BOOKINGS", 3)


@pytest.fixture
async def story() -> Story:
    return await Story().begin()


# -- damaged snapshots -----------------------------------------------------------------


def slice_gone(store: MemoryStore, ref: SnapshotRef) -> None:
    del store.slices[ref.key][-1]


def all_slices_gone(store: MemoryStore, ref: SnapshotRef) -> None:
    del store.slices[ref.key]


def slice_torn(store: MemoryStore, ref: SnapshotRef) -> None:
    store.slices[ref.key][1] = store.slices[ref.key][1][:-3]


def slice_twice(store: MemoryStore, ref: SnapshotRef) -> None:
    store.slices[ref.key][2] = store.slices[ref.key][1]


def bit_flipped(store: MemoryStore, ref: SnapshotRef) -> None:
    store.slices[ref.key][1] = flip_bit(store.slices[ref.key][1], 99)


def slice_of_another_version(store: MemoryStore, ref: SnapshotRef) -> None:
    store.slices[ref.key][0] = b"J9" + store.slices[ref.key][0][2:]


def head_of_another_shape(store: MemoryStore, ref: SnapshotRef) -> None:
    store.slices[ref.key][0] = seal(b"\x81\xa4head\x01")


def slice_of_rubbish(store: MemoryStore, ref: SnapshotRef) -> None:
    store.slices[ref.key][1] = seal(b"\xc1rubbish")


def bookings_of_another_sale(store: MemoryStore, ref: SnapshotRef) -> None:
    stranger = Sale()
    stranger.placed("stranger", ga=1)
    _, bookings = encode_slices(capture(stranger.state))
    store.slices[ref.key][1] = seal(bookings)


def counts_that_do_not_add_up(store: MemoryStore, ref: SnapshotRef) -> None:
    other = Sale(capacities={"ga": 99})
    store.slices[ref.key][0] = seal(next(iter(encode_slices(capture(other.state)))))


def manifest_flipped(store: MemoryStore, ref: SnapshotRef) -> None:
    manifests = store.finished[EVENT_ID]
    manifests[ref.position] = flip_bit(manifests[ref.position], 77)


def manifest_of_another_version(store: MemoryStore, ref: SnapshotRef) -> None:
    store.finished[EVENT_ID][ref.position] = b"J9" + seal_manifest(ref)[2:]


def manifest_gone(store: MemoryStore, ref: SnapshotRef) -> None:
    del store.finished[EVENT_ID][ref.position]


IN_SLICES = [
    slice_gone,
    all_slices_gone,
    slice_torn,
    slice_twice,
    bit_flipped,
    slice_of_another_version,
    head_of_another_shape,
    slice_of_rubbish,
    bookings_of_another_sale,
    counts_that_do_not_add_up,
]
IN_THE_MANIFEST = [manifest_flipped, manifest_of_another_version, manifest_gone]
Damage = Callable[[MemoryStore, SnapshotRef], None]


@pytest.mark.parametrize("damage", IN_SLICES + IN_THE_MANIFEST)
async def test_a_damaged_snapshot_gives_way_to_the_previous_one_and_a_longer_tail(
    story, damage: Damage
) -> None:
    damage(story.store, await story.newest())
    story.tells(await rebuild(story.journal), replayed_since=OLDER)


@pytest.mark.parametrize("damage", IN_SLICES)
async def test_a_damaged_snapshot_is_reported(story, logged, damage: Damage) -> None:
    damage(story.store, await story.newest())
    await rebuild(story.journal)
    (report,) = [line for line in logged if line["event"] == "snapshot_unusable"]
    assert (report["log_level"], report["snapshot"]) == ("error", f"1-{NEWER}")


@pytest.mark.parametrize("damage", IN_SLICES + IN_THE_MANIFEST)
async def test_without_any_good_snapshot_a_trimmed_journal_is_refused_rather_than_half_read(
    story, damage: Damage
) -> None:
    newer, older = await story.journal.snapshots()
    damage(story.store, newer)
    damage(story.store, older)
    with pytest.raises((SequenceGap, EpochStray)) as refused:
        await rebuild(story.journal)
    assert refused.value.args[0] == Position(1, OLDER)


async def test_a_damaged_only_snapshot_gives_way_to_the_whole_journal() -> None:
    story = await Story().begin(snapshots_at=(NEWER,))
    bit_flipped(story.store, await story.newest())
    story.tells(await rebuild(story.journal), replayed_since=0)


# -- crashes while a snapshot is written -----------------------------------------------


#: Of the snapshot in the tests below: begun, seven slices, finished, listed, trimmed.
STEPS = 12


class Crash(Exception):
    """The process ends here."""


class MortalJournal(MemoryJournal):
    """Ends the process before the call of that number, counted over everything it is asked."""

    def __init__(self, store: MemoryStore, event_id: str, calls_left: int) -> None:
        super().__init__(store, event_id)
        self._calls_left = calls_left

    def _reach(self) -> None:
        if self._calls_left == 0:
            raise Crash
        self._calls_left -= 1
        super()._reach()


@pytest.mark.parametrize("calls", range(STEPS))
async def test_a_crash_at_any_step_of_a_snapshot_loses_nothing(story, calls: int) -> None:
    with pytest.raises(Crash):
        await story.snapshot(MortalJournal(story.store, EVENT_ID, calls))
    recovered = await rebuild(story.journal)
    assert digest(recovered.state) == digest(story.sale.state)


async def test_the_crashes_of_the_test_above_reach_every_step(story) -> None:
    assert (await story.snapshot(MortalJournal(story.store, EVENT_ID, STEPS))).sequence == LAST


async def test_what_a_crash_has_left_is_cleared_by_the_next_snapshot(story) -> None:
    with pytest.raises(Crash):
        await story.snapshot(MortalJournal(story.store, EVENT_ID, 4))
    assert len(story.store.slices) == 3
    ref = await story.snapshot()
    assert len(story.store.slices) == 2
    story.tells(await rebuild(story.journal), replayed_since=ref.sequence)


async def test_a_crash_while_trimming_loses_nothing() -> None:
    finished = await Story().begin()
    untrimmed = await Story().begin(snapshots_at=())
    dropped = untrimmed.store.entries[EVENT_ID].keys() - finished.store.entries[EVENT_ID].keys()
    assert len(dropped) == OLDER
    for done in range(len(dropped) + 1):
        story = await Story().begin()
        entries = untrimmed.store.entries[EVENT_ID]
        left = {position: entries[position] for position in sorted(dropped)[done:]}
        story.store.entries[EVENT_ID].update(left)
        story.tells(await rebuild(story.journal), replayed_since=NEWER)
        bit_flipped(story.store, await story.newest())
        story.tells(await rebuild(story.journal), replayed_since=OLDER)


async def test_a_store_that_goes_away_leaves_no_visible_snapshot(story) -> None:
    writing = asyncio.create_task(story.snapshot())
    await asyncio.sleep(0.003)
    story.store.away = True
    with pytest.raises(Unavailable):
        await writing
    story.store.away = False
    assert (await story.newest()).sequence == NEWER
