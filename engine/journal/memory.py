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
    Unavailable,
    refusal,
)
from engine.journal.entry import (
    START,
    Entry,
    Position,
    decode_entry,
    encode_entry,
    seal,
)
from engine.journal.projection import Projection, project
from engine.journal.replay import EntryOrder
from engine.journal.sealed import open_manifest, open_slices, seal_manifest
from engine.limits import SNAPSHOTS_KEPT


class Fault(StrEnum):
    """What goes wrong with the next append."""

    REQUEST_LOST = "the request never arrives"
    REPLY_LOST = "the request is carried out, the reply never arrives"
    AWAY = "nothing answers, reads neither"


class MemoryStore:
    """What a Redis server would hold; outlives the journals that use it.

    `faults` are taken one for each append; while `away`, nothing answers.
    """

    def __init__(self) -> None:
        self.entries: dict[str, dict[Position, bytes]] = defaultdict(dict)
        self.projections: dict[str, list[tuple[Position, Projection]]] = defaultdict(list)
        self.finished: dict[str, dict[Position, bytes]] = defaultdict(dict)
        self.slices: dict[str, list[bytes]] = {}
        self.awake: set[str] = set()
        self.claimants: dict[str, bytes] = {}
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

    async def claim(self, nonce: bytes, at_ms: int, claimant: bytes = b"") -> Position:
        """See `Journal.claim`."""
        if self._store.away:
            raise InDoubt("away")
        head = await self.head()
        claim = Entry(head.epoch + 1, 0, at_ms, nonce)
        self._write(claim, head, claimant)
        return claim.position

    async def append(self, entry: Entry, after: Position) -> None:
        """See `Journal.append`."""
        self._write(entry, after)

    def _write(self, entry: Entry, after: Position, claimant: bytes = b"") -> None:
        """Carry out the next write, or have it fail as the next fault says."""
        fault = self._store.faults.popleft() if self._store.faults else None
        if fault is Fault.AWAY:
            self._store.away = True
        if self._store.away or fault is Fault.REQUEST_LOST:
            raise InDoubt(str(fault or Fault.AWAY))
        refused = self._take(entry, after, claimant)
        if fault is Fault.REPLY_LOST:
            raise InDoubt(str(fault))
        if refused is not None:
            raise refused

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
        found = map(open_manifest, self._finished.values())
        refs = [ref for ref in found if ref is not None]
        return sorted(refs, key=lambda ref: ref.position, reverse=True)

    async def read_snapshot(self, ref: SnapshotRef) -> list[bytes]:
        """See `Journal.read_snapshot`."""
        self._reach()
        return open_slices(ref, self._store.slices.get(ref.key, []))

    async def begin_snapshot(self, position: Position, nonce: bytes) -> str:
        """See `Journal.begin_snapshot`."""
        self._reach()
        key = f"{self.event_id}:{position}:{nonce.hex()}"
        self._store.slices[key] = []
        return key

    async def write_slice(self, key: str, data: bytes) -> None:
        """See `Journal.write_slice`."""
        self._reach()
        self._store.slices.setdefault(key, []).append(seal(data))

    async def finish_snapshot(self, ref: SnapshotRef) -> None:
        """See `Journal.finish_snapshot`."""
        self._reach()
        found = max(self._entries, default=START)
        if found.epoch > ref.epoch:
            raise Fenced(ref.position, found)
        self._finished[ref.position] = seal_manifest(ref)
        refs = (await self.snapshots())[:SNAPSHOTS_KEPT]
        for position in self._finished.keys() - {seen.position for seen in refs}:
            del self._finished[position]
        kept = {seen.key for seen in refs}
        for key in list(self._store.slices):
            if key.startswith(f"{self.event_id}:") and key not in kept:
                del self._store.slices[key]

    async def trim(self) -> Position:
        """See `Journal.trim`."""
        refs = await self.snapshots()
        if len(refs) >= SNAPSHOTS_KEPT:
            # Never the newest: the head is read from it.
            keep = min(refs[-1].position, await self.head())
            keep = min(keep, self._store.needed_from.get(self.event_id, keep))
            for position in [position for position in self._entries if position < keep]:
                del self._entries[position]
        return min(self._entries, default=START)

    async def rest(self, at: Position) -> bool:
        """See `Journal.rest`."""
        if await self.head() != at:
            return False
        self._store.awake.discard(self.event_id)
        return True

    def _take(self, entry: Entry, after: Position, claimant: bytes) -> Fenced | JournalLost | None:
        """Write the entry unless it is there already; return why not if it is refused."""
        found = max(self._entries, default=START)
        if found == after:
            self._entries[entry.position] = encode_entry(entry)
            self._store.projections[self.event_id].append((entry.position, project(entry)))
            if entry.sequence == 0:
                self._store.awake.add(self.event_id)
                self._store.claimants[self.event_id] = claimant
            return None
        stored = self._entries.get(entry.position)
        if stored is not None and decode_entry(entry.position, stored).nonce == entry.nonce:
            return None
        return refusal(entry, after, found)

    def _reach(self) -> None:
        if self._store.away:
            raise Unavailable("away")
