"""What was acknowledged survives the server (drills 9 and 10, without the load)."""

import asyncio
import random
from collections import defaultdict

import pytest
from redis.asyncio import Redis

from engine.journal.catalogue import Catalogue
from engine.journal.connect import connect
from engine.journal.contract import InDoubt, JournalLost, Unavailable
from engine.journal.embedded import EmbeddedStore
from engine.journal.entry import START, Entry, Position
from engine.journal.keys import partition_keys, partition_of
from engine.journal.redis import RedisJournal
from tests.proxy import Proxy
from tests.samples import MINE, NOW_MS, entry, expired, placed
from tests.servers import append_only_file, tear

EVENT_ID = "evt_0000000000aa"
EFFECTS = partition_keys(partition_of(EVENT_ID)).effects


def turn(position: Position) -> Entry:
    """Return an entry that also writes an effect and an index."""
    number = position.sequence
    return entry(position, placed(number, at_ms=NOW_MS + number), expired(number))


async def append(journal: RedisJournal, after: Position, count: int) -> list[Entry]:
    entries = [turn(Position(after.epoch, after.sequence + n)) for n in range(1, count + 1)]
    for written in entries:
        await journal.append(written, after)
        after = written.position
    return entries


async def replayed(client: Redis, event_id: str = EVENT_ID) -> list[Entry]:
    return [entry async for entry in RedisJournal(client, event_id).replay(START)]


async def check_beside(client: Redis, entries: list[Entry]) -> None:
    """Assert that effects and read models stand beside exactly these entries."""
    written = [row[b"entry"].decode() for _, row in await client.xrange(EFFECTS)]
    assert written == [str(entry.position) for entry in entries]
    listed = await Catalogue(client).bookings_of("ann", 10_000)
    bookings = [entry.records[0].booking.booking_id for entry in entries]
    assert listed == bookings[::-1]


@pytest.mark.parametrize("far", [False, True], ids=["unix", "tcp"])
async def test_connections_that_ended_with_the_server_are_dialled_anew_before_they_are_used(
    own: EmbeddedStore, far: bool
) -> None:
    async with Proxy(own) as proxy, connect(proxy.url if far else own.url) as client:
        # As many connections as there are questions at a time.
        await asyncio.gather(*(client.blpop("nothing", 0.1) for _ in range(3)))
        for _ in range(2):
            own.kill()
            own.start()
            await asyncio.sleep(0.05)
            assert await asyncio.gather(*(client.ping() for _ in range(3))) == [True] * 3


async def test_a_killed_server_comes_back_with_every_acknowledged_entry(
    own: EmbeddedStore,
) -> None:
    async with connect(own.url) as client:
        journal = RedisJournal(client, EVENT_ID)
        entries = await append(journal, await journal.claim(MINE, NOW_MS), 20)
        own.kill()
        with pytest.raises(Unavailable):
            await journal.head()
        with pytest.raises(InDoubt):
            await journal.append(turn(Position(1, 21)), Position(1, 20))
        own.start()
        assert await replayed(client) == entries
        await check_beside(client, entries)
        entries += await append(journal, Position(1, 20), 3)
        assert await replayed(client) == entries


class Writer:
    """Appends to one event without a pause until the server is gone."""

    def __init__(self, client: Redis, event_id: str) -> None:
        self.event_id = event_id
        self.acknowledged: list[Entry] = []
        self._journal = RedisJournal(client, event_id)

    async def run(self, each: asyncio.Semaphore) -> None:
        self.after = await self._journal.claim(MINE, NOW_MS)
        while True:
            self.open = turn(Position(1, self.after.sequence + 1))
            try:
                await self._journal.append(self.open, self.after)
            except InDoubt:
                return
            self.acknowledged.append(self.open)
            self.after = self.open.position
            each.release()

    async def resolve(self) -> None:
        await self._journal.append(self.open, self.after)


async def test_a_server_killed_amid_appends_keeps_what_was_acknowledged_and_no_half(
    own: EmbeddedStore,
) -> None:
    async with connect(own.url) as client:
        writers = [Writer(client, f"evt_{number:012d}") for number in range(6)]
        acknowledged = asyncio.Semaphore(0)
        running = [asyncio.create_task(writer.run(acknowledged)) for writer in writers]
        for _ in range(150):
            await acknowledged.acquire()
        own.kill()
        await asyncio.gather(*running)
        own.start()
        for writer in writers:
            found = await replayed(client, writer.event_id)
            assert found in (writer.acknowledged, [*writer.acknowledged, writer.open])
            await writer.resolve()
            assert await replayed(client, writer.event_id) == [*writer.acknowledged, writer.open]
        effects = defaultdict(list)
        for partition in {partition_of(writer.event_id) for writer in writers}:
            for _, row in await client.xrange(partition_keys(partition).effects):
                effects[row[b"event"].decode()].append(row[b"entry"].decode())
        for writer in writers:
            entries = [*writer.acknowledged, writer.open]
            assert effects[writer.event_id] == [str(entry.position) for entry in entries]


async def torn(own: EmbeddedStore, client: Redis, offset: int) -> list[Entry]:
    """Kill the server, cut its file at `offset`, start it again, and replay."""
    own.kill()
    tear(own, offset)
    own.start()
    return await replayed(client)


@pytest.mark.parametrize("seed", range(6))
async def test_a_file_torn_behind_the_acknowledged_entries_keeps_them_all(
    seed: int, own: EmbeddedStore
) -> None:
    async with connect(own.url) as client:
        journal = RedisJournal(client, EVENT_ID)
        entries = await append(journal, await journal.claim(MINE, NOW_MS), 5)
        file = append_only_file(own)
        acknowledged = file.stat().st_size
        # Nobody is told of these: they stand for what was on its way when the power went.
        unheard = await append(journal, Position(1, 5), 3)
        offset = random.Random(seed).randrange(acknowledged, file.stat().st_size)
        found = await torn(own, client, offset)
        assert found[:5] == entries, f"torn at {offset}"
        assert found[5:] == unheard[: len(found) - 5]
        assert len(found) < 8, "something was to be lost"
        await check_beside(client, found)
        head = await journal.head()
        await append(journal, head, 2)
        assert [entry.sequence for entry in await replayed(client)] == [
            *range(1, head.sequence + 3)
        ]


async def test_a_file_torn_before_an_acknowledged_entry_would_be_seen(own: EmbeddedStore) -> None:
    async with connect(own.url) as client:
        journal = RedisJournal(client, EVENT_ID)
        entries = await append(journal, await journal.claim(MINE, NOW_MS), 5)
        assert await torn(own, client, append_only_file(own).stat().st_size - 1) == entries[:4]
        with pytest.raises(JournalLost):
            await journal.append(turn(Position(1, 6)), Position(1, 5))


async def test_a_server_stopped_in_good_order_loses_nothing_either(own: EmbeddedStore) -> None:
    async with connect(own.url) as client:
        journal = RedisJournal(client, EVENT_ID)
        entries = await append(journal, await journal.claim(MINE, NOW_MS), 5)
        own.stop()
        own.start()
        assert await replayed(client) == entries
