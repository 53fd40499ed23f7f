"""Writing the letter of a message: facts from the books, words, what goes with it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from actors.back_office.channels import Attachment, Outgoing, TryLater
from actors.back_office.notices import going_back_minor
from actors.consumer import RetryLater
from engine.back_office_limits import POST_ATTEMPTS_MAX
from engine.domain.booking import Booking
from engine.domain.event import Event
from engine.domain.tickets import TicketStatus
from engine.letters.facts import Details, Facts, Line
from engine.letters.render import render
from engine.limits import PDF_TICKETS_MAX
from engine.store.contract import CARRIES_FILES, Contact, Message, MessageKind, StoredTicket

_details = msgspec.json.Decoder(Details)

#: Letters that list tickets as the books have them; others say what their cause knew.
_OF_TICKETS = frozenset({MessageKind.CONFIRMATION, MessageKind.EVENT_CHANGED})
_WITH_CALENDAR = _OF_TICKETS


class Moot(Exception):
    """Nobody is to get this letter any more. Argument: why."""


#: Asks the owner of a booking how it stands; None: there is none. Raises RetryLater.
Ask = Callable[[str], Awaitable[Booking | None]]


class Papers(Protocol):
    """Draws attachments; see `papers.Papers`."""

    async def tickets(
        self, event: Event, tickets: Sequence[StoredTicket], contact: Contact, issued_at_ms: int
    ) -> Attachment:
        """Return a PDF with a page for each ticket."""
        ...

    async def calendar(
        self, event: Event, booking_id: str, tickets: Sequence[StoredTicket], issued_at_ms: int
    ) -> Attachment:
        """Return an entry for a calendar."""
        ...


async def write(
    message: Message,
    event: Event,
    contact: Contact,
    tickets: Sequence[StoredTicket],
    papers: Papers,
    ask: Ask,
) -> Outgoing:
    """Return the letter of a message as things stand now.

    Raises:
        Moot: it tells of a change to somebody whose tickets have all gone back.
        TryLater: its booking's owner does not answer; the last attempt does without.
        LookupError: the books have no tickets of a booking that they say is confirmed.
    """
    details = _details.decode(message.facts)
    if message.kind is MessageKind.EVENT_CANCELLED and not details.held:
        details = await _with_money(message, details, ask)
    valid = [ticket for ticket in tickets if ticket.status != TicketStatus.VOID]
    if message.kind is MessageKind.CONFIRMATION and not tickets:
        raise LookupError(
            f"{message.booking_id} is confirmed, and its tickets are not in the books"
        )
    if message.kind is MessageKind.EVENT_CHANGED and not valid:
        raise Moot("none of its tickets is valid")
    issued_at_ms = details.issued_at_ms or message.created_ms
    enclosed: list[Attachment] = []
    # Drawing takes longer than all else: not for a channel that carries no files.
    carried = message.channel == CARRIES_FILES and bool(valid)
    drawn = carried and message.kind is MessageKind.CONFIRMATION and len(valid) <= PDF_TICKETS_MAX
    if drawn:
        enclosed.append(await papers.tickets(event, valid, contact, issued_at_ms))
    dated = carried and message.kind in _WITH_CALENDAR
    if dated:
        enclosed.append(await papers.calendar(event, message.booking_id, valid, issued_at_ms))
    facts = Facts(
        event,
        message.booking_id,
        details,
        contact.name,
        _lines(message.kind, event, details, valid or tickets),
        len(valid),
        tickets_attached=drawn,
        calendar_attached=dated,
    )
    return Outgoing(
        message.dedupe_key,
        message.booking_id,
        contact.email,
        render(message.kind, contact.locale, facts),
        tuple(enclosed),
        message.created_ms,
    )


async def _with_money(message: Message, details: Details, ask: Ask) -> Details:
    """Return what is said of a cancellation, with what goes back. Raises Moot, TryLater."""
    try:
        booking = await ask(message.booking_id)
    except RetryLater as error:
        if message.attempts + 1 < POST_ATTEMPTS_MAX:
            raise TryLater(error.seconds, "its owner does not answer") from error
        return details
    if booking is None:
        return details
    amount_minor = going_back_minor(booking, message.created_ms)
    if amount_minor is None:
        raise Moot("none of its tickets was valid when the event was called off")
    return replace(details, amount_minor=amount_minor)


def _lines(
    kind: MessageKind, event: Event, details: Details, tickets: Sequence[StoredTicket]
) -> tuple[Line, ...]:
    names = {known.code: known.name for known in event.ticket_types}
    if kind not in _OF_TICKETS:
        return tuple(
            Line(names.get(units.ticket_type, units.ticket_type), units.quantity)
            for units in details.units
        )
    by_type: dict[str, list[StoredTicket]] = {}
    for ticket in tickets:
        by_type.setdefault(ticket.ticket_type, []).append(ticket)
    listed = len(tickets) <= PDF_TICKETS_MAX
    return tuple(
        Line(
            names.get(code, code),
            len(of_type),
            tuple(ticket.seat for ticket in of_type if ticket.seat is not None),
            tuple(ticket.number for ticket in of_type) if listed else (),
        )
        for code, of_type in by_type.items()
    )
