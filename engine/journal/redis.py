"""The journal in Redis: one stream for each event, written by one script."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from engine.journal.contract import (
    Fenced,
    InDoubt,
    SnapshotRef,
    Unavailable,
    refusal,
)
from engine.journal.entry import (
    START,
    CorruptEntry,
    Entry,
    Position,
    decode_entry,
    encode_entry,
    seal,
)
from engine.journal.hot_script import HotScript
from engine.journal.keys import event_keys, partition_keys, partition_of
from engine.journal.projection import (
    encode_cancellation,
    encode_event,
    encode_record,
    event_member,
    project,
)
from engine.journal.replay import EntryOrder
from engine.journal.scripts import APPEND, FINISH, REST
from engine.journal.sealed import open_manifest, open_slices, seal_manifest
from engine.limits import REPLAY_PAGE_ENTRIES, SNAPSHOTS_KEPT

_Answer = TypeVar("_Answer")

#: Field prefix of a snapshot that was begun and not finished.
_BEGUN = b"begun:"


class RedisJournal:
    """Journal of one event in Redis or Valkey; keeps `engine.journal.contract.Journal`."""

    def __init__(self, client: Redis, event_id: str) -> None:
        self.event_id = event_id
        self._redis = client
        self._keys = event_keys(event_id)
        self._shared = partition_keys(partition_of(event_id))
        self._append = HotScript(client, APPEND)
        self._finish = client.register_script(FINISH)
        self._rest = client.register_script(REST)

    async def head(self) -> Position:
        """See `Journal.head`."""
        newest = await _ask(lambda: self._redis.xrevrange(self._keys.journal, count=1))
        return Position.parse(newest[0][0].decode()) if newest else START

    async def claim(self, nonce: bytes, at_ms: int, claimant: bytes = b"") -> Position:
        """See `Journal.claim`."""
        try:
            head = await self.head()
        except Unavailable as error:
            raise InDoubt(str(error)) from error
        claim = Entry(head.epoch + 1, 0, at_ms, nonce)
        found = await self._write(claim, head, claimant)
        if found != head and await self._read_own(claim) is None:
            raise Fenced(claim.position, found)
        return claim.position

    async def append(self, entry: Entry, after: Position) -> None:
        """See `Journal.append`."""
        found = await self._write(entry, after)
        if found == after:
            return
        if found >= entry.position and await self._read_own(entry) is not None:
            return
        raise refusal(entry, after, found)

    async def read_back(self, position: Position) -> Entry | None:
        """See `Journal.read_back`."""
        at = str(position)
        rows = await _ask(lambda: self._redis.xrange(self._keys.journal, at, at))
        return _entry_of(position, rows[0][1]) if rows else None

    async def replay(self, after: Position) -> AsyncIterator[Entry]:
        """See `Journal.replay`."""
        order = EntryOrder(after)
        start = f"({after}"
        while True:
            rows = await _ask(
                lambda start=start: self._redis.xrange(  # type: ignore[misc]
                    self._keys.journal, start, "+", count=REPLAY_PAGE_ENTRIES
                )
            )
            for row_id, fields in rows:
                entry = _entry_of(Position.parse(row_id.decode()), fields)
                if order.accept(entry):
                    yield entry
            if len(rows) < REPLAY_PAGE_ENTRIES:
                return
            start = f"({rows[-1][0].decode()}"

    async def snapshots(self) -> list[SnapshotRef]:
        """See `Journal.snapshots`."""
        fields = await _ask(lambda: self._redis.hgetall(self._keys.snapshots))
        found = [
            open_manifest(value) for name, value in fields.items() if not name.startswith(_BEGUN)
        ]
        refs = [ref for ref in found if ref is not None]
        return sorted(refs, key=lambda ref: ref.position, reverse=True)

    async def read_snapshot(self, ref: SnapshotRef) -> list[bytes]:
        """See `Journal.read_snapshot`."""
        return open_slices(ref, await _ask(lambda: self._redis.lrange(ref.key, 0, -1)))

    async def begin_snapshot(self, position: Position, nonce: bytes) -> str:
        """See `Journal.begin_snapshot`."""
        key = f"{self._keys.snapshot}{position}:{nonce.hex()}"
        await _ask(lambda: self._redis.hset(self._keys.snapshots, _BEGUN + key.encode(), ""))
        await _ask(lambda: self._redis.delete(key))
        return key

    async def write_slice(self, key: str, data: bytes) -> None:
        """See `Journal.write_slice`."""
        await _ask(lambda: self._redis.rpush(key, seal(data)))

    async def finish_snapshot(self, ref: SnapshotRef) -> None:
        """See `Journal.finish_snapshot`."""
        name, manifest = str(ref.position).encode(), seal_manifest(ref)
        before = await _ask(lambda: self._redis.hgetall(self._keys.snapshots))
        places = [self._keys.journal, self._keys.snapshots]
        found = await _ask(lambda: self._finish(keys=places, args=[ref.epoch, name, manifest]))
        head = Position.parse(found.decode())
        if head.epoch > ref.epoch:
            raise Fenced(ref.position, head)
        kept = {seen.key for seen in (await self.snapshots())[:SNAPSHOTS_KEPT]}
        # `before` too: a manifest of the same position has just been overwritten.
        keys = {_key_of(*field) for field in (*before.items(), (name, manifest))}
        dropped = sorted(key for key in keys if key is not None and key not in kept)
        if dropped:
            await _ask(lambda: self._redis.delete(*dropped))
        fields = [
            field
            for field, value in {**before, name: manifest}.items()
            if field.startswith(_BEGUN) or _key_of(field, value) not in kept
        ]
        if fields:
            await _ask(lambda: self._redis.hdel(self._keys.snapshots, *fields))

    async def trim(self) -> Position:
        """See `Journal.trim`."""
        refs = await self.snapshots()
        if len(refs) >= SNAPSHOTS_KEPT:
            # Never the newest: the head is read from it.
            keep = min(refs[-1].position, await self.head())
            for group in await _ask(lambda: self._redis.xinfo_groups(self._keys.journal)):
                keep = min(keep, await self._unfinished(group))
            await _ask(
                lambda: self._redis.xtrim(self._keys.journal, minid=str(keep), approximate=False)
            )
        oldest = await _ask(lambda: self._redis.xrange(self._keys.journal, count=1))
        return Position.parse(oldest[0][0].decode()) if oldest else START

    async def rest(self, at: Position) -> bool:
        """See `Journal.rest`."""
        keys = [self._keys.journal, self._shared.awake]
        return bool(await _ask(lambda: self._rest(keys=keys, args=[str(at), self.event_id])))

    async def _unfinished(self, group: dict[str, Any]) -> Position:
        """Return the first entry that a consumer group has not finished."""
        first = group["last-delivered-id"]
        if group["pending"]:
            pending = await _ask(lambda: self._redis.xpending(self._keys.journal, group["name"]))
            # None: the group has finished the last of them since it was asked.
            first = pending["min"] or first
        return Position.parse(first.decode())

    async def _read_own(self, entry: Entry) -> Entry | None:
        """Return the entry if the journal holds it as this incarnation wrote it."""
        try:
            stored = await self.read_back(entry.position)
        except Unavailable as error:
            raise InDoubt(str(error)) from error
        return stored if stored is not None and stored.nonce == entry.nonce else None

    async def _write(
        self, entry: Entry, after: Position, claimant: bytes | None = None
    ) -> Position:
        """Run the append script and return the head it found."""
        projection = project(entry)
        shared = self._shared
        event = projection.event
        opens_at_ms = None if event is None else event.opens_at_ms
        cancellation = projection.cancellation
        before = str(after).encode()
        args: list[bytes | str | int] = [
            before,
            str(entry.position),
            encode_entry(entry),
            self.event_id,
            int(claimant is not None),
            claimant or b"",
            b"" if event is None else encode_event(event),
            "" if event is None else event_member(event.starts_at_ms, event.event_id),
            "" if opens_at_ms is None else opens_at_ms,
            "" if projection.paused is None else int(projection.paused),
            b"" if cancellation is None else encode_cancellation(cancellation),
            len(projection.bookings),
            len(projection.effects),
        ]
        keys = [
            self._keys.journal,
            shared.effects,
            self._keys.document,
            shared.events,
            shared.openings,
            shared.awake,
            shared.scans,
        ]
        for customer, member in projection.bookings:
            keys.append(shared.bookings + customer)
            args.append(member)
        for index, record in (*projection.effects, *projection.scans):
            args.append(index)
            args.append(encode_record(record))
        try:
            found = await self._append.run(keys, args)
        except (RedisError, OSError, TimeoutError) as error:
            raise InDoubt(f"{type(error).__name__}: {error}") from error
        return after if found == before else Position.parse(found.decode())


def _entry_of(position: Position, fields: dict[bytes, bytes]) -> Entry:
    if b"e" not in fields:
        raise CorruptEntry(position, "has no field e")
    return decode_entry(position, fields[b"e"])


def _key_of(field: bytes, value: bytes) -> str | None:
    if field.startswith(_BEGUN):
        return field[len(_BEGUN) :].decode()
    ref = open_manifest(value)
    return None if ref is None else ref.key


async def _ask(call: Callable[[], Awaitable[_Answer]]) -> Any:
    """Await a read or a write that may safely be repeated.

    Raises:
        Unavailable: the server did not answer, or refuses for a reason of its own.
    """
    try:
        return cast("Any", await call())
    except ResponseError as error:
        if str(error).startswith("no such key"):
            return []  # XINFO of a journal that has no entry yet
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
