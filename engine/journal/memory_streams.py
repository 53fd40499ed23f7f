"""The streams in memory, with hooks that make them fail: for tests and simulations.

They keep the same fields as those in Redis, so that damage can be planted in them, and
the same contract suite holds them to the same promises.
"""

from collections.abc import Sequence

from engine.journal.entry import START, Position
from engine.journal.handing_out import HandingOut
from engine.journal.memory_stream_store import MemoryPending, MemoryStreamStore, Readers, Stream
from engine.journal.stream_fields import (
    DEAD_ATTEMPTS,
    DEAD_ID,
    DEAD_REASON,
    REPLAYS,
    TO,
    Row,
    decode_letter,
    encode_incoming,
    letter_order,
    split_letter_id,
    stream_key,
)
from engine.journal.streams import DeadLetter, Delivery, Group, Incoming, Lag, StreamKind
from engine.limits import ABANDONED_MS, PARTITIONS


class MemoryStreams:
    """Keeps `engine.journal.streams.Streams`; one for each process that is played."""

    def __init__(self, store: MemoryStreamStore) -> None:
        self._store = store
        self._lists = MemoryPending(store)
        self._handing_out = HandingOut(self._lists)

    # -- writing -------------------------------------------------------------------

    async def put(self, partition: int, message: Incoming) -> str:
        """See `Streams.put`."""
        return (await self.put_many([(partition, message)]))[0]

    async def put_many(self, messages: Sequence[tuple[int, Incoming]]) -> list[str]:
        """See `Streams.put_many`."""
        return self._store.carry_out(
            lambda: [
                self._store.add(StreamKind.INBOX, partition, encode_incoming(message))
                for partition, message in messages
            ]
        )

    # -- handing out ---------------------------------------------------------------

    async def ensure_group(self, group: Group, partitions: Sequence[int]) -> None:
        """See `Streams.ensure_group`."""

        def create() -> None:
            for partition in partitions:
                self._stream(group, partition).readers.setdefault(group.name, Readers())

        self._store.carry_out(create)

    async def groups(self) -> list[Group]:
        """See `Streams.groups`."""
        found = {
            (kind, name)
            for kind in StreamKind
            for partition in range(PARTITIONS)
            for name in self._store.streams[stream_key(kind, partition)].readers
        }
        return self._store.carry_out(lambda: [Group(name, kind) for kind, name in sorted(found)])

    async def read(
        self, group: Group, consumer: str, partitions: Sequence[int], count: int, block_ms: int
    ) -> list[Delivery]:
        """See `Streams.read`."""
        return await self._handing_out.read(group, consumer, partitions, count, block_ms)

    async def claim_abandoned(
        self, group: Group, consumer: str, partitions: Sequence[int], min_idle_ms: int, count: int
    ) -> list[Delivery]:
        """See `Streams.claim_abandoned`."""
        return await self._handing_out.claim_abandoned(
            group, consumer, partitions, min_idle_ms, count
        )

    async def keep(self, group: Group, consumer: str, deliveries: Sequence[Delivery]) -> None:
        """See `Streams.keep`."""
        self._store.carry_out(lambda: self._hold(group, consumer, deliveries, 0))

    async def release(self, group: Group, consumer: str, deliveries: Sequence[Delivery]) -> None:
        """See `Streams.release`."""
        self._store.carry_out(lambda: self._hold(group, consumer, deliveries, ABANDONED_MS))
        self._handing_out.put_down(group, deliveries)

    async def finish(self, group: Group, deliveries: Sequence[Delivery]) -> None:
        """See `Streams.finish`."""
        messages = [(delivery.partition, delivery.message_id) for delivery in deliveries]
        await self._lists.acknowledge(group, messages)
        self._handing_out.put_down(group, deliveries)

    def _hold(
        self, group: Group, consumer: str, deliveries: Sequence[Delivery], idle_ms: int
    ) -> None:
        for delivery in deliveries:
            readers = self._stream(group, delivery.partition).readers[group.name]
            taken = readers.pending.get(Position.parse(delivery.message_id))
            if taken is not None and taken.consumer == consumer:
                taken.at_ms = self._store.now_ms() - idle_ms
                taken.deliveries = delivery.deliveries - (1 if idle_ms else 0)

    # -- dead letters --------------------------------------------------------------

    async def bury(self, group: Group, delivery: Delivery, reason: str, attempts: int) -> None:
        """See `Streams.bury`."""

        def bury() -> None:
            stream = self._stream(group, delivery.partition)
            place = Position.parse(delivery.message_id)
            if stream.readers[group.name].pending.pop(place, None) is None:
                return
            why = {
                DEAD_ID: delivery.message_id.encode(),
                DEAD_REASON: reason.encode(),
                DEAD_ATTEMPTS: str(attempts).encode(),
            }
            letters = self._store.dead[group, delivery.partition]
            letters.add(why | stream.get(place, {}), self._store.now_ms())

        self._store.carry_out(bury)
        self._handing_out.put_down(group, [delivery])

    async def dead_letters(
        self, group: Group, limit: int, after: str | None = None
    ) -> list[DeadLetter]:
        """See `Streams.dead_letters`."""
        letters = [
            decode_letter(group.kind, Row(partition, str(place), fields))
            for (buried_by, partition), stream in self._store.dead.items()
            if buried_by == group
            for place, fields in stream.items()
        ]
        if after is not None:
            partition, last = split_letter_id(after)
            behind = (Position.parse(last), partition)
            letters = [letter for letter in letters if letter_order(letter) > behind]
        return self._store.carry_out(lambda: sorted(letters, key=letter_order)[:limit])

    async def dead_letter(self, group: Group, letter_id: str) -> DeadLetter | None:
        """See `Streams.dead_letter`."""
        partition, place = split_letter_id(letter_id)
        fields = self._store.dead[group, partition].get(Position.parse(place))
        found = fields and decode_letter(group.kind, Row(partition, place, fields))
        return self._store.carry_out(lambda: found or None)

    async def replay_dead(self, group: Group, letter_id: str) -> str | None:
        """See `Streams.replay_dead`."""
        partition, place = split_letter_id(letter_id)

        def replay() -> str | None:
            fields = self._store.dead[group, partition].pop(Position.parse(place), None)
            if fields is None:
                return None
            replays = int(fields.get(REPLAYS, 0)) + 1
            own = {name: value for name, value in fields.items() if not name.startswith(b"dead:")}
            note = {TO: group.name.encode(), REPLAYS: str(replays).encode()}
            return self._store.add(group.kind, partition, own | note)

        return self._store.carry_out(replay)

    # -- housekeeping --------------------------------------------------------------

    async def lag(self, group: Group) -> list[Lag]:
        """See `Streams.lag`."""
        found = [
            self._lag(partition, stream, stream.readers[group.name])
            for partition in range(PARTITIONS)
            if group.name in (stream := self._stream(group, partition)).readers
        ]
        return self._store.carry_out(lambda: found)

    def _lag(self, partition: int, stream: Stream, readers: Readers) -> Lag:
        undelivered = list(stream.behind(readers.last))
        ages = [
            max(0, self._store.now_ms() - min(places).epoch) if places else None
            for places in (undelivered, readers.pending)
        ]
        return Lag(partition, len(undelivered), len(readers.pending), *ages)

    async def trim(self, kind: StreamKind, partition: int, readers: Sequence[str]) -> int:
        """See `Streams.trim`."""
        stream = self._store.streams[stream_key(kind, partition)]

        def trim() -> int:
            if not stream.readers.keys() >= set(readers):
                return 0
            needed = [min(group.pending, default=group.last) for group in stream.readers.values()]
            keep = min(needed, default=START)
            dropped = [place for place in stream if place < keep]
            for place in dropped:
                del stream[place]
            return len(dropped)

        return self._store.carry_out(trim)

    def _stream(self, group: Group, partition: int) -> Stream:
        return self._store.streams[stream_key(group.kind, partition)]
