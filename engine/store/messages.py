"""Messages that are to be sent, and what became of them."""

from collections.abc import Mapping, Sequence

from msgspec.structs import asdict
from sqlalchemy import false, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.back_office_limits import STORE_ERROR_CHARS_MAX
from engine.store.contract import Message, MessageStatus, NewMessage, Tally
from engine.store.rows import columns, put_new, read
from engine.store.schema import PENDING, UNTOLD, events, messages


async def put(connection: AsyncConnection, new: Sequence[NewMessage]) -> None:
    """Write messages, due at once; those that are there already stay as they are."""
    rows = [
        {
            **asdict(message),
            "status": MessageStatus.PENDING,
            "attempts": 0,
            "next_attempt_ms": message.created_ms,
            "told": False,
            "leased_until_ms": 0,
        }
        for message in new
    ]
    await put_new(connection, messages, ["dedupe_key"], rows)


async def last_named(connection: AsyncConnection, begin: str, end: str) -> str | None:
    """Return the booking of the last message that is named so; see `BackOffice.last_named`."""
    key = messages.c.dedupe_key
    behind = begin[:-1] + chr(ord(begin[-1]) + 1)
    booking_id: str | None = await connection.scalar(
        select(messages.c.booking_id)
        .where(key >= begin, key < behind, key.endswith(end, autoescape=True))
        .order_by(key.desc())
        .limit(1)
    )
    return booking_id


async def take(
    connection: AsyncConnection,
    worker: str,
    now_ms: int,
    lease_ms: int,
    at_most: Mapping[str, int],
) -> list[Message]:
    """Take pending messages whose time has come, channel by channel; see `BackOffice.due`.

    What another worker is taking at this moment is passed over.
    """
    order = (messages.c.next_attempt_ms, messages.c.message_id)
    free = or_(messages.c.leased_until_ms <= now_ms, messages.c.worker == worker)
    due = select(*columns(messages, Message)).where(
        PENDING, messages.c.next_attempt_ms <= now_ms, free
    )
    taken: list[Message] = []
    for channel, limit in at_most.items():
        found = await connection.execute(
            due.where(messages.c.channel == channel)
            .order_by(*order)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken += read(found, Message)
    if taken:
        await connection.execute(
            update(messages)
            .where(messages.c.message_id.in_([message.message_id for message in taken]))
            .values(worker=worker, leased_until_ms=now_ms + lease_ms)
        )
    return taken


async def pending_channels(connection: AsyncConnection) -> list[str]:
    """Return the channels by which messages are still to go."""
    found = await connection.scalars(
        select(messages.c.channel).where(PENDING).distinct().order_by(messages.c.channel)
    )
    return list(found)


async def note_sent(
    connection: AsyncConnection, message_ids: Sequence[int], provider: str, at_ms: int
) -> None:
    """Note that messages were handed over, also if somebody had given them up."""
    await connection.execute(
        update(messages)
        .where(
            messages.c.message_id.in_(message_ids), messages.c.status != MessageStatus.SENT.value
        )
        .values(
            status=MessageStatus.SENT.value,
            attempts=messages.c.attempts + 1,
            provider=provider,
            error=None,
            sent_ms=at_ms,
        )
    )


async def note_failed(
    connection: AsyncConnection, message_id: int, error: str, retry_ms: int | None
) -> None:
    """Note a failed attempt; what was sent or given up meanwhile stays so."""
    fate = (
        {"status": MessageStatus.PERMANENTLY_FAILED.value}
        if retry_ms is None
        else {"next_attempt_ms": retry_ms}
    )
    await connection.execute(
        update(messages)
        .where(PENDING, messages.c.message_id == message_id)
        .values(
            attempts=messages.c.attempts + 1,
            error=error[:STORE_ERROR_CHARS_MAX],
            worker=None,
            leased_until_ms=0,
            **fate,
        )
    )


async def note_not_needed(connection: AsyncConnection, message_id: int, reason: str) -> None:
    """Note that a message is to be sent no more; what has ended meanwhile stays so."""
    await connection.execute(
        update(messages)
        .where(PENDING, messages.c.message_id == message_id)
        .values(
            status=MessageStatus.NOT_NEEDED.value,
            error=reason[:STORE_ERROR_CHARS_MAX],
            worker=None,
            leased_until_ms=0,
        )
    )


async def untold(connection: AsyncConnection, limit: int) -> list[Message]:
    """Return messages that have brought tickets, which the owner does not know."""
    found = await connection.execute(
        select(*columns(messages, Message))
        .where(UNTOLD)
        .order_by(messages.c.message_id)
        .limit(limit)
    )
    return read(found, Message)


async def note_told(connection: AsyncConnection, message_ids: Sequence[int]) -> None:
    """Note that the owner knows."""
    await connection.execute(
        update(messages)
        .where(messages.c.message_id.in_(message_ids), messages.c.told == false())
        .values(told=true())
    )


async def of_booking(
    connection: AsyncConnection, booking_id: str, from_id: int, limit: int | None
) -> list[Message]:
    """Return messages about a booking, oldest first; see `BackOffice.messages`."""
    found = await connection.execute(
        select(*columns(messages, Message))
        .where(messages.c.booking_id == booking_id, messages.c.message_id >= from_id)
        .order_by(messages.c.message_id)
        .limit(limit)
    )
    return read(found, Message)


async def tally(connection: AsyncConnection, organizer: str | None) -> list[Tally]:
    """Return how many messages are in which state."""
    states = (messages.c.kind, messages.c.channel, messages.c.status)
    query = select(*states, func.count().label("count")).group_by(*states).order_by(*states)
    if organizer is not None:
        query = query.join(events, events.c.event_id == messages.c.event_id).where(
            events.c.organizer == organizer
        )
    return read(await connection.execute(query), Tally)
