"""The implementations that every test of this directory runs against."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from engine.journal.scripts import APPEND, FINISH, REST
from tests.contract.rigs import MemoryRig, RedisRig, Rig
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
