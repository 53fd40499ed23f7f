"""What release 0.1 has stored is read for ever: entries, snapshot, and the state they give."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from engine.domain.snapshot import digest, digest_of, restore
from engine.domain.state import EventState, check_fully
from engine.journal.contract import SnapshotRef
from engine.journal.entry import START, Entry, Position, decode_entry
from engine.journal.memory import MemoryJournal, MemoryStore
from engine.journal.sealed import open_manifest, open_slices
from tests.golden.history_v1 import EVENT_ID, HISTORY, SNAPSHOT_AT, facts, snapshot_ref
from tests.golden.make_v1 import PATH, make, replay


class Golden:
    """The file, line by line."""

    def __init__(self) -> None:
        found = defaultdict(list)
        for line in PATH.read_text().splitlines():
            kind, *rest = line.split(" ")
            found[kind].append(rest)
        self.entries = {Position.parse(at): bytes.fromhex(data) for at, data in found["entry"]}
        self.slices = [bytes.fromhex(data) for (data,) in found["slice"]]
        ((manifest,),) = found["manifest"]
        self.manifest = bytes.fromhex(manifest)
        ((self.facts,),) = found["facts"]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden()


@pytest.fixture
def journal(golden: Golden) -> MemoryJournal:
    store = MemoryStore()
    store.entries[EVENT_ID].update(golden.entries)
    store.finished[EVENT_ID][SNAPSHOT_AT] = golden.manifest
    store.slices[snapshot_ref(0, "").key] = golden.slices
    return MemoryJournal(store, EVENT_ID)


async def replayed(journal: MemoryJournal, after: Position) -> list[Entry]:
    return [entry async for entry in journal.replay(after)]


@pytest.mark.parametrize("entry", HISTORY, ids=lambda entry: str(entry.position))
def test_an_entry_of_the_release_is_read_as_it_was_written(entry: Entry, golden: Golden) -> None:
    assert decode_entry(entry.position, golden.entries[entry.position]) == entry


def test_the_file_holds_the_history_and_nothing_else(golden: Golden) -> None:
    assert list(golden.entries) == [entry.position for entry in HISTORY]


async def test_the_journal_of_the_release_replays_to_the_recorded_state(
    golden: Golden, journal: MemoryJournal
) -> None:
    state = replay(await replayed(journal, START), EventState())
    check_fully(state)
    assert facts(state) == golden.facts


def test_the_snapshot_of_the_release_is_found_and_sound(golden: Golden) -> None:
    ref = open_manifest(golden.manifest)
    assert isinstance(ref, SnapshotRef)
    slices = open_slices(ref, golden.slices)
    assert ref == snapshot_ref(len(slices), digest_of(slices))


async def test_the_snapshot_of_the_release_and_its_tail_give_the_same_state(
    golden: Golden, journal: MemoryJournal
) -> None:
    (ref,) = await journal.snapshots()
    state = restore(await journal.read_snapshot(ref))
    begun = replay((e for e in HISTORY if e.position <= SNAPSHOT_AT), EventState())
    assert digest(state) == digest(begun)
    replay(await replayed(journal, ref.position), state)
    check_fully(state)
    assert facts(state) == golden.facts
    assert digest(state) == digest(replay(HISTORY, EventState()))


async def test_another_history_would_give_other_facts(golden: Golden) -> None:
    assert facts(replay(HISTORY[:-1], EventState())) != golden.facts


def test_the_generator_never_writes_over_what_was_released(tmp_path: Path) -> None:
    path = tmp_path / "journal.hex"
    make(path)
    path.write_text("released")
    with pytest.raises(FileExistsError):
        make(path)
    assert path.read_text() == "released"
    before = PATH.read_bytes()
    run = subprocess.run(
        [sys.executable, "-m", "tests.golden.make_v1"],
        cwd=PATH.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "never written again" in run.stderr
    assert PATH.read_bytes() == before
