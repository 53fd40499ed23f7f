"""What letters are about: everything that may fill a blank."""

from enum import StrEnum

from msgspec import Struct

from engine.domain.event import Event, Venue


class Reason(StrEnum):
    """Why money goes back."""

    REQUESTED = "requested"
    EVENT_CANCELLED = "event_cancelled"


class Units(Struct, frozen=True):
    """So many units of a ticket type, by its code."""

    ticket_type: str
    quantity: int


class Before(Struct, frozen=True):
    """An event as it was before a change; what is left out has not changed."""

    name: str | None = None
    starts_at_ms: int | None = None
    doors_open_at_ms: int | None = None
    venue: Venue | None = None


class Details(Struct, frozen=True, omit_defaults=True):
    """What only the effect knew that called for a letter: the facts of a stored message.

    Nothing of it names a person.

    Attributes:
        amount_minor: what was paid, in a confirmation; else what goes back. 0: no money
            moves. None: how much is not known, and not spoken of.
        kept_minor: what the refund policy kept of the price.
        units: what was held, or was given back. A confirmation lists the tickets instead.
        pay_until_ms: when the hold ends on which a payment failed; None if it has ended.
        issued_at_ms: when the booking was confirmed; None: when the message was made.
        reason: why money goes back.
        before: what has changed about the event.
        held: the units of a cancelled event were held, and not sold yet.
    """

    amount_minor: int | None = None
    kept_minor: int = 0
    units: tuple[Units, ...] = ()
    pay_until_ms: int | None = None
    issued_at_ms: int | None = None
    reason: Reason | None = None
    before: Before | None = None
    held: bool = False


class Line(Struct, frozen=True):
    """Units of one ticket type as a letter lists them.

    `numbers` are those of its tickets, none where there are no tickets, or too many.
    """

    kind: str
    quantity: int
    seats: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


class Facts(Struct, frozen=True):
    """Everything that a letter may say.

    Attributes:
        event: as it stands.
        booking_id: what the letter is about.
        details: what only its cause knew.
        name: of the buyer, if they gave one.
        lines: in the order of the booking.
        valid: how many tickets of the booking are not void, used ones among them.
        tickets_attached: whether they come with the letter.
        calendar_attached: whether an entry for a calendar does.
    """

    event: Event
    booking_id: str
    details: Details
    name: str | None = None
    lines: tuple[Line, ...] = ()
    valid: int = 0
    tickets_attached: bool = False
    calendar_attached: bool = False
