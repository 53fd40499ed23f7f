"""How fast a journal turns back into a state."""

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from actors.recovery import rebuild
from engine.domain.state import EventState
from engine.journal.contract import Journal
from engine.journal.entry import Entry, Position
from engine.journal.memory import MemoryJournal, MemoryStore
from loadtests.bench.inprocess.given import EVENT_ID, turns

NONCE = b"bench..."


def measure(progress: Callable[[float], None], *, quick: bool) -> dict[str, Any]:
    """Time `rebuild` over entries as they are stored, from memory: no server, all checks."""
    return asyncio.run(_measure(progress, quick=quick))


async def _measure(progress: Callable[[float], None], *, quick: bool) -> dict[str, Any]:
    count = 20_000 if quick else 200_000
    repetitions = 3 if quick else 5
    journal = MemoryJournal(MemoryStore(), EVENT_ID)
    await fill(journal, count)
    rates = []
    for repetition in range(repetitions):
        began = time.perf_counter()
        recovered = await rebuild(journal)
        rates.append(recovered.replayed_records / (time.perf_counter() - began))
        progress((repetition + 1) / repetitions)
    return {"records": count, "records_per_second": round(median(rates))}


async def fill(journal: Journal, count: int) -> EventState:
    """Journal an event and `count` holds, a turn an entry; return the state they lead to."""
    state = EventState()
    head = await journal.claim(NONCE, 0)
    for records in turns(state, count):
        entry = Entry(head.epoch, state.sequence, state.now_ms, NONCE, tuple(records))
        await journal.append(entry, head)
        head = Position(head.epoch, state.sequence)
    return state
