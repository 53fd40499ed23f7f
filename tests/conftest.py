"""Hypothesis profiles: `ONSALE_SIMULATE=long pytest …` looks harder than every commit does.

And a real Valkey server: one for the whole run, emptied before each test that asks for it.
"""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings
from redis.asyncio import Redis

from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from tests.proxy import Proxy
from tests.servers import empty, running_store

# `print_blob`: what fails prints the line that repeats it, whatever machine it failed on.
settings.register_profile(
    "quick", max_examples=60, stateful_step_count=40, deadline=None, print_blob=True
)
settings.register_profile(
    "long", settings.get_profile("quick"), max_examples=3_000, stateful_step_count=120
)
# A number is that of the simulated worlds: see `tests/simulation/test_simulation.py`.
_looked_for = os.environ.get("ONSALE_SIMULATE", "quick")
settings.load_profile("long" if _looked_for.isdigit() else _looked_for)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """The server of the whole run; tests take `store`."""
    with running_store(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def store(shared_server: EmbeddedStore) -> EmbeddedStore:
    """A running server that holds nothing. It is shared: to kill or to set up one, take `own`."""
    empty(shared_server)
    return shared_server


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """A running server of this test alone, that it may kill, freeze and restart."""
    with running_store(tmp_path_factory.mktemp("own")) as server:
        yield server


@pytest.fixture
async def redis(store: EmbeddedStore) -> AsyncIterator[Redis]:
    """A client of `store`."""
    async with connect(store.url) as client:
        yield client


@pytest.fixture
async def proxy(store: EmbeddedStore) -> AsyncIterator[Proxy]:
    """A proxy before `store`, which loses and holds what the test says."""
    async with Proxy(store) as running:
        yield running
