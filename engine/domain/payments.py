"""Rules of a payment: opened by its buyer, then whatever Stripe says of it.

What Stripe says (`ObservePayment`) is the same whoever brings it: a webhook, the answer to
a call of ours, or the reconciler. It may come late, twice and in any order, so each rule
looks at where the payment is and not at where the news comes from.
"""

from engine.domain.booking import TRANSITIONS, Booking, Move, Status
from engine.domain.commands import ObservePayment, OpenPayment, ReadPayments
from engine.domain.decision import Decision, existing_event, refused
from engine.domain.outcomes import (
    DONE,
    PaymentShown,
    PaymentsShown,
    Refusal,
    Shown,
    UnsettledPayment,
)
from engine.domain.payment import PAYABLE, Payment, PaymentState, Refund
from engine.domain.records import (
    BookingConfirmed,
    HoldExpired,
    IntentOpened,
    PaymentAuthorised,
    PaymentClosed,
    PaymentFailed,
    PaymentGivenUp,
    PaymentRetried,
    PaymentReturning,
    PaymentStarted,
    Record,
)
from engine.domain.state import EventState
from engine.limits import PAYMENT_OPENING_MS, UNSETTLED_PAGE

#: States of a payment to which Stripe has nothing more to add, whatever it says of it.
_OVER = frozenset({PaymentState.CAPTURED, PaymentState.RETURNING, PaymentState.RETURNED})


def open_payment(state: EventState, command: OpenPayment, now_ms: int) -> Decision:
    """Begin to pay, or go on; a free booking is confirmed, a paid one shown as it is."""
    event = existing_event(state)
    booking = state.bookings.get(command.booking_id)
    if booking is None or booking.customer != command.caller.sub:
        return refused(Refusal.BOOKING_NOT_FOUND)
    status, payment = booking.status, booking.payment
    if status in (Status.CONFIRMED, Status.TICKETS_DELIVERED):
        return Shown(booking, event.currency), ()
    if state.cancelled_at_ms is not None:
        return refused(Refusal.EVENT_CANCELLED)
    if status is Status.RESERVED:
        total_minor = booking.total_minor
        if not total_minor:
            confirmed = booking.moved(Status.CONFIRMED, now_ms)
            record = BookingConfirmed(booking.booking_id, 0, now_ms)
            return Shown(confirmed, event.currency), (record,)
        opening = Payment(PaymentState.OPENING, total_minor, now_ms)
        # Once for each hold: whoever asks again does not prolong it again.
        until_ms = max(booking.expires_at_ms, now_ms + PAYMENT_OPENING_MS)
        started = PaymentStarted(booking.booking_id, total_minor, now_ms, until_ms)
        return PaymentShown(booking, opening, event), (started,)
    if payment is None or payment.state not in PAYABLE:
        return refused(Refusal.NOT_PAYABLE, status)
    if status is Status.PAYMENT_FAILED:
        retried = PaymentRetried(booking.booking_id, now_ms)
        return PaymentShown(booking, payment, event), (retried,)
    return PaymentShown(booking, payment, event), ()


def observe(state: EventState, command: ObservePayment, now_ms: int) -> Decision:
    """Take note of where Stripe says that a payment is."""
    booking = state.bookings.get(command.booking_id)
    if booking is None:
        return refused(Refusal.BOOKING_NOT_FOUND)
    payment = booking.payment
    wrong = _mismatch(state, booking, command)
    if payment is None or wrong is not None:
        return refused(Refusal.PAYMENT_MISMATCH, wrong)
    if _is_no_matter(payment, command):
        return DONE, ()
    records: list[Record] = []
    if not payment.intent_id and command.intent_id:
        until_ms = _opened_until_ms(booking, payment, now_ms)
        records.append(IntentOpened(booking.booking_id, command.intent_id, until_ms))
    if command.status == "succeeded":
        records.append(succeeded(state, booking, payment, command.received_minor, now_ms))
    elif command.status == "canceled":
        records.extend(_closed(booking, payment, now_ms))
    elif command.status == "requires_capture":
        if payment.state in PAYABLE:
            records.append(PaymentAuthorised(booking.booking_id, now_ms))
    elif command.status == "requires_payment_method" and command.failure:
        records.extend(_failed(state, booking, payment, command.failure, now_ms))
    return DONE, tuple(records)


def _is_no_matter(payment: Payment, command: ObservePayment) -> bool:
    """Tell whether news is not for this payment to heed any more."""
    if payment.intent_id and not command.intent_id:
        return True  # it was opened after all: what becomes of it is for its intent to say
    if payment.state is PaymentState.CLOSED:
        return command.status != "succeeded"
    return payment.state in _OVER


def _opened_until_ms(booking: Booking, payment: Payment, now_ms: int) -> int:
    """Return when a hold ends whose intent is open from now on.

    Its buyer has as much time left as when they asked to pay: waiting for Stripe has not cost
    any of it, and given none. A payment that is to be closed gains nothing.
    """
    if payment.state is not PaymentState.OPENING:
        return booking.expires_at_ms
    return booking.own_end_ms + now_ms - payment.opened_at_ms


def _mismatch(state: EventState, booking: Booking, command: ObservePayment) -> str | None:
    """Return what of the news does not belong to the booking, None if everything does."""
    payment = booking.payment
    if payment is None or (payment.intent_id and command.intent_id not in ("", payment.intent_id)):
        return "intent"
    if command.customer != booking.customer:
        return "customer"
    if command.event not in (None, existing_event(state).event_id):
        return "event"
    if command.currency != existing_event(state).currency:
        return "currency"
    if command.amount_minor != payment.amount_minor:
        return "amount"
    if command.status == "succeeded" and command.received_minor != payment.amount_minor:
        return "received"
    return None


def succeeded(
    state: EventState, booking: Booking, payment: Payment, captured_minor: int, now_ms: int
) -> Record:
    """Return what becomes of money that has arrived: units, or the way back.

    Late money gets its units if they are still free; not if the buyer has given them back
    or the event is off.
    """
    booking_id = booking.booking_id
    confirmed = BookingConfirmed(booking_id, captured_minor, now_ms)
    if (booking.status, Move.CONFIRM) in TRANSITIONS:
        return confirmed
    wanted = booking.status is Status.EXPIRED or payment.given_up
    if wanted and state.cancelled_at_ms is None and _fits(state, booking):
        return confirmed
    number = 1 if payment.refund is None else payment.refund.number + 1
    refund = Refund(number, captured_minor, ())
    return PaymentReturning(booking_id, refund, captured_minor, now_ms)


def _fits(state: EventState, booking: Booking) -> bool:
    """Tell whether the units of an ended hold are still there for its customer."""
    limit = existing_event(state).max_per_customer
    if limit is not None and state.units_of.get(booking.customer, 0) + booking.units > limit:
        return False
    wanted: dict[str, int] = {}
    for line in booking.lines:
        allotment = state.offers[line.ticket_type].ticket_type.allotment
        wanted[allotment] = wanted.get(allotment, 0) + line.quantity
    return all(state.stocks[code].available >= quantity for code, quantity in wanted.items())


def _closed(booking: Booking, payment: Payment, now_ms: int) -> tuple[Record, ...]:
    """Return what becomes of a booking whose intent will take no money any more."""
    booking_id = booking.booking_id
    closed = PaymentClosed(booking_id)
    if (booking.status, Move.EXPIRE) not in TRANSITIONS:
        return (closed,)
    if payment.state is PaymentState.CLOSING:
        return closed, HoldExpired(booking_id, now_ms)
    return closed, PaymentGivenUp(booking_id, "", now_ms)


def _failed(
    state: EventState, booking: Booking, payment: Payment, failure: str, now_ms: int
) -> tuple[Record, ...]:
    """Count a failed attempt once, and give up after too many.

    Of a payment that is authorised or about to be closed it is old news, or no matter.
    """
    if failure in payment.failures or payment.state not in PAYABLE:
        return ()
    if len(payment.failures) + 1 < existing_event(state).payment_attempts_max:
        return (PaymentFailed(booking.booking_id, failure, now_ms),)
    return (PaymentGivenUp(booking.booking_id, failure, now_ms),)


def read_unsettled(state: EventState, command: ReadPayments, _now_ms: int) -> Decision:
    """Show the payments that wait for Stripe, a page at a time."""
    passed = not command.after or command.after not in state.unsettled
    page: list[UnsettledPayment] = []
    for booking_id in state.unsettled:
        if not passed:
            passed = booking_id == command.after
            continue
        if len(page) == UNSETTLED_PAGE:
            return PaymentsShown(tuple(page), more=True), ()
        booking = state.bookings[booking_id]
        assert booking.payment is not None, "an unsettled booking has a payment"
        page.append(UnsettledPayment(booking_id, booking.customer, booking.payment))
    return PaymentsShown(tuple(page), more=False), ()
