"""The peer of most flash sales: a Lua script in Redis for each hold.

    python -m loadtests.peers.lua PORT FRONT REDIS_URL

The script looks, takes and keeps the booking in one step; the server forces it to disk
before it answers, once for all the scripts of one round of its loop.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from loadtests.peers.contract import Order, Tally, Way
from loadtests.peers.front import serve

LUA = "lua"
#: Scripts that wait for the same fsync. More cost the application more than they save.
_CONNECTIONS = 64

_PLACE = """
local stock = redis.call('HMGET', KEYS[1], 'capacity', 'sold')
local sold = tonumber(stock[2]) + tonumber(ARGV[1])
if sold > tonumber(stock[1]) then return false end
redis.call('HSET', KEYS[1], 'sold', sold)
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
return sold
"""
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Order).decode


class Lua:
    """An event's stock and its bookings are two hashes.

    Args:
        clients: each with one connection of its own. Whoever finds none free waits: cheaper
            than redis-py's own pool that makes one wait.
        sha: of the script, which the server knows.
    """

    def __init__(self, clients: list[Redis], sha: str) -> None:
        self._sha = sha
        self._any = clients[0]
        self._free: asyncio.LifoQueue[Redis] = asyncio.LifoQueue()
        for client in clients:
            self._free.put_nowait(client)

    async def put_on_sale(self, event_id: str, ticket_type: str, capacity: int) -> None:
        """See `Way.put_on_sale`."""
        del ticket_type  # each event has one
        await self._any.hset(_stock(event_id), mapping={"capacity": capacity, "sold": 0})

    async def place(self, order: Order) -> int | None:
        """See `Way.place`."""
        client = await self._free.get()
        try:
            number: int | None = await client.evalsha(
                self._sha,
                2,
                _stock(order.event_id),
                _bookings(order.event_id),
                order.quantity,
                order.booking_id,
                _pack(order),
            )
        finally:
            self._free.put_nowait(client)
        return number

    async def read(self, event_id: str, booking_id: str) -> Order | None:
        """See `Way.read`."""
        found: Any = await self._any.hget(_bookings(event_id), booking_id)
        return None if found is None else _unpack(found)

    async def tally(self, event_id: str) -> Tally:
        """See `Way.tally`."""
        stock: Any = await self._any.hmget(_stock(event_id), ["capacity", "sold"])
        capacity, sold = map(int, stock)
        bookings: Any = await self._any.hvals(_bookings(event_id))
        units = sum(_unpack(booking).quantity for booking in bookings)
        return Tally(capacity - sold, len(bookings), units)


def _stock(event_id: str) -> str:
    return f"{{{event_id}}}:stock"


def _bookings(event_id: str) -> str:
    return f"{{{event_id}}}:bookings"


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[dict[str, Way]]:
    async with AsyncExitStack() as opened:
        clients = [
            await opened.enter_async_context(
                Redis.from_url(
                    url,
                    single_connection_client=True,
                    # A timeout for each command costs a timer each, and a repeat could sell twice.
                    socket_timeout=None,
                    retry=Retry(NoBackoff(), 0),
                )
            )
            for _ in range(_CONNECTIONS)
        ]
        yield {LUA: Lua(clients, await clients[0].script_load(_PLACE))}


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], partial(_opened, sys.argv[3]))
