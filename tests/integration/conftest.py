"""What tests of the running product begin with."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.store.sql import open_store
from engine.store.vault import Vault
from tests.in_process import InProcess, in_process
from tests.paying import Shop, paying
from tests.stripe_sandbox import Sandbox, running_sandbox


@pytest.fixture
async def onsale(redis: Redis) -> AsyncIterator[InProcess]:
    """The whole application in this process, over an empty store."""
    async with in_process(redis) as running:
        yield running


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that all migrations have seen: they take longer than most tests."""
    file: Path = tmp_path_factory.mktemp("books") / "onsale.db"
    asyncio.run(_migrate(f"sqlite:///{file}"))
    return file


async def _migrate(url: str) -> None:
    store = open_store(url, Vault((bytes(32),)))
    await store.migrate()
    await store.close()


@pytest.fixture
def books_url(empty_books: Path, tmp_path: Path) -> str:
    """The address of an empty database."""
    return f"sqlite:///{shutil.copy(empty_books, tmp_path / 'onsale.db')}"


@pytest.fixture
async def onsale_with_books(redis: Redis, books_url: str) -> AsyncIterator[InProcess]:
    """The same, with an empty database."""
    async with in_process(redis, database_url=books_url) as running:
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
