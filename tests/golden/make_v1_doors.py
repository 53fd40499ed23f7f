"""Writes `journal-v1-doors.hex`, once: `python -m tests.golden.make_v1_doors`."""

import sys
from pathlib import Path

from tests.golden.history_v1_doors import HISTORY, SNAPSHOT_AT, facts, snapshot_ref
from tests.golden.make_v1 import History, make

PATH = Path(__file__).with_name("journal-v1-doors.hex")
DOORS = History(HISTORY, SNAPSHOT_AT, snapshot_ref, facts)

if __name__ == "__main__":
    try:
        make(PATH, DOORS)
    except FileExistsError:
        sys.exit(f"{PATH} is there already: a released format is never written again")
