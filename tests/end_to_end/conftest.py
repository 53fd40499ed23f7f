"""One service for all drills that it survives; whatever a drill kills, it comes back."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.journal.embedded import EmbeddedStore
from tests.end_to_end.by_hand import HandEvent
from tests.end_to_end.far import Far, far_service
from tests.end_to_end.machines import Machines
from tests.end_to_end.office import Office, running_office
from tests.end_to_end.service import Service
from tests.end_to_end.shop import Shop
from tests.end_to_end.stage import Stage, place_of
from tests.servers import running_store


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put drills of one service beside each other; the order is otherwise as it was."""
    items.sort(key=lambda item: place_of(getattr(item, "fixturenames", ())))


@pytest.fixture(scope="session")
def stage() -> Stage:
    """Where one service is at a time."""
    return Stage()


@pytest.fixture(scope="session")
def shared_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The service of the whole run and its Stripe; drills take `service`, or `shop`."""
    running = Shop(tmp_path_factory.mktemp("shop"), gateways=2, dashboard=True)
    try:
        yield running
    finally:
        running.end()


@pytest.fixture
def shop(shared_shop: Shop, stage: Stage) -> Iterator[Shop]:
    """A running service with two gateways, and its Stripe, of which nothing goes wrong yet."""
    stage.enter("shop", shared_shop.close)
    if not shared_shop.service.alive():
        shared_shop.close()
        shared_shop.start()
    yield shared_shop
    shared_shop.sandbox.clear_faults()


@pytest.fixture
def service(shop: Shop) -> Service:
    """A running service with two gateways. Every drill has an event of its own."""
    return shop.service


@pytest.fixture(scope="session")
def lone_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service that drills stop; they take `alone`."""
    settings = {"ONSALE_IDLE_SECONDS": "2"}
    running = Service(tmp_path_factory.mktemp("alone"), environment=settings)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def alone(lone_service: Service, stage: Stage) -> Service:
    """A running service with one gateway, whose idle owners leave after two seconds."""
    stage.enter("alone", lone_service.close)
    if not lone_service.alive():
        lone_service.close()
        lone_service.start()
    return lone_service


@pytest.fixture(scope="session")
def shared_office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """The service whose mail server and database drills kill; they take `office`."""
    with running_office(tmp_path_factory.mktemp("office")) as running:
        yield running


@pytest.fixture
def office(shared_office: Office, stage: Stage) -> Iterator[Office]:
    """A running service whose mail server and database are there."""
    stage.enter("office", shared_office.shop.close)
    shared_office.mend()
    yield shared_office
    shared_office.mend()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def far(tmp_path_factory: pytest.TempPathFactory, stage: Stage) -> AsyncIterator[Far]:
    """A running service with two gateways, whose way to the store is in the test's hands."""
    stage.enter("far")
    async with far_service(tmp_path_factory.mktemp("far")) as running:
        yield running


@pytest.fixture
async def by_hand(store: EmbeddedStore, redis: Redis, tmp_path: Path) -> AsyncIterator[HandEvent]:
    """An event without a service: its owners are started by the test."""
    event = HandEvent(tmp_path, store.url, redis)
    try:
        yield event
    finally:
        await event.close()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory, stage: Stage) -> Iterator[Machines]:
    """A head and two others."""
    stage.enter("machines")
    running = Machines(tmp_path_factory.mktemp("machines"))
    try:
        running.start(workers=2)
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def far_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture(scope="module")
def on_machines(
    machines: Machines, far_store: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with two gateways that uses them."""
    directory: Path = tmp_path_factory.mktemp("service")
    settings = {**machines.environment, "ONSALE_REDIS_URL": far_store.url}
    service = Service(directory, gateways=2, environment=settings)
    try:
        service.start()
        yield service
    finally:
        service.close()
