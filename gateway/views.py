"""What clients see. Each form is written once: it makes the answer and its documentation."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from engine.domain.booking import Booking, Moment
from engine.domain.payment import Refund
from engine.domain.tickets import ticket_ids
from engine.domain.views import Availability


class Money(TypedDict):
    """An amount in minor units of a currency (ISO 4217)."""

    amount: int
    currency: str


class ItemView(TypedDict):
    """Units of one ticket type at the price frozen when they were held (minor units)."""

    ticket_type: str
    quantity: int
    seats: list[str]
    unit_price: int


class MomentView(TypedDict):
    """When a booking came into a state."""

    status: str
    at: str


class RefundView(TypedDict):
    """Money on its way back, or the last that was; `reason` says why it failed."""

    status: str
    amount: int
    reason: str | None


class PaymentIntentView(TypedDict):
    """What a browser needs to pay with Stripe, until when."""

    payment_intent_id: str
    client_secret: str
    publishable_key: str
    amount: int
    currency: str
    expires_at: str


class RepairView(TypedDict):
    """One booking that was set right, and why."""

    booking_id: str
    reason: str
    before: str
    after: str


class ReconciliationView(TypedDict):
    """What a comparison with Stripe has found.

    `notices` are webhooks that had not arrived, `unsettled` payments that waited for
    Stripe, `recent` those that Stripe opened lately; `troubles` could not be looked at.
    """

    notices: int
    unsettled: int
    recent: int
    repairs: list[RepairView]
    troubles: list[str]


class BookingView(TypedDict):
    """A booking; a hold is one in status RESERVED."""

    id: str
    event_id: str
    customer: str
    status: str
    items: list[ItemView]
    total: Money
    expires_at: str
    server_time: str
    sequence: int
    tickets: list[str]
    history: list[MomentView]
    refund: NotRequired[RefundView]


class BookingList(TypedDict):
    """Bookings, newest first.

    `unavailable` are ids of those that belong to this page and cannot be read now, because
    their event is halted or restarts; the others are not kept back for them. `starting_after`
    may name any of both.
    """

    object: Literal["list"]
    data: list[BookingView]
    has_more: bool
    unavailable: list[str]


class TicketView(TypedDict):
    """One unit of a booking; `qr` is the payload of its code, null once it is VOID."""

    id: str
    number: str
    booking_id: str
    event_id: str
    ticket_type: str
    seat: str | None
    status: Literal["ACTIVE", "USED", "VOID"]
    qr: str | None


class TicketList(TypedDict):
    """Tickets of a booking, in the order in which it was placed."""

    object: Literal["list"]
    data: list[TicketView]
    has_more: bool


class CountsView(TypedDict):
    """Counts of a ticket type; types that share an allotment show the same ones."""

    code: str
    capacity: int
    available: int
    held: int
    sold: int
    blocked: int


class AvailabilityView(TypedDict):
    """What is free at one sequence number."""

    event_id: str
    sequence: int
    as_of: str
    on_sale: bool
    ticket_types: list[CountsView]


class AuditSide(TypedDict):
    """An event's state: its digest and its counts."""

    digest: str
    ticket_types: list[CountsView]


class MoneyView(TypedDict):
    """Money of an event, in minor units: captured - refunded - kept = sold + returning.

    `kept` is what a refund policy left with the organizer (below zero for what was given
    back without units), `sold` the price of what is sold, `returning` what came too late
    for units and is on its way back.
    """

    captured: int
    refunded: int
    kept: int
    sold: int
    returning: int


class AuditView(TypedDict):
    """The live state and the one recomputed from the journal.

    `live` is null while the owner recovers: then only the journal was checked.
    """

    event_id: str
    sequence: int
    agree: bool
    violations: list[str]
    entries_replayed: int
    bookings: int
    money: MoneyView
    live: AuditSide | None
    recomputed: AuditSide


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@lru_cache(maxsize=4_096)
def rfc3339(unix_ms: int) -> str:
    """Return a time in UTC with milliseconds; holds of one turn share theirs."""
    moment = datetime.fromtimestamp(unix_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1_000:03d}Z"


def unix_ms(moment: datetime) -> int:
    """Return Unix milliseconds; fractions below are cut."""
    return (moment - _EPOCH) // _MILLISECOND


def maybe_unix_ms(moment: datetime | None) -> int | None:
    """Return Unix milliseconds of what need not be there."""
    return None if moment is None else unix_ms(moment)


def booking_view(booking: Booking, event_id: str, currency: str, server_ms: int) -> BookingView:
    """Return a booking as its buyer sees it."""
    view: BookingView = {
        "id": booking.booking_id,
        "event_id": event_id,
        "customer": booking.customer,
        "status": booking.status,
        "items": [
            {
                "ticket_type": line.ticket_type,
                "quantity": line.quantity,
                "seats": list(line.seats),
                "unit_price": line.unit_price_minor,
            }
            for line in booking.lines
        ],
        "total": {"amount": booking.total_minor, "currency": currency},
        "expires_at": rfc3339(booking.expires_at_ms),
        "server_time": rfc3339(server_ms),
        "sequence": booking.sequence,
        "tickets": ticket_ids(booking),
        "history": [_moment(moment) for moment in booking.history],
    }
    if booking.payment is not None and booking.payment.refund is not None:
        view["refund"] = _refund(booking.payment.refund)
    return view


def _refund(refund: Refund) -> RefundView:
    return {
        "status": refund.state,
        "amount": refund.amount_minor,
        "reason": refund.reason or None,
    }


def _moment(moment: Moment) -> MomentView:
    return {"status": moment.status, "at": rfc3339(moment.at_ms)}


def availability_view(counts: Availability) -> AvailabilityView:
    """Return the counts of every ticket type as anyone sees them."""
    return {
        "event_id": counts.event_id,
        "sequence": counts.sequence,
        "as_of": rfc3339(counts.as_of_ms),
        "on_sale": counts.on_sale,
        "ticket_types": [
            {
                "code": kind.code,
                "capacity": kind.capacity,
                "available": kind.available,
                "held": kind.held,
                "sold": kind.sold,
                "blocked": kind.blocked,
            }
            for kind in counts.ticket_types
        ],
    }


def maybe_rfc3339(instant_ms: int | None) -> str | None:
    """Return an instant as RFC 3339 in UTC, None where there is none."""
    return None if instant_ms is None else rfc3339(instant_ms)
