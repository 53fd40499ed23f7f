"""Which messages an effect calls for: pure functions, the same each time they are asked."""

from collections.abc import Iterable

import msgspec

from engine.domain.booking import Booking, Line, Status
from engine.domain.event import Event
from engine.domain.payment import Part
from engine.domain.records import (
    BookingConfirmed,
    EventAmended,
    EventCancelled,
    HoldExpired,
    PaymentClosing,
    PaymentFailed,
    PaymentGivenUp,
    PaymentReturning,
    Record,
    RefundSettled,
)
from engine.letters.facts import Before, Details, Reason, Units
from engine.store.contract import MessageKind, NewMessage

#: A message and what its letter says of its cause.
Notice = tuple[MessageKind, Details]

#: States in which the tickets of a booking are good, unless its money is disputed.
_GOOD = frozenset({Status.CONFIRMED, Status.TICKETS_DELIVERED, Status.REFUND_DENIED})

_encode = msgspec.json.Encoder().encode


def notice_of(record: Record, booking: Booking | None, *, cancelled: bool) -> Notice | None:
    """Return what the buyer of a booking is to be told of a record, None if nothing.

    Args:
        record: of the booking.
        booking: as it stands by now; None where the record is about none.
        cancelled: whether its event is.
    """
    if booking is None:
        return None
    held = _units(booking.placed or booking.lines)
    if isinstance(record, BookingConfirmed):
        return MessageKind.CONFIRMATION, confirmation(booking)
    if isinstance(record, PaymentFailed):
        return MessageKind.PAYMENT_FAILED, Details(units=held, pay_until_ms=booking.expires_at_ms)
    if isinstance(record, PaymentGivenUp):
        return MessageKind.PAYMENT_FAILED, Details(units=held)
    if isinstance(record, HoldExpired):
        return MessageKind.EXPIRED, Details(units=held)
    if isinstance(record, PaymentReturning):
        # Each attempt to send it back is journalled: the buyer hears of the first.
        late = Details(amount_minor=record.refund.amount_minor, units=held)
        return (MessageKind.LATE_PAYMENT, late) if record.refund.number == 1 else None
    if isinstance(record, PaymentClosing) and cancelled and booking.status is Status.CANCELLED:
        # Its buyer was about to pay. Who has tickets is told with all others.
        ended = Details(units=held, reason=Reason.EVENT_CANCELLED, held=True)
        return MessageKind.EVENT_CANCELLED, ended
    if isinstance(record, RefundSettled):
        return _refunded(record, booking, cancelled=cancelled)
    return None


def confirmation(booking: Booking) -> Details:
    """Return what the confirmation of a booking says beside its tickets."""
    confirmed = next(one for one in booking.later if one.status is Status.CONFIRMED)
    payment = booking.payment
    captured_minor = 0 if payment is None else payment.captured_minor
    return Details(amount_minor=captured_minor, issued_at_ms=confirmed.at_ms)


def _refunded(record: RefundSettled, booking: Booking, *, cancelled: bool) -> Notice | None:
    refund = None if booking.payment is None else booking.payment.refund
    reason = Reason.EVENT_CANCELLED if cancelled else Reason.REQUESTED
    if refund is None or refund.refund_id != record.refund_id:
        # Another one has begun since: how much this one was is in the booking no more.
        return MessageKind.REFUNDED, Details(reason=reason)
    if not refund.parts:
        return None  # it was for no tickets (too late, or owed), and its buyer has heard of that
    back = Details(
        amount_minor=refund.amount_minor,
        kept_minor=refund.kept_minor,
        units=_units(refund.parts),
        reason=reason,
    )
    return MessageKind.REFUNDED, back


def going_back_minor(booking: Booking, cancelled_at_ms: int) -> int | None:
    """Return what the buyer of a booking gets back because its event was called off.

    Args:
        booking: as it stands by now: its refund may be asked for, or made.
        cancelled_at_ms: when its event was.

    Returns:
        Minor units; 0 if no money moves; None if none of its tickets was valid by then: all
        of them had been asked back, or the buyer's bank had been asked for the money.
    """
    payment = booking.payment
    if payment is not None and payment.disputed:
        return None
    refund = None if payment is None else payment.refund
    called_back = any(
        one.status is Status.REFUND_REQUESTED and one.at_ms >= cancelled_at_ms
        for one in booking.later
    )
    if booking.status is Status.REFUNDED:
        if called_back and refund is not None:
            return refund.amount_minor
        before = [one.status for one in booking.history if one.at_ms < cancelled_at_ms]
        # Whoever gave the money back then, its buyer hears of the event.
        return 0 if before and before[-1] in _GOOD else None
    if payment is None:
        return 0
    if refund is None or booking.status is not Status.REFUND_REQUESTED:
        # What a bank has sent back goes with the next refund.
        return min(booking.total_minor, payment.left_minor) + payment.owed_minor
    rest = booking.without(refund.parts)
    if not called_back and not rest.units:
        return None
    left_minor = payment.left_minor - (refund.amount_minor - refund.owed_minor)
    return refund.amount_minor + min(rest.total_minor, left_minor)


def notice_to_all(told_before: Event | None, record: Record) -> Notice | None:
    """Return what everybody who has tickets is to be told of a record, None if nothing.

    Args:
        told_before: the event as its holders know it; None if nobody does.
        record: of the event.
    """
    if isinstance(record, EventCancelled):
        return MessageKind.EVENT_CANCELLED, Details(reason=Reason.EVENT_CANCELLED)
    if not isinstance(record, EventAmended) or told_before is None:
        return None
    now = record.event
    changed = {
        name: getattr(told_before, name)
        for name in Before.__struct_fields__
        if getattr(told_before, name) != getattr(now, name)
    }
    if not changed:
        return None
    return MessageKind.EVENT_CHANGED, Details(before=Before(**changed))


def messages_of(
    notice: Notice,
    event_id: str,
    booking_ids: Iterable[str],
    channels: Iterable[str],
    named: str,
    at_ms: int,
) -> list[NewMessage]:
    """Return a message for each of these bookings and channels.

    Args:
        notice: what they say.
        event_id: of the bookings.
        booking_ids: whose buyers are told.
        channels: by which they are.
        named: what tells this notice from another of its kind to the same booking.
        at_ms: when its cause was journalled.
    """
    kind, details = notice
    facts = _encode(details)
    return [
        NewMessage(
            ":".join(part for part in (kind.value, booking_id, named, channel) if part),
            kind,
            channel,
            event_id,
            booking_id,
            at_ms,
            facts,
        )
        for booking_id in booking_ids
        for channel in channels
    ]


def _units(units: Iterable[Line | Part]) -> tuple[Units, ...]:
    counts: dict[str, int] = {}
    for one in units:
        counts[one.ticket_type] = counts.get(one.ticket_type, 0) + one.quantity
    return tuple(Units(code, quantity) for code, quantity in counts.items())
