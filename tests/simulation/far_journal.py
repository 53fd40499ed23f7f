"""The journal in memory, with a network before it, and a record of everything ever written."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import TypeVar

from engine.journal.contract import Fenced, InDoubt, JournalLost, SnapshotRef, Unavailable
from engine.journal.entry import Entry, Position, decode_entry
from engine.journal.memory import MemoryJournal, MemoryStore

_Answer = TypeVar("_Answer")
#: One way through the network, seconds.
_TRAVEL_SECONDS = (0.0001, 0.003)
#: How long a call waits that gets no answer, seconds.
_TIMEOUT_SECONDS = 0.5


class Archive(dict[Position, bytes]):
    """Stored entries; remembers in order what was written, after it was trimmed too."""

    def __init__(self) -> None:
        self.written: list[tuple[Position, bytes]] = []
        #: When the turn of an entry was first sent, by position and writer; virtual seconds.
        self.first_sent: dict[tuple[Position, bytes], float] = {}
        #: (sequence, digest) of every snapshot that was finished.
        self.snapshots: list[tuple[int, str]] = []
        #: Futures that are given the nonce of whoever writes next.
        self.curious: list[asyncio.Future[bytes]] = []

    def __setitem__(self, position: Position, sealed: bytes) -> None:
        self.written.append((position, sealed))
        super().__setitem__(position, sealed)
        for future in self.curious:
            if not future.done():
                future.set_result(decode_entry(position, sealed).nonce)
        self.curious.clear()

    def entries(self) -> list[Entry]:
        """Return everything in the order in which it was written, claims included."""
        return [decode_entry(position, sealed) for position, sealed in self.written]


class FarJournal(MemoryJournal):
    """Every call takes time both ways; while `cut`, none gets through.

    An owner that is killed on the way there has written nothing, one that is killed on
    the way back has written and told nobody.
    """

    def __init__(self, store: MemoryStore, event_id: str, rng: Random) -> None:
        super().__init__(store, event_id)
        self.cut = False
        self._rng = rng

    @property
    def archive(self) -> Archive:
        return self._store.entries[self.event_id]

    async def head(self) -> Position:
        return await self._asked(super().head)

    async def claim(self, nonce: bytes, at_ms: int, claimant: bytes = b"") -> Position:
        claim = super().claim

        async def contested() -> Position:
            try:
                return await claim(nonce, at_ms, claimant)
            except JournalLost as moved:
                # As in Redis: the old owner has written between our look and our claim.
                raise Fenced(*moved.args) from moved

        return await self._asked(contested, InDoubt)

    async def append(self, entry: Entry, after: Position) -> None:
        now = asyncio.get_running_loop().time()
        self.archive.first_sent.setdefault((entry.position, entry.nonce), now)
        append = super().append
        await self._asked(lambda: append(entry, after), InDoubt)

    async def replay(self, after: Position) -> AsyncIterator[Entry]:
        replay = super().replay

        async def page() -> list[Entry]:
            return [entry async for entry in replay(after)]

        for entry in await self._asked(page):
            yield entry

    async def snapshots(self) -> list[SnapshotRef]:
        return await self._asked(super().snapshots)

    async def read_snapshot(self, ref: SnapshotRef) -> list[bytes]:
        read = super().read_snapshot
        return await self._asked(lambda: read(ref))

    async def begin_snapshot(self, position: Position, nonce: bytes) -> str:
        begin = super().begin_snapshot
        return await self._asked(lambda: begin(position, nonce))

    async def write_slice(self, key: str, data: bytes) -> None:
        write = super().write_slice
        await self._asked(lambda: write(key, data))

    async def finish_snapshot(self, ref: SnapshotRef) -> None:
        finish = super().finish_snapshot
        await self._asked(lambda: finish(ref))
        self.archive.snapshots.append((ref.sequence, ref.digest))

    async def rest(self, at: Position) -> bool:
        rest = super().rest
        return await self._asked(lambda: rest(at))

    async def _asked(
        self,
        call: Callable[[], Awaitable[_Answer]],
        lost: type[InDoubt | Unavailable] = Unavailable,
    ) -> _Answer:
        await self._travel(lost)
        try:
            return await call()
        finally:
            await self._travel(lost)

    async def _travel(self, lost: type[InDoubt | Unavailable]) -> None:
        await asyncio.sleep(self._rng.uniform(*_TRAVEL_SECONDS))
        if self.cut:
            await asyncio.sleep(_TIMEOUT_SECONDS)
            raise lost("cut off")
