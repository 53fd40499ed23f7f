"""What tests of the running product begin with."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.in_process import InProcess, in_process
from tests.paying import Shop, paying
from tests.stripe_sandbox import Sandbox, running_sandbox


@pytest.fixture
async def onsale(redis: Redis) -> AsyncIterator[InProcess]:
    """The whole application in this process, over an empty store."""
    async with in_process(redis) as running:
        yield running


@pytest.fixture
async def onsale_with_books(redis: Redis, tmp_path: Path) -> AsyncIterator[InProcess]:
    """The same, with an empty database."""
    async with in_process(redis, database_url=f"sqlite:///{tmp_path}/onsale.db") as running:
        yield running


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    """The Stripe sandbox of the whole run; tests take `shop`."""
    with running_sandbox(options=["--settle-seconds", "3600"]) as running:
        yield running


@pytest.fixture
async def shop(redis: Redis, shared_sandbox: Sandbox) -> AsyncIterator[Shop]:
    """The whole application with a payment desk, over an empty store and empty books."""
    shared_sandbox.clear_faults()
    shared_sandbox.reset()
    async with paying(redis, shared_sandbox) as running:
        yield running
