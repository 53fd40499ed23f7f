"""Answers to commands. A refusal is a value with a code of its own, never an exception."""

from enum import StrEnum

from msgspec import Struct

from engine.domain.admission import Scanned
from engine.domain.booking import Booking
from engine.domain.event import Event
from engine.domain.payment import Payment


class Refusal(StrEnum):
    """Why a command was not carried out, in the order in which the reasons win."""

    EVENT_NOT_FOUND = "event_not_found"
    BOOKING_NOT_FOUND = "booking_not_found"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    SALE_PAUSED = "sale_paused"
    SALE_NOT_OPEN = "sale_not_open"
    SALE_CLOSED = "sale_closed"
    UNKNOWN_TICKET_TYPE = "unknown_ticket_type"
    UNKNOWN_SEAT = "unknown_seat"
    LIMIT_PER_BOOKING = "limit_per_booking"
    LIMIT_PER_CUSTOMER = "limit_per_customer"
    SOLD_OUT = "sold_out"
    NOT_ENOUGH = "not_enough"
    SEAT_TAKEN = "seat_taken"
    NOT_RELEASABLE = "not_releasable"
    NOT_PAYABLE = "not_payable"
    PAYMENT_MISMATCH = "payment_mismatch"
    REFUND_NOT_ALLOWED = "refund_not_allowed"
    UNKNOWN_ALLOTMENT = "unknown_allotment"
    SALE_WINDOW_INVALID = "sale_window_invalid"
    PRICE_COMMITTED = "price_committed"
    BELOW_COMMITTED = "below_committed"
    EVENT_CANCELLED = "event_cancelled"
    TICKET_NOT_FOUND = "ticket_not_found"
    NOT_ADMITTED = "not_admitted"


#: Refusals that the same command may overcome later without any change to it.
TRANSIENT = frozenset(
    {
        Refusal.SALE_PAUSED,
        Refusal.SALE_NOT_OPEN,
        Refusal.NOT_ENOUGH,
        Refusal.SEAT_TAKEN,
        Refusal.LIMIT_PER_CUSTOMER,
    }
)


class Refused(Struct, frozen=True, array_like=True, gc=False, tag="refused"):
    """The command changed nothing.

    What is not None says more: `subject` is the ticket type, allotment or state in the
    way, `limit` the bound that was passed, `available` and `held` the units of the
    stock that did not suffice, `seats` those that are taken.
    """

    code: Refusal
    subject: str | None = None
    limit: int | None = None
    available: int | None = None
    held: int | None = None
    seats: tuple[str, ...] = ()


class Granted(Struct, frozen=True, array_like=True, gc=False, tag="granted"):
    """The hold is placed; `replayed` when an earlier call had already placed it."""

    booking: Booking
    currency: str
    replayed: bool = False


class Shown(Struct, frozen=True, array_like=True, gc=False, tag="booking"):
    """One booking as it stands; `replayed` when an earlier call had done what was asked."""

    booking: Booking
    currency: str
    replayed: bool = False


class Cancellation(Struct, frozen=True, array_like=True, gc=False):
    """When an event was cancelled, and how many bookings have not been seen to yet."""

    at_ms: int
    bookings_left: int


class PaymentShown(Struct, frozen=True, array_like=True, tag="payment"):
    """A payment that the buyer can go on with; it has no intent before Stripe told one."""

    booking: Booking
    payment: Payment
    event: Event


class UnsettledPayment(Struct, frozen=True, array_like=True, gc=False):
    """A payment that waits for Stripe, and whose it is."""

    booking_id: str
    customer: str
    payment: Payment


class PaymentsShown(Struct, frozen=True, array_like=True, tag="payments"):
    """Payments that wait for Stripe; `more` if there are others behind them."""

    payments: tuple[UnsettledPayment, ...]
    more: bool


class EventShown(Struct, frozen=True, array_like=True, tag="event"):
    """The event as it stands; `replayed` when an earlier call had already created it."""

    event: Event
    paused: bool
    replayed: bool = False
    cancellation: Cancellation | None = None


class ScanShown(Struct, frozen=True, array_like=True, gc=False, tag="scan"):
    """What was said at the door; `replayed` when it had been said before."""

    scan: Scanned
    replayed: bool = False


class Done(Struct, frozen=True, array_like=True, gc=False, tag="done"):
    """Nothing more to say than that it is so."""


Outcome = Refused | Granted | Shown | EventShown | PaymentShown | PaymentsShown | ScanShown | Done

DONE = Done()
