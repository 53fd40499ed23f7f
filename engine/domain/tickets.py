"""Tickets as a function of the booking: nothing about them is stored.

A ticket is one unit of a booking. Its id is the booking's and the unit's place in it, its
number a keyed hash of the id, its status follows from the booking's. To issue tickets twice
is therefore to issue nothing the second time, whoever does it and however often.
"""

import hashlib
import re
from enum import StrEnum

from msgspec import Struct

from engine.domain.booking import Booking, Status
from engine.domain.ids import base32
from engine.limits import BOOKING_UNITS_MAX

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
_TICKET_ID = re.compile(r"tkt_[0-9a-hjkmnp-tv-z]{30}")
#: Characters of a booking's id behind its prefix.
_BOOKING_CODE_LENGTH = 28
#: Bytes of hash behind a number: eight characters, in two groups that can be read aloud.
_NUMBER_BYTES = 5
#: Tag of a customer: enough that nobody finds another customer with the same one.
CUSTOMER_TAG_BYTES = 10

assert len(_DIGITS) ** 2 >= BOOKING_UNITS_MAX, "the last units of a booking would get no id"


class TicketStatus(StrEnum):
    """What a ticket is worth at the door."""

    ACTIVE = "ACTIVE"
    #: Somebody was admitted with it.
    USED = "USED"
    VOID = "VOID"


class Ticket(Struct, frozen=True, gc=False):
    """One unit of a booking that was confirmed; `seat` None where units are only counted."""

    ticket_id: str
    ticket_type: str
    seat: str | None
    status: TicketStatus


#: States in which a booking has tickets, whatever they are worth. Nothing leads from them
#: to a state without: a ticket that was once issued can be looked up for ever.
WITH_TICKETS = frozenset(
    {
        Status.CONFIRMED,
        Status.TICKETS_DELIVERED,
        Status.REFUND_REQUESTED,
        Status.REFUND_DENIED,
        Status.REFUNDED,
    }
)


def ticket_id(booking_id: str, place: int) -> str:
    """Return the id of a booking's unit; `place` counts from 0, in the order of placement.

    Two digits to the base 32: unlike decimal ones they suffice for BOOKING_UNITS_MAX.
    """
    assert 0 <= place < BOOKING_UNITS_MAX, f"no booking has a unit {place}"
    return f"tkt_{booking_id[3:]}{_DIGITS[place >> 5]}{_DIGITS[place & 31]}"


def is_ticket_id(text: str) -> bool:
    """Tell whether `text` has the form of a ticket id."""
    return _TICKET_ID.fullmatch(text) is not None


def booking_of_ticket(ticket: str) -> str:
    """Return the id of the booking that a ticket id names (its route)."""
    return "bk_" + ticket[4 : 4 + _BOOKING_CODE_LENGTH]


def place_of_ticket(ticket: str) -> int:
    """Return the place of a ticket in its booking; see `ticket_id`."""
    return _DIGITS.index(ticket[-2]) << 5 | _DIGITS.index(ticket[-1])


def number(key: bytes, ticket: str) -> str:
    """Return the number of a ticket that people read to each other, like `K7QX-93DM`.

    Forty bits of a keyed hash: it tells tickets of one event apart and cannot be guessed
    from an id, but names nothing by itself and admits nobody.

    Args:
        key: secret of the deployment, at most 64 bytes.
        ticket: a ticket id.
    """
    digest = hashlib.blake2b(ticket.encode(), digest_size=_NUMBER_BYTES, key=key).digest()
    code = base32(digest).upper()
    return f"{code[:4]}-{code[4:]}"


class Bearer(Struct, frozen=True, array_like=True, gc=False):
    """In whose hands a code was sealed: the tag of a customer, and the key for such tags."""

    tag: bytes
    key: bytes

    def is_customer(self, event_id: str, customer: str) -> bool:
        """Tell whether it is this customer, of a booking of this event."""
        return self.tag == customer_tag(self.key, event_id, customer)


def customer_tag(key: bytes, event_id: str, customer: str) -> bytes:
    """Return what stands for a customer in a code; it differs from event to event.

    Args:
        key: secret of the deployment, at most 64 bytes.
        event_id: of the ticket.
        customer: in whose hands it is.
    """
    material = f"{event_id}:{customer}".encode()
    return hashlib.blake2b(material, digest_size=CUSTOMER_TAG_BYTES, key=key).digest()


def tickets_of(booking: Booking, *, cancelled: bool = False) -> tuple[Ticket, ...]:
    """Return the tickets of a booking, one for each unit that it had when it was placed.

    Units that went back, or are asked back, are the last ones of their ticket type: the
    others keep their ids. Nothing is worth anything any more once all of it goes back, the
    event is cancelled, or the cardholder's bank has been asked for the money.

    Args:
        booking: as it stands.
        cancelled: whether its event is.
    """
    if booking.status not in WITH_TICKETS:
        return ()
    left = {} if cancelled else _left(booking)
    used = {admission.place for admission in booking.admissions}
    tickets: list[Ticket] = []
    for line in booking.placed or booking.lines:
        for unit in range(line.quantity):
            remaining = left.get(line.ticket_type, 0)
            left[line.ticket_type] = remaining - 1
            status = TicketStatus.USED if len(tickets) in used else TicketStatus.ACTIVE
            tickets.append(
                Ticket(
                    ticket_id(booking.booking_id, len(tickets)),
                    line.ticket_type,
                    line.seats[unit] if line.seats else None,
                    status if remaining > 0 else TicketStatus.VOID,
                )
            )
    return tuple(tickets)


def ticket_at(booking: Booking, place: int, *, cancelled: bool = False) -> Ticket | None:
    """Return the ticket at one place of a booking, None if there is none.

    The same as `tickets_of` says, without the others: a coach company has a thousand.
    """
    if booking.status not in WITH_TICKETS:
        return None
    unit = place
    lines = booking.placed or booking.lines
    for index, line in enumerate(lines):
        if unit >= line.quantity:
            unit -= line.quantity
            continue
        same_type = sum(
            other.quantity for other in lines[:index] if other.ticket_type == line.ticket_type
        )
        left = 0 if cancelled else _left(booking).get(line.ticket_type, 0)
        used = booking.admission(place) is not None
        status = TicketStatus.USED if used else TicketStatus.ACTIVE
        return Ticket(
            ticket_id(booking.booking_id, place),
            line.ticket_type,
            line.seats[unit] if line.seats else None,
            status if same_type + unit < left else TicketStatus.VOID,
        )
    return None


def ticket_ids(booking: Booking) -> list[str]:
    """Return the ids of a booking's tickets, void ones too."""
    return [ticket.ticket_id for ticket in tickets_of(booking)]


def _left(booking: Booking) -> dict[str, int]:
    """Return how many units of each ticket type admit somebody."""
    left: dict[str, int] = {}
    payment = booking.payment
    if booking.status is Status.REFUNDED:
        return left
    if payment is not None and payment.disputed:
        return left
    for line in booking.lines:
        left[line.ticket_type] = left.get(line.ticket_type, 0) + line.quantity
    if booking.status is Status.REFUND_REQUESTED and payment is not None:
        # What is asked back may not be used while it is on its way.
        for part in payment.refund.parts if payment.refund is not None else ():
            left[part.ticket_type] = left.get(part.ticket_type, 0) - part.quantity
    return left
