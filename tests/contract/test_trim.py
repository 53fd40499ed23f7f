"""What every journal promises about dropping entries that nobody needs any more."""

import pytest

from engine.journal.contract import Journal, SequenceGap, SnapshotRef
from engine.journal.entry import START, Entry, Position
from tests.contract.rigs import Manifests, Rig, filled, replayed
from tests.samples import MINE, NOW_MS, THEIRS, entry


async def snapshot(journal: Journal, *positions: Position) -> None:
    for position in positions:
        key = await journal.begin_snapshot(position, MINE)
        await journal.finish_snapshot(SnapshotRef(*position, key, 0, ""))


async def oldest(rig: Rig) -> Position:
    found: list[Position] = []
    await rig.change_entries(lambda entries: found.append(min(entries, default=START)))
    return found[0]


@pytest.mark.parametrize("snapshots", [(), (Position(1, 4),)], ids=["none", "one"])
async def test_nothing_is_dropped_before_there_is_a_snapshot_to_fall_back_to(
    rig: Rig, snapshots: tuple[Position, ...]
) -> None:
    entries = await filled(rig.journal(), 5)
    await snapshot(rig.journal(), *snapshots)
    assert await rig.journal().trim() == Position(1, 0)
    assert await replayed(rig.journal()) == entries


async def test_trimming_a_journal_without_entries_drops_nothing(rig: Rig) -> None:
    assert await rig.journal().trim() == START
    await snapshot(rig.journal(), Position(1, 1), Position(1, 2))
    assert await rig.journal().trim() == START


async def test_nothing_is_dropped_that_the_older_snapshot_needs(rig: Rig) -> None:
    entries = await filled(rig.journal(), 6)
    await snapshot(rig.journal(), Position(1, 3), Position(1, 5))
    assert await rig.journal().trim() == Position(1, 3)
    assert await oldest(rig) == Position(1, 3), "trim and store disagree"
    assert await replayed(rig.journal(), Position(1, 3)) == entries[3:]
    assert await replayed(rig.journal(), Position(1, 5)) == entries[5:]


async def test_a_trimmed_journal_does_not_replay_without_its_snapshot(rig: Rig) -> None:
    await filled(rig.journal(), 6)
    await snapshot(rig.journal(), Position(1, 3), Position(1, 5))
    await rig.journal().trim()
    with pytest.raises(SequenceGap):
        await replayed(rig.journal())


async def test_trimming_again_drops_nothing_more(rig: Rig) -> None:
    await filled(rig.journal(), 6)
    await snapshot(rig.journal(), Position(1, 3), Position(1, 5))
    await rig.journal().trim()
    before = await rig.contents()
    assert await rig.journal().trim() == Position(1, 3)
    assert await rig.contents() == before


async def test_a_damaged_manifest_counts_as_no_snapshot_when_trimming(rig: Rig) -> None:
    entries = await filled(rig.journal(), 6)
    await snapshot(rig.journal(), Position(1, 3), Position(1, 5))

    def spoil(manifests: Manifests) -> None:
        manifests["1-5"] = manifests["1-5"][:-1]

    await rig.change_manifests(spoil)
    assert await rig.journal().trim() == Position(1, 0)
    assert await replayed(rig.journal()) == entries


@pytest.mark.parametrize(
    ("upto", "done", "kept"),
    [
        (Position(1, 2), Position(1, 2), Position(1, 2)),
        (Position(1, 6), Position(1, 1), Position(1, 2)),
        (Position(1, 6), Position(0, 0), Position(1, 0)),
        (Position(1, 6), Position(1, 4), Position(1, 4)),
    ],
    ids=["not read on", "one unfinished", "none finished", "beyond the snapshot"],
)
async def test_nothing_is_dropped_that_a_consumer_group_has_not_finished(
    rig: Rig, upto: Position, done: Position, kept: Position
) -> None:
    await filled(rig.journal(), 6)
    await rig.consume(upto, finished=done)
    await snapshot(rig.journal(), Position(1, 4), Position(1, 6))
    assert await rig.journal().trim() == kept
    assert await oldest(rig) == kept


async def test_the_newest_entry_always_stays(rig: Rig) -> None:
    await filled(rig.journal(), 3)
    await rig.journal().claim(THEIRS, NOW_MS)
    # Taken by the new owner before it has written anything: ahead of the head.
    await snapshot(rig.journal(), Position(2, 3), Position(2, 4))
    assert await rig.journal().trim() == Position(2, 0)
    assert await rig.journal().head() == Position(2, 0)
    assert await rig.journal().claim(MINE, NOW_MS) == Position(3, 0)


async def test_owners_go_on_behind_a_trimmed_tail(rig: Rig) -> None:
    journal = rig.journal()
    await filled(journal, 4)
    await snapshot(journal, Position(1, 3), Position(1, 4))
    await journal.trim()
    written: list[Entry] = [entry(Position(1, 5))]
    await journal.append(written[0], Position(1, 4))
    await journal.append(written[0], Position(1, 4))
    claim = await rig.journal().claim(THEIRS, NOW_MS)
    assert claim == Position(2, 0)
    written.append(entry(Position(2, 6), nonce=THEIRS))
    await rig.journal().append(written[1], claim)
    await snapshot(rig.journal(), Position(2, 6))
    assert await rig.journal().trim() == Position(1, 4)
    assert await replayed(rig.journal(), Position(1, 4)) == written


async def test_events_are_trimmed_one_by_one(rig: Rig) -> None:
    other = rig.journal("evt_0000000000ab")
    entries = await filled(other, 4)
    await filled(rig.journal(), 4)
    await snapshot(rig.journal(), Position(1, 3), Position(1, 4))
    assert await rig.journal().trim() == Position(1, 3)
    assert await replayed(other) == entries
