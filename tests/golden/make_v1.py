"""Writes `journal-v1.hex`, once: `python -m tests.golden.make_v1`. Never writes over a file.

One line each: a kind, for entries their position, and the bytes in hexadecimal.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from engine.domain.apply import apply, finish_entry
from engine.domain.snapshot import capture, digest_of, encode_slices
from engine.domain.state import EventState
from engine.journal.contract import SnapshotRef
from engine.journal.entry import Entry, Position, encode_entry, seal
from engine.journal.sealed import seal_manifest
from tests.golden.history_v1 import HISTORY, SNAPSHOT_AT, facts, snapshot_ref

PATH = Path(__file__).with_name("journal-v1.hex")


def replay(entries: Iterable[Entry], state: EventState) -> EventState:
    """Apply the records of these entries, claims left out."""
    for entry in entries:
        if entry.sequence:
            for record in entry.records:
                apply(state, record)
            finish_entry(state, entry.sequence, entry.at_ms)
    return state


class History(NamedTuple):
    """What a file is made of."""

    entries: tuple[Entry, ...]
    snapshot_at: Position
    snapshot_ref: Callable[[int, str], SnapshotRef]
    facts: Callable[[EventState], str]


FIRST = History(HISTORY, SNAPSHOT_AT, snapshot_ref, facts)


def lines(history: History) -> list[str]:
    """Return the file, as today's code writes it."""
    begun = (entry for entry in history.entries if entry.position <= history.snapshot_at)
    slices = list(encode_slices(capture(replay(begun, EventState()))))
    ref = history.snapshot_ref(len(slices), digest_of(slices))
    return [
        *(f"entry {entry.position} {encode_entry(entry).hex()}" for entry in history.entries),
        f"manifest {seal_manifest(ref).hex()}",
        *(f"slice {seal(data).hex()}" for data in slices),
        f"facts {history.facts(replay(history.entries, EventState()))}",
    ]


def make(path: Path, history: History = FIRST) -> None:
    """Write the file.

    Raises:
        FileExistsError: it is there; what was released stays as it was.
    """
    with path.open("x") as file:
        file.writelines(f"{line}\n" for line in lines(history))


if __name__ == "__main__":
    try:
        make(PATH)
    except FileExistsError:
        sys.exit(f"{PATH} is there already: a released format is never written again")
