"""The checker of webhooks to organizers: what has arrived against the journal, effect by effect.

async with listening() as mailbox:
    await mailbox.register(service)
    ...
    compare({event_id: entries}, mailbox.taken)

The server is ours, and each webhook is verified with the library of Standard Webhooks when it
comes. What is told stands here a second time, without a line of the product's.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx
import msgspec
from msgspec import Struct
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from engine.domain.records import (
    BookingConfirmed,
    DisputeNoted,
    EventAmended,
    EventCancelled,
    HoldExpired,
    MoneyTakenBack,
    PaymentGivenUp,
    Record,
    RefundFailed,
    RefundRequested,
    RefundSettled,
    TicketScanned,
)
from engine.journal.entry import Entry
from engine.store.connect import Database
from engine.store.schema import webhook_deliveries
from tests.calls import Violation
from tests.end_to_end.buyers import ORGANIZER
from tests.end_to_end.service import Service, tokens
from tests.receiver import Behaviour, Receiver, receiving

_OF_BOOKINGS: dict[type[Record], str] = {
    BookingConfirmed: "booking.confirmed",
    PaymentGivenUp: "booking.cancelled",
    HoldExpired: "booking.expired",
    RefundRequested: "booking.refund_requested",
    RefundSettled: "booking.refunded",
    MoneyTakenBack: "booking.refunded",
    RefundFailed: "booking.refund_failed",
    DisputeNoted: "booking.disputed",
}
_OF_EVENTS: dict[type[Record], str] = {
    EventAmended: "event.changed",
    EventCancelled: "event.cancelled",
}


class Taken(Struct, frozen=True):
    """A webhook that has arrived, and whose signature was right."""

    webhook_id: str
    body: bytes


class Told(NamedTuple):
    """What a webhook is about: `named` is its booking, its ticket or its event."""

    kind: str
    event_id: str
    sequence: int
    named: str


def compare(journals: Mapping[str, Sequence[Entry]], taken: Sequence[Taken]) -> int:
    """Check that every effect has arrived under one id, and nothing else has.

    Args:
        journals: whole, by the events of the organizer.
        taken: everything that has arrived.

    Returns:
        How many webhooks came again.

    Raises:
        Violation: I9 where one has not arrived, else I8.
    """
    bodies: dict[str, bytes] = {}
    for one in taken:
        first = bodies.setdefault(one.webhook_id, one.body)
        if first != one.body:
            raise Violation("I8", f"{one.webhook_id} says two things: {first!r}, {one.body!r}")
    told = Counter(_told(body) for body in bodies.values())
    happened = Counter(
        effect for event_id, entries in journals.items() for effect in _effects(event_id, entries)
    )
    if more := told - happened:
        raise Violation("I8", f"not in the journal, or under more ids than one: {dict(more)}")
    if left := happened - told:
        raise Violation("I9", f"webhooks that have not arrived: {dict(left)}")
    return len(taken) - len(bodies)


def _effects(event_id: str, entries: Iterable[Entry]) -> Iterator[Told]:
    for entry in entries:
        for record in entry.records:
            if (kind := _OF_BOOKINGS.get(type(record))) is not None:
                booking_id: str = record.booking_id  # type: ignore[union-attr]
                yield Told(kind, event_id, entry.sequence, booking_id)
            elif (kind := _OF_EVENTS.get(type(record))) is not None:
                yield Told(kind, event_id, entry.sequence, event_id)
            elif isinstance(record, TicketScanned) and record.entry and record.scan.admitted:
                yield Told("ticket.admitted", event_id, entry.sequence, record.scan.ticket_id)


def _told(body: bytes) -> Told:
    said = msgspec.json.decode(body)
    data = said["data"]
    of_what = data.get("booking") or data.get("ticket") or data["event"]
    return Told(said["type"], data["event_id"], data["sequence"], of_what["id"])


# -- over the network ------------------------------------------------------------------


class Mailbox:
    """An organizer's server, whose endpoint is registered for everything there is."""

    def __init__(self, receiver: Receiver) -> None:
        self.taken: list[Taken] = []
        self._receiver = receiver
        self._endpoint: dict[str, Any] = {}

    @property
    def registration(self) -> dict[str, str]:
        """What has to be said to `POST /webhook-endpoints`."""
        return {"url": self._receiver.url}

    def registered(self, endpoint: dict[str, Any]) -> None:
        """Know one's endpoint, as it was answered."""
        self._endpoint = endpoint

    async def register(self, service: Service) -> None:
        """Have the service send everything here that concerns the organizer of all drills."""
        headers = {"authorization": f"Bearer {tokens.make('organizer', ORGANIZER)}"}
        path = f"{service.url}/api/v1/webhook-endpoints"
        async with asyncio.timeout(60.0), httpx.AsyncClient(trust_env=False) as client:
            while True:
                answer = await client.post(path, headers=headers, json=self.registration)
                if answer.status_code == 201:
                    self.registered(answer.json())
                    return
                # The books are opened beside a start, and nothing waits for them.
                assert answer.status_code == 503, answer.text
                await asyncio.sleep(0.1)

    async def take(self) -> None:
        """Verify what arrives, as long as it is fresh, until cancelled."""
        while True:
            await self._receiver.arrived.wait()
            self._receiver.arrived.clear()
            for got in self._receiver.got[len(self.taken) :]:
                Webhook(self._endpoint["secret"]).verify(got.body, got.headers)
                self.taken.append(Taken(got.headers["webhook-id"], got.body))

    async def settled(self, database: Database, seconds: float = 120.0) -> set[str]:
        """Wait until the books say of everything that it has arrived, and return its ids.

        Raises:
            TimeoutError: something is left (I9).
        """
        rows = webhook_deliveries.c
        ours = select(rows.webhook_id, rows.status).where(rows.endpoint_id == self._endpoint["id"])
        async with asyncio.timeout(seconds):
            while True:
                async with database.reading() as connection:
                    found = (await connection.execute(ours)).all()
                status = {row.webhook_id: row.status for row in found}
                if set(status.values()) <= {"DELIVERED"}:
                    return set(status)
                assert "GIVEN_UP" not in status.values()
                await asyncio.sleep(0.2)


@asynccontextmanager
async def listening(*behaviours: Behaviour) -> AsyncIterator[Mailbox]:
    """Listen on a free port of loopback; see `tests.receiver`.

    Raises:
        WebhookVerificationError: something came that was not signed as it has to be.
    """
    async with receiving(*behaviours) as receiver:
        mailbox = Mailbox(receiver)
        taking = asyncio.create_task(mailbox.take())
        try:
            yield mailbox
        finally:
            taking.cancel()
            await asyncio.wait([taking])
            if not taking.cancelled():
                taking.result()
