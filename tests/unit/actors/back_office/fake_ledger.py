"""Books in memory, as far as the clerk reads and writes them."""

import asyncio
from collections.abc import Sequence

from msgspec.structs import astuple, replace

from engine.domain.event import Event
from engine.domain.tickets import booking_of_ticket
from engine.store.contract import (
    REFUSED,
    Message,
    MessageStatus,
    NewMessage,
    Scan,
    StoreAway,
    StoredTicket,
    TicketChange,
    Writes,
)
from engine.store.trails import steps
from engine.store.webhook_contract import Announcement


class FakeLedger:
    """Keeps `BackOffice` for the clerk. Whatever is written twice is there once.

    `sent` are the dedupe keys of what was sent; `calls_left` counts down to the call from
    which on nobody answers; None: never.
    """

    def __init__(self) -> None:
        self.events: dict[str, tuple[Event, int]] = {}
        self.sealed: dict[str, bytes] = {}
        self.rows: dict[str, StoredTicket] = {}
        self.ticket_changes: dict[tuple[str, int, str, str], TicketChange] = {}
        self.letters: dict[str, NewMessage] = {}
        self.sent: set[str] = set()
        self.scans: dict[tuple[int, int], Scan] = {}
        self.announced: dict[str, Announcement] = {}
        self.voids: list[tuple[str, int, int]] = []
        self.calls_left: int | None = None
        #: Behind whom pages of holders were asked for.
        self.pages: list[str | None] = []

    def statuses_of(self, booking_id: str) -> list[str]:
        return [row.status for row in self.rows.values() if row.booking_id == booking_id]

    def trail_of(self, booking_id: str) -> list[tuple[str, str]]:
        """Return what became of the tickets of a booking, and of what."""
        void = self.voids[0][1:] if self.voids else None
        lines = steps(self._changes_of([booking_id]), void)
        return [(line.status, line.cause) for line in lines]

    def kinds(self) -> list[str]:
        return [message.kind.value for message in self.letters.values()]

    async def _answer(self) -> None:
        await asyncio.sleep(0.001)
        if self.calls_left is not None:
            if self.calls_left == 0:
                raise StoreAway("gone")
            self.calls_left -= 1

    # -- keeps BackOffice ----------------------------------------------------------

    async def write(self, writes: Writes) -> None:
        await self._answer()
        for event, sequence in writes.events:
            known = self.events.get(event.event_id)
            if known is None or known[1] < sequence:
                self.events[event.event_id] = (event, sequence)
        self.sealed.update(writes.contacts)
        for row in writes.tickets:
            if row.ticket_id not in self.rows or self.rows[row.ticket_id].sequence < row.sequence:
                self.rows[row.ticket_id] = row
        for line in writes.changes:
            key = (line.ticket_id, line.sequence, line.cause, line.status)
            self.ticket_changes.setdefault(key, line)
        for message in writes.messages:
            self.letters.setdefault(message.dedupe_key, message)
        for scan in writes.scans:
            self.scans.setdefault((scan.sequence, scan.index), scan)
        for void in writes.void_events:
            self._void(*void)

    def _void(self, event_id: str, sequence: int, at_ms: int) -> None:
        self.voids.append((event_id, sequence, at_ms))
        for ticket_id, row in self.rows.items():
            if row.event_id == event_id and row.sequence < sequence:
                void = replace(row, status="VOID", sequence=sequence, at_ms=at_ms)
                self.rows[ticket_id] = void

    async def event(self, event_id: str) -> Event | None:
        await self._answer()
        known = self.events.get(event_id)
        return None if known is None else known[0]

    async def changes(self, booking_ids: Sequence[str]) -> list[TicketChange]:
        await self._answer()
        return self._changes_of(booking_ids)

    def _changes_of(self, booking_ids: Sequence[str]) -> list[TicketChange]:
        found = self.ticket_changes.values()
        found = [one for one in found if booking_of_ticket(one.ticket_id) in booking_ids]
        return sorted(found, key=lambda one: one.sequence)

    async def reachable(self, booking_ids: Sequence[str]) -> set[str]:
        await self._answer()
        return self.sealed.keys() & set(booking_ids)

    async def holders(self, event_id: str, after: str | None, limit: int) -> list[str]:
        await self._answer()
        self.pages.append(after)
        ids = {booking_of_ticket(row) for row in self.rows if self.rows[row].event_id == event_id}
        ids &= self.sealed.keys()
        return [one for one in sorted(ids) if after is None or one > after][:limit]

    async def last_named(self, begin: str, end: str) -> str | None:
        await self._answer()
        named = [key for key in self.letters if key.startswith(begin) and key.endswith(end)]
        return self.letters[max(named)].booking_id if named else None

    async def messages(self, booking_id: str) -> list[Message]:
        await self._answer()
        return [
            Message(number, *astuple(one), self._fate(one), 0, 0, None, None, None, told=False)
            for number, one in enumerate(self.letters.values())
            if one.booking_id == booking_id
        ]

    def _fate(self, message: NewMessage) -> MessageStatus:
        sent = message.dedupe_key in self.sent
        return MessageStatus.SENT if sent else MessageStatus.PENDING

    async def passages(self, ticket_ids: Sequence[str], since_ms: int) -> list[Scan]:
        await self._answer()
        return [
            scan
            for _, scan in sorted(self.scans.items())
            if scan.ticket_id in ticket_ids and scan.at_ms >= since_ms and scan.result != REFUSED
        ]

    async def forgeries(self, event_id: str, operator: str, gate: str, since_ms: int) -> int:
        await self._answer()
        forged = [scan for scan in self.scans.values() if scan.reason == "forged"]
        return sum(
            (scan.event_id, scan.operator, scan.gate) == (event_id, operator, gate)
            and scan.at_ms >= since_ms
            for scan in forged
        )

    # -- keeps Announcing ----------------------------------------------------------

    async def put(self, announcements: Sequence[Announcement]) -> None:
        await self._answer()
        for one in announcements:
            self.announced.setdefault(one.webhook_id, one)
