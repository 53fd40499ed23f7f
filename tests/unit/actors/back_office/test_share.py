"""Who reads which partitions, while the number of those who share them changes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest

from actors.back_office.share import Share, share
from actors.consumer import Consumer, RetryLater
from engine.journal.contract import Unavailable
from engine.journal.memory_stream_store import MemoryStreamStore
from engine.journal.memory_streams import MemoryStreams
from engine.journal.streams import Delivery, Group, Incoming, StreamKind
from engine.limits import ABANDONED_MS, KEEP_SECONDS, OFFICES_LOOK_SECONDS, PARTITIONS
from tests.unit.actors.given import until
from tests.virtual_time import now_ms

GROUP = Group("offices", StreamKind.INBOX)
#: When everybody has heard of a change, and taken what others have given back, seconds.
HEARD = 2 * OFFICES_LOOK_SECONDS
TAKEN = HEARD + 2 * KEEP_SECONDS


class World:
    """Back offices that are started, told of a number, and killed."""

    def __init__(self, count: int) -> None:
        self.store = MemoryStreamStore(now_ms)
        self.set_to = count
        self.away = False
        self.running: dict[int, asyncio.Task[None]] = {}
        self.begun: Counter[str] = Counter()
        self.handled: Counter[str] = Counter()
        #: Which places have handled something of a partition, since it was last cleared.
        self.readers: dict[int, set[int]] = {}
        self.slow: set[str] = set()
        self.stuck: set[str] = set()

    async def count(self) -> int:
        if self.away:
            raise Unavailable("away")
        return self.set_to

    def start(self, *places: int) -> None:
        for place in places:

            async def handle(deliveries: Sequence[Delivery], place: int = place) -> None:
                await self._handle(place, deliveries)

            def consumers(partitions: range, place: int = place, handle=handle) -> list[Consumer]:
                streams, name = MemoryStreams(self.store), f"office-{place}"
                return [Consumer(streams, GROUP, name, handle, partitions=partitions)]

            work = Share(self, place, consumers).work()
            self.running[place] = asyncio.create_task(work)

    async def _handle(self, place: int, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            name = delivery.message.id
            self.begun[name] += 1
            if name in self.stuck:
                raise RetryLater(3_600.0, "stuck")
            if name in self.slow:
                await asyncio.sleep(3.0)
            self.handled[name] += 1
            self.readers.setdefault(delivery.partition, set()).add(place)

    async def kill(self, place: int) -> None:
        task = self.running.pop(place)
        task.cancel()
        await asyncio.wait([task])

    async def put(self, name: str, partitions: Sequence[int] = range(PARTITIONS)) -> list[str]:
        """Put a message into each of these partitions, and return their ids."""
        ids = [f"{name}-{partition}" for partition in partitions]
        messages = [Incoming(one, "kind", b"", 0, one) for one in ids]
        await MemoryStreams(self.store).put_many(list(zip(partitions, messages, strict=True)))
        return ids

    async def who_reads(self, name: str) -> dict[int, set[int]]:
        """Return who handles a new message of each partition."""
        self.readers.clear()
        await self.put(name)
        await until(lambda: len(self.readers) == PARTITIONS)
        await asyncio.sleep(TAKEN)
        return dict(sorted(self.readers.items()))

    async def left(self) -> int:
        lags = await MemoryStreams(self.store).lag(GROUP)
        return sum(lag.pending + lag.undelivered for lag in lags)


def shares(count: int) -> dict[int, set[int]]:
    return {partition: {partition % count} for partition in range(PARTITIONS)}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World(2)
    yield made
    for place in list(made.running):
        await made.kill(place)


@pytest.mark.parametrize("count", [1, 2, 3, 7, PARTITIONS])
def test_every_partition_has_exactly_one_place(count: int) -> None:
    read = [partition for place in range(PARTITIONS) for partition in share(place, count)]
    assert sorted(read) == list(range(PARTITIONS))
    assert all(share(place, count) for place in range(count))


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 3), (3, 2), (4, 1), (2, 5)])
async def test_after_a_change_every_partition_has_one_reader_and_nothing_is_lost(
    world: World, before: int, after: int
) -> None:
    world.set_to = before
    world.start(*range(before))
    assert await world.who_reads("before") == shares(before)
    ids = await world.put("meanwhile")
    world.set_to = after
    world.start(*range(before, after))  # as the warden does
    ids += await world.put("later")
    await asyncio.sleep(TAKEN)
    assert await world.who_reads("after") == shares(after)
    assert all(world.handled[one] for one in ids)
    assert await world.left() == 0
    ended = {place for place, task in world.running.items() if task.done()}
    assert ended == set(range(after, before))
    for place in ended:
        assert world.running.pop(place).result() is None


async def test_a_place_that_there_is_not_reads_nothing(world: World) -> None:
    world.start(2)
    await asyncio.wait([world.running[2]], timeout=HEARD)
    assert world.running.pop(2).result() is None
    assert world.handled == {}


async def test_what_is_being_handled_is_finished_and_not_handled_again(world: World) -> None:
    world.start(0, 1)
    ids = await world.put("slow")
    world.slow.update(ids)
    await asyncio.sleep(0.5)
    world.set_to = 1
    await asyncio.sleep(TAKEN + ABANDONED_MS / 1_000)
    assert world.begun == world.handled == dict.fromkeys(ids, 1)
    assert await world.left() == 0


async def test_what_waits_for_its_next_attempt_goes_to_the_new_reader(world: World) -> None:
    world.start(0, 1)
    (stuck,) = await world.put("stuck", [1])
    world.stuck.add(stuck)
    await asyncio.sleep(0.5)
    world.set_to = 1
    await asyncio.sleep(HEARD)
    world.stuck.clear()
    await asyncio.sleep(TAKEN)
    assert world.readers == {1: {0}}
    assert await world.left() == 0


async def test_what_was_given_back_is_taken_again_when_its_partition_comes_back(
    world: World,
) -> None:
    """Nobody else has taken it meanwhile: the one whose place it would be has never come."""
    world.set_to = 1
    world.start(0)
    (stuck,) = await world.put("stuck", [1])
    world.stuck.add(stuck)
    await asyncio.sleep(0.5)
    world.set_to = 2
    await asyncio.sleep(HEARD)
    world.stuck.clear()
    assert await world.left() == 1
    world.set_to = 1
    await asyncio.sleep(HEARD)
    assert world.handled == {stuck: 1}
    assert await world.left() == 0


async def test_what_somebody_perished_with_goes_to_the_new_reader(world: World) -> None:
    world.start(0, 1)
    (stuck,) = await world.put("stuck", [1])
    world.stuck.add(stuck)
    await asyncio.sleep(0.5)
    await world.kill(1)
    world.stuck.clear()
    world.set_to = 1
    await asyncio.sleep(TAKEN + ABANDONED_MS / 1_000)
    assert world.handled == {stuck: 1}


async def test_while_the_store_says_nothing_everybody_keeps_the_share(world: World) -> None:
    world.start(0, 1)
    assert await world.who_reads("before") == shares(2)
    world.away = True
    await asyncio.sleep(60)
    assert await world.who_reads("during") == shares(2)
    world.away, world.set_to = False, 1
    await asyncio.sleep(TAKEN)
    assert await world.who_reads("after") == shares(1)


async def test_whoever_starts_while_the_store_is_away_waits_for_it(world: World) -> None:
    world.away = True
    world.start(0, 1)
    await asyncio.sleep(60)
    world.away = False
    assert await world.who_reads("after") == shares(2)
