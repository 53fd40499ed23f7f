"""The checker of I8 and I9: the back office's books against the journal, booking by booking.

The books are read past everything that has written them, the journal is replayed, and the
mail server says by itself what it has taken.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import select

from engine.domain.apply import apply, finish_entry
from engine.domain.booking import SHARE, Booking, Share, Status
from engine.domain.records import EventCancelled, PassageUndone, Record, TicketScanned
from engine.domain.state import EventState
from engine.domain.tickets import booking_of_ticket, tickets_of
from engine.journal.entry import Entry
from engine.store import schema
from engine.store.connect import Database
from engine.store.contract import (
    ADMITTED,
    REFUSED,
    UNDONE,
    Message,
    MessageKind,
    MessageStatus,
    Scan,
    StoredTicket,
    TicketChange,
)
from engine.store.rows import columns, read
from engine.store.trails import steps
from tests.calls import Violation
from tests.end_to_end.mail_server import Mail
from tests.unit.engine.domain.given import replayed

#: In the name of a confirmation that somebody has asked for again.
_AGAIN = ":again-"


class Books(Struct):
    """Everything that the back office's database holds about one event.

    Tickets and trail are as whoever reads them is told, with the end of the event in them.
    """

    tickets: list[StoredTicket]
    trail: list[TicketChange]
    messages: list[Message]
    scans: list[Scan]

    @property
    def waiting(self) -> int:
        """How many messages are still to be sent, or their owner to be told of."""
        pending = sum(one.status is MessageStatus.PENDING for one in self.messages)
        return pending + sum(_is_sent_confirmation(one) and not one.told for one in self.messages)


async def read_books(database: Database, event_id: str) -> Books:
    """Read the books of one event as they stand at one moment. Raises StoreAway."""
    tickets, trail, messages, scans = (
        schema.tickets,
        schema.ticket_changes,
        schema.messages,
        schema.scans,
    )
    of_event = trail.c.booking_id.like(f"bk_{event_id[4:]}%")
    in_order = (trail.c.sequence, trail.c.change_id)
    async with database.reading() as connection:

        async def rows(table, kind, condition, *order):
            query = select(*columns(table, kind)).where(condition).order_by(*order)
            return read(await connection.execute(query), kind)

        void = (
            await connection.execute(
                select(schema.voids.c.sequence, schema.voids.c.at_ms).where(
                    schema.voids.c.event_id == event_id
                )
            )
        ).one_or_none()
        called_off = None if void is None else (void.sequence, void.at_ms)
        written = await rows(
            tickets, StoredTicket, tickets.c.event_id == event_id, tickets.c.ticket_id
        )
        return Books(
            [_with_end(row, called_off) for row in written],
            steps(await rows(trail, TicketChange, of_event, *in_order), called_off),
            await rows(messages, Message, messages.c.event_id == event_id, messages.c.message_id),
            await rows(scans, Scan, scans.c.event_id == event_id, scans.c.sequence),
        )


def _with_end(row: StoredTicket, called_off: tuple[int, int] | None) -> StoredTicket:
    if called_off is None or row.status == "VOID" or row.sequence >= called_off[0]:
        return row
    return replace(row, status="VOID", sequence=called_off[0], at_ms=called_off[1])


def compare(entries: Sequence[Entry], books: Books, addressed: Collection[str] = ()) -> None:
    """Check that books in which nothing is under way say what the journal says.

    Args:
        entries: the event's whole journal.
        books: of the event.
        addressed: the bookings whose buyers gave an address.

    Raises:
        Violation: I8, or I9 where a message was left lying.
    """
    state = replayed(entry for entry in entries if entry.sequence)
    _compare_tickets(state, books.tickets)
    _compare_trail(entries, books)
    _compare_scans(entries, books.scans)
    _compare_messages(state, books.messages, addressed)


# -- tickets ---------------------------------------------------------------------------


def _compare_tickets(state: EventState, rows: Iterable[StoredTicket]) -> None:
    cancelled = state.cancelled_at_ms is not None
    of_booking: dict[str, list[StoredTicket]] = defaultdict(list)
    for row in rows:
        of_booking[booking_of_ticket(row.ticket_id)].append(row)
    _same("bookings with tickets, unknown", of_booking.keys() - state.bookings.keys(), set())
    issued = 0
    for booking in state.bookings.values():
        found = of_booking[booking.booking_id]
        expected = [
            (ticket.ticket_id, ticket.ticket_type, ticket.seat, ticket.status.value)
            for ticket in tickets_of(booking, cancelled=cancelled)
        ]
        in_books = [(row.ticket_id, row.ticket_type, row.seat, row.status) for row in found]
        _same(f"tickets of {booking.booking_id} ({booking.status})", in_books, expected)
        whose = {(row.booking_id, row.customer) for row in found}
        _same("whose they are", whose - {(booking.booking_id, booking.customer)}, set())
        good = sum(row.status != "VOID" for row in found)
        _same(f"good tickets of {booking.booking_id}", good, _worth(booking, cancelled=cancelled))
        issued += good
    sold = sum(_worth(one, cancelled=cancelled) for one in state.bookings.values())
    _same("tickets issued for units sold", issued, sold)


def _worth(booking: Booking, *, cancelled: bool) -> int:
    """Return how many people a booking lets in: its units sold, but what is asked back."""
    payment = booking.payment
    if cancelled or SHARE[booking.status] is not Share.SOLD:
        return 0
    if payment is not None and payment.disputes:
        assert not payment.disputed, "the checker knows of no open dispute"
    asked_back = 0
    if booking.status is Status.REFUND_REQUESTED:
        assert payment is not None
        assert payment.refund is not None
        asked_back = sum(part.quantity for part in payment.refund.parts)
    return booking.units - asked_back


def _compare_trail(entries: Iterable[Entry], books: Books) -> None:
    """Check that each ticket became what it did at the entry that made it so."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for line in books.trail:
        found[line.ticket_id].append((line.sequence, line.status))
    expected = _became(entry for entry in entries if entry.sequence)
    for ticket_id in expected.keys() | found.keys():
        _same(f"the trail of {ticket_id}", found[ticket_id], expected[ticket_id])


def _became(entries: Iterable[Entry]) -> dict[str, list[tuple[int, str]]]:
    """Return what each ticket became, and at which entry, record by record."""
    state = EventState()
    became: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for entry in entries:
        for record in entry.records:
            apply(state, record)
            cancelled = state.cancelled_at_ms is not None
            for booking_id in _concerned(state, record):
                for ticket in tickets_of(state.bookings[booking_id], cancelled=cancelled):
                    steps_before = became[ticket.ticket_id]
                    if [status for _, status in steps_before[-1:]] != [ticket.status.value]:
                        steps_before.append((entry.sequence, ticket.status.value))
        finish_entry(state, entry.sequence, entry.at_ms)
    return became


def _concerned(state: EventState, record: Record) -> Iterable[str]:
    if isinstance(record, EventCancelled):
        return state.bookings
    if isinstance(record, TicketScanned):
        return [booking_of_ticket(record.scan.ticket_id)] if record.scan.admitted else []
    if isinstance(record, PassageUndone):
        return [booking_of_ticket(record.ticket_id)]
    return [record.booking_id] if hasattr(record, "booking_id") else []


# -- doors -----------------------------------------------------------------------------


def _compare_scans(entries: Iterable[Entry], rows: Iterable[Scan]) -> None:
    journalled = []
    for entry in entries:
        for index, record in enumerate(entry.records):
            place = (entry.sequence, index)
            if isinstance(record, TicketScanned):
                said = record.scan
                result = ADMITTED if said.admitted else REFUSED
                journalled.append((*place, result, said.ticket_id or None, record.gate))
            elif isinstance(record, PassageUndone):
                journalled.append((*place, UNDONE, record.ticket_id, None))
    logged = sorted(
        (
            row.sequence,
            row.index,
            row.result,
            row.ticket_id,
            None if row.result == UNDONE else row.gate,
        )
        for row in rows
    )
    _same("the log of scans", logged, journalled)


# -- messages --------------------------------------------------------------------------


def _compare_messages(
    state: EventState, messages: Sequence[Message], addressed: Collection[str]
) -> None:
    left = [one.dedupe_key for one in messages if one.status is MessageStatus.PENDING]
    if left:
        raise Violation("I9", f"messages that nobody sends: {left}")
    confirmations: Counter[tuple[str, str]] = Counter()
    for one in messages:
        if one.kind is MessageKind.CONFIRMATION and _AGAIN not in one.dedupe_key:
            confirmations[one.booking_id, one.channel] += 1
        if _is_sent_confirmation(one):
            _same(f"the owner knows of {one.dedupe_key}", one.told, True)
    wanted = {
        (booking.booking_id, "email"): 1
        for booking in state.bookings.values()
        if booking.booking_id in addressed and _was(booking, Status.CONFIRMED)
    }
    _same("confirmations", dict(confirmations), wanted)
    handed_over = {one.booking_id for one in messages if _is_sent_confirmation(one)}
    for booking in state.bookings.values():
        sent = booking.booking_id in handed_over
        if sent and booking.status is Status.CONFIRMED:
            raise Violation("I9", f"{booking.booking_id} was sent its tickets, and no owner knows")
        if not sent and _was(booking, Status.TICKETS_DELIVERED):
            raise Violation("I8", f"{booking.booking_id} was never sent its tickets")


def compare_mails(
    mails: Iterable[Mail], messages: Iterable[Message], addresses: Mapping[str, str]
) -> int:
    """Check that everybody got what the books say, and return how many mails came again.

    A mail that comes again has the Message-ID of the first, so that programs show one.

    Args:
        mails: that the server has taken.
        messages: of the books.
        addresses: of bookings, each its own.

    Raises:
        Violation: I8.
    """
    booking_of = {address: booking_id for booking_id, address in addresses.items()}
    sent = Counter(one.booking_id for one in messages if one.status is MessageStatus.SENT)
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    for mail in mails:
        if mail.recipient in booking_of:
            taken[booking_of[mail.recipient]][mail.message_id] += 1
    for booking_id in addresses:
        what = f"letters of {booking_id} at the mail server"
        _same(what, len(taken[booking_id]), sent[booking_id])
    return sum(count - 1 for of_booking in taken.values() for count in of_booking.values())


def _is_sent_confirmation(message: Message) -> bool:
    confirms = message.kind is MessageKind.CONFIRMATION
    return confirms and message.status is MessageStatus.SENT


def _was(booking: Booking, status: Status) -> bool:
    return any(moment.status is status for moment in booking.later)


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Violation("I8", f"{what}: {found}, and not {wanted}")
