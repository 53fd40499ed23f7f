"""Writes `journal-v1.hex`, once: `python -m tests.golden.make_v1`. Never writes over a file.

One line each: a kind, for entries their position, and the bytes in hexadecimal.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from engine.domain.apply import apply, finish_entry
from engine.domain.snapshot import capture, digest_of, encode_slices
from engine.domain.state import EventState
from engine.journal.entry import Entry, encode_entry, seal
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


def lines() -> list[str]:
    """Return the file, as today's code writes it."""
    state = replay((e for e in HISTORY if e.position <= SNAPSHOT_AT), EventState())
    slices = list(encode_slices(capture(state)))
    ref = snapshot_ref(len(slices), digest_of(slices))
    return [
        *(f"entry {entry.position} {encode_entry(entry).hex()}" for entry in HISTORY),
        f"manifest {seal_manifest(ref).hex()}",
        *(f"slice {seal(data).hex()}" for data in slices),
        f"facts {facts(replay(HISTORY, EventState()))}",
    ]


def make(path: Path) -> None:
    """Write the file.

    Raises:
        FileExistsError: it is there; what was released stays as it was.
    """
    with path.open("x") as file:
        file.writelines(f"{line}\n" for line in lines())


if __name__ == "__main__":
    try:
        make(PATH)
    except FileExistsError:
        sys.exit(f"{PATH} is there already: a released format is never written again")
