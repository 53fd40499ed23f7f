"""Writes `journal-v1-payments.hex`, once: `python -m tests.golden.make_v1_payments`."""

import sys
from pathlib import Path

from tests.golden.history_v1_payments import HISTORY, SNAPSHOT_AT, facts, snapshot_ref
from tests.golden.make_v1 import History, make

PATH = Path(__file__).with_name("journal-v1-payments.hex")
PAYMENTS = History(HISTORY, SNAPSHOT_AT, snapshot_ref, facts)

if __name__ == "__main__":
    try:
        make(PATH, PAYMENTS)
    except FileExistsError:
        sys.exit(f"{PATH} is there already: a released format is never written again")
