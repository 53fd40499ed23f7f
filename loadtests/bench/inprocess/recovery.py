"""From the start of an owner's process to its first answer."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from actors.recovery import take_over
from actors.snapshots import write_snapshot
from engine.domain.snapshot import capture
from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from engine.journal.entry import Position
from engine.journal.redis import RedisJournal
from loadtests.bench.inprocess.given import EVENT_ID
from loadtests.bench.inprocess.replay import NONCE, fill

_PATIENCE_SECONDS = 60.0


def measure(progress: Callable[[float], None], *, quick: bool) -> dict[str, Any]:
    """Start fresh owners over a real store: once all from the journal, once from a snapshot."""
    return uvloop.run(_measure(progress, quick=quick))


async def _measure(progress: Callable[[float], None], *, quick: bool) -> dict[str, Any]:
    bookings = 10_000 if quick else 100_000
    repetitions = 1 if quick else 3
    with tempfile.TemporaryDirectory(prefix="onsale-bench-") as directory:
        store = EmbeddedStore(Path(directory))
        store.start()
        try:
            client = connect(store.url)
            journal = RedisJournal(client, EVENT_ID)
            await fill(journal, bookings)
            progress(0.2)
            replayed = [_first_answer(store.url, bookings) for _ in range(repetitions)]
            progress(0.6)
            # As the owner that it would be: only the newest may write one.
            own = await take_over(journal, NONCE, 0, b"")
            head = Position(own.head.epoch, own.state.sequence)
            await write_snapshot(journal, capture(own.state), head, NONCE)
            restored = [_first_answer(store.url, bookings) for _ in range(repetitions)]
            progress(1.0)
            await client.aclose()
        finally:
            store.stop()
    return {
        "bookings": bookings,
        "seconds_from_journal": round(median(replayed), 3),
        "seconds_from_snapshot": round(median(restored), 3),
    }


def _first_answer(url: str, bookings: int) -> float:
    """Return the seconds from the start of a process to the answer of the owner in it."""
    began = time.perf_counter()
    finished = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "loadtests.bench.inprocess.first_answer", url, EVENT_ID],
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=True,
    )
    took = time.perf_counter() - began
    assert finished.stdout.split()[0] == str(bookings), finished.stdout
    return took
