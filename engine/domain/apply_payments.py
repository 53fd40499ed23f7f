"""The writers of what happens to payments and refunds. Like all of `apply`, they never refuse."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from engine.domain.booking import Booking, Status
from engine.domain.moves import put
from engine.domain.payment import Payment, PaymentState
from engine.domain.records import (
    BookingConfirmed,
    DisputeNoted,
    IntentOpened,
    MoneyTakenBack,
    PaymentAuthorised,
    PaymentClosed,
    PaymentClosing,
    PaymentFailed,
    PaymentGivenUp,
    PaymentRetried,
    PaymentReturning,
    PaymentStarted,
    Record,
    RefundFailed,
    RefundRequested,
    RefundSettled,
)
from engine.domain.state import EventState


def _paying(state: EventState, booking_id: str) -> tuple[Booking, Payment]:
    booking = state.bookings[booking_id]
    assert booking.payment is not None, f"{booking_id} was journalled to pay before it began to"
    return booking, booking.payment


def _started(state: EventState, record: PaymentStarted) -> None:
    booking = state.bookings[record.booking_id].moved(Status.PAYMENT_PENDING, record.at_ms)
    if record.expires_at_ms:
        booking = booking.expiring(record.expires_at_ms)
    payment = Payment(PaymentState.OPENING, record.amount_minor, record.at_ms)
    put(state, replace(booking, payment=payment))


def _opened(state: EventState, record: IntentOpened) -> None:
    booking, payment = _paying(state, record.booking_id)
    status = PaymentState.OPEN if payment.state is PaymentState.OPENING else payment.state
    payment = replace(payment, state=status, intent_id=record.intent_id)
    put(state, replace(booking.expiring(record.expires_at_ms), payment=payment))


def _retried(state: EventState, record: PaymentRetried) -> None:
    booking = state.bookings[record.booking_id]
    put(state, booking.moved(Status.PAYMENT_PENDING, record.at_ms))


def _failed(state: EventState, record: PaymentFailed) -> None:
    booking, payment = _paying(state, record.booking_id)
    payment = replace(payment, failures=(*payment.failures, record.failure))
    put(state, replace(booking.moved(Status.PAYMENT_FAILED, record.at_ms), payment=payment))


def _given_up(state: EventState, record: PaymentGivenUp) -> None:
    booking, payment = _paying(state, record.booking_id)
    failures = payment.failures
    if record.failure:
        failures = (*failures, record.failure)
    closing = payment.state is not PaymentState.CLOSED
    payment = replace(
        payment,
        failures=failures,
        given_up=True,
        state=PaymentState.CLOSING if closing else PaymentState.CLOSED,
    )
    put(state, replace(booking.moved(Status.CANCELLED, record.at_ms), payment=payment))


def _authorised(state: EventState, record: PaymentAuthorised) -> None:
    booking, payment = _paying(state, record.booking_id)
    put(state, replace(booking, payment=replace(payment, state=PaymentState.AUTHORISED)))


def _closing(state: EventState, record: PaymentClosing) -> None:
    booking, payment = _paying(state, record.booking_id)
    payment = replace(payment, state=PaymentState.CLOSING)
    put(state, replace(booking.expiring(record.expires_at_ms), payment=payment))


def _closed(state: EventState, record: PaymentClosed) -> None:
    booking, payment = _paying(state, record.booking_id)
    put(state, replace(booking, payment=replace(payment, state=PaymentState.CLOSED)))


def _confirmed(state: EventState, record: BookingConfirmed) -> None:
    booking = state.bookings[record.booking_id]
    payment = booking.payment
    if payment is not None:
        payment = replace(
            payment, state=PaymentState.CAPTURED, captured_minor=record.captured_minor
        )
    put(state, replace(booking.moved(Status.CONFIRMED, record.at_ms), payment=payment))


def _returning(state: EventState, record: PaymentReturning) -> None:
    booking = state.bookings[record.booking_id]
    put(state, booking.returning(record.refund, record.captured_minor))


def _refund_requested(state: EventState, record: RefundRequested) -> None:
    put(state, state.bookings[record.booking_id].refunding(record.refund, record.at_ms))


def _refund_settled(state: EventState, record: RefundSettled) -> None:
    booking = state.bookings[record.booking_id]
    put(state, booking.refunded(record.refund_id, record.at_ms))


def _refund_failed(state: EventState, record: RefundFailed) -> None:
    booking = state.bookings[record.booking_id]
    failed = booking.refund_failed(record.refund_id, record.reason, record.owed_minor, record.at_ms)
    put(state, failed)


def _taken_back(state: EventState, record: MoneyTakenBack) -> None:
    booking = state.bookings[record.booking_id]
    put(state, booking.taken_back(record.refunded_minor, record.at_ms))


def _dispute_noted(state: EventState, record: DisputeNoted) -> None:
    booking, payment = _paying(state, record.booking_id)
    payment = payment.with_dispute(record.dispute_id, record.status, record.lost_minor)
    put(state, replace(booking, payment=payment))


APPLY_PAYMENTS: dict[type[Record], Callable[[EventState, Any], None]] = {
    PaymentStarted: _started,
    IntentOpened: _opened,
    PaymentRetried: _retried,
    PaymentFailed: _failed,
    PaymentGivenUp: _given_up,
    PaymentAuthorised: _authorised,
    PaymentClosing: _closing,
    PaymentClosed: _closed,
    BookingConfirmed: _confirmed,
    PaymentReturning: _returning,
    RefundRequested: _refund_requested,
    RefundSettled: _refund_settled,
    RefundFailed: _refund_failed,
    MoneyTakenBack: _taken_back,
    DisputeNoted: _dispute_noted,
}
