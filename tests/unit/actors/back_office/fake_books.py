"""Books in memory, as far as the postman reads and writes them, and what it sends with."""

# ruff: noqa: ARG002 - fakes take what the real ones take

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from actors.back_office.channels import Attachment, Outgoing
from engine.domain.event import Event
from engine.letters.facts import Details
from engine.store.contract import (
    EMAIL,
    Contact,
    Message,
    MessageKind,
    MessageStatus,
    StoreAway,
    StoredTicket,
)
from tests.samples import EVENT_ID, booking_id, event
from tests.virtual_time import now_ms


class FakeBooks:
    """Keeps `BackOffice` for the messages of a few bookings; `away`: nobody answers."""

    def __init__(self) -> None:
        self.messages_by_id: dict[int, Message] = {}
        self.leases: dict[int, tuple[str, int]] = {}
        self.people: dict[str, Contact] = {}
        self.events: dict[str, Event] = {EVENT_ID: event()}
        self.tickets_of: dict[str, list[StoredTicket]] = {}
        self.unreadable: set[str] = set()
        self.away = False
        #: Names of methods that do not answer.
        self.stuck: set[str] = set()
        self.calls: list[str] = []

    def put(
        self,
        number: int,
        kind: MessageKind = MessageKind.CONFIRMATION,
        channel: str = EMAIL,
        details: Details | None = None,
        tickets: int = 1,
        status: str = "ACTIVE",
    ) -> int:
        """Put a message about a booking of so many tickets, and return its id."""
        booking = booking_id(number)
        self.people.setdefault(booking, Contact(f"ann{number}@example.org", "Ann", "en"))
        self.tickets_of[booking] = [
            StoredTicket(
                f"tkt_{booking[3:]}{place:02d}", booking, EVENT_ID, "ann",
                f"K7QX-{place:04d}", "ga", None, status, 1, now_ms(),
            )
            for place in range(tickets)
        ]  # fmt: skip
        message_id = len(self.messages_by_id) + 1
        self.messages_by_id[message_id] = Message(
            message_id,
            f"{kind.value}:{booking}:{channel}",
            kind,
            channel,
            EVENT_ID,
            booking,
            now_ms(),
            msgspec.json.encode(details or Details(amount_minor=4_500)),
            MessageStatus.PENDING,
            0,
            now_ms(),
            None,
            None,
            None,
            told=False,
        )
        return message_id

    def statuses(self) -> list[str]:
        return [message.status.value for message in self.messages_by_id.values()]

    async def _answer(self, name: str) -> None:
        await asyncio.sleep(0.001)
        self.calls.append(name)
        if self.away or name in self.stuck:
            raise StoreAway("gone")

    async def due(
        self, worker: str, now_ms: int, lease_ms: int, at_most: Mapping[str, int]
    ) -> list[Message]:
        await self._answer("due")
        found: list[Message] = []
        left = Counter(at_most)
        for message in self.messages_by_id.values():
            holder, until_ms = self.leases.get(message.message_id, ("", 0))
            free = until_ms <= now_ms or holder == worker
            due = message.status == "PENDING" and message.next_attempt_ms <= now_ms
            if due and free and left[message.channel] > 0:
                left[message.channel] -= 1
                found.append(message)
        for message in found:
            self.leases[message.message_id] = (worker, now_ms + lease_ms)
        return found

    async def pending_channels(self) -> list[str]:
        await self._answer("pending_channels")
        pending = (one for one in self.messages_by_id.values() if one.status == "PENDING")
        return sorted({message.channel for message in pending})

    async def contacts(self, booking_ids: Sequence[str]) -> dict[str, Contact]:
        await self._answer("contacts")
        if self.unreadable & set(booking_ids):
            raise ValueError("no key opens ann@example.org")
        return {one: self.people[one] for one in booking_ids if one in self.people}

    async def event(self, event_id: str) -> Event | None:
        await self._answer("event")
        return self.events.get(event_id)

    async def tickets(self, booking_id: str) -> list[StoredTicket]:
        await self._answer("tickets")
        return self.tickets_of[booking_id]

    async def sent(self, message_ids: Sequence[int], provider: str, at_ms: int) -> None:
        await self._answer("sent")
        for one in message_ids:
            self._change(one, status=MessageStatus.SENT, provider=provider, sent_ms=at_ms)

    async def failed(self, message_id: int, error: str, retry_ms: int | None) -> None:
        await self._answer("failed")
        attempts = self.messages_by_id[message_id].attempts + 1
        self.leases.pop(message_id, None)
        if retry_ms is None:
            end = MessageStatus.PERMANENTLY_FAILED
            self._change(message_id, status=end, error=error, attempts=attempts)
        else:
            self._change(message_id, error=error, attempts=attempts, next_attempt_ms=retry_ms)

    async def not_needed(self, message_id: int, reason: str) -> None:
        await self._answer("not_needed")
        self.leases.pop(message_id, None)
        self._change(message_id, status=MessageStatus.NOT_NEEDED, error=reason)

    async def untold(self, limit: int) -> list[Message]:
        await self._answer("untold")
        return [
            message
            for message in self.messages_by_id.values()
            if message.status == "SENT" and message.brings_tickets and not message.told
        ][:limit]

    async def told(self, message_ids: Sequence[int]) -> None:
        await self._answer("told")
        for one in message_ids:
            self._change(one, told=True)

    def _change(self, message_id: int, **changes) -> None:
        self.messages_by_id[message_id] = replace(self.messages_by_id[message_id], **changes)


class FakeChannel:
    """Takes letters, unless there is a trouble for one: an exception, or something to await."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.tried: list[str] = []
        self.troubles: dict[str, object] = {}
        self.always: object = None

    async def send(self, outgoing: Outgoing) -> str:
        await asyncio.sleep(0.01)
        self.tried.append(outgoing.booking_id)
        trouble = self.always or self.troubles.get(outgoing.booking_id)
        if isinstance(trouble, list):
            trouble = trouble.pop(0) if trouble else None
        if isinstance(trouble, Exception):
            raise trouble
        if trouble is not None:
            await trouble()
        self.sent.append(outgoing)
        return "mx1"

    async def close(self) -> None: ...


class FakePapers:
    """Draws nothing, and remembers of what."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, int]] = []

    async def tickets(self, event, tickets, contact, issued_at_ms) -> Attachment:
        self.drawn.append(("pdf", len(tickets)))
        return Attachment("tickets.pdf", "application/pdf", b"%PDF")

    async def calendar(self, event, booking_id, tickets, issued_at_ms) -> Attachment:
        self.drawn.append(("ics", len(tickets)))
        return Attachment("event.ics", "text/calendar", b"BEGIN:VCALENDAR")
