"""The scan log of the doors."""

from collections.abc import Sequence

from msgspec.structs import asdict
from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.store.contract import ADMITTED, REFUSED, UNDONE, GateCount, Scan
from engine.store.rows import columns, put_new, read
from engine.store.schema import FORGED, scans

_PLACE = (scans.c.sequence, scans.c["index"])


async def put(connection: AsyncConnection, new: Sequence[Scan]) -> None:
    """Write scans; those that are there already stay as they are."""
    await put_new(
        connection, scans, ["event_id", "sequence", "index"], [asdict(scan) for scan in new]
    )


async def of_event(
    connection: AsyncConnection, event_id: str, limit: int, before: tuple[int, int] | None
) -> list[Scan]:
    """Return scans of an event, newest first, before a (sequence, index)."""
    query = select(*columns(scans, Scan)).where(scans.c.event_id == event_id)
    if before is not None:
        query = query.where(tuple_(*_PLACE) < before)
    newest_first = [column.desc() for column in _PLACE]
    return read(await connection.execute(query.order_by(*newest_first).limit(limit)), Scan)


async def passages(
    connection: AsyncConnection, ticket_ids: Sequence[str], since_ms: int
) -> list[Scan]:
    """Return what let the holders of these tickets through since a moment, and undid it."""
    found = await connection.execute(
        select(*columns(scans, Scan))
        .where(
            scans.c.ticket_id.in_(ticket_ids),
            scans.c.at_ms >= since_ms,
            scans.c.result != REFUSED,
        )
        .order_by(*_PLACE)
    )
    return read(found, Scan)


async def forgeries(
    connection: AsyncConnection, event_id: str, operator: str, gate: str, since_ms: int
) -> int:
    """Return how many forged codes an operator has scanned at a gate since a moment."""
    count = await connection.scalar(
        select(func.count())
        .select_from(scans)
        .where(
            FORGED,
            scans.c.event_id == event_id,
            scans.c.operator == operator,
            scans.c.gate == gate,
            scans.c.at_ms >= since_ms,
        )
    )
    return count or 0


async def by_gate(connection: AsyncConnection, event_id: str) -> list[GateCount]:
    """Return the scans of an event by gate."""
    entry, admitted, undone = scans.c.entry, scans.c.result == ADMITTED, scans.c.result == UNDONE
    found = await connection.execute(
        select(
            scans.c.gate,
            (_count(admitted & entry) - _count(undone & entry)).label("entries"),
            (_count(admitted & ~entry) - _count(undone & ~entry)).label("exits"),
            _count(scans.c.result == REFUSED).label("refused"),
        )
        .where(scans.c.event_id == event_id)
        .group_by(scans.c.gate)
        .order_by(scans.c.gate)
    )
    return read(found, GateCount)


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.count().filter(condition)
