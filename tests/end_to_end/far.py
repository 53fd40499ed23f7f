"""A service whose store is elsewhere, and the way between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from engine.journal.embedded import EmbeddedStore
from tests.end_to_end.service import Service
from tests.proxy import Proxy
from tests.servers import running_store


class Far:
    """The service, the proxy through which it reaches its store, and that store."""

    def __init__(self, service: Service, proxy: Proxy, store: EmbeddedStore) -> None:
        self.service = service
        self.proxy = proxy
        self.store = store


@asynccontextmanager
async def far_service(directory: Path) -> AsyncIterator[Far]:
    """Run a service with two gateways; the proxy lives in the running loop."""
    with running_store(directory / "store") as store:
        async with Proxy(store) as proxy:
            service = Service(
                directory / "service",
                gateways=2,
                environment={"ONSALE_REDIS_URL": proxy.url},
                store_url=store.url,
            )
            try:
                await asyncio.to_thread(service.start)
                yield Far(service, proxy, store)
            finally:
                await asyncio.to_thread(service.close)
