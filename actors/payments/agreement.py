"""Whether a booking knows what Stripe says of it; and how it stands, in words for a report."""

from actors.payments.contract import ChargeFacts, DisputeFacts, Intent, Return
from actors.payments.news import NOT_MADE
from engine.domain.booking import Booking
from engine.domain.payment import DISPUTE_OVER, Payment, PaymentState, RefundState


def was_listed(payment: Payment, since: int) -> bool:
    """Tell whether a payment waits for its buyer only, and Stripe's list has told of it."""
    return payment.state is PaymentState.OPEN and payment.opened_at_ms >= since * 1_000


def agrees(intent: Intent, booking: Booking | None) -> bool:
    """Tell whether an intent has nothing to say that its booking has not heard."""
    payment = None if booking is None else booking.payment
    if payment is None or payment.intent_id != intent.intent_id:
        return False
    if (
        _gone_minor(intent.refunded_minor, payment) > payment.refunded_minor
        and not payment.refunding
    ):
        return False
    if intent.disputed and (payment.disputed or not payment.disputes):
        return False  # it began or has ended unheard; Stripe's charge stays disputed for ever
    if intent.status == "succeeded":
        return bool(payment.captured_minor)
    if intent.status == "canceled":
        return payment.state is PaymentState.CLOSED
    if intent.status == "requires_capture":
        return payment.state is not PaymentState.OPEN
    return not intent.failure or intent.failure in payment.failures


def _gone_minor(refunded_minor: int, payment: Payment) -> int:
    """Return what is gone by Stripe's sum of refunds, which has no lost disputes in it."""
    return min(refunded_minor + payment.lost_minor, payment.captured_minor or refunded_minor)


def is_done(intent: Intent, booking: Booking | None) -> bool:
    """Tell whether they agree for good: a refund of ours may yet be made, or bounce."""
    payment = None if booking is None else booking.payment
    touched = payment is None or payment.refund is not None or payment.counted
    return agrees(intent, booking) and not touched


def is_heard(facts: Return | ChargeFacts | DisputeFacts, booking: Booking | None) -> bool:
    """Tell whether a booking has heard of money that went back, was to, or is disputed."""
    payment = None if booking is None else booking.payment
    if payment is None:
        return False
    if payment.intent_id not in ("", facts.intent_id):
        return True  # of another payment, which was found and put aside when it was made
    if isinstance(facts, Return):
        return _is_refund_heard(facts, payment)
    if isinstance(facts, ChargeFacts):
        return _gone_minor(facts.refunded_minor, payment) <= payment.refunded_minor
    known = payment.dispute(facts.dispute_id)
    return known == facts.status or known in DISPUTE_OVER


def _is_refund_heard(facts: Return, payment: Payment) -> bool:
    """Tell whether it is known how a refund of ours has ended, if it has."""
    refund = payment.refund
    if refund is None or refund.number != facts.number:
        return refund is not None and facts.number < refund.number
    if refund.state is RefundState.SUCCEEDED:
        return facts.status != "failed"
    return refund.state is RefundState.FAILED or facts.status not in ("succeeded", *NOT_MADE)


def in_words(booking: Booking | None) -> str:
    """Say how a booking stands, as far as money is concerned."""
    if booking is None or booking.payment is None:
        return "no payment"
    payment = booking.payment
    gone = f", {payment.refunded_minor} gone back" if payment.refunded_minor else ""
    refund = f", refund {payment.refund.state}" if payment.refund is not None else ""
    dispute = f", dispute {payment.disputes[-1][1]}" if payment.disputes else ""
    return f"{booking.status}, payment {payment.state}{gone}{refund}{dispute}"
