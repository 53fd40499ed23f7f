"""Rules of money that goes back: refunds asked for here, made at Stripe, or by dispute."""

from msgspec.structs import replace

from engine.domain.booking import TRANSITIONS, Booking, Move, Status
from engine.domain.commands import ObserveCharge, ObserveDispute, ObserveRefund, RequestRefund
from engine.domain.decision import Decision, existing_event, may_manage, refused
from engine.domain.event import Event
from engine.domain.outcomes import DONE, Refusal, Refused, Shown
from engine.domain.payment import (
    DISPUTE_LOST,
    DISPUTE_WON,
    Part,
    Payment,
    PaymentState,
    Refund,
    RefundState,
    quantities,
)
from engine.domain.payments import succeeded
from engine.domain.records import (
    DisputeNoted,
    IntentOpened,
    MoneyTakenBack,
    PaymentReturning,
    Record,
    RefundFailed,
    RefundRequested,
    RefundSettled,
)
from engine.domain.state import EventState
from engine.domain.tickets import TicketStatus, tickets_of
from engine.domain.views import may_see
from engine.limits import RETURN_ATTEMPTS_MAX

_HOUR_MS = 3_600_000


def request(state: EventState, command: RequestRefund, now_ms: int) -> Decision:
    """Ask for money back: a buyer within the event's policy, its organizer at any time."""
    event = existing_event(state)
    booking = state.bookings.get(command.booking_id)
    if booking is None or not may_see(event, booking, command.caller):
        return refused(Refusal.BOOKING_NOT_FOUND)
    earlier = None if booking.payment is None else booking.payment.asked_under(command.key)
    if earlier is not None:
        if not earlier.is_repeated_by(command.parts):
            return refused(Refusal.IDEMPOTENCY_KEY_REUSED)
        return Shown(booking, event.currency, replayed=True), ()
    if not command.parts and _goes_back_whole(booking):
        return Shown(booking, event.currency), ()
    if (booking.status, Move.REQUEST_REFUND) not in TRANSITIONS:
        return refused(Refusal.REFUND_NOT_ALLOWED, booking.status)
    percent = _percent(event, manages=may_manage(event, command.caller), now_ms=now_ms)
    if percent is None:
        return refused(Refusal.REFUND_NOT_ALLOWED, "policy")
    if booking.payment is not None and booking.payment.disputed:
        return refused(Refusal.REFUND_NOT_ALLOWED, "disputed")
    wrong = _wrong_part(booking, command.parts)
    if wrong is not None:
        return wrong, ()
    records = refund_records(booking, command.parts, percent, now_ms, command.key)
    asked = booking.refunding(records[0].refund, now_ms)
    # Nobody got what they came for if the event was called off, in or out.
    if state.cancelled_at_ms is None and _takes_used_ticket(booking, asked):
        return refused(Refusal.REFUND_NOT_ALLOWED, "used")
    return Shown(asked, event.currency), records


def _takes_used_ticket(before: Booking, after: Booking) -> bool:
    """Tell whether money would go back for a ticket with which somebody was admitted."""
    if not before.admissions:
        return False
    return any(
        ticket.status is TicketStatus.USED and left.status is TicketStatus.VOID
        for ticket, left in zip(tickets_of(before), tickets_of(after), strict=True)
    )


def _goes_back_whole(booking: Booking) -> bool:
    """Tell whether nothing of the booking is left to be given back."""
    if booking.status is not Status.REFUND_REQUESTED:
        return booking.status is Status.REFUNDED
    refund = None if booking.payment is None else booking.payment.refund
    return refund is not None and not booking.without(refund.parts).units


def _percent(event: Event, *, manages: bool, now_ms: int) -> int | None:
    """Return how much of the price goes back, None if nothing may."""
    if manages:
        return 100
    policy = event.refund_policy
    if policy is None or now_ms > event.starts_at_ms - policy.until_hours_before * _HOUR_MS:
        return None
    return policy.percent


def _wrong_part(booking: Booking, parts: tuple[Part, ...]) -> Refused | None:
    bought: dict[str, int] = {}
    for line in booking.lines:
        bought[line.ticket_type] = bought.get(line.ticket_type, 0) + line.quantity
    for ticket_type, quantity in quantities(parts).items():
        if ticket_type not in bought:
            return Refused(Refusal.UNKNOWN_TICKET_TYPE, ticket_type)
        if quantity > bought[ticket_type]:
            return Refused(Refusal.REFUND_NOT_ALLOWED, ticket_type, bought[ticket_type])
    return None


def refund_records(
    booking: Booking, parts: tuple[Part, ...], percent: int, now_ms: int, key: str = ""
) -> tuple[RefundRequested, *tuple[Record, ...]]:
    """Return the records of a refund; of the whole booking if there are no parts.

    It is never more than what is left of the money.
    """
    whole = not parts
    prices = {line.ticket_type: line.unit_price_minor for line in booking.lines}
    parts = parts or tuple(Part(line.ticket_type, line.quantity) for line in booking.lines)
    price_minor = sum(prices[part.ticket_type] * part.quantity for part in parts)
    payment = booking.payment
    left_minor = 0 if payment is None else payment.captured_minor - payment.refunded_minor
    amount_minor = min(price_minor * percent // 100, left_minor)
    number = 1 if payment is None or payment.refund is None else payment.refund.number + 1
    refund = Refund(number, amount_minor, parts, price_minor - amount_minor, key=key, whole=whole)
    asked = RefundRequested(booking.booking_id, refund, now_ms)
    if amount_minor:
        return (asked,)
    return asked, RefundSettled(booking.booking_id, "", now_ms)


def observe_refund(state: EventState, command: ObserveRefund, now_ms: int) -> Decision:
    """Take note of how a refund of ours has ended; one under way changes nothing.

    A bank may send money back long after Stripe has called the refund a success: that is
    noted for the operator, the booking stays as it is.
    """
    booking = state.bookings.get(command.booking_id)
    if booking is None or booking.payment is None:
        return refused(Refusal.BOOKING_NOT_FOUND)
    payment, refund = booking.payment, booking.payment.refund
    wrong = _mismatch(state, booking, payment, command)
    if wrong is not None:
        return refused(Refusal.PAYMENT_MISMATCH, wrong)
    if refund is None or refund.number != command.number:
        known = refund is not None and 0 < command.number < refund.number
        return (DONE, ()) if known else refused(Refusal.PAYMENT_MISMATCH, "number")
    if refund.amount_minor != command.amount_minor:
        return refused(Refusal.PAYMENT_MISMATCH, "amount")
    over = refund.state is not RefundState.REQUESTED
    bounced = refund.state is RefundState.SUCCEEDED and command.status == "failed"
    if over and not bounced:
        return DONE, ()
    if command.status == "succeeded":
        settled = RefundSettled(booking.booking_id, command.refund_id, now_ms)
        after = booking.refunded(command.refund_id, now_ms)
        return DONE, (settled, *_owed(state, after, now_ms))
    if command.status in ("failed", "canceled"):
        reason = command.reason or command.status
        failed = RefundFailed(booking.booking_id, command.refund_id, reason, now_ms)
        if payment.state is PaymentState.RETURNING:
            return DONE, (failed, *_return_again(booking, payment, refund, now_ms))
        # A part that did not go back must not keep the whole of a cancelled event here.
        part = not bounced and booking.without(refund.parts).units
        after = booking.moved(Status.REFUND_DENIED, now_ms)
        return DONE, (failed, *(_owed(state, after, now_ms) if part else ()))
    return DONE, ()


def _return_again(
    booking: Booking, payment: Payment, refund: Refund, now_ms: int
) -> tuple[Record, ...]:
    """Send money without a ticket back once more, as far as it is still there."""
    if refund.number >= RETURN_ATTEMPTS_MAX:
        return ()
    captured_minor, gone_minor = payment.captured_minor, payment.refunded_minor
    again = Refund(refund.number + 1, captured_minor - gone_minor, (), gone_minor)
    return (PaymentReturning(booking.booking_id, again, captured_minor, now_ms),)


def _owed(state: EventState, booking: Booking, now_ms: int) -> tuple[Record, ...]:
    """Give back what is left of a booking whose event was called off meanwhile."""
    if state.cancelled_at_ms is None or (booking.status, Move.REQUEST_REFUND) not in TRANSITIONS:
        return ()
    if booking.payment is not None and booking.payment.disputed:
        return ()
    return refund_records(booking, (), 100, now_ms)


def observe_charge(state: EventState, command: ObserveCharge, now_ms: int) -> Decision:
    """Take note of money that went back without our asking.

    What our own refunds take is no news: how they end is told by `observe_refund` alone.
    Where the payment's success was not heard of yet, this tells of it, too.
    """
    booking = state.bookings.get(command.booking_id)
    if booking is None or booking.payment is None:
        return refused(Refusal.BOOKING_NOT_FOUND)
    payment = booking.payment
    wrong = _mismatch(state, booking, payment, command)
    if wrong is not None:
        return refused(Refusal.PAYMENT_MISMATCH, wrong)
    records = _heard_of(state, booking, payment, command.intent_id, command.captured_minor, now_ms)
    captured_minor = payment.captured_minor or (command.captured_minor if records else 0)
    if not captured_minor or command.captured_minor != captured_minor:
        return refused(Refusal.PAYMENT_MISMATCH, "captured")
    if command.taken_minor is None:
        refunded_minor = payment.gone_minor(command.refunded_minor)
    else:
        refunded_minor = min(payment.ours_minor + command.taken_minor, captured_minor)
    if refunded_minor > payment.refunded_minor:
        records.append(MoneyTakenBack(booking.booking_id, refunded_minor, now_ms))
    return DONE, tuple(records)


def _mismatch(
    state: EventState, booking: Booking, payment: Payment, command: ObserveCharge | ObserveRefund
) -> str | None:
    """Return what of the news does not belong to the booking, None if everything does.

    What Stripe has left out does not contradict.
    """
    event = existing_event(state)
    # While the booking's intent is not known, any may be.
    if payment.intent_id and command.intent_id not in (None, payment.intent_id):
        return "intent"
    customer = command.customer if isinstance(command, ObserveCharge) else None
    if customer not in (None, booking.customer):
        return "customer"
    if command.event not in (None, event.event_id):
        return "event"
    if command.currency not in (None, event.currency):
        return "currency"
    return None


def _heard_of(
    state: EventState,
    booking: Booking,
    payment: Payment,
    intent_id: str,
    captured_minor: int,
    now_ms: int,
) -> list[Record]:
    """Return the records of a success that is heard of by its consequences first."""
    if payment.captured_minor or captured_minor != payment.amount_minor:
        return []
    records: list[Record] = []
    if not payment.intent_id:
        records.append(IntentOpened(booking.booking_id, intent_id, booking.expires_at_ms))
    records.append(succeeded(state, booking, payment, captured_minor, now_ms))
    return records


def observe_dispute(state: EventState, command: ObserveDispute, now_ms: int) -> Decision:
    """Take note of a dispute; one that is over stays over, one that is lost takes the money.

    It never tells that there is money: the payment itself has to, and is checked.
    """
    booking = state.bookings.get(command.booking_id)
    if booking is None or booking.payment is None:
        return refused(Refusal.BOOKING_NOT_FOUND)
    payment = booking.payment
    if payment.intent_id not in ("", command.intent_id):
        return refused(Refusal.PAYMENT_MISMATCH, "intent")
    known = payment.dispute(command.dispute_id)
    if known == command.status or known in DISPUTE_WON or known == DISPUTE_LOST:
        return DONE, ()
    if not payment.captured_minor:
        return refused(Refusal.PAYMENT_MISMATCH, "captured")
    records: list[Record] = [
        DisputeNoted(booking.booking_id, command.dispute_id, command.status, now_ms)
    ]
    if command.status == DISPUTE_LOST:
        if payment.refunded_minor < payment.captured_minor:
            records.append(MoneyTakenBack(booking.booking_id, payment.captured_minor, now_ms))
    elif command.status in DISPUTE_WON:
        decided = payment.with_dispute(command.dispute_id, command.status)
        records.extend(_owed(state, replace(booking, payment=decided), now_ms))
    return DONE, tuple(records)
