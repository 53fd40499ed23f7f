"""The implementations that every test of this directory runs against."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from engine.journal.scripts import APPEND, FINISH, REST
from engine.journal.stream_scripts import BURY, HOLD, LAG, REPLAY, TRIM
from tests.contract.rigs import MemoryRig, RedisRig, Rig
from tests.contract.stream_rigs import MemoryStreamRig, RedisStreamRig, StreamRig
from tests.proxy import Proxy


@pytest.fixture
async def redis_rig(store: EmbeddedStore, redis: Redis, proxy: Proxy) -> AsyncIterator[RedisRig]:
    for script in (APPEND, FINISH, REST):  # or the first EVALSHA would be answered with NOSCRIPT
        await redis.script_load(script)
    client = connect(proxy.url)
    yield RedisRig(redis, client, proxy)
    await client.aclose()


@pytest.fixture(params=["memory", "redis"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return MemoryRig() if request.param == "memory" else request.getfixturevalue("redis_rig")


@pytest.fixture
async def redis_stream_rig(redis: Redis, proxy: Proxy) -> AsyncIterator[RedisStreamRig]:
    for script in (BURY, HOLD, LAG, REPLAY, TRIM):
        await redis.script_load(script)
    async with connect(proxy.url) as client:
        yield RedisStreamRig(redis, client, proxy)


@pytest.fixture(params=["memory", "redis"])
def stream_rig(request: pytest.FixtureRequest) -> StreamRig:
    if request.param == "memory":
        return MemoryStreamRig()
    return request.getfixturevalue("redis_stream_rig")
