"""The lanes' tests run in virtual time: see `tests.virtual_time`."""

from collections.abc import Callable, Mapping

import pytest

from gateway import batcher
from gateway.batcher import Batcher, Lane
from tests.unit.engine.domain.given import EVENT_ID
from tests.unit.gateway.fake_owners import FakeOwners
from tests.virtual_time import VirtualClocks, VirtualLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "time", VirtualClocks)


@pytest.fixture
async def owners() -> FakeOwners:
    return FakeOwners()


@pytest.fixture
async def lanes(owners: FakeOwners) -> Batcher:
    return Batcher(owners)


@pytest.fixture
async def lane(lanes: Batcher) -> Lane:
    return lanes.lane(EVENT_ID)
