"""Tickets, their audit trail, and the events that they are for."""

from collections.abc import Sequence

import msgspec
from msgspec.structs import asdict
from sqlalchemy import BigInteger, ColumnElement, Text, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.domain.event import Event
from engine.domain.tickets import TicketStatus, booking_of_ticket
from engine.store.contract import StoredTicket, TicketChange
from engine.store.rows import columns, insert, put_new, put_newer, read
from engine.store.schema import events, ticket_changes, tickets, voids

_encoder = msgspec.json.Encoder()
_events = msgspec.json.Decoder(Event)

#: In the audit trail: its event was called off.
_CANCELLED = "cancelled"
_CHANGE_KEY = ["ticket_id", "sequence", "cause", "status"]


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
    """Write tickets over what is of an earlier sequence, and void those of called-off events."""
    await put_newer(connection, tickets, "ticket_id", [asdict(ticket) for ticket in new])
    lines = [
        {"booking_id": booking_of_ticket(change.ticket_id), **asdict(change)} for change in changes
    ]
    await put_new(connection, ticket_changes, ["ticket_id", "sequence", "cause", "status"], lines)
    called_off = [dict(zip(voids.c.keys(), void, strict=True)) for void in void_events]
    await put_newer(connection, voids, "event_id", called_off)
    touched = {ticket.event_id for ticket in new} | {void[0] for void in void_events}
    await _void(connection, sorted(touched))


async def of_booking(connection: AsyncConnection, booking_id: str) -> list[StoredTicket]:
    """Return the tickets of a booking in their order."""
    found = await connection.execute(
        select(*columns(tickets, StoredTicket))
        .where(tickets.c.booking_id == booking_id)
        .order_by(tickets.c.ticket_id)
    )
    return read(found, StoredTicket)


async def entered(connection: AsyncConnection, event_id: str) -> int:
    """Return the highest sequence of a ticket of an event, 0 if it has none."""
    highest = await connection.scalar(
        select(func.max(tickets.c.sequence)).where(tickets.c.event_id == event_id)
    )
    return highest or 0


async def statuses(connection: AsyncConnection, booking_ids: Sequence[str]) -> dict[str, str]:
    """Return the status of every ticket of these bookings, by ticket id."""
    found = await connection.execute(
        select(tickets.c.ticket_id, tickets.c.status).where(tickets.c.booking_id.in_(booking_ids))
    )
    return {row.ticket_id: row.status for row in found}


async def trail(connection: AsyncConnection, booking_id: str) -> list[TicketChange]:
    """Return the audit trail of a booking's tickets, oldest first."""
    found = await connection.execute(
        select(*columns(ticket_changes, TicketChange))
        .where(ticket_changes.c.booking_id == booking_id)
        .order_by(ticket_changes.c.sequence, ticket_changes.c.change_id)
    )
    return read(found, TicketChange)


async def manifest(
    connection: AsyncConnection, event_id: str, since: int, after: str | None, limit: int
) -> list[StoredTicket]:
    """Return tickets that changed after sequence `since`, in order of id, behind `after`."""
    place: ColumnElement[str] = tickets.c.ticket_id
    query = select(*columns(tickets, StoredTicket)).where(tickets.c.event_id == event_id)
    if since > 0:
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
    """Return bookings that have tickets of an event, in order of id, behind `after`."""
    query = select(tickets.c.booking_id).distinct().where(tickets.c.event_id == event_id)
    if after is not None:
        query = query.where(tickets.c.booking_id > after)
    return list(await connection.scalars(query.order_by(tickets.c.booking_id).limit(limit)))


async def _void(connection: AsyncConnection, event_ids: Sequence[str]) -> None:
    """Void what is still worth something of those of these events that were called off."""
    found = await connection.execute(select(voids).where(voids.c.event_id.in_(event_ids)))
    for event_id, sequence, at_ms in found.all():
        worth = (
            (tickets.c.event_id == event_id)
            & (tickets.c.sequence < sequence)
            & (tickets.c.status != TicketStatus.VOID.value)
        )
        line = select(
            tickets.c.booking_id,
            tickets.c.ticket_id,
            literal(TicketStatus.VOID.value, Text),
            literal(_CANCELLED, Text),
            literal(sequence, BigInteger),
            literal(at_ms, BigInteger),
        ).where(worth)
        names = ["booking_id", "ticket_id", "status", "cause", "sequence", "at_ms"]
        noted = insert(connection, ticket_changes).from_select(names, line)
        await connection.execute(noted.on_conflict_do_nothing(index_elements=_CHANGE_KEY))
        await connection.execute(
            update(tickets)
            .where(worth)
            .values(status=TicketStatus.VOID.value, sequence=sequence, at_ms=at_ms)
        )
