"""The implementations that every test of this directory runs against."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from engine.journal.scripts import APPEND, FINISH, REST
from engine.journal.stream_scripts import BURY, HOLD, LAG, REPLAY, TRIM
from loadtests.peers.postgres import programs
from tests.contract.rigs import MemoryRig, RedisRig, Rig
from tests.contract.store_rigs import (
    PostgresRig,
    PostgresServer,
    SqliteRig,
    StoreRig,
    running_postgres,
)
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


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL of the whole run; each test has a database of its own."""
    installed = programs()
    if installed is None:
        pytest.skip("no PostgreSQL server is installed: neither initdb nor postgres was found")
    with running_postgres(installed) as server:
        yield server


_numbers = count(1)


@pytest.fixture
async def postgres_rig(postgres: PostgresServer) -> AsyncIterator[PostgresRig]:
    rig = postgres.new_database(f"test_{next(_numbers)}")
    yield rig
    await rig.close()


@pytest.fixture
async def sqlite_rig(tmp_path: Path) -> AsyncIterator[SqliteRig]:
    rig = SqliteRig(tmp_path / "of all" / "back-office.db")
    yield rig
    rig.come_back()
    await rig.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_rig(request: pytest.FixtureRequest) -> StoreRig:
    name = "sqlite_rig" if request.param == "sqlite" else "postgres_rig"
    return request.getfixturevalue(name)
