"""What tests of the running product begin with."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.in_process import InProcess, in_process


@pytest.fixture
async def onsale(redis: Redis) -> AsyncIterator[InProcess]:
    """The whole application in this process, over an empty store."""
    async with in_process(redis) as running:
        yield running
