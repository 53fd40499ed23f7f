"""A consumer over a real store: outages, kills and dead letters as production sees them."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from actors.consumer import Consumer
from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from engine.journal.redis_streams import RedisStreams
from engine.journal.streams import Delivery, Group, Incoming, StreamKind
from engine.limits import DELIVERIES_MAX, REDIS_TIMEOUT_SECONDS, STREAM_BLOCK_MS_MAX
from tests.proxy import Proxy

GROUP = Group("payments", StreamKind.INBOX)
PARTITIONS = range(4)
EVENTS = 6


class Work:
    """A handler that remembers what it has done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            await asyncio.sleep(0.001)
            self.done.append(delivery.message.id)

    def of_event(self, number: int) -> list[str]:
        return [name for name in self.done if name.startswith(f"e{number}:")]


def names(count: int, start: int = 0) -> list[str]:
    return [f"e{number % EVENTS}:{number:04d}" for number in range(start, start + count)]


async def put(client: Redis, ids: Sequence[str]) -> None:
    await RedisStreams(client).put_many(
        [(int(name[1]) % len(PARTITIONS), Incoming(name, "k", b"{}", 0, name[:2])) for name in ids]
    )


async def all_finished(client: Redis) -> None:
    streams = RedisStreams(client)
    async with asyncio.timeout(30):
        while True:
            lags = await streams.lag(GROUP)
            if len(lags) == len(PARTITIONS) and not sum(
                lag.pending + lag.undelivered for lag in lags
            ):
                return
            await asyncio.sleep(0.02)


def consumer(client: Redis, handle: object, name: str = "c-0") -> Consumer:
    return Consumer(RedisStreams(client), GROUP, name, handle, partitions=PARTITIONS)


async def killed(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def test_a_read_that_waits_is_over_before_its_connection_is_given_up() -> None:
    assert 2 * STREAM_BLOCK_MS_MAX < 1_000 * REDIS_TIMEOUT_SECONDS


async def test_everything_is_handled_once_and_in_order_on_a_quiet_day(redis: Redis) -> None:
    work = Work()
    running = consumer(redis, work.handle)
    task = asyncio.create_task(running.run())
    for start in range(0, 600, 60):
        await put(redis, names(60, start))
    await all_finished(redis)
    await running.stop()
    await task
    assert Counter(work.done) == Counter(names(600))
    for event in range(EVENTS):
        assert work.of_event(event) == sorted(work.of_event(event))


async def test_a_store_that_is_killed_and_restarted_loses_nothing(own: EmbeddedStore) -> None:
    work = Work()
    async with connect(own.url) as client:
        await put(client, names(300))
        running = consumer(client, work.handle)
        task = asyncio.create_task(running.run())
        await asyncio.sleep(0.05)
        own.kill()
        await asyncio.sleep(0.2)
        own.start()
        await put(client, names(60, 300))
        await all_finished(client)
        await running.stop()
        await task
    assert Counter(work.done) == Counter(names(360)), "handled twice without a crash"


@pytest.mark.parametrize("command", ["XREADGROUP", "XACK", "XPENDING"])
async def test_lost_replies_lose_no_message(redis: Redis, proxy: Proxy, command: str) -> None:
    work = Work()
    async with connect(proxy.url) as client:
        running = consumer(client, work.handle)
        task = asyncio.create_task(running.run())
        for start in range(0, 200, 40):
            proxy.cut_reply(command)
            await put(redis, names(40, start))
            await asyncio.sleep(0.1)
        await all_finished(redis)
        await running.stop()
        await task
    assert Counter(work.done) == Counter(names(200))


async def test_whoever_kills_its_consumer_is_buried_and_nobody_else(redis: Redis) -> None:
    work, met = Work(), asyncio.Event()

    async def handle(deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.message.id == "e3:0003":
                met.set()
                await asyncio.Event().wait()
        await work.handle(deliveries)

    await put(redis, names(120))
    for _ in range(DELIVERIES_MAX):
        met.clear()
        task = asyncio.create_task(consumer(redis, handle).run())
        await asyncio.wait_for(met.wait(), 10)
        await killed(task)
    last = consumer(redis, handle)
    task = asyncio.create_task(last.run())
    await all_finished(redis)
    await last.stop()
    await task
    letters = await RedisStreams(redis).dead_letters(GROUP, 10)
    assert [letter.message.id for letter in letters] == ["e3:0003"]
    assert set(work.done) == set(names(120)) - {"e3:0003"}


async def test_two_consumers_share_and_the_living_takes_over(redis: Redis) -> None:
    work = Work()
    both = [consumer(redis, work.handle, name) for name in ("c-0", "c-1")]
    tasks = [asyncio.create_task(one.run()) for one in both]
    for start in range(0, 300, 30):
        await put(redis, names(30, start))
        await asyncio.sleep(0.01)
    await both[0].stop()
    await all_finished(redis)
    await both[1].stop()
    await asyncio.gather(*tasks)
    assert set(work.done) == set(names(300))
