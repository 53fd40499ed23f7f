"""What the contract suite needs of an implementation beyond the contract itself.

A rig holds one event's journal in some store, lets the test look at everything that is
stored, and plants the damage and the losses that the contract speaks of.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Protocol

from redis.asyncio import Redis

from engine.domain.records import Record
from engine.journal.catalogue import Catalogue
from engine.journal.contract import Journal
from engine.journal.entry import START, Entry, Position
from engine.journal.keys import event_keys, partition_keys, partition_of
from engine.journal.memory import Fault, MemoryJournal, MemoryStore
from engine.journal.projection import decode_record
from engine.journal.redis import RedisJournal
from tests.proxy import Proxy
from tests.samples import EVENT_ID, MINE, NOW_MS, entry, expired

#: Stored bytes by position or by name; the function changes them in place.
Entries = dict[Position, bytes]
Manifests = dict[str, bytes]


class Rig(Protocol):
    def journal(self, event_id: str = EVENT_ID) -> Journal:
        """Return a journal as a further owner of the event would open it."""

    async def contents(self) -> object:
        """Return everything that is stored, to be compared with a later answer."""

    async def effects(self) -> list[tuple[Position, int, Record]]:
        """Return the effects in the order in which they were written."""

    async def scans(self) -> list[tuple[Position, int, Record]]:
        """Return what the doors have left, in the order in which it was written."""

    async def is_awake(self) -> bool: ...

    async def claimant(self) -> bytes | None: ...

    def lose_reply(self) -> None:
        """Have the next write carried out and its reply lost."""

    def lose_request(self) -> None:
        """Have the next write lost before it arrives."""

    async def go_away(self) -> None: ...

    async def come_back(self) -> None: ...

    async def change_entries(self, change: Callable[[Entries], object]) -> None: ...

    async def change_slices(self, key: str, change: Callable[[list[bytes]], object]) -> None: ...

    async def change_manifests(self, change: Callable[[Manifests], object]) -> None: ...

    async def stored_slices(self) -> list[str]:
        """Return the keys under which slices are stored, in order."""

    async def consume(self, upto: Position, finished: Position) -> None:
        """Have a consumer group read up to one entry and finish those up to another."""


class MemoryRig:
    def __init__(self) -> None:
        self.store = MemoryStore()

    def journal(self, event_id: str = EVENT_ID) -> MemoryJournal:
        return MemoryJournal(self.store, event_id)

    async def contents(self) -> object:
        return deepcopy({name: value for name, value in vars(self.store).items() if value})

    async def effects(self) -> list[tuple[Position, int, Record]]:
        return [
            (position, index, record)
            for position, projection in self.store.projections[EVENT_ID]
            for index, record in projection.effects
        ]

    async def scans(self) -> list[tuple[Position, int, Record]]:
        return [
            (position, index, record)
            for position, projection in self.store.projections[EVENT_ID]
            for index, record in projection.scans
        ]

    async def is_awake(self) -> bool:
        return EVENT_ID in self.store.awake

    async def claimant(self) -> bytes | None:
        return self.store.claimants.get(EVENT_ID) or None

    def lose_reply(self) -> None:
        self.store.faults.append(Fault.REPLY_LOST)

    def lose_request(self) -> None:
        self.store.faults.append(Fault.REQUEST_LOST)

    async def go_away(self) -> None:
        self.store.away = True

    async def come_back(self) -> None:
        self.store.away = False

    async def change_entries(self, change: Callable[[Entries], object]) -> None:
        change(self.store.entries[EVENT_ID])

    async def change_slices(self, key: str, change: Callable[[list[bytes]], object]) -> None:
        change(self.store.slices[key])

    async def change_manifests(self, change: Callable[[Manifests], object]) -> None:
        finished = self.store.finished[EVENT_ID]
        manifests = {str(position): sealed for position, sealed in finished.items()}
        change(manifests)
        finished.clear()
        finished.update((Position.parse(name), sealed) for name, sealed in manifests.items())

    async def stored_slices(self) -> list[str]:
        return sorted(key for key, slices in self.store.slices.items() if slices)

    async def consume(self, upto: Position, finished: Position) -> None:
        entries = sorted(self.store.entries[EVENT_ID])
        pending = [position for position in entries if finished < position <= upto]
        self.store.needed_from[EVENT_ID] = min(pending, default=upto)


class RedisRig:
    """Journals reach the server through the proxy; the rig itself goes past it."""

    GROUP = "readers"

    def __init__(self, direct: Redis, client: Redis, proxy: Proxy) -> None:
        self.proxy = proxy
        self.keys = event_keys(EVENT_ID)
        self.shared = partition_keys(partition_of(EVENT_ID))
        self._direct = direct
        self._client = client

    def journal(self, event_id: str = EVENT_ID) -> RedisJournal:
        return RedisJournal(self._client, event_id)

    async def contents(self) -> object:
        return {key: await self._direct.dump(key) for key in await self._direct.keys()}

    async def effects(self) -> list[tuple[Position, int, Record]]:
        return await self._stream(self.shared.effects)

    async def scans(self) -> list[tuple[Position, int, Record]]:
        return await self._stream(self.shared.scans)

    async def _stream(self, key: str) -> list[tuple[Position, int, Record]]:
        rows = await self._direct.xrange(key)
        assert all(fields[b"event"].decode() == EVENT_ID for _, fields in rows)
        return [
            (
                Position.parse(fields[b"entry"].decode()),
                int(fields[b"n"]),
                decode_record(fields[b"r"]),
            )
            for _, fields in rows
        ]

    async def is_awake(self) -> bool:
        return bool(await self._direct.sismember(self.shared.awake, EVENT_ID))

    async def claimant(self) -> bytes | None:
        return await Catalogue(self._direct).claimant(EVENT_ID)

    def lose_reply(self) -> None:
        self.proxy.cut_reply("EVALSHA")

    def lose_request(self) -> None:
        self.proxy.drop_request("EVALSHA")

    async def go_away(self) -> None:
        await self.proxy.refuse()

    async def come_back(self) -> None:
        self.proxy.accept()

    async def change_entries(self, change: Callable[[Entries], object]) -> None:
        rows = await self._direct.xrange(self.keys.journal)
        entries = {Position.parse(row_id.decode()): fields[b"e"] for row_id, fields in rows}
        change(entries)
        await self._direct.delete(self.keys.journal)
        for position, sealed in sorted(entries.items()):
            await self._direct.xadd(self.keys.journal, {"e": sealed}, id=str(position))

    async def change_slices(self, key: str, change: Callable[[list[bytes]], object]) -> None:
        slices = await self._direct.lrange(key, 0, -1)
        change(slices)
        await self._direct.delete(key)
        for sealed in slices:
            await self._direct.rpush(key, sealed)

    async def change_manifests(self, change: Callable[[Manifests], object]) -> None:
        fields = await self._direct.hgetall(self.keys.snapshots)
        manifests = {name.decode(): sealed for name, sealed in fields.items()}
        change(manifests)
        await self._direct.delete(self.keys.snapshots)
        await self._direct.hset(self.keys.snapshots, mapping=manifests)

    async def stored_slices(self) -> list[str]:
        keys = await self._direct.keys(f"{self.keys.snapshot}*")
        return sorted(key.decode() for key in keys)

    async def consume(self, upto: Position, finished: Position) -> None:
        await self._direct.xgroup_create(self.keys.journal, self.GROUP, id="0")
        rows = await self._direct.xrange(self.keys.journal, max=str(upto))
        await self._direct.xreadgroup(
            self.GROUP, "reader", {self.keys.journal: ">"}, count=len(rows)
        )
        for row_id, _ in rows:
            if Position.parse(row_id.decode()) <= finished:
                await self._direct.xack(self.keys.journal, self.GROUP, row_id)


def flip_bit(sealed: bytes, bit: int) -> bytes:
    """Return the bytes with one bit turned over."""
    damaged = bytearray(sealed)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


async def filled(journal: Journal, count: int, nonce: bytes = MINE) -> list[Entry]:
    """Claim the journal, append so many entries to it, and return them."""
    after = await journal.claim(nonce, NOW_MS)
    entries = []
    for sequence in range(1, count + 1):
        entries.append(entry(Position(after.epoch, sequence), expired(sequence), nonce=nonce))
        await journal.append(entries[-1], after)
        after = entries[-1].position
    return entries


async def gather(journal: Journal, seen: list[Entry], after: Position = START) -> list[Entry]:
    async for replayed_entry in journal.replay(after):
        seen.append(replayed_entry)  # noqa: PERF401 - must keep what came before an error
    return seen


async def replayed(journal: Journal, after: Position = START) -> list[Entry]:
    return await gather(journal, [], after)
