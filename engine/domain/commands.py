"""Requests to the owner of an event. A command asks; what came of it is a record."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from engine.domain.event import Event
from engine.domain.payment import Part
from engine.domain.tickets import Bearer


class Caller(Struct, frozen=True, array_like=True, gc=False):
    """Who asks, as the token says.

    `organizer` is the organizer that the caller acts for, None for a buyer.
    """

    sub: str
    organizer: str | None = None
    admin: bool = False


class Item(Struct, frozen=True, array_like=True, gc=False):
    """Wanted units of one ticket type: counted, or named seats, or the best ones free."""

    ticket_type: str
    quantity: Annotated[int, Meta(ge=1)]
    seats: tuple[str, ...] = ()
    best_available: bool = False


class PlaceHold(Struct, frozen=True, array_like=True, gc=False, tag="hold"):
    """Keep inventory for a customer; all of it or nothing."""

    booking_id: str
    customer: str
    items: tuple[Item, ...]


class ReleaseHold(Struct, frozen=True, array_like=True, gc=False, tag="release"):
    """Give a hold back before it expires."""

    booking_id: str
    caller: Caller


class ExpireHold(Struct, frozen=True, array_like=True, gc=False, tag="expire"):
    """End a hold whose time is up. Asked by the owner itself, never by a client."""

    booking_id: str


class ReadBooking(Struct, frozen=True, array_like=True, gc=False, tag="read"):
    """Show one booking to somebody who may see it."""

    booking_id: str
    caller: Caller


class ReadAvailability(Struct, frozen=True, array_like=True, gc=False, tag="availability"):
    """Show the counts of every ticket type."""


class CreateEvent(Struct, frozen=True, array_like=True, tag="create"):
    """Put an event on record."""

    event: Event


class Changes(Struct, frozen=True):
    """What is to be different about an event; what is UNSET stays as it is.

    Not an array like the commands, because UNSET cannot travel in one.

    Args:
        prices_minor: new price by ticket type.
        capacities: new capacity by allotment.
    """

    name: str | UnsetType = UNSET
    opens_at_ms: int | UnsetType | None = UNSET
    closes_at_ms: int | UnsetType | None = UNSET
    prices_minor: dict[str, int] = {}
    capacities: dict[str, int] = {}


class AmendEvent(Struct, frozen=True, array_like=True, tag="amend"):
    """Change what may be changed of an event."""

    caller: Caller
    changes: Changes


class PauseSale(Struct, frozen=True, array_like=True, tag="pause"):
    """Stop new holds; whatever is held can still be paid."""

    caller: Caller


class ResumeSale(Struct, frozen=True, array_like=True, tag="resume"):
    """Take new holds again."""

    caller: Caller


class CancelEvent(Struct, frozen=True, array_like=True, tag="cancel"):
    """Call the event off: release what is held, refund what is sold."""

    caller: Caller


class OpenPayment(Struct, frozen=True, array_like=True, gc=False, tag="pay"):
    """Begin, or go on, to pay for a hold; a free one is confirmed."""

    booking_id: str
    caller: Caller


class ObservePayment(Struct, frozen=True, array_like=True, gc=False, tag="payment"):
    """Take note of what Stripe says of a PaymentIntent, whoever brings the news.

    `status` is Stripe's; `failure` names the last failed attempt, '' if it did not fail.
    `intent_id` is '' where Stripe will never open one: `status` is "canceled" then.
    `event` is the one that Stripe's object names, '' if none; None in news that were kept
    before that was noted.
    """

    booking_id: str
    intent_id: str
    status: str
    amount_minor: int
    received_minor: int
    currency: str
    customer: str
    failure: str = ""
    event: str | None = None


class ObserveCharge(Struct, frozen=True, array_like=True, gc=False, tag="charge"):
    """Take note of how much of a captured payment Stripe has given back in all.

    `event` is as in `ObservePayment`. `taken_minor` of it was given back by others, as the
    list of the refunds shows; None where nobody has looked. `customer` is None where Stripe
    names none.
    """

    booking_id: str
    intent_id: str
    captured_minor: int
    refunded_minor: int
    currency: str
    event: str | None = None
    taken_minor: int | None = None
    customer: str | None = None


class ObserveRefund(Struct, frozen=True, array_like=True, gc=False, tag="refund_seen"):
    """Take note of what Stripe says of a refund that the owner has asked for.

    `intent_id`, `currency` and `event` are None where Stripe does not tell them, and in news
    that were kept before they were noted.
    """

    booking_id: str
    refund_id: str
    number: int
    status: str
    amount_minor: int
    reason: str = ""
    intent_id: str | None = None
    currency: str | None = None
    event: str | None = None


class ObserveDispute(Struct, frozen=True, array_like=True, gc=False, tag="dispute"):
    """Take note of what Stripe says of a cardholder's dispute over a payment.

    `amount_minor` of `currency` are disputed; None in news that were kept before that was
    noted: then it is everything.
    """

    booking_id: str
    intent_id: str
    dispute_id: str
    status: str
    amount_minor: int | None = None
    currency: str | None = None


class RequestRefund(Struct, frozen=True, array_like=True, gc=False, tag="refund"):
    """Give money back for a booking, or for some units of it (`parts`).

    `key` tells a repeat of an earlier request from a new one; '' from gateways that gave none
    to a request without a key of its client's.
    """

    booking_id: str
    caller: Caller
    parts: tuple[Part, ...] = ()
    key: str = ""


class ReadPayments(Struct, frozen=True, array_like=True, gc=False, tag="payments"):
    """Show payments that are not settled, oldest first, those behind the booking `after`."""

    after: str = ""


class CheckIn(Struct, frozen=True, array_like=True, gc=False, tag="check_in"):
    """Let the bearer of a ticket in (`entry`) or out.

    `scan_id` tells a repeat from another scan. `found` is a `DoorReason` where the code
    itself named no ticket of this event; `ticket_id` is '' then. `seen_at_ms` is when an
    offline scanner saw it, 0 for a scan that waits for its answer. `bearer` is whose the code
    says that the ticket is; None where it was not asked yet.
    """

    scan_id: str
    ticket_id: str
    caller: Caller
    gate: str
    entry: bool = True
    seen_at_ms: int = 0
    found: str = ""
    bearer: Bearer | None = None


class UndoPassage(Struct, frozen=True, array_like=True, gc=False, tag="undo_passage"):
    """Take back the last passage of a ticket: it was let through by mistake.

    `undo_id` tells a repeat from a request for the passage before; '' from gateways that gave
    it none yet.
    """

    ticket_id: str
    caller: Caller
    undo_id: str = ""


class NoteDelivery(Struct, frozen=True, array_like=True, gc=False, tag="delivered"):
    """Take note that a booking's tickets were handed over to be sent."""

    booking_id: str


Command = (
    PlaceHold
    | ReleaseHold
    | ExpireHold
    | ReadBooking
    | ReadAvailability
    | CreateEvent
    | AmendEvent
    | PauseSale
    | ResumeSale
    | CancelEvent
    | OpenPayment
    | ObservePayment
    | ObserveCharge
    | ObserveRefund
    | ObserveDispute
    | RequestRefund
    | ReadPayments
    | CheckIn
    | UndoPassage
    | NoteDelivery
)
