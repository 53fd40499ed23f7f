"""What the suite of the streams needs of an implementation beyond the contract itself."""

from typing import Protocol

from redis.asyncio import Redis

from engine.journal.entry import START, Entry
from engine.journal.memory import Fault
from engine.journal.memory_stream_store import MemoryStreamStore
from engine.journal.memory_streams import MemoryStreams
from engine.journal.redis import RedisJournal
from engine.journal.redis_streams import RedisStreams
from engine.journal.stream_fields import Fields, stream_key
from engine.journal.streams import StreamKind, Streams
from tests.proxy import Proxy


class StreamRig(Protocol):
    def streams(self) -> Streams:
        """Return the streams as a process sees them that has just started."""

    async def add(self, kind: StreamKind, partition: int, fields: Fields) -> str:
        """Write fields past the contract, and return their place."""

    async def append(self, event_id: str, entry: Entry) -> None:
        """Have the journal take a first entry, and write its effects."""

    async def length(self, kind: StreamKind, partition: int) -> int:
        """Return how many messages stand on a stream."""

    async def grow_old(self, milliseconds: int) -> None:
        """Let this much time pass for whoever has something in hand."""

    def lose_request(self, command: str) -> None:
        """Have the next round trip, or command of this name, lost before it arrives."""

    def lose_reply(self, command: str) -> None:
        """Have it carried out and its reply lost."""

    async def go_away(self) -> None: ...

    async def come_back(self) -> None: ...


class MemoryStreamRig:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000
        self.store = MemoryStreamStore(lambda: self.now_ms)

    def streams(self) -> Streams:
        return MemoryStreams(self.store)

    async def add(self, kind: StreamKind, partition: int, fields: Fields) -> str:
        return self.store.add(kind, partition, fields)

    async def append(self, event_id: str, entry: Entry) -> None:
        self.store.add_effects(event_id, entry)

    async def length(self, kind: StreamKind, partition: int) -> int:
        return len(self.store.streams[stream_key(kind, partition)])

    async def grow_old(self, milliseconds: int) -> None:
        self.now_ms += milliseconds

    def lose_request(self, command: str) -> None:  # noqa: ARG002 - the next one, whatever it is
        self.store.faults.append(Fault.REQUEST_LOST)

    def lose_reply(self, command: str) -> None:  # noqa: ARG002 - the next one, whatever it is
        self.store.faults.append(Fault.REPLY_LOST)

    async def go_away(self) -> None:
        self.store.away = True

    async def come_back(self) -> None:
        self.store.away = False


class RedisStreamRig:
    """Streams reach the server through the proxy; the rig itself goes past it."""

    def __init__(self, direct: Redis, client: Redis, proxy: Proxy) -> None:
        self._direct = direct
        self._client = client
        self._proxy = proxy

    def streams(self) -> Streams:
        return RedisStreams(self._client)

    async def add(self, kind: StreamKind, partition: int, fields: Fields) -> str:
        return (await self._direct.xadd(stream_key(kind, partition), {**fields})).decode()

    async def append(self, event_id: str, entry: Entry) -> None:
        await RedisJournal(self._direct, event_id).append(entry, START)

    async def length(self, kind: StreamKind, partition: int) -> int:
        return await self._direct.xlen(stream_key(kind, partition))

    async def grow_old(self, milliseconds: int) -> None:
        """Say of everything in hand that it was kept that much earlier; counts stay."""
        for key in await self._direct.keys("*"):
            if await self._direct.type(key) != b"stream":
                continue
            for group in await self._direct.xinfo_groups(key):
                rows = await self._direct.xpending_range(key, group["name"], "-", "+", 10_000)
                for row in rows:
                    await self._direct.xclaim(
                        key,
                        group["name"],
                        row["consumer"],
                        0,
                        [row["message_id"]],
                        idle=row["time_since_delivered"] + milliseconds,
                        retrycount=row["times_delivered"],
                        justid=True,
                    )

    def lose_request(self, command: str) -> None:
        self._proxy.drop_request(command)

    def lose_reply(self, command: str) -> None:
        self._proxy.cut_reply(command)

    async def go_away(self) -> None:
        await self._proxy.refuse()

    async def come_back(self) -> None:
        self._proxy.accept()
