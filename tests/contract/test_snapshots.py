"""What every journal promises about snapshots."""

import pytest

from engine.journal.contract import Fenced, Journal, SnapshotRef, SnapshotTorn
from engine.journal.entry import Position
from engine.limits import SNAPSHOTS_KEPT
from tests.contract.rigs import Manifests, Rig, flip_bit
from tests.samples import MINE, NOW_MS, THEIRS

SLICES = [b"head", b"", bytes(range(256)) * 100]


async def begun(journal: Journal, position: Position, nonce: bytes = MINE) -> SnapshotRef:
    """Write all slices of a snapshot, and return what would finish it."""
    key = await journal.begin_snapshot(position, nonce)
    for data in SLICES:
        await journal.write_slice(key, data)
    return SnapshotRef(position.epoch, position.sequence, key, len(SLICES), "digest")


async def finished(journal: Journal, position: Position, nonce: bytes = MINE) -> SnapshotRef:
    ref = await begun(journal, position, nonce)
    await journal.finish_snapshot(ref)
    return ref


async def test_an_event_begins_without_snapshots(rig: Rig) -> None:
    assert list(await rig.journal().snapshots()) == []


async def test_a_finished_snapshot_is_read_by_the_next_owner_as_it_was_written(rig: Rig) -> None:
    ref = await finished(rig.journal(), Position(1, 7))
    assert list(await rig.journal().snapshots()) == [ref]
    assert await rig.journal().read_snapshot(ref) == SLICES


async def test_a_snapshot_is_invisible_until_it_is_finished(rig: Rig) -> None:
    journal = rig.journal()
    older = await finished(journal, Position(1, 3))
    ref = await begun(journal, Position(1, 7))
    assert list(await journal.snapshots()) == [older]
    await journal.finish_snapshot(ref)
    assert list(await journal.snapshots()) == [ref, older]


async def test_a_newer_epoch_is_newer_whatever_was_finished_last(rig: Rig) -> None:
    newer = await finished(rig.journal(), Position(2, 10), THEIRS)
    older = await finished(rig.journal(), Position(1, 10), MINE)
    assert list(await rig.journal().snapshots()) == [newer, older]


async def test_sequences_are_ordered_as_numbers(rig: Rig) -> None:
    nine = await finished(rig.journal(), Position(1, 9))
    ten = await finished(rig.journal(), Position(1, 10))
    assert list(await rig.journal().snapshots()) == [ten, nine]


async def test_only_the_newest_snapshots_are_kept_and_none_of_the_others_slices(rig: Rig) -> None:
    journal = rig.journal()
    refs = [await finished(journal, Position(1, sequence)) for sequence in (3, 5, 8, 13)]
    kept = refs[: -SNAPSHOTS_KEPT - 1 : -1]
    assert list(await journal.snapshots()) == kept
    assert await rig.stored_slices() == sorted(ref.key for ref in kept)
    for ref in kept:
        assert await journal.read_snapshot(ref) == SLICES


async def test_a_late_snapshot_of_an_old_owner_replaces_nothing_newer(rig: Rig) -> None:
    kept = [await finished(rig.journal(), Position(2, sequence)) for sequence in (8, 5)]
    await finished(rig.journal(), Position(1, 4), THEIRS)
    assert list(await rig.journal().snapshots()) == kept
    assert await rig.stored_slices() == sorted(ref.key for ref in kept)


async def test_what_was_never_finished_goes_with_the_next_that_is(rig: Rig) -> None:
    journal = rig.journal()
    await begun(journal, Position(1, 3))
    await journal.begin_snapshot(Position(1, 4), THEIRS)
    ref = await finished(journal, Position(1, 5))
    assert list(await journal.snapshots()) == [ref]
    assert await rig.stored_slices() == [ref.key]


async def test_a_snapshot_begun_again_holds_only_its_new_slices(rig: Rig) -> None:
    journal = rig.journal()
    await begun(journal, Position(1, 3))
    ref = await finished(journal, Position(1, 3))
    assert await journal.read_snapshot(ref) == SLICES


async def test_a_snapshot_of_the_same_position_takes_the_place_of_the_one_before(rig: Rig) -> None:
    await finished(rig.journal(), Position(1, 3), MINE)
    ref = await finished(rig.journal(), Position(1, 3), THEIRS)
    assert list(await rig.journal().snapshots()) == [ref]
    assert await rig.stored_slices() == [ref.key], "slices were left that nobody can reach"


async def test_two_owners_do_not_write_into_one_snapshot(rig: Rig) -> None:
    mine = await begun(rig.journal(), Position(1, 3), MINE)
    theirs = await begun(rig.journal(), Position(1, 3), THEIRS)
    assert mine.key != theirs.key


async def test_a_snapshot_that_another_owner_dropped_half_way_is_torn(rig: Rig) -> None:
    late = rig.journal()
    key = await late.begin_snapshot(Position(1, 5), MINE)
    await late.write_slice(key, SLICES[0])
    older = await finished(rig.journal(), Position(1, 3), THEIRS)
    await late.write_slice(key, SLICES[1])
    torn = SnapshotRef(1, 5, key, 2, "digest")
    await late.finish_snapshot(torn)
    assert list(await rig.journal().snapshots()) == [torn, older]
    with pytest.raises(SnapshotTorn):
        await rig.journal().read_snapshot(torn)
    assert await rig.journal().read_snapshot(older) == SLICES


async def test_a_replaced_owner_finishes_no_snapshot_and_drops_nobody_elses(rig: Rig) -> None:
    old, new = rig.journal(), rig.journal()
    await old.claim(MINE, NOW_MS)
    kept = [await finished(old, Position(1, sequence)) for sequence in (5, 3)]
    late = await begun(old, Position(1, 7))
    claim = await new.claim(THEIRS, NOW_MS)
    under_way = await begun(new, Position(2, 7), THEIRS)
    with pytest.raises(Fenced) as fenced:
        await old.finish_snapshot(late)
    assert fenced.value.args == (late.position, claim)
    assert list(await new.snapshots()) == kept
    await new.finish_snapshot(under_way)
    assert list(await new.snapshots()) == [under_way, kept[0]]
    assert await new.read_snapshot(under_way) == SLICES


async def test_events_do_not_see_each_others_snapshots(rig: Rig) -> None:
    other = rig.journal("evt_0000000000ab")
    await begun(other, Position(1, 2))
    theirs = await finished(other, Position(1, 3))
    unfinished = await begun(other, Position(1, 4))
    for sequence in range(5, 9):
        await finished(rig.journal(), Position(1, sequence))
    assert list(await other.snapshots()) == [theirs]
    assert await other.read_snapshot(unfinished) == SLICES


@pytest.mark.parametrize(
    "damage",
    [
        lambda slices: slices.pop(0),
        lambda slices: slices.pop(),
        lambda slices: slices.append(slices[-1]),
        lambda slices: slices.__setitem__(1, b""),
        lambda slices: slices.__setitem__(2, slices[2][:-1]),
        *(
            lambda slices, bit=bit: slices.__setitem__(0, flip_bit(slices[0], bit))
            for bit in (0, 77)
        ),
    ],
    ids=["first gone", "last gone", "one more", "emptied", "cut", "first bit", "some bit"],
)
async def test_a_torn_snapshot_is_noticed_and_the_one_before_still_reads(rig, damage) -> None:
    older = await finished(rig.journal(), Position(1, 3))
    newer = await finished(rig.journal(), Position(1, 5))
    await rig.change_slices(newer.key, damage)
    with pytest.raises(SnapshotTorn):
        await rig.journal().read_snapshot(newer)
    assert await rig.journal().read_snapshot(older) == SLICES


async def test_a_snapshot_without_any_slice_is_torn(rig: Rig) -> None:
    ref = await finished(rig.journal(), Position(1, 3))
    await rig.change_slices(ref.key, list.clear)
    with pytest.raises(SnapshotTorn):
        await rig.journal().read_snapshot(ref)


@pytest.mark.parametrize("bit", [0, 30, 60])
async def test_a_snapshot_with_a_damaged_manifest_is_as_good_as_absent(rig: Rig, bit: int) -> None:
    older = await finished(rig.journal(), Position(1, 3))
    newer = await finished(rig.journal(), Position(1, 5))

    def spoil(manifests: Manifests) -> None:
        manifests[str(newer.position)] = flip_bit(manifests[str(newer.position)], bit)

    await rig.change_manifests(spoil)
    assert list(await rig.journal().snapshots()) == [older]
    newest = await finished(rig.journal(), Position(1, 8))
    assert list(await rig.journal().snapshots()) == [newest, older]
