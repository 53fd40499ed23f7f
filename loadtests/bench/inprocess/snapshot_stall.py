"""How long the turns of an owner stand still while it writes a snapshot."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count as count_from
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from actors.clock import TurnClock
from actors.owner import EventOwner, Phase
from actors.recovery import rebuild
from actors.snapshots import write_snapshot
from actors.wire import Answers, encode_reply
from engine.domain.snapshot import capture
from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from engine.journal.entry import Entry, Position
from engine.journal.redis import RedisJournal
from engine.limits import BATCHES_IN_FLIGHT_MAX
from loadtests.bench.inprocess.given import (
    EVENT_ID,
    TURN_MS,
    batches,
    take_turn,
    wire_batch,
)
from loadtests.bench.inprocess.replay import NONCE, fill

#: How often the heartbeat should beat, seconds.
_BEAT_SECONDS = 0.001
_PATIENCE_SECONDS = 60.0
#: Holds of one call, and the pause between a reply and the next call, seconds: together
#: about 20 000 holds a second, more than one gateway brings.
_CALL_HOLDS, _CALL_PAUSE_SECONDS = 128, 0.01
#: Turns go on this long before the snapshot begins and after it has ended, seconds.
_CALM_SECONDS = 1.0


class Heartbeat:
    """Measures how late the event loop comes back, milliseconds at most."""

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._task = asyncio.create_task(self._beat())

    def read(self) -> float:
        """Return the longest delay since the last reading."""
        longest_ms, self.longest_ms = self.longest_ms, 0.0
        return longest_ms

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_BEAT_SECONDS)
            late_ms = (time.perf_counter() - began - _BEAT_SECONDS) * 1_000
            self.longest_ms = max(self.longest_ms, late_ms)


def measure(progress: Callable[[float], None], *, quick: bool) -> dict[str, Any]:
    """Let a real owner over a real store take turns while it snapshots.

    The journal is prepared so that the owner's own trigger fires in the first turn after
    its recovery. Its event loop is the one that Ray would give it.
    """
    return uvloop.run(_measure(progress, quick=quick))


async def _measure(progress: Callable[[float], None], *, quick: bool) -> dict[str, Any]:
    # A tail that makes a snapshot due is SNAPSHOT_RECORDS_MIN long, or half of all bookings.
    before, tail = (2_000, 52_000) if quick else (150_000, 150_000)
    repetitions = 1 if quick else 3
    found = []
    for repetition in range(repetitions):
        with tempfile.TemporaryDirectory(prefix="onsale-bench-") as directory:
            store = EmbeddedStore(Path(directory))
            store.start()
            try:
                found.append(await _one(store.url, before, tail))
            finally:
                store.stop()
        progress((repetition + 1) / repetitions)
    return {
        "bookings": before + tail,
        "stall_ms": round(median(during for _, during, _, _ in found), 2),
        "stall_ms_without_snapshot": round(median(without for without, _, _, _ in found), 2),
        "snapshot_took_ms": round(median(took for _, _, took, _ in found)),
        "holds_per_second_meanwhile": round(median(rate for _, _, _, rate in found)),
    }


async def _one(url: str, before: int, tail: int) -> tuple[float, float, float, float]:
    """Return longest stall without and with a snapshot, its time, and holds/s meanwhile."""
    client = connect(url)
    journal = RedisJournal(client, EVENT_ID)
    await _prepare(journal, before, tail)
    owner = EventOwner(RedisJournal(client, EVENT_ID), TurnClock(), b"owner...", lambda _: None)
    owner.start()
    while owner.phase is not Phase.SERVING:
        assert owner.phase is Phase.RECOVERING, f"the owner is {owner.phase}"
        await asyncio.sleep(0.05)
    heartbeat = Heartbeat()
    wires = (wire_batch(number * _CALL_HOLDS, _CALL_HOLDS) for number in count_from(1_000_000))
    callers = [asyncio.create_task(_call(owner, wires)) for _ in range(BATCHES_IN_FLIGHT_MAX)]
    try:
        counted = len(owner.state.bookings)
        began = time.perf_counter()
        while len(await journal.snapshots()) < 2:
            assert time.perf_counter() - began < _PATIENCE_SECONDS, "no snapshot was written"
            await asyncio.sleep(0.02)
        took = time.perf_counter() - began
        during = heartbeat.read()
        rate = (len(owner.state.bookings) - counted) / took
        await asyncio.sleep(_CALM_SECONDS)
        return heartbeat.read(), during, took * 1_000, rate
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await heartbeat.stop()
        await owner.stop()
        await client.aclose()


async def _prepare(journal: RedisJournal, before: int, tail: int) -> None:
    """Leave a snapshot of so many bookings and a tail that makes the next one due."""
    await fill(journal, before)
    state = (await rebuild(journal)).state
    head = Position(1, state.sequence)
    await write_snapshot(journal, capture(state), head, NONCE)
    now_ms = state.now_ms
    for commands in batches(before, tail):
        now_ms += TURN_MS
        records = take_turn(state, commands, now_ms)
        entry = Entry(head.epoch, state.sequence, now_ms, NONCE, tuple(records))
        await journal.append(entry, head)
        head = entry.position


async def _call(owner: EventOwner, wires: Iterator[bytes]) -> None:
    """Submit batch after batch, as a busy gateway does."""
    while True:
        reply = await owner.submit(next(wires))
        assert isinstance(reply, Answers), f"the owner answered {reply!r}"
        encode_reply(reply)
        await asyncio.sleep(_CALL_PAUSE_SECONDS)
