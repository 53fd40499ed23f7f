"""Facts as they are journalled, in the past tense. `apply` turns them into state.

A record says everything that `apply` needs, so that replaying it years later gives the
same state whatever has become of the rules since. Fields are only ever added, at the end
and with a default.
"""

from msgspec import Struct

from engine.domain.admission import Scanned
from engine.domain.booking import Booking
from engine.domain.event import Event
from engine.domain.payment import Refund


class EventCreated(Struct, frozen=True, array_like=True, tag="created"):
    """The event exists from now on."""

    event: Event


class EventAmended(Struct, frozen=True, array_like=True, tag="amended"):
    """The event as it is from now on."""

    event: Event
    at_ms: int


class SalePaused(Struct, frozen=True, array_like=True, tag="paused"):
    """New holds are refused from now on."""

    at_ms: int


class SaleResumed(Struct, frozen=True, array_like=True, tag="resumed"):
    """New holds are taken again."""

    at_ms: int


class HoldPlaced(Struct, frozen=True, array_like=True, gc=False, tag="held"):
    """Inventory is kept for a buyer, as the booking says."""

    booking: Booking


class HoldReleased(Struct, frozen=True, array_like=True, gc=False, tag="released"):
    """The buyer gave a hold back."""

    booking_id: str
    at_ms: int


class HoldExpired(Struct, frozen=True, array_like=True, gc=False, tag="expired"):
    """The time of a hold was up."""

    booking_id: str
    at_ms: int


class EventCancelled(Struct, frozen=True, array_like=True, tag="cancelled"):
    """The event is called off: nothing is sold any more, everything is given back.

    `left` bookings have to be seen to.
    """

    at_ms: int
    left: int


class CallingOff(Struct, frozen=True, array_like=True, gc=False, tag="calling_off"):
    """Of the bookings of an event cancelled at `at_ms`, the oldest `left` are to be seen to."""

    at_ms: int
    left: int


class PaymentStarted(Struct, frozen=True, array_like=True, gc=False, tag="pay_started"):
    """The buyer wants to pay: an intent is to be opened; the hold waits until `expires_at_ms`.

    0 where that was not journalled yet: the hold went on ending when it did.
    """

    booking_id: str
    amount_minor: int
    at_ms: int
    expires_at_ms: int = 0


class IntentOpened(Struct, frozen=True, array_like=True, gc=False, tag="pay_opened"):
    """Stripe has opened the intent; the hold lasts until `expires_at_ms` for it."""

    booking_id: str
    intent_id: str
    expires_at_ms: int


class PaymentRetried(Struct, frozen=True, array_like=True, gc=False, tag="pay_retried"):
    """The buyer tries again after a failure."""

    booking_id: str
    at_ms: int


class PaymentFailed(Struct, frozen=True, array_like=True, gc=False, tag="pay_failed"):
    """An attempt has failed; the buyer may try another card."""

    booking_id: str
    failure: str
    at_ms: int


class PaymentGivenUp(Struct, frozen=True, array_like=True, gc=False, tag="pay_given_up"):
    """The payment will not be made; the stock is free, the intent is to be closed."""

    booking_id: str
    failure: str
    at_ms: int


class PaymentAuthorised(Struct, frozen=True, array_like=True, gc=False, tag="pay_authorised"):
    """The money is reserved: it is to be captured."""

    booking_id: str
    at_ms: int


class PaymentClosing(Struct, frozen=True, array_like=True, gc=False, tag="pay_closing"):
    """The intent is to be closed; a hold waits for that until `expires_at_ms`."""

    booking_id: str
    expires_at_ms: int


class PaymentClosed(Struct, frozen=True, array_like=True, gc=False, tag="pay_closed"):
    """The intent is closed and has taken no money."""

    booking_id: str


class BookingConfirmed(Struct, frozen=True, array_like=True, gc=False, tag="confirmed"):
    """The booking is paid (or free) and its units are sold."""

    booking_id: str
    captured_minor: int
    at_ms: int


class PaymentReturning(Struct, frozen=True, array_like=True, gc=False, tag="pay_returning"):
    """Money came for which there is no ticket any more: it is to be given back."""

    booking_id: str
    refund: Refund
    captured_minor: int
    at_ms: int


class RefundRequested(Struct, frozen=True, array_like=True, gc=False, tag="refund_wanted"):
    """Money is to be given back."""

    booking_id: str
    refund: Refund
    at_ms: int


class RefundSettled(Struct, frozen=True, array_like=True, gc=False, tag="refunded"):
    """The refund under way has succeeded; what it gives back is free."""

    booking_id: str
    refund_id: str
    at_ms: int


class RefundFailed(Struct, frozen=True, array_like=True, gc=False, tag="refund_failed"):
    """The last refund has failed for the reason given.

    `owed_minor` of a refund that had been made have come back from the bank, and are to go
    back again; None where it had not been made, or before that was noted. `units` tells
    whether it was for any: what is owed has none.
    """

    booking_id: str
    refund_id: str
    reason: str
    at_ms: int
    owed_minor: int | None = None
    units: bool = True


class MoneyTakenBack(Struct, frozen=True, array_like=True, gc=False, tag="taken_back"):
    """Money went back without our asking; `refunded_minor` is what did in all.

    If it is everything, the booking is over.
    """

    booking_id: str
    refunded_minor: int
    at_ms: int


class DisputeNoted(Struct, frozen=True, array_like=True, gc=False, tag="disputed"):
    """A cardholder's dispute is in this status now; its tickets are void while it is open.

    `lost_minor` is what the bank has taken if it is lost.
    """

    booking_id: str
    dispute_id: str
    status: str
    at_ms: int
    lost_minor: int = 0


class TicketsDelivered(Struct, frozen=True, array_like=True, gc=False, tag="delivered"):
    """The tickets of a booking were handed over to be sent."""

    booking_id: str
    at_ms: int


class TicketScanned(Struct, frozen=True, array_like=True, gc=False, tag="scanned"):
    """A code was shown at a door at `at_ms`, and this was said of it at `noted_ms`.

    The two differ where the scanner was `offline`.
    """

    scan: Scanned
    entry: bool
    gate: str
    operator: str
    at_ms: int
    noted_ms: int
    offline: bool


class PassageUndone(Struct, frozen=True, array_like=True, gc=False, tag="unscanned"):
    """The last passage of a ticket was a mistake.

    `said` is what was answered, under the name of the request; None where it had none.
    """

    ticket_id: str
    operator: str
    at_ms: int
    said: Scanned | None = None


Record = (
    EventCreated
    | EventAmended
    | SalePaused
    | SaleResumed
    | HoldPlaced
    | HoldReleased
    | HoldExpired
    | EventCancelled
    | CallingOff
    | PaymentStarted
    | IntentOpened
    | PaymentRetried
    | PaymentFailed
    | PaymentGivenUp
    | PaymentAuthorised
    | PaymentClosing
    | PaymentClosed
    | BookingConfirmed
    | PaymentReturning
    | RefundRequested
    | RefundSettled
    | RefundFailed
    | MoneyTakenBack
    | DisputeNoted
    | TicketsDelivered
    | TicketScanned
    | PassageUndone
)

#: Records that Stripe must be asked to do something about.
PAYMENT_EFFECTS: frozenset[type[Record]] = frozenset(
    {PaymentAuthorised, PaymentClosing, PaymentGivenUp, PaymentReturning, RefundRequested}
)
#: Records of the doors, as many as a house has visitors: only their log follows them.
DOOR_EFFECTS: frozenset[type[Record]] = frozenset({TicketScanned, PassageUndone})
#: Records that somebody outside the owner must act on (Stripe, the buyer, the holders).
EFFECTS: frozenset[type[Record]] = PAYMENT_EFFECTS | {
    EventAmended,
    EventCancelled,
    HoldExpired,
    PaymentFailed,
    BookingConfirmed,
    RefundSettled,
    RefundFailed,
    MoneyTakenBack,
    DisputeNoted,
}
