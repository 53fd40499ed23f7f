"""The peer that calls its event's actor once for each hold, and journals each by itself.

    python -m loadtests.peers.ray_calls PORT REDIS_URL RAY_ADDRESS DATA_DIR

The same single writer with the same durability (one XADD for each hold, to the same
server), without batches, in two forms:

* plain: an ordinary actor that does one call after the other, as one would write it first;
* shared: an asynchronous actor, so that the XADDs of concurrent holds share their fsync.

Both are tuned: a raw ASGI callable, bytes over Ray, no task events, the
interpreter set up the same way.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis

from actors.process import tune_interpreter
from actors.ray_environment import prepare_environment
from engine.journal.connect import connect
from loadtests.peers.contract import Order, Tally, Way
from loadtests.peers.front import serve

PLAIN, SHARED = "ray-plain", "ray-shared"
_CALLS_MAX = 1_000
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Order).decode


class _Stock:
    """The stock of events; every hold is journalled before it is answered."""

    def __init__(self) -> None:
        self._available: dict[str, int] = {}
        self._sold: dict[str, int] = {}
        self._bookings: dict[str, bytes] = {}
        tune_interpreter()

    def put_on_sale(self, event_id: str, capacity: int) -> None:
        """See `Way.put_on_sale`."""
        self._available[event_id], self._sold[event_id] = capacity, 0

    def available(self, event_id: str) -> int:
        """Return the units that are left."""
        return self._available[event_id]

    def read(self, booking_id: str) -> bytes | None:
        """See `Way.read`."""
        return self._bookings.get(booking_id)

    def _take(self, request: bytes) -> tuple[str, int] | None:
        """Take the units; return the journal to write to and the number of the last of them."""
        order = _unpack(request)
        event_id = order.event_id
        if order.quantity > self._available[event_id]:
            return None
        self._available[event_id] -= order.quantity
        self._sold[event_id] += order.quantity
        self._bookings[order.booking_id] = request
        return _journal(type(self), event_id), self._sold[event_id]


class PlainInventory(_Stock):
    """Does one call after the other."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self._redis = Redis.from_url(redis_url)

    def place(self, request: bytes) -> int | None:
        """Take the units, journal them, answer."""
        taken = self._take(request)
        if taken is None:
            return None
        self._redis.xadd(taken[0], {"e": request})
        return taken[1]


class SharedInventory(_Stock):
    """Journals many holds at once, each by itself."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        # As many connections as there may be calls under way.
        separator = "&" if "?" in redis_url else "?"
        self._redis = connect(f"{redis_url}{separator}max_connections={_CALLS_MAX}")

    async def place(self, request: bytes) -> int | None:
        """Take the units, journal them, answer."""
        taken = self._take(request)
        if taken is None:
            return None
        await self._redis.xadd(taken[0], {"e": request})
        return taken[1]


class RayCalls:
    """A Ray call for each hold.

    Args:
        actor: decides and journals.
        kind: `PlainInventory` or `SharedInventory`, whichever the actor is.
        redis_url: where the journal is.
    """

    def __init__(self, actor: Any, kind: type[_Stock], redis_url: str) -> None:
        self._actor = actor
        self._kind = kind
        self._redis = connect(redis_url)

    async def put_on_sale(self, event_id: str, ticket_type: str, capacity: int) -> None:
        """See `Way.put_on_sale`."""
        del ticket_type  # each event has one
        await self._actor.put_on_sale.remote(event_id, capacity)

    async def place(self, order: Order) -> int | None:
        """See `Way.place`."""
        number: int | None = await self._actor.place.remote(_pack(order))
        return number

    async def read(self, event_id: str, booking_id: str) -> Order | None:
        """See `Way.read`."""
        del event_id
        found: bytes | None = await self._actor.read.remote(booking_id)
        return None if found is None else _unpack(found)

    async def tally(self, event_id: str) -> Tally:
        """See `Way.tally`; what was sold is read from the journal."""
        entries: Any = await self._redis.xrange(_journal(self._kind, event_id))
        orders = [_unpack(fields[b"e"]) for _, fields in entries]
        available = await self._actor.available.remote(event_id)
        return Tally(available, len(orders), sum(order.quantity for order in orders))


def _journal(kind: type[_Stock], event_id: str) -> str:
    return f"{{p00}}:bench-{kind.__name__}-{event_id}"


@asynccontextmanager
async def _opened(redis_url: str) -> AsyncIterator[dict[str, Way]]:
    import ray  # noqa: PLC0415 - Ray reads its environment when imported

    remote: Any = ray.remote  # its types know only some of its options
    declare_plain = remote(num_cpus=0, enable_task_events=False)
    declare_shared = remote(num_cpus=0, enable_task_events=False, max_concurrency=_CALLS_MAX)
    plain = declare_plain(PlainInventory).remote(redis_url)
    shared = declare_shared(SharedInventory).remote(redis_url)
    yield {
        PLAIN: RayCalls(plain, PlainInventory, redis_url),
        SHARED: RayCalls(shared, SharedInventory, redis_url),
    }


def main(port: int, redis_url: str, ray_address: str, data_dir: Path) -> None:
    """Serve until SIGTERM."""
    prepare_environment(data_dir / "ray-token")
    from actors.runtime import join  # noqa: PLC0415 - as above

    join(ray_address)
    serve(port, "raw", partial(_opened, redis_url))
    os._exit(0)


if __name__ == "__main__":
    # By its name, so that Ray's workers import the actor's class instead of unpickling it.
    from loadtests.peers.ray_calls import main as run

    run(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
