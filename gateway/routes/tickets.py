"""Tickets: what their booking says of them, and their files, drawn when they are asked for."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from msgspec import Struct

from engine.domain.booking import Booking, Status
from engine.domain.event import Event
from engine.domain.ids import event_of_booking, is_booking_id
from engine.domain.outcomes import Refusal
from engine.domain.tickets import (
    Ticket,
    TicketStatus,
    booking_of_ticket,
    is_ticket_id,
    place_of_ticket,
    tickets_of,
)
from engine.journal.catalogue import EventDocument
from engine.journal.contract import Unavailable
from engine.limits import LIST_MAX, PDF_TICKETS_MAX
from engine.tickets import calendar, code, paper
from engine.tickets.sheet import Sheet
from gateway.auth import Principal
from gateway.bodies import invalid
from gateway.problems import Problem
from gateway.routes import bookings
from gateway.routes.common import (
    ASKING,
    KNOWING,
    NOT_CHANGED,
    OF_BOOKING,
    BookingId,
    Buyer,
    IfNoneMatch,
    Known,
    TheService,
    TicketId,
    has_current,
    headers,
    problems,
)
from gateway.service import Service
from gateway.views import TicketList, TicketView

router = APIRouter(prefix="/api/v1", tags=["tickets"])

_OF_TICKET = (*KNOWING, "ticket_not_found", *ASKING[1:])
#: May be kept by whoever it was made for, who asks each time whether it still holds good:
#: a ticket may be void a minute later.
_KEEPING = "private, no-cache"


class _Issued(Struct, frozen=True):
    """A booking, what is known of its event, and its tickets."""

    booking: Booking
    event: Event
    tickets: tuple[Ticket, ...]


def _file(media_type: str, *codes: str | Refusal) -> dict[str, Any]:
    """Return the documentation of a route that answers with a file."""
    named = headers("Cache-Control", "Content-Disposition", "ETag")
    content = {media_type: {"schema": {"type": "string", "contentMediaType": media_type}}}
    return {
        "response_class": Response,
        "responses": {
            200: {"description": "The file", "headers": named, "content": content},
            304: {"description": NOT_CHANGED, "headers": headers("Cache-Control", "ETag")},
            **problems(*codes),
        },
    }


# -- what there is -----------------------------------------------------------------


@router.get(
    "/bookings/{booking_id}/tickets",
    response_model=TicketList,
    responses=problems(*OF_BOOKING, "invalid_request"),
)
async def list_tickets(
    booking_id: BookingId,
    principal: Known,
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = LIST_MAX,
    starting_after: Annotated[str | None, Query(max_length=64)] = None,
) -> Any:
    """List a booking's tickets: none before it is confirmed, then one for each unit."""
    issued = await _issued(service, booking_id, principal)
    first = 0
    if starting_after is not None:
        ids = [ticket.ticket_id for ticket in issued.tickets]
        if starting_after not in ids:
            raise invalid("/query/starting_after", "names no ticket of this booking")
        first = ids.index(starting_after) + 1
    page = issued.tickets[first : first + limit]
    return {
        "object": "list",
        "data": [_view(service, issued, ticket) for ticket in page],
        "has_more": first + limit < len(issued.tickets),
    }


@router.get("/tickets/{ticket_id}", response_model=TicketView, responses=problems(*_OF_TICKET))
async def read_ticket(ticket_id: TicketId, principal: Known, service: TheService) -> Any:
    """Show a ticket to whoever may see its booking."""
    issued, ticket = await _ticket(service, ticket_id, principal)
    return _view(service, issued, ticket)


# -- files of one ticket: for its buyer alone --------------------------------------


@router.get("/tickets/{ticket_id}/qr.svg", **_file("image/svg+xml", *_OF_TICKET, "ticket_void"))
async def draw_svg(
    ticket_id: TicketId,
    principal: Buyer,
    service: TheService,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Draw a ticket's QR code as an image of any size."""
    issued, ticket = await _valid_ticket(service, ticket_id, principal)
    payload = service.ticketing.payload(ticket, issued.booking.customer)
    number = service.ticketing.number(ticket.ticket_id)
    return await _answer(
        service,
        _File("image/svg+xml", f"{number}.svg", f"{payload}\n{number}".encode()),
        if_none_match,
        lambda: code.svg(code.matrix(payload), number),
    )


@router.get("/tickets/{ticket_id}/qr.png", **_file("image/png", *_OF_TICKET, "ticket_void"))
async def draw_png(
    ticket_id: TicketId,
    principal: Buyer,
    service: TheService,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Draw a ticket's QR code as an image of 450 by 450 pixels."""
    issued, ticket = await _valid_ticket(service, ticket_id, principal)
    payload = service.ticketing.payload(ticket, issued.booking.customer)
    number = service.ticketing.number(ticket.ticket_id)
    return await _answer(
        service,
        _File("image/png", f"{number}.png", payload.encode()),
        if_none_match,
        lambda: code.png(code.matrix(payload)),
    )


@router.get(
    "/tickets/{ticket_id}/ticket.pdf",
    **_file("application/pdf", *_OF_TICKET, "ticket_void"),
)
async def draw_ticket(
    ticket_id: TicketId,
    principal: Buyer,
    service: TheService,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Draw a ticket to be printed or shown."""
    issued, ticket = await _valid_ticket(service, ticket_id, principal)
    name = f"ticket-{service.ticketing.number(ticket.ticket_id)}.pdf"
    return await _paper(service, issued, (ticket,), name, if_none_match)


# -- files of a booking: for its buyer alone ---------------------------------------


@router.get(
    "/bookings/{booking_id}/tickets.pdf",
    **_file("application/pdf", *OF_BOOKING, "not_issued", "ticket_void", "too_many_tickets"),
)
async def draw_tickets(
    booking_id: BookingId,
    principal: Buyer,
    service: TheService,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Draw all tickets of a booking that admit somebody, a page for each."""
    issued = await _own(service, booking_id, principal)
    valid = _valid(issued)
    if len(valid) > PDF_TICKETS_MAX:
        raise Problem("too_many_tickets")
    return await _paper(service, issued, valid, f"tickets-{booking_id}.pdf", if_none_match)


@router.get(
    "/bookings/{booking_id}/calendar.ics",
    **_file("text/calendar", *OF_BOOKING, "not_issued", "ticket_void"),
)
async def draw_calendar(
    booking_id: BookingId,
    principal: Buyer,
    service: TheService,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Give an entry for the buyer's calendar."""
    issued = await _own(service, booking_id, principal)
    numbers = tuple(service.ticketing.number(ticket.ticket_id) for ticket in _valid(issued))
    event, issued_at_ms = issued.event, _issued_at_ms(issued.booking)
    content = msgspec.json.encode((event, booking_id, numbers, issued_at_ms))
    return await _answer(
        service,
        _File("text/calendar", f"{event.event_id}.ics", content),
        if_none_match,
        lambda: calendar.entry(event, booking_id, numbers, issued_at_ms),
    )


async def _paper(
    service: Service,
    issued: _Issued,
    tickets: tuple[Ticket, ...],
    name: str,
    if_none_match: str | None,
) -> Response:
    event, issued_at_ms = issued.event, _issued_at_ms(issued.booking)
    kinds = {kind.code: kind.name for kind in event.ticket_types}
    contact = await service.books.contact(issued.booking.booking_id)
    sheets = tuple(
        Sheet(
            service.ticketing.number(ticket.ticket_id),
            service.ticketing.payload(ticket, issued.booking.customer),
            kinds[ticket.ticket_type],
            ticket.seat,
            None if contact is None else contact.holder(place_of_ticket(ticket.ticket_id)),
        )
        for ticket in tickets
    )
    content = msgspec.json.encode((event, sheets, issued_at_ms))
    return await _answer(
        service,
        _File("application/pdf", name, content),
        if_none_match,
        lambda: paper.draw(event, sheets, issued_at_ms),
    )


def _issued_at_ms(booking: Booking) -> int:
    """Return when a booking that has tickets was confirmed."""
    return next(moment.at_ms for moment in booking.later if moment.status is Status.CONFIRMED)


def _valid(issued: _Issued) -> tuple[Ticket, ...]:
    """Return the tickets that admit somebody.

    Raises:
        Problem: `not_issued`, `ticket_void`, if there are none.
    """
    if not issued.tickets:
        raise Problem("not_issued")
    valid = tuple(ticket for ticket in issued.tickets if ticket.status is not TicketStatus.VOID)
    if not valid:
        raise Problem("ticket_void")
    return valid


# -- what they share ---------------------------------------------------------------


class _File(Struct, frozen=True):
    """What a file is called, and everything that its bytes depend on."""

    media_type: str
    name: str
    content: bytes

    @property
    def etag(self) -> str:
        """Its version: another one where another file would be drawn."""
        digest = hashlib.blake2b(self.content, digest_size=15, key=_look())
        digest.update(self.media_type.encode())
        return f'"{digest.hexdigest()}"'


@cache
def _look() -> bytes:
    """Return what every file changes with: how this release draws."""
    return version("onsale").encode()


async def _answer(
    service: Service, file: _File, if_none_match: str | None, draw: Callable[[], bytes]
) -> Response:
    named = {"etag": file.etag, "cache-control": _KEEPING}
    if has_current(if_none_match, file.etag):
        return Response(status_code=304, headers=named)
    drawn = await service.ticketing.drawings.get(file.etag, draw)
    named["content-disposition"] = f'inline; filename="{file.name}"'
    return Response(drawn, media_type=file.media_type, headers=named)


async def _issued(service: Service, booking_id: str, principal: Principal) -> _Issued:
    """Return a booking's tickets to whoever may see it.

    Raises:
        Problem: `booking_not_found`, or no answer in time.
    """
    shown, document = await asyncio.gather(
        bookings.read(service, booking_id, principal), _document(service, booking_id)
    )
    if document is None:
        raise Problem(Refusal.BOOKING_NOT_FOUND)
    cancelled = document.cancellation is not None
    tickets = tickets_of(shown.booking, cancelled=cancelled)
    return _Issued(shown.booking, document.event, tickets)


async def _own(service: Service, booking_id: str, principal: Principal) -> _Issued:
    """Return a booking's tickets to its buyer: who carries a file of one is let in.

    Raises:
        Problem: `booking_not_found`, also to its organizer; or no answer in time.
    """
    issued = await _issued(service, booking_id, principal)
    if issued.booking.customer != principal.sub:
        raise Problem(Refusal.BOOKING_NOT_FOUND)
    return issued


async def _document(service: Service, booking_id: str) -> EventDocument | None:
    if not is_booking_id(booking_id):
        return None
    try:
        return await service.catalogue.event(event_of_booking(booking_id))
    except Unavailable as error:
        raise Problem("store_unavailable") from error


async def _ticket(
    service: Service,
    ticket_id: str,
    principal: Principal,
    find: Callable[[Service, str, Principal], Awaitable[_Issued]] = _issued,
) -> tuple[_Issued, Ticket]:
    """Return a ticket to whoever may see its booking.

    Raises:
        Problem: `ticket_not_found`, or no answer in time.
    """
    if not is_ticket_id(ticket_id):
        raise Problem("ticket_not_found")
    try:
        issued = await find(service, booking_of_ticket(ticket_id), principal)
    except Problem as problem:
        if problem.code == Refusal.BOOKING_NOT_FOUND:
            raise Problem("ticket_not_found") from problem
        raise
    for ticket in issued.tickets:
        if ticket.ticket_id == ticket_id:
            return issued, ticket
    raise Problem("ticket_not_found")


async def _valid_ticket(
    service: Service, ticket_id: str, principal: Principal
) -> tuple[_Issued, Ticket]:
    """Return a ticket that admits somebody to its buyer. Raises Problem `ticket_void` besides."""
    issued, ticket = await _ticket(service, ticket_id, principal, _own)
    if ticket.status is TicketStatus.VOID:
        raise Problem("ticket_void")
    return issued, ticket


def _view(service: Service, issued: _Issued, ticket: Ticket) -> TicketView:
    ticketing = service.ticketing
    void = ticket.status is TicketStatus.VOID
    return {
        "id": ticket.ticket_id,
        "number": ticketing.number(ticket.ticket_id),
        "booking_id": issued.booking.booking_id,
        "event_id": issued.event.event_id,
        "ticket_type": ticket.ticket_type,
        "seat": ticket.seat,
        "status": ticket.status.value,
        "qr": None if void else ticketing.payload(ticket, issued.booking.customer),
    }
