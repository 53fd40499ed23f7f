"""The back office in a relational database: one transaction for each call."""

from collections.abc import Mapping, Sequence

from engine.domain.event import Event
from engine.store import messages, people, scans, tickets
from engine.store.connect import Database
from engine.store.contract import (
    Contact,
    GateCount,
    Message,
    Scan,
    StoredTicket,
    Tally,
    TicketChange,
    Writes,
)
from engine.store.migrate import migrate
from engine.store.vault import Vault


def open_store(url: str, vault: Vault) -> "SqlBackOffice":
    """Return the back office behind a URL; nothing is connected before the first call.

    Raises:
        ValueError: the URL names no database of ours; see `connect.driver_url`.
    """
    return SqlBackOffice(Database(url), vault)


class SqlBackOffice:
    """Keeps the contract `BackOffice`, where every method is described."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.database = database
        self._vault = vault

    async def migrate(self) -> None:
        """See `BackOffice.migrate`."""
        await migrate(self.database)

    async def write(self, writes: Writes) -> None:
        """Write all of it, or nothing; writing the same again changes nothing.

        Raises:
            NoKeyOpens: a contact was sealed with a key that this process does not have.
        """
        contacts = people.rows_of(self._vault, writes.contacts)
        async with self.database.writing() as connection:
            await tickets.put_events(connection, writes.events)
            await people.put(connection, contacts)
            await tickets.put(connection, writes.tickets, writes.changes, writes.void_events)
            await messages.put(connection, writes.messages)
            await scans.put(connection, writes.scans)

    async def reseal(self, limit: int) -> int:
        """Seal so many contacts of older keys with the newest; 0: none is left.

        Raises:
            NoKeyOpens: one of them is damaged.
        """
        async with self.database.writing() as connection:
            return await people.reseal(connection, self._vault, limit)

    # -- people and tickets --------------------------------------------------------

    async def contact(self, booking_id: str) -> Contact | None:
        """See `BackOffice.contact`."""
        return (await self.contacts([booking_id])).get(booking_id)

    async def contacts(self, booking_ids: Sequence[str]) -> dict[str, Contact]:
        """See `BackOffice.contacts`."""
        async with self.database.reading() as connection:
            return await people.of_bookings(connection, self._vault, booking_ids)

    async def reachable(self, booking_ids: Sequence[str]) -> set[str]:
        """See `BackOffice.reachable`."""
        async with self.database.reading() as connection:
            return await people.reachable(connection, booking_ids)

    async def bookings_of(self, email: str) -> list[str]:
        """See `BackOffice.bookings_of`."""
        async with self.database.reading() as connection:
            return await people.bookings_of(connection, self._vault, email)

    async def forget(self, booking_id: str) -> bool:
        """See `BackOffice.forget`."""
        async with self.database.writing() as connection:
            return await people.forget(connection, booking_id)

    async def event(self, event_id: str) -> Event | None:
        """See `BackOffice.event`."""
        async with self.database.reading() as connection:
            return await tickets.event_of(connection, event_id)

    async def tickets(self, booking_id: str) -> list[StoredTicket]:
        """See `BackOffice.tickets`."""
        async with self.database.reading() as connection:
            return await tickets.of_booking(connection, booking_id)

    async def changes(self, booking_ids: Sequence[str]) -> list[TicketChange]:
        """See `BackOffice.changes`."""
        async with self.database.reading() as connection:
            return await tickets.changes(connection, booking_ids)

    async def trail(self, booking_id: str) -> list[TicketChange]:
        """See `BackOffice.trail`."""
        async with self.database.reading() as connection:
            return await tickets.trail(connection, booking_id)

    async def manifest(
        self, event_id: str, since: int, after: str | None, limit: int
    ) -> list[StoredTicket]:
        """See `BackOffice.manifest`."""
        async with self.database.reading() as connection:
            return await tickets.manifest(connection, event_id, since, after, limit)

    async def entered(self, event_id: str) -> int:
        """See `BackOffice.entered`."""
        async with self.database.reading() as connection:
            return await tickets.entered(connection, event_id)

    async def holders(self, event_id: str, after: str | None, limit: int) -> list[str]:
        """See `BackOffice.holders`."""
        async with self.database.reading() as connection:
            return await tickets.holders(connection, event_id, after, limit)

    # -- messages ------------------------------------------------------------------

    async def last_named(self, begin: str, end: str) -> str | None:
        """See `BackOffice.last_named`."""
        async with self.database.reading() as connection:
            return await messages.last_named(connection, begin, end)

    async def due(
        self, worker: str, now_ms: int, lease_ms: int, at_most: Mapping[str, int]
    ) -> list[Message]:
        """See `BackOffice.due`."""
        async with self.database.writing() as connection:
            return await messages.take(connection, worker, now_ms, lease_ms, at_most)

    async def pending_channels(self) -> list[str]:
        """See `BackOffice.pending_channels`."""
        async with self.database.reading() as connection:
            return await messages.pending_channels(connection)

    async def sent(self, message_ids: Sequence[int], provider: str, at_ms: int) -> None:
        """See `BackOffice.sent`."""
        async with self.database.writing() as connection:
            await messages.note_sent(connection, message_ids, provider, at_ms)

    async def failed(self, message_id: int, error: str, retry_ms: int | None) -> None:
        """See `BackOffice.failed`."""
        async with self.database.writing() as connection:
            await messages.note_failed(connection, message_id, error, retry_ms)

    async def not_needed(self, message_id: int, reason: str) -> None:
        """See `BackOffice.not_needed`."""
        async with self.database.writing() as connection:
            await messages.note_not_needed(connection, message_id, reason)

    async def untold(self, limit: int) -> list[Message]:
        """See `BackOffice.untold`."""
        async with self.database.reading() as connection:
            return await messages.untold(connection, limit)

    async def told(self, message_ids: Sequence[int]) -> None:
        """See `BackOffice.told`."""
        async with self.database.writing() as connection:
            await messages.note_told(connection, message_ids)

    async def messages(
        self, booking_id: str, *, from_id: int = 0, limit: int | None = None
    ) -> list[Message]:
        """See `BackOffice.messages`."""
        async with self.database.reading() as connection:
            return await messages.of_booking(connection, booking_id, from_id, limit)

    async def statistics(self, organizer: str | None) -> list[Tally]:
        """See `BackOffice.statistics`."""
        async with self.database.reading() as connection:
            return await messages.tally(connection, organizer)

    # -- doors ---------------------------------------------------------------------

    async def scans(
        self, event_id: str, limit: int, before: tuple[int, int] | None = None
    ) -> list[Scan]:
        """See `BackOffice.scans`."""
        async with self.database.reading() as connection:
            return await scans.of_event(connection, event_id, limit, before)

    async def passages(self, ticket_ids: Sequence[str], since_ms: int) -> list[Scan]:
        """See `BackOffice.passages`."""
        async with self.database.reading() as connection:
            return await scans.passages(connection, ticket_ids, since_ms)

    async def forgeries(self, event_id: str, operator: str, gate: str, since_ms: int) -> int:
        """See `BackOffice.forgeries`."""
        async with self.database.reading() as connection:
            return await scans.forgeries(connection, event_id, operator, gate, since_ms)

    async def gates(self, event_id: str) -> list[GateCount]:
        """See `BackOffice.gates`."""
        async with self.database.reading() as connection:
            return await scans.by_gate(connection, event_id)

    async def close(self) -> None:
        """See `BackOffice.close`."""
        await self.database.close()
