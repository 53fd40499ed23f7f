"""The journal in memory, with hooks that make it fail: for tests and simulations.

It keeps the same bytes as the one in Redis, so that damage can be planted in them, and
the same contract suite holds it to the same promises.
"""

from collections import defaultdict, deque
from collections.abc import AsyncIterator
from enum import StrEnum

from engine.journal.contract import (
    Fenced,
    InDoubt,
    JournalLost,
    SnapshotRef,
    SnapshotTorn,
    Unavailable,
)
from engine.journal.entry import (
    START,
    Entry,
    Position,
    decode_entry,
    encode_entry,
    seal,
    unseal,
)
from engine.journal.projection import Projection, project
from engine.journal.replay import EntryOrder
from engine.limits import SNAPSHOTS_KEPT


class Fault(StrEnum):
    """What goes wrong with the next append."""

    REQUEST_LOST = "the request never arrives"
    REPLY_LOST = "the entry is written, the reply never arrives"
    AWAY = "nothing answers, reads neither"


class MemoryStore:
    """What a Redis server would hold; outlives the journals that use it.

    `faults` are taken one for each append; while `away`, nothing answers.
    """

    def __init__(self) -> None:
        self.entries: dict[str, dict[Position, bytes]] = defaultdict(dict)
        self.projections: dict[str, list[tuple[Position, Projection]]] = defaultdict(list)
        self.finished: dict[str, dict[Position, SnapshotRef]] = defaultdict(dict)
        self.slices: dict[str, list[bytes]] = {}
        self.awake: set[str] = set()
        self.needed_from: dict[str, Position] = {}
        self.faults: deque[Fault] = deque()
        self.away = False


class MemoryJournal:
    """Journal of one event in memory; keeps `engine.journal.contract.Journal`."""

    def __init__(self, store: MemoryStore, event_id: str) -> None:
        self.event_id = event_id
        self._store = store
        self._entries = store.entries[event_id]
        self._finished = store.finished[event_id]

    async def head(self) -> Position:
        """See `Journal.head`."""
        self._reach()
        return max(self._entries, default=START)

    async def claim(self, nonce: bytes, at_ms: int) -> Position:
        """See `Journal.claim`."""
        if self._store.away:
            raise InDoubt("away")
        head = await self.head()
        claim = Entry(head.epoch + 1, 0, at_ms, nonce)
        await self.append(claim, head)
        self._store.awake.add(self.event_id)
        return claim.position

    async def append(self, entry: Entry, after: Position) -> None:
        """See `Journal.append`."""
        fault = self._store.faults.popleft() if self._store.faults else None
        if fault is Fault.AWAY:
            self._store.away = True
        if self._store.away or fault is Fault.REQUEST_LOST:
            raise InDoubt(str(fault or Fault.AWAY))
        found = max(self._entries, default=START)
        if found == after:
            self._entries[entry.position] = encode_entry(entry)
            self._store.projections[self.event_id].append((entry.position, project(entry)))
        elif entry.position in self._entries:
            stored = decode_entry(entry.position, self._entries[entry.position])
            if stored.nonce != entry.nonce:
                raise Fenced(entry.position, found)
        elif found.epoch > entry.epoch or found >= entry.position:
            raise Fenced(entry.position, found)
        else:
            raise JournalLost(after, found)
        if fault is Fault.REPLY_LOST:
            raise InDoubt(str(fault))

    async def read_back(self, position: Position) -> Entry | None:
        """See `Journal.read_back`."""
        self._reach()
        stored = self._entries.get(position)
        return None if stored is None else decode_entry(position, stored)

    async def replay(self, after: Position) -> AsyncIterator[Entry]:
        """See `Journal.replay`."""
        self._reach()
        order = EntryOrder(after)
        for position in sorted(self._entries):
            if position <= after:
                continue
            entry = decode_entry(position, self._entries[position])
            if order.accept(entry):
                yield entry

    async def snapshots(self) -> list[SnapshotRef]:
        """See `Journal.snapshots`."""
        self._reach()
        return sorted(self._finished.values(), key=lambda ref: ref.position, reverse=True)

    async def read_snapshot(self, ref: SnapshotRef) -> list[bytes]:
        """See `Journal.read_snapshot`."""
        self._reach()
        stored = self._store.slices.get(ref.key, [])
        if len(stored) != ref.slices:
            raise SnapshotTorn(f"{len(stored)} of {ref.slices} slices")
        try:
            return [bytes(unseal(data)) for data in stored]
        except ValueError as error:
            raise SnapshotTorn(str(error)) from error

    async def begin_snapshot(self, position: Position, nonce: bytes) -> str:
        """See `Journal.begin_snapshot`."""
        self._reach()
        key = f"{self.event_id}:{position}:{nonce.hex()}"
        self._store.slices[key] = []
        return key

    async def write_slice(self, key: str, data: bytes) -> None:
        """See `Journal.write_slice`."""
        self._reach()
        self._store.slices[key].append(seal(data))

    async def finish_snapshot(self, ref: SnapshotRef) -> None:
        """See `Journal.finish_snapshot`."""
        self._reach()
        self._finished[ref.position] = ref
        kept = {seen.key for seen in (await self.snapshots())[:SNAPSHOTS_KEPT]}
        for position, seen in list(self._finished.items()):
            if seen.key not in kept:
                del self._finished[position]
        for key in list(self._store.slices):
            if key.startswith(f"{self.event_id}:") and key not in kept:
                del self._store.slices[key]

    async def trim(self) -> Position:
        """See `Journal.trim`."""
        refs = await self.snapshots()
        if len(refs) >= SNAPSHOTS_KEPT:
            keep = min(
                refs[-1].position, self._store.needed_from.get(self.event_id, refs[-1].position)
            )
            for position in [position for position in self._entries if position < keep]:
                del self._entries[position]
        return min(self._entries, default=START)

    async def rest(self, at: Position) -> bool:
        """See `Journal.rest`."""
        if await self.head() != at:
            return False
        self._store.awake.discard(self.event_id)
        return True

    def _reach(self) -> None:
        if self._store.away:
            raise Unavailable("away")
