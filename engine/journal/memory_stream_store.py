"""What a Redis server would hold of the streams, in memory; see `memory_streams`."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from engine.journal.contract import Unavailable
from engine.journal.entry import START, Entry, Position
from engine.journal.handing_out import Pending
from engine.journal.keys import partition_of
from engine.journal.memory import Fault
from engine.journal.projection import encode_record, project
from engine.journal.stream_fields import Fields, Row, stream_key
from engine.journal.streams import Group, StreamKind

_Answer = TypeVar("_Answer")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Taken:
    """A message that is pending."""

    consumer: str
    at_ms: int
    deliveries: int


@dataclass
class Readers:
    """What one partition knows of a group."""

    last: Position = START
    pending: dict[Position, Taken] = field(default_factory=dict)


class Stream(dict[Position, Fields]):
    """One stream, oldest message first, and the groups that read it."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = START
        self.readers: dict[str, Readers] = {}

    def add(self, fields: Fields, now_ms: int) -> Position:
        """Append fields and return their place: of this time, and behind all others."""
        next_one = Position(self.newest.epoch, self.newest.sequence + 1)
        self.newest = max(Position(now_ms, 0), next_one)
        self[self.newest] = fields
        return self.newest

    def behind(self, last: Position) -> Iterator[Position]:
        """Return the places of what stands behind `last`."""
        return (place for place in self if place > last)


class MemoryStreamStore:
    """What a Redis server would hold; outlives the streams that use it.

    `faults` are taken one for each round trip; while `away`, nothing answers.
    """

    def __init__(self, now_ms: Callable[[], int] = _wall_ms) -> None:
        self.streams: defaultdict[str, Stream] = defaultdict(Stream)
        self.dead: defaultdict[tuple[Group, int], Stream] = defaultdict(Stream)
        self.faults: deque[Fault] = deque()
        self.away = False
        self.now_ms = now_ms
        self._arrival = asyncio.Event()

    def add(self, kind: StreamKind, partition: int, fields: Fields) -> str:
        """Append fields to a stream as they are, and wake who waits for them."""
        place = self.streams[stream_key(kind, partition)].add(fields, self.now_ms())
        self._arrival.set()
        self._arrival = asyncio.Event()
        return str(place)

    def add_effects(self, event_id: str, entry: Entry) -> list[str]:
        """Append the effects of an entry, as the journal's append does."""
        projection = project(entry)
        left = [(StreamKind.EFFECTS, *effect) for effect in projection.effects]
        left += [(StreamKind.SCANS, *scan) for scan in projection.scans]
        return [
            self.add(
                kind,
                partition_of(event_id),
                {
                    b"event": event_id.encode(),
                    b"entry": str(entry.position).encode(),
                    b"n": str(index).encode(),
                    b"r": encode_record(record),
                },
            )
            for kind, index, record in left
        ]

    async def wait(self, milliseconds: int) -> None:
        """Return when a message has arrived, the time is up, or nothing answers anyway."""
        if self.away:
            return
        try:
            async with asyncio.timeout(milliseconds / 1_000):
                await self._arrival.wait()
        except TimeoutError:
            return

    def carry_out(self, action: Callable[[], _Answer]) -> _Answer:
        """Do one round trip, or have it fail as the next fault says."""
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.AWAY:
            self.away = True
        if self.away or fault is Fault.REQUEST_LOST:
            raise Unavailable(str(fault or Fault.AWAY))
        answer = action()
        if fault is Fault.REPLY_LOST:
            raise Unavailable(str(fault))
        return answer


class MemoryPending:
    """The groups as Redis would keep them; keeps `PendingLists`."""

    def __init__(self, store: MemoryStreamStore) -> None:
        self._store = store

    async def pending(
        self,
        group: Group,
        after: Mapping[int, str],
        count: int,
        consumer: str | None = None,
        min_idle_ms: int = 0,
    ) -> dict[int, list[Pending]]:
        """See `PendingLists.pending`."""
        latest = self._store.now_ms() - min_idle_ms

        def look() -> dict[int, list[Pending]]:
            return {
                partition: [
                    Pending(str(place), taken.consumer, taken.deliveries)
                    for place, taken in sorted(self._readers(group, partition).pending.items())
                    if place > Position.parse(start)
                    and consumer in (None, taken.consumer)
                    and taken.at_ms <= latest
                ][:count]
                for partition, start in after.items()
            }

        return self._store.carry_out(look)

    async def claim(
        self,
        group: Group,
        consumer: str,
        chosen: Mapping[int, Sequence[Pending]],
        min_idle_ms: int,
    ) -> list[Row]:
        """See `PendingLists.claim`."""
        now_ms = self._store.now_ms()

        def claim() -> list[Row]:
            rows = []
            for partition, wanted in chosen.items():
                stream = self._store.streams[stream_key(group.kind, partition)]
                pending = stream.readers[group.name].pending
                for one in wanted:
                    place = Position.parse(one.message_id)
                    taken = pending.get(place)
                    if taken is None or now_ms - taken.at_ms < min_idle_ms:
                        continue
                    pending[place] = Taken(consumer, now_ms, one.deliveries)
                    rows.append(Row(partition, one.message_id, stream[place]))
            return rows

        return self._store.carry_out(claim)

    async def fresh(
        self, group: Group, consumer: str, partitions: Sequence[int], count: int, block_ms: int
    ) -> list[Row]:
        """See `PendingLists.fresh`."""

        def take() -> list[Row]:
            rows = []
            for partition in partitions:
                stream = self._store.streams[stream_key(group.kind, partition)]
                readers = self._readers(group, partition)
                for place in list(stream.behind(readers.last))[:count]:
                    readers.last = place
                    readers.pending[place] = Taken(consumer, self._store.now_ms(), 1)
                    rows.append(Row(partition, str(place), stream[place]))
            return rows

        if block_ms and not self._anything_new(group, partitions):
            await self._store.wait(block_ms)
        return self._store.carry_out(take)

    async def acknowledge(self, group: Group, messages: Iterable[tuple[int, str]]) -> None:
        """See `PendingLists.acknowledge`."""

        def acknowledge() -> None:
            for partition, message_id in messages:
                self._readers(group, partition).pending.pop(Position.parse(message_id), None)

        self._store.carry_out(acknowledge)

    def _anything_new(self, group: Group, partitions: Sequence[int]) -> bool:
        streams = (self._store.streams[stream_key(group.kind, number)] for number in partitions)
        return any(
            group.name not in stream.readers or stream.newest > stream.readers[group.name].last
            for stream in streams
        )

    def _readers(self, group: Group, partition: int) -> Readers:
        """Return what a partition knows of a group. Raises Unavailable when that is nothing."""
        readers = self._store.streams[stream_key(group.kind, partition)].readers
        if group.name not in readers:
            raise Unavailable(f"no group {group.name}")
        return readers[group.name]
