"""Rules of money that goes back: refunds asked for here, made at Stripe, or by dispute."""

from msgspec.structs import replace

from engine.domain.booking import TRANSITIONS, Booking, Move, Status
from engine.domain.commands import ObserveCharge, ObserveDispute, ObserveRefund, RequestRefund
from engine.domain.decision import Decision, existing_event, may_manage, refused
from engine.domain.event import Event
from engine.domain.outcomes import DONE, Refusal, Refused, Shown
from engine.domain.payment import (
    DISPUTE_LOST,
    DISPUTE_OVER,
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
    over = _without_units(event, booking, command, now_ms)
    if over is not None:
        return over
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


def _without_units(
    event: Event, booking: Booking, command: RequestRefund, now_ms: int
) -> Decision | None:
    """Answer a request for everything where no unit is left to be given back, None if one is.

    Money for no units that does not go back by itself is sent once more for whoever manages
    the event. Beside units that are sold it goes with them: see `refund_records`.
    """
    payment = booking.payment
    if command.parts:
        return None
    sold = (booking.status, Move.REQUEST_REFUND) in TRANSITIONS
    if payment is not None and payment.stuck and not sold and may_manage(event, command.caller):
        again = _sent_again(booking, payment, now_ms, key=command.key)
        if isinstance(again, PaymentReturning):
            after = booking.returning(again.refund, again.captured_minor)
        else:
            after = booking.refunding(again.refund, now_ms)
        return Shown(after, event.currency), (again,)
    return (Shown(booking, event.currency), ()) if _goes_back_whole(booking) else None


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

    It is never more than what is left of the money. What is owed goes with it.
    """
    whole = not parts
    prices = {line.ticket_type: line.unit_price_minor for line in booking.lines}
    parts = parts or tuple(Part(line.ticket_type, line.quantity) for line in booking.lines)
    price_minor = sum(prices[part.ticket_type] * part.quantity for part in parts)
    wanted_minor = price_minor * percent // 100
    refund = _next(booking.payment, parts, price_minor, wanted_minor)
    refund = replace(refund, key=key, whole=whole)
    asked = RefundRequested(booking.booking_id, refund, now_ms)
    if refund.amount_minor:
        return (asked,)
    return asked, RefundSettled(booking.booking_id, "", now_ms)


def _next(
    payment: Payment | None, parts: tuple[Part, ...], price_minor: int, wanted_minor: int
) -> Refund:
    """Return the next refund: so much of the price of these parts, and all that is owed."""
    if payment is None:
        return Refund(1, 0, parts, price_minor)
    number = 1 if payment.refund is None else payment.refund.number + 1
    owed_minor = payment.owed_minor
    back_minor = min(wanted_minor, payment.left_minor)
    kept_minor = price_minor - back_minor
    return Refund(number, back_minor + owed_minor, parts, kept_minor, owed_minor=owed_minor)


def _sent_again(
    booking: Booking, payment: Payment, now_ms: int, *, key: str = "", attempt: int = 1
) -> RefundRequested | PaymentReturning:
    """Return the record that sends money for no units back once more, as far as it is here."""
    booking_id, captured_minor = booking.booking_id, payment.captured_minor
    if payment.state is PaymentState.RETURNING:
        assert payment.refund is not None, "money without a ticket was never sent back"
        number, gone_minor = payment.refund.number + 1, payment.refunded_minor
        late = Refund(number, captured_minor - gone_minor, (), gone_minor, key=key, whole=True)
        return PaymentReturning(booking_id, late, captured_minor, now_ms)
    owed = replace(_next(payment, (), 0, 0), key=key, whole=True, attempt=attempt)
    return RefundRequested(booking_id, owed, now_ms)


def observe_refund(state: EventState, command: ObserveRefund, now_ms: int) -> Decision:
    """Take note of how a refund of ours has ended; one under way changes nothing.

    A bank may send money back long after Stripe has called the refund a success: then it is
    sent once more, a few times. Its units are not sold any more, but where the success is
    heard of last.
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
    if refund.state is RefundState.SUCCEEDED:
        return DONE, _bounced(booking, payment, command, now_ms)
    if refund.state is RefundState.FAILED:
        return DONE, _had_been_made(state, booking, payment, command, now_ms)
    if command.status == "succeeded":
        settled = RefundSettled(booking.booking_id, command.refund_id, now_ms)
        after = booking.refunded(command.refund_id, now_ms)
        return DONE, (settled, *_owed(state, after, now_ms))
    if command.status in ("failed", "canceled"):
        reason = command.reason or command.status
        units = bool(refund.parts)
        failed = RefundFailed(booking.booking_id, command.refund_id, reason, now_ms, units=units)
        after = booking.refund_failed(command.refund_id, reason, None, now_ms)
        # A part that did not go back must not keep the whole of a cancelled event here.
        part = booking.without(refund.parts).units
        rest = _owed(state, after, now_ms) if part else ()
        if rest or refund.parts:
            return DONE, (failed, *rest)
        return DONE, (failed, *_send_again(after, refund, now_ms))
    return DONE, ()


def _bounced(
    booking: Booking, payment: Payment, command: ObserveRefund, now_ms: int
) -> tuple[Record, ...]:
    """Return what becomes of a refund that was made: nothing, or its money is sent again."""
    if command.status != "failed" or payment.refund is None:
        return ()
    booking_id, refund_id = booking.booking_id, command.refund_id
    reason, owed_minor = command.reason or command.status, payment.bounced_minor
    units = bool(payment.refund.parts)
    failed = RefundFailed(booking_id, refund_id, reason, now_ms, owed_minor, units)
    after = booking.refund_failed(refund_id, reason, owed_minor, now_ms)
    return (failed, *_send_again(after, payment.refund, now_ms))


def _had_been_made(
    state: EventState, booking: Booking, payment: Payment, command: ObserveRefund, now_ms: int
) -> tuple[Record, ...]:
    """Return the same refund once more if it has failed only after it had been made.

    So it ends as where its success was heard of first: the money goes back.
    """
    refund = payment.refund
    assert refund is not None, "a refund failed before it began"
    made = command.status == "succeeded" and refund.refund_id
    waits = booking.status is Status.REFUND_DENIED and not payment.disputed
    if not (made and waits and refund.parts) or refund.attempt >= RETURN_ATTEMPTS_MAX:
        return ()
    wanted_minor = refund.amount_minor - refund.owed_minor
    again = _next(payment, refund.parts, wanted_minor + refund.kept_minor, wanted_minor)
    again = replace(again, attempt=refund.attempt + 1)
    after = booking.refunding(again, now_ms)
    if state.cancelled_at_ms is None and _takes_used_ticket(booking, after):
        return ()  # its tickets were good again meanwhile, and somebody went in
    return (RefundRequested(booking.booking_id, again, now_ms),)


def _send_again(after: Booking, failed: Refund, now_ms: int) -> tuple[Record, ...]:
    """Send money for no units back once more, unless that was tried too often."""
    payment = after.payment
    assert payment is not None, "a refund failed of what was not paid"
    late = payment.state is PaymentState.RETURNING
    attempt = failed.number if late else failed.attempt
    if attempt >= RETURN_ATTEMPTS_MAX or not (late or payment.stuck):
        return ()
    return (_sent_again(after, payment, now_ms, attempt=attempt + 1),)


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
        refunded_minor = payment.ours_minor + command.taken_minor + payment.lost_minor
    refunded_minor = min(refunded_minor, captured_minor)
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
    if known == command.status or known in DISPUTE_OVER:
        return DONE, ()
    if not payment.captured_minor:
        return refused(Refusal.PAYMENT_MISMATCH, "captured")
    lost_minor = 0
    if command.status == DISPUTE_LOST:
        lost_minor = _lost(existing_event(state), payment, command)
    records: list[Record] = [
        DisputeNoted(booking.booking_id, command.dispute_id, command.status, now_ms, lost_minor)
    ]
    payment = payment.with_dispute(command.dispute_id, command.status, lost_minor)
    after = replace(booking, payment=payment)
    gone_minor = min(payment.refunded_minor + lost_minor, payment.captured_minor)
    if gone_minor > payment.refunded_minor:
        records.append(MoneyTakenBack(booking.booking_id, gone_minor, now_ms))
        after = after.taken_back(gone_minor, now_ms)
    if command.status in DISPUTE_OVER:
        # What had to wait for the bank's decision.
        records.extend(_owed(state, after, now_ms) or _send_what_is_stuck(after, now_ms))
    return DONE, tuple(records)


def _lost(event: Event, payment: Payment, command: ObserveDispute) -> int:
    """Return what a lost dispute takes: everything where its amount is not known in our money."""
    if command.amount_minor is None or command.currency not in (None, event.currency):
        return payment.captured_minor
    return min(command.amount_minor, payment.captured_minor)


def _send_what_is_stuck(booking: Booking, now_ms: int) -> tuple[Record, ...]:
    payment = booking.payment
    if payment is None or not payment.stuck:
        return ()
    return (_sent_again(booking, payment, now_ms),)
