"""The peers over PostgreSQL: three usual ways to sell the last ticket once.

    python -m loadtests.peers.sql PORT FRONT SOCKET_DIRECTORY

Each has a pool of its own, of the size at which it was fastest; statements are prepared.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg

from loadtests.peers.contract import Order, Tally, Way
from loadtests.peers.front import serve

FOR_UPDATE, CONDITIONAL, SKIP_LOCKED = "for-update", "conditional", "skip-locked"
USER = "onsale"
#: One hot row is free for the next only when the transaction before is on disk: more
#: connections only wait for its lock.
_ROW_CONNECTIONS = 8
#: Different rows share a commit's fsync.
_UNIT_CONNECTIONS = 16

#: More than all rounds write.
_LOG_MEGABYTES = 1_000
#: The planner does not know how few units are asked for, and would read them all each time.
_ALONG_INDEX = {"enable_seqscan": "off", "enable_bitmapscan": "off"}

_SCHEMA = """
CREATE TABLE stock (
    event_id text, ticket_type text, capacity int NOT NULL,
    available int NOT NULL CHECK (available >= 0),
    PRIMARY KEY (event_id, ticket_type)
) WITH (fillfactor = 10);
CREATE TABLE booking (
    id text PRIMARY KEY, event_id text NOT NULL, ticket_type text NOT NULL,
    customer text NOT NULL, quantity int NOT NULL, unit_price int NOT NULL,
    status text NOT NULL, expires_at timestamptz NOT NULL
);
CREATE TABLE unit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id text NOT NULL, ticket_type text NOT NULL, booking_id text
);
CREATE INDEX unit_free ON unit (event_id, ticket_type, id) WHERE booking_id IS NULL;
"""
_LOOK = "SELECT available FROM stock WHERE event_id = $1 AND ticket_type = $2 FOR UPDATE"
#: Each of these takes the arguments of `_arguments`.
_TAKE = """
WITH taken AS (
    UPDATE stock SET available = available - $5 WHERE event_id = $1 AND ticket_type = $2
    RETURNING capacity - available AS sold)
INSERT INTO booking (event_id, ticket_type, id, customer, quantity, unit_price, status, expires_at)
SELECT $1, $2, $3, $4, $5, $6, 'RESERVED', $7 FROM taken RETURNING (SELECT sold FROM taken)
"""
_TAKE_IF_ENOUGH = """
WITH taken AS (
    UPDATE stock SET available = available - $5
    WHERE event_id = $1 AND ticket_type = $2 AND available >= $5
    RETURNING capacity - available AS sold)
INSERT INTO booking (event_id, ticket_type, id, customer, quantity, unit_price, status, expires_at)
SELECT $1, $2, $3, $4, $5, $6, 'RESERVED', $7 FROM taken RETURNING (SELECT sold FROM taken)
"""
_TAKE_UNITS = """
WITH picked AS (
    SELECT id FROM unit WHERE event_id = $1 AND ticket_type = $2 AND booking_id IS NULL
    LIMIT $5 FOR UPDATE SKIP LOCKED),
taken AS (
    UPDATE unit SET booking_id = $3
    WHERE id IN (SELECT id FROM picked) AND (SELECT count(*) FROM picked) = $5 RETURNING id)
INSERT INTO booking (event_id, ticket_type, id, customer, quantity, unit_price, status, expires_at)
SELECT $1, $2, $3, $4, $5, $6, 'RESERVED', $7 WHERE EXISTS (SELECT FROM taken)
RETURNING (SELECT min(id) FROM taken)
"""


class _Shelf:
    """What all three share: an event's stock is a row, or a row for each unit."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def put_on_sale(self, event_id: str, ticket_type: str, capacity: int) -> None:
        """See `Way.put_on_sale`."""
        await self._pool.execute(
            "INSERT INTO stock VALUES ($1, $2, $3, $3)", event_id, ticket_type, capacity
        )

    async def read(self, event_id: str, booking_id: str) -> Order | None:
        """See `Way.read`."""
        row = await self._pool.fetchrow(
            "SELECT id, event_id, customer, ticket_type, quantity, unit_price, expires_at "
            "FROM booking WHERE event_id = $1 AND id = $2",
            event_id,
            booking_id,
        )
        return None if row is None else Order(*row)

    async def tally(self, event_id: str) -> Tally:
        """See `Way.tally`."""
        available = await self._available(event_id)
        row = await self._pool.fetchrow(
            "SELECT count(*), coalesce(sum(quantity), 0) FROM booking WHERE event_id = $1", event_id
        )
        return Tally(available, *row)

    async def _available(self, event_id: str) -> int:
        found: int = await self._pool.fetchval(
            "SELECT sum(available) FROM stock WHERE event_id = $1", event_id
        )
        return found


class ForUpdate(_Shelf):
    """Locks the stock's row, looks, writes, commits: the textbook, in as few trips as it has."""

    async def place(self, order: Order) -> int | None:
        """See `Way.place`."""
        async with self._pool.acquire() as connection, connection.transaction():
            available: int = await connection.fetchval(_LOOK, order.event_id, order.ticket_type)
            if available < order.quantity:
                return None
            number: int = await connection.fetchval(_TAKE, *_arguments(order))
            return number


class Conditional(_Shelf):
    """One statement that takes the units if they are there, and keeps the booking with them."""

    async def place(self, order: Order) -> int | None:
        """See `Way.place`."""
        number: int | None = await self._pool.fetchval(_TAKE_IF_ENOUGH, *_arguments(order))
        return number


class SkipLocked(_Shelf):
    """A row for each unit; whoever finds one locked takes the next. All or nothing."""

    async def put_on_sale(self, event_id: str, ticket_type: str, capacity: int) -> None:
        """See `Way.put_on_sale`."""
        await self._pool.execute(
            "INSERT INTO unit (event_id, ticket_type) SELECT $1, $2 FROM generate_series(1, $3)",
            event_id,
            ticket_type,
            capacity,
        )
        await self._pool.execute("VACUUM ANALYZE unit")

    async def place(self, order: Order) -> int | None:
        """See `Way.place`."""
        number: int | None = await self._pool.fetchval(_TAKE_UNITS, *_arguments(order))
        return number

    async def _available(self, event_id: str) -> int:
        found: int = await self._pool.fetchval(
            "SELECT count(*) FROM unit WHERE event_id = $1 AND booking_id IS NULL", event_id
        )
        return found


def _arguments(order: Order) -> tuple[Any, ...]:
    return (
        order.event_id,
        order.ticket_type,
        order.booking_id,
        order.customer,
        order.quantity,
        order.unit_price_minor,
        order.expires_at,
    )


async def _pool(directory: str, connections: int, **settings: str) -> Any:
    return await asyncpg.create_pool(
        server_settings=settings,
        host=directory,
        user=USER,
        database="postgres",
        min_size=connections,
        max_size=connections,
        max_inactive_connection_lifetime=0,
        max_queries=2**31,
    )


async def _prepare_log(pool: Any) -> None:
    """Leave files of its log for the server to use again, as a server has that has run before.

    Making a new one costs an fsync of 16 MiB of zeros in the middle of the sale.
    """
    for _ in range(_LOG_MEGABYTES):
        await pool.execute("SELECT pg_logical_emit_message(false, '', repeat('x', 1048576))")
    await pool.execute("CHECKPOINT")


@asynccontextmanager
async def _opened(directory: str) -> AsyncIterator[dict[str, Way]]:
    async with (
        await _pool(directory, _ROW_CONNECTIONS) as locking,
        await _pool(directory, _ROW_CONNECTIONS) as updating,
        await _pool(directory, _UNIT_CONNECTIONS, **_ALONG_INDEX) as skipping,
    ):
        await locking.execute(_SCHEMA)
        await _prepare_log(locking)
        yield {
            FOR_UPDATE: ForUpdate(locking),
            CONDITIONAL: Conditional(updating),
            SKIP_LOCKED: SkipLocked(skipping),
        }


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], partial(_opened, sys.argv[3]))
