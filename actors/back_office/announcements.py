"""What organizers are told of effects: a pure function, the same each time it is asked.

No personal data: bookings and customers stand there by their ids.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from engine.domain.admission import Scanned
from engine.domain.booking import Booking, Line
from engine.domain.event import Event
from engine.domain.payment import Refund
from engine.domain.records import (
    BookingConfirmed,
    DisputeNoted,
    EventAmended,
    EventCancelled,
    HoldExpired,
    MoneyTakenBack,
    PaymentGivenUp,
    Record,
    RefundFailed,
    RefundRequested,
    RefundSettled,
    TicketScanned,
)
from engine.domain.tickets import booking_of_ticket, ticket_ids
from engine.store.webhook_contract import PING, Announcement, WebhookKind

#: Records that organizers are told of, and as what. Others they are not told of: attempts
#: that failed may still succeed, and steps at Stripe are nobody's business but ours.
KIND_OF: dict[type[Record], WebhookKind] = {
    BookingConfirmed: WebhookKind.BOOKING_CONFIRMED,
    PaymentGivenUp: WebhookKind.BOOKING_CANCELLED,
    HoldExpired: WebhookKind.BOOKING_EXPIRED,
    RefundRequested: WebhookKind.REFUND_REQUESTED,
    RefundSettled: WebhookKind.BOOKING_REFUNDED,
    MoneyTakenBack: WebhookKind.BOOKING_REFUNDED,
    RefundFailed: WebhookKind.REFUND_FAILED,
    DisputeNoted: WebhookKind.BOOKING_DISPUTED,
    EventAmended: WebhookKind.EVENT_CHANGED,
    EventCancelled: WebhookKind.EVENT_CANCELLED,
    TicketScanned: WebhookKind.TICKET_ADMITTED,
}

_encode = msgspec.json.Encoder().encode


def of(
    event: Event, sequence: int, index: int, record: Record, booking: Booking | None
) -> Announcement | None:
    """Return what an event's organizer is told of one effect, None if nothing.

    Args:
        event: that the effect is of.
        sequence: of the effect's entry.
        index: of the record in its entry.
        record: see `KIND_OF`.
        booking: that the record names by `booking_id`, as it stands after it or later; None
            where it names none.
    """
    kind = KIND_OF.get(type(record))
    if kind is None:
        return None
    if isinstance(record, TicketScanned) and not (record.scan.admitted and record.entry):
        return None
    at_ms: int = record.at_ms  # type: ignore[union-attr]
    data: dict[str, Any] = {"event_id": event.event_id, "sequence": sequence}
    if isinstance(record, EventAmended):
        data["event"] = _event(record.event)
    elif isinstance(record, EventCancelled):
        data["event"] = _event(event)
        data["bookings_left"] = record.left
    elif isinstance(record, TicketScanned):
        data["ticket"] = _ticket(record.scan)
        data["gate"] = record.gate
    else:
        assert booking is not None, f"{kind} without its booking"
        data["booking"] = _booking(booking, event.currency)
        data |= _more(record, booking, event.currency)
    webhook_id = f"msg_{event.event_id[4:]}_{sequence}_{index}"
    return Announcement(webhook_id, event.organizer, kind, _body(kind, at_ms, data))


def ping(endpoint_id: str, organizer: str, webhook_id: str, at_ms: int) -> Announcement:
    """Return what an organizer gets who wants to see whether anything arrives."""
    body = _body(PING, at_ms, {"endpoint_id": endpoint_id})
    return Announcement(webhook_id, organizer, PING, body)


def _body(kind: str, at_ms: int, data: dict[str, Any]) -> bytes:
    return _encode({"type": kind, "timestamp": _time(at_ms), "data": data})


def _more(record: Record, booking: Booking, currency: str) -> dict[str, Any]:
    """Return what a record says beside its booking."""
    if isinstance(record, RefundRequested):
        return {"refund": _refund(record.refund, currency)}
    if isinstance(record, RefundSettled | RefundFailed):
        refund = None if booking.payment is None else booking.payment.refund
        if refund is None or refund.refund_id != record.refund_id:
            # Another one has begun meanwhile: only the sums of the booking are known.
            return {}
        reason = record.reason if isinstance(record, RefundFailed) else None
        return {"refund": {**_refund(refund, currency), "reason": reason}}
    if isinstance(record, DisputeNoted):
        return {"dispute": {"id": record.dispute_id, "status": record.status}}
    return {}


def _booking(booking: Booking, currency: str) -> dict[str, Any]:
    payment = booking.payment
    return {
        "id": booking.booking_id,
        "customer": booking.customer,
        "status": booking.status,
        "items": [_item(line) for line in booking.lines],
        "total": _money(booking.total_minor, currency),
        "paid": _money(0 if payment is None else payment.captured_minor, currency),
        "refunded": _money(0 if payment is None else payment.refunded_minor, currency),
        "tickets": ticket_ids(booking),
    }


def _item(line: Line) -> dict[str, Any]:
    return {
        "ticket_type": line.ticket_type,
        "quantity": line.quantity,
        "seats": line.seats,
        "unit_price": line.unit_price_minor,
    }


def _refund(refund: Refund, currency: str) -> dict[str, Any]:
    return {
        "number": refund.number,
        "amount": _money(refund.amount_minor, currency),
        "items": [
            {"ticket_type": part.ticket_type, "quantity": part.quantity} for part in refund.parts
        ],
    }


def _ticket(scan: Scanned) -> dict[str, Any]:
    return {
        "id": scan.ticket_id,
        "booking_id": booking_of_ticket(scan.ticket_id),
        "ticket_type": scan.ticket_type,
        "seat": scan.seat or None,
    }


def _event(event: Event) -> dict[str, Any]:
    stocks = {allotment.code: allotment.capacity for allotment in event.allotments}
    return {
        "id": event.event_id,
        "name": event.name,
        "starts_at": _time(event.starts_at_ms),
        "currency": event.currency,
        "sale": {
            "opens_at": None if event.opens_at_ms is None else _time(event.opens_at_ms),
            "closes_at": None if event.closes_at_ms is None else _time(event.closes_at_ms),
        },
        "ticket_types": [
            {
                "code": kind.code,
                "name": kind.name,
                "price": kind.price_minor,
                "capacity": stocks[kind.allotment],
            }
            for kind in event.ticket_types
        ],
    }


def _money(amount_minor: int, currency: str) -> dict[str, Any]:
    return {"amount": amount_minor, "currency": currency}


def _time(unix_ms: int) -> str:
    moment = datetime.fromtimestamp(unix_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1_000:03d}Z"
