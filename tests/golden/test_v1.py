"""What was released is read for ever: entries, snapshot, and the state they give."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import get_args

import pytest

from engine.domain.records import Record
from engine.domain.snapshot import digest, digest_of, restore
from engine.domain.state import EventState, check_fully
from engine.journal.contract import SnapshotRef
from engine.journal.entry import START, Entry, Position, decode_entry
from engine.journal.memory import MemoryJournal, MemoryStore
from engine.journal.sealed import open_manifest, open_slices
from tests.golden.history_v1 import EVENT_ID
from tests.golden.make_v1 import FIRST, PATH, History, make, replay
from tests.golden.make_v1_doors import DOORS
from tests.golden.make_v1_doors import PATH as PATH_OF_DOORS
from tests.golden.make_v1_payments import PATH as PATH_OF_PAYMENTS
from tests.golden.make_v1_payments import PAYMENTS


class Golden:
    """A file, line by line, and the history that it holds."""

    def __init__(self, path: Path, history: History) -> None:
        self.path = path
        self.history = history
        found = defaultdict(list)
        for line in path.read_text().splitlines():
            kind, *rest = line.split(" ")
            found[kind].append(rest)
        self.entries = {Position.parse(at): bytes.fromhex(data) for at, data in found["entry"]}
        self.slices = [bytes.fromhex(data) for (data,) in found["slice"]]
        ((manifest,),) = found["manifest"]
        self.manifest = bytes.fromhex(manifest)
        ((self.facts,),) = found["facts"]


FILES = {
    "0.1": (PATH, FIRST, "tests.golden.make_v1"),
    "payments": (PATH_OF_PAYMENTS, PAYMENTS, "tests.golden.make_v1_payments"),
    "doors": (PATH_OF_DOORS, DOORS, "tests.golden.make_v1_doors"),
}


@pytest.fixture(scope="module", params=FILES)
def golden(request: pytest.FixtureRequest) -> Golden:
    path, history, _ = FILES[request.param]
    return Golden(path, history)


@pytest.fixture
def journal(golden: Golden) -> MemoryJournal:
    store = MemoryStore()
    store.entries[EVENT_ID].update(golden.entries)
    store.finished[EVENT_ID][golden.history.snapshot_at] = golden.manifest
    store.slices[golden.history.snapshot_ref(0, "").key] = golden.slices
    return MemoryJournal(store, EVENT_ID)


async def replayed(journal: MemoryJournal, after: Position) -> list[Entry]:
    return [entry async for entry in journal.replay(after)]


def test_entries_of_the_release_are_read_as_they_were_written(golden: Golden) -> None:
    for entry in golden.history.entries:
        assert decode_entry(entry.position, golden.entries[entry.position]) == entry


def test_the_file_holds_the_history_and_nothing_else(golden: Golden) -> None:
    assert list(golden.entries) == [entry.position for entry in golden.history.entries]


async def test_the_journal_of_the_release_replays_to_the_recorded_state(
    golden: Golden, journal: MemoryJournal
) -> None:
    state = replay(await replayed(journal, START), EventState())
    check_fully(state)
    assert golden.history.facts(state) == golden.facts


def test_the_snapshot_of_the_release_is_found_and_sound(golden: Golden) -> None:
    ref = open_manifest(golden.manifest)
    assert isinstance(ref, SnapshotRef)
    slices = open_slices(ref, golden.slices)
    assert ref == golden.history.snapshot_ref(len(slices), digest_of(slices))


async def test_the_snapshot_of_the_release_and_its_tail_give_the_same_state(
    golden: Golden, journal: MemoryJournal
) -> None:
    (ref,) = await journal.snapshots()
    state = restore(await journal.read_snapshot(ref))
    entries, snapshot_at = golden.history.entries, golden.history.snapshot_at
    begun = replay((e for e in entries if e.position <= snapshot_at), EventState())
    assert digest(state) == digest(begun)
    replay(await replayed(journal, ref.position), state)
    check_fully(state)
    assert golden.history.facts(state) == golden.facts
    assert digest(state) == digest(replay(entries, EventState()))


async def test_another_history_would_give_other_facts(golden: Golden) -> None:
    history = golden.history
    assert history.facts(replay(history.entries[:-1], EventState())) != golden.facts


def test_the_files_hold_every_record_there_is() -> None:
    entries = [entry for _, history, _ in FILES.values() for entry in history.entries]

    assert {type(record) for entry in entries for record in entry.records} == set(get_args(Record))


@pytest.mark.parametrize("name", FILES)
def test_the_generator_never_writes_over_what_was_released(name: str, tmp_path: Path) -> None:
    released, history, generator = FILES[name]
    path = tmp_path / "journal.hex"
    make(path, history)
    path.write_text("released")
    with pytest.raises(FileExistsError):
        make(path, history)
    assert path.read_text() == "released"
    before = released.read_bytes()
    run = subprocess.run(
        [sys.executable, "-m", generator],
        cwd=released.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "never written again" in run.stderr
    assert released.read_bytes() == before
