"""The clerk: keeps the back office's books by what the owners' effects say.

An effect says that something has happened, the booking says what is so now: tickets are
written from the booking as it stands, so that effects that come twice, late or together
leave the same books. Messages and announcements are named by their effect, scans and what
became of a ticket by their place in the journal.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

import msgspec
import structlog
from msgspec import Struct

from actors.back_office import announcements, changes
from actors.back_office.notices import Notice, messages_of, notice_of, notice_to_all
from actors.back_office.scans import scan_of, suspicions, undone
from actors.consumer import Hopeless, RetryLater
from actors.telling import Telling
from engine.back_office_limits import HOLDERS_PAGE, HOLDERS_SECONDS
from engine.courtesy import Courtesy
from engine.domain.booking import Booking, Status
from engine.domain.commands import NoteDelivery
from engine.domain.event import Event
from engine.domain.records import (
    EventAmended,
    EventCancelled,
    PassageUndone,
    PaymentClosing,
    Record,
    RefundSettled,
    TicketScanned,
)
from engine.domain.tickets import booking_of_ticket, tickets_of
from engine.journal.catalogue import Catalogue, EventDocument
from engine.journal.contacts import Contacts
from engine.journal.contract import Unavailable
from engine.journal.projection import decode_record
from engine.journal.streams import Delivery, Effect
from engine.store.contract import (
    BackOffice,
    Message,
    MessageKind,
    MessageStatus,
    NewMessage,
    StoreAway,
    StoredTicket,
    Writes,
)
from engine.store.webhook_contract import Announcement

log = structlog.get_logger(__name__)


#: How long until the database may be there again, seconds.
_STORE_SECONDS = 2.0
#: How long until the clerk goes on with what it has left, seconds: others have their turn.
_MORE_SECONDS = 0.05


class Announcing(Protocol):
    """Where what organizers are told is left to be sent."""

    async def put(self, announcements: Sequence[Announcement]) -> None:
        """Keep what is not kept yet, for every endpoint that wants it. Raises StoreAway."""
        ...


class Fact(Struct, frozen=True):
    """One effect, read; `name` tells it from every other of its event."""

    sequence: int
    index: int
    record: Record
    name: str


class Sources(Struct, frozen=True):
    """Where the clerk finds what an effect does not say.

    `number` gives the readable number of a ticket id.
    """

    telling: Telling
    catalogue: Catalogue
    contacts: Contacts
    number: Callable[[str], str]


class Clerk:
    """Handler of consumers of effects: what is of one event it enters in turn, whoever brings it.

    Args:
        store: the back office's books.
        webhooks: where announcements to organizers are left.
        channels: by which buyers are told, by name.
        poke: called when there is something new to send.
    """

    def __init__(
        self,
        store: BackOffice,
        webhooks: Announcing,
        sources: Sources,
        channels: Sequence[str],
        poke: Callable[[], None],
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._from = sources
        self._channels = channels
        self._poke = poke
        self._courtesy = Courtesy()
        #: Of events in hand: what the books say must not change before it is written over.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Handle effects of one event; see `actors.consumer.Handler`."""
        facts = [_read(delivery) for delivery in deliveries]
        event_id = deliveries[0].event_id
        turn = self._turns.setdefault(event_id, asyncio.Lock())
        try:
            async with turn:
                await self._enter(event_id, facts)
        except StoreAway as error:
            raise RetryLater(_STORE_SECONDS, f"the database is away: {error}") from error
        except Unavailable as error:
            raise RetryLater(_STORE_SECONDS, f"the store is away: {error}") from error
        await asyncio.sleep(self._courtesy.due())

    async def _enter(self, event_id: str, facts: list[Fact]) -> None:
        document = await self._from.catalogue.event(event_id)
        if document is None:
            raise Hopeless(f"there is no event {event_id}")
        concerned = dict.fromkeys(one for fact in facts for one in _bookings_of(fact.record))
        sequence, bookings = 0, dict[str, Booking]()
        if concerned:
            sequence, bookings = await self._from.telling.picture(event_id, list(concerned))
        writes = Writes()
        told_before = await self._store.event(event_id)
        if told_before is None:
            # From now on, its holders are told what becomes different.
            writes.events.append((document.event, document.sequence))
        await self._enter_tickets(writes, document, facts, sequence, bookings)
        await self._enter_messages(writes, document, facts, bookings)
        await self._enter_scans(writes, event_id, facts)
        await self._store.write(writes)
        if writes.messages:
            self._poke()
        await self._tell_owner(event_id, facts, bookings)
        await self._tell_holders(event_id, told_before, facts)
        await self._announce(document.event, facts, bookings)

    # -- tickets -------------------------------------------------------------------

    async def _enter_tickets(
        self,
        writes: Writes,
        document: EventDocument,
        facts: list[Fact],
        sequence: int,
        bookings: dict[str, Booking],
    ) -> None:
        """Have tickets say what their bookings say, and their trail what each fact says."""
        cancelled = document.cancellation is not None
        at_ms: dict[str, int] = {}
        told: list[tuple[int, Record, Booking]] = []
        for fact in facts:
            if isinstance(fact.record, EventCancelled):
                writes.void_events.append(
                    (document.event.event_id, fact.sequence, fact.record.at_ms)
                )
            for booking_id in _bookings_of(fact.record):
                at_ms[booking_id] = _at_ms(fact.record)
                if booking_id in bookings:
                    told.append((fact.sequence, fact.record, bookings[booking_id]))
        for booking_id, booking in bookings.items():
            writes.tickets += [
                StoredTicket(
                    ticket.ticket_id,
                    booking_id,
                    document.event.event_id,
                    booking.customer,
                    self._from.number(ticket.ticket_id),
                    ticket.ticket_type,
                    ticket.seat,
                    ticket.status.value,
                    sequence,
                    at_ms[booking_id],
                )
                for ticket in tickets_of(booking, cancelled=cancelled)
            ]
        writes.changes += await changes.of_batch(self._store, told)

    # -- messages ------------------------------------------------------------------

    async def _enter_messages(
        self,
        writes: Writes,
        document: EventDocument,
        facts: list[Fact],
        bookings: dict[str, Booking],
    ) -> None:
        """Leave a message for everything that a buyer with an address is to hear of."""
        event_id, cancelled = document.event.event_id, document.cancellation is not None
        wanted = [
            (fact, booking_id, notice)
            for fact in facts
            for booking_id in _bookings_of(fact.record)
            if (notice := notice_of(fact.record, bookings.get(booking_id), cancelled=cancelled))
        ]
        if not wanted:
            return
        ids = list(dict.fromkeys(booking_id for _, booking_id, _ in wanted))
        new = await self._from.contacts.of(ids)
        known = await self._store.reachable([one for one in ids if one not in new])
        # Also of those who will never have tickets: the letter goes where the books say.
        writes.contacts.extend(new.items())
        for fact, booking_id, notice in wanted:
            if booking_id in new or booking_id in known:
                # A booking is confirmed once, whichever effect says so.
                named = "" if notice[0] is MessageKind.CONFIRMATION else fact.name
                at_ms = _at_ms(fact.record, bookings.get(booking_id))
                writes.messages += self._messages(notice, event_id, [booking_id], named, at_ms)

    async def _tell_owner(
        self, event_id: str, facts: list[Fact], bookings: dict[str, Booking]
    ) -> None:
        """Tell of tickets that were handed over while a part of them was on its way back.

        The owner could not note it then: what is left of the booking is confirmed only now.
        """
        back = {one.record.booking_id for one in facts if isinstance(one.record, RefundSettled)}
        handed_over = [
            NoteDelivery(booking_id)
            for booking_id in sorted(back & bookings.keys())
            if bookings[booking_id].status is Status.CONFIRMED
            and any(map(_hands_over, await self._store.messages(booking_id)))
        ]
        if handed_over:
            await self._from.telling.tell(event_id, handed_over)

    async def _tell_holders(
        self, event_id: str, told_before: Event | None, facts: list[Fact]
    ) -> None:
        """Leave a message for everybody who has tickets, if something concerns them all.

        What they are told to be so is entered after the last message: who perishes in
        between tells the rest.

        Raises:
            RetryLater: the rest is to be told in another call.
        """
        until = asyncio.get_running_loop().time() + HOLDERS_SECONDS
        for fact in facts:
            notice = notice_to_all(told_before, fact.record)
            if notice is not None:
                await self._tell_all(event_id, notice, fact, until)
            if isinstance(fact.record, EventAmended):
                told_before = fact.record.event
                await self._store.write(Writes(events=[(told_before, fact.sequence)]))

    async def _tell_all(self, event_id: str, notice: Notice, fact: Fact, until: float) -> None:
        """Leave a message for everybody who has tickets, behind those who have one already."""
        loop = asyncio.get_running_loop()
        after = await self._last_told(event_id, notice, fact)
        while page := await self._store.holders(event_id, after, HOLDERS_PAGE):
            messages = self._messages(notice, event_id, page, fact.name, _at_ms(fact.record))
            await self._store.write(Writes(messages=messages))
            self._poke()
            after = page[-1]
            await asyncio.sleep(self._courtesy.due())
            if loop.time() >= until:
                raise RetryLater(_MORE_SECONDS, f"more of {event_id} are to be told")

    async def _last_told(self, event_id: str, notice: Notice, fact: Fact) -> str | None:
        """Return the last booking, in order of id, to whom this was told by every channel."""
        found = [
            await self._store.last_named(
                f"{notice[0].value}:bk_{event_id[4:]}", f":{fact.name}:{channel}"
            )
            for channel in self._channels
        ]
        told = [booking_id for booking_id in found if booking_id is not None]
        return min(told) if told and len(told) == len(found) else None

    def _messages(
        self, notice: Notice, event_id: str, booking_ids: list[str], named: str, at_ms: int
    ) -> list[NewMessage]:
        return messages_of(notice, event_id, booking_ids, self._channels, named, at_ms)

    async def _announce(
        self, event: Event, facts: list[Fact], bookings: dict[str, Booking]
    ) -> None:
        told = []
        for fact in facts:
            ids = _bookings_of(fact.record)
            booking = bookings.get(ids[0]) if ids else None
            if ids and booking is None:
                continue
            one = announcements.of(event, fact.sequence, fact.index, fact.record, booking)
            if one is not None:
                told.append(one)
        if told:
            await self._webhooks.put(told)

    # -- doors ---------------------------------------------------------------------

    async def _enter_scans(self, writes: Writes, event_id: str, facts: list[Fact]) -> None:
        scans = [
            scan_of(event_id, fact.sequence, fact.index, fact.record)
            for fact in facts
            if isinstance(fact.record, TicketScanned)
        ]
        if scans:
            writes.scans.extend(await suspicions(self._store, scans))
        for fact in facts:
            if isinstance(fact.record, PassageUndone):
                writes.scans += await undone(
                    self._store, writes.scans, fact.sequence, fact.index, fact.record
                )


def _read(delivery: Delivery) -> Fact:
    effect = delivery.message
    if not isinstance(effect, Effect):
        raise Hopeless("it is not an effect")
    try:
        record = decode_record(effect.record)
    except msgspec.MsgspecError as error:
        raise Hopeless(f"unreadable record: {error}") from error
    return Fact(effect.entry.sequence, effect.index, record, f"{effect.entry}-{effect.index}")


def _bookings_of(record: Record) -> tuple[str, ...]:
    """Return the booking that a record is about, if it is about one."""
    if isinstance(record, TicketScanned):
        admitted = record.scan.admitted
        return (booking_of_ticket(record.scan.ticket_id),) if admitted else ()
    if isinstance(record, PassageUndone):
        return (booking_of_ticket(record.ticket_id),)
    booking_id = getattr(record, "booking_id", None)
    return () if booking_id is None else (booking_id,)


def _hands_over(message: Message) -> bool:
    """Tell whether a message has brought tickets to their buyer."""
    return message.brings_tickets and message.status is MessageStatus.SENT


def _at_ms(record: Record, booking: Booking | None = None) -> int:
    if isinstance(record, TicketScanned):
        return record.noted_ms
    if isinstance(record, PaymentClosing) and booking is not None:
        return booking.history[-1].at_ms  # it does not say; its hold has ended with it
    at_ms: int = getattr(record, "at_ms", 0)
    return at_ms
