"""Tickets, their audit trail, and the events that they are for.

That an event was called off stands in one row, and is laid over its tickets when they are
read: as many as there may be, they are void together, and at once.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import ColumnElement, case, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.domain.event import Event
from engine.domain.ids import event_of_booking
from engine.domain.tickets import TicketStatus, booking_of_ticket
from engine.store import trails
from engine.store.contract import StoredTicket, TicketChange
from engine.store.rows import columns, put_new, put_newer, read
from engine.store.schema import contacts, events, ticket_changes, tickets, voids

_encoder = msgspec.json.Encoder()
_events = msgspec.json.Decoder(Event)

_VOID = TicketStatus.VOID.value
#: Of a ticket beside the row of `voids` of its event, if there is one.
_CALLED_OFF = (tickets.c.sequence < voids.c.sequence) & (tickets.c.status != _VOID)
_BESIDE_VOIDS = tickets.outerjoin(voids, voids.c.event_id == tickets.c.event_id)


def _as_it_is() -> list[ColumnElement[Any]]:
    """Return the columns of a ticket, with what its event's being called off makes of it."""
    over: dict[str, Any] = {
        "status": _VOID,
        "sequence": voids.c.sequence,
        "at_ms": voids.c.at_ms,
    }
    return [
        case((_CALLED_OFF, over[column.name]), else_=column).label(column.name)
        if column.name in over
        else column
        for column in columns(tickets, StoredTicket)
    ]


_TICKET = _as_it_is()


async def put_events(connection: AsyncConnection, told: Sequence[tuple[Event, int]]) -> None:
    """Write events over what is of an earlier sequence."""
    rows = [
        {
            "event_id": event.event_id,
            "organizer": event.organizer,
            "sequence": sequence,
            "document": _encoder.encode(event),
        }
        for event, sequence in told
    ]
    await put_newer(connection, events, "event_id", rows)


async def event_of(connection: AsyncConnection, event_id: str) -> Event | None:
    """Return an event."""
    document = await connection.scalar(
        select(events.c.document).where(events.c.event_id == event_id)
    )
    return None if document is None else _events.decode(document)


async def put(
    connection: AsyncConnection,
    new: Sequence[StoredTicket],
    changes: Sequence[TicketChange],
    void_events: Sequence[tuple[str, int, int]],
) -> None:
    """Write tickets over what is of an earlier sequence, and which events were called off."""
    await put_newer(connection, tickets, "ticket_id", [asdict(ticket) for ticket in new])
    lines = [
        {"booking_id": booking_of_ticket(change.ticket_id), **asdict(change)} for change in changes
    ]
    await put_new(connection, ticket_changes, ["ticket_id", "sequence", "cause", "status"], lines)
    called_off = [dict(zip(voids.c.keys(), void, strict=True)) for void in void_events]
    await put_newer(connection, voids, "event_id", called_off)


async def of_booking(connection: AsyncConnection, booking_id: str) -> list[StoredTicket]:
    """Return the tickets of a booking in their order."""
    found = await connection.execute(
        select(*_TICKET)
        .select_from(_BESIDE_VOIDS)
        .where(tickets.c.booking_id == booking_id)
        .order_by(tickets.c.ticket_id)
    )
    return read(found, StoredTicket)


async def entered(connection: AsyncConnection, event_id: str) -> int:
    """Return the highest sequence of a ticket of an event, 0 if it has none."""
    highest: int | None = await connection.scalar(
        select(func.max(tickets.c.sequence)).where(tickets.c.event_id == event_id)
    )
    if highest is None:
        return 0
    return max(highest, await _called_off_at(connection, event_id))


async def changes(connection: AsyncConnection, booking_ids: Sequence[str]) -> list[TicketChange]:
    """Return what records have made of the tickets of these bookings, in their order."""
    found = await connection.execute(
        select(*columns(ticket_changes, TicketChange))
        .where(ticket_changes.c.booking_id.in_(booking_ids))
        .order_by(ticket_changes.c.sequence, ticket_changes.c.change_id)
    )
    return read(found, TicketChange)


async def trail(connection: AsyncConnection, booking_id: str) -> list[TicketChange]:
    """Return the audit trail of a booking's tickets, oldest first; see `BackOffice.trail`."""
    found = await connection.execute(
        select(voids.c.sequence, voids.c.at_ms).where(
            voids.c.event_id == event_of_booking(booking_id)
        )
    )
    void = found.one_or_none()
    lines = await changes(connection, [booking_id])
    return trails.steps(lines, None if void is None else (void.sequence, void.at_ms))


async def manifest(
    connection: AsyncConnection, event_id: str, since: int, after: str | None, limit: int
) -> list[StoredTicket]:
    """Return tickets that changed after sequence `since`, in order of id, behind `after`."""
    place: ColumnElement[str] = tickets.c.ticket_id
    query = select(*_TICKET).select_from(_BESIDE_VOIDS).where(tickets.c.event_id == event_id)
    if 0 < since < await _called_off_at(connection, event_id):
        query = query.where(or_(tickets.c.sequence > since, _CALLED_OFF))
    elif since > 0:
        query = query.where(tickets.c.sequence > since)
        # What changed lately is little. SQLite would look through the whole event in order of
        # id for it; as an expression the id has no index, and that of sequences is taken.
        place = place.concat("")
    if after is not None:
        query = query.where(place > after)
    return read(await connection.execute(query.order_by(place).limit(limit)), StoredTicket)


async def holders(
    connection: AsyncConnection, event_id: str, after: str | None, limit: int
) -> list[str]:
    """Return bookings to be told of what concerns an event; see `BackOffice.holders`."""
    known = exists().where(
        contacts.c.booking_id == tickets.c.booking_id, contacts.c.sealed.is_not(None)
    )
    query = select(tickets.c.booking_id).distinct().where(tickets.c.event_id == event_id, known)
    if after is not None:
        query = query.where(tickets.c.booking_id > after)
    return list(await connection.scalars(query.order_by(tickets.c.booking_id).limit(limit)))


async def _called_off_at(connection: AsyncConnection, event_id: str) -> int:
    """Return the sequence at which an event was called off, 0 if it was not."""
    sequence = await connection.scalar(select(voids.c.sequence).where(voids.c.event_id == event_id))
    return sequence or 0
