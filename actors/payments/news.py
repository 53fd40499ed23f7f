"""What Stripe says, in the words of the rules; kept in the inbox in this form.

No text of Stripe's own goes into the inbox: it may hold names, addresses and secrets.
"""

from collections.abc import Iterable

import msgspec

from actors.payments.contract import (
    ChargeFacts,
    DisputeFacts,
    Intent,
    Return,
    Wanted,
    WebhookEvent,
)
from engine.domain.commands import (
    ObserveCharge,
    ObserveDispute,
    ObservePayment,
    ObserveRefund,
)
from engine.domain.ids import event_of_booking, is_booking_id, is_event_id
from engine.journal.streams import Incoming

Observation = ObservePayment | ObserveCharge | ObserveRefund | ObserveDispute
Facts = Intent | Return | ChargeFacts | DisputeFacts

#: Stripe's words for a refund that has given nothing back.
NOT_MADE = frozenset({"failed", "canceled"})

encode_news = msgspec.msgpack.Encoder().encode
decode_news = msgspec.msgpack.Decoder(list[Observation]).decode


def of_intent(intent: Intent, refunds: Iterable[Return] | None = None) -> list[Observation]:
    """Return what a PaymentIntent tells its booking.

    Args:
        intent: as it stands.
        refunds: all that it has; they show what of its sum others gave back. None if not
            asked for.
    """
    taken_minor = None if refunds is None else _taken(intent.booking_id, refunds)
    news: list[Observation] = [
        ObservePayment(
            intent.booking_id,
            intent.intent_id,
            intent.status,
            intent.amount_minor,
            intent.received_minor,
            intent.currency,
            intent.customer,
            intent.failure,
            intent.event_id,
        )
    ]
    if intent.refunded_minor:
        news.append(
            ObserveCharge(
                intent.booking_id,
                intent.intent_id,
                intent.received_minor,
                intent.refunded_minor,
                intent.currency,
                intent.event_id,
                taken_minor,
                intent.customer or None,
            )
        )
    return news


def of_refusal(wanted: Wanted) -> list[Observation]:
    """Return what it tells a booking that Stripe will never open its payment."""
    return [
        ObservePayment(
            wanted.booking_id,
            "",
            "canceled",
            wanted.amount_minor,
            0,
            wanted.currency,
            wanted.customer,
            event=wanted.event_id,
        )
    ]


def _taken(booking_id: str, refunds: Iterable[Return]) -> int:
    """Return what refunds give back that are not ours; one that failed gives nothing."""
    return sum(
        one.amount_minor
        for one in refunds
        if one.status not in NOT_MADE and not (one.number and one.booking_id == booking_id)
    )


def of_refund(refund: Return) -> list[Observation]:
    """Return what a refund tells its booking: nothing, if it is not one of ours."""
    if not is_named(refund.booking_id, refund.event_id):
        return []
    if refund.booking_id and not refund.number:
        return []  # made by hand: its charge tells of it
    return [
        ObserveRefund(
            refund.booking_id,
            refund.refund_id,
            refund.number,
            refund.status,
            refund.amount_minor,
            refund.reason,
            refund.intent_id or None,
            refund.currency,
            refund.event_id or None,
        )
    ]


def is_named(booking_id: str, event_id: str) -> bool:
    """Tell whether Stripe's object names a booking, or at least an event of ours.

    One that names an event of ours and no booking is not passed over: it was ours.
    """
    return bool(booking_id) or is_event_id(event_id)


def of_dispute(booking_id: str, dispute: DisputeFacts) -> ObserveDispute:
    """Return what a dispute tells the booking that it is about; '' where that is not known."""
    return ObserveDispute(
        booking_id,
        dispute.intent_id,
        dispute.dispute_id,
        dispute.status,
        dispute.amount_minor,
        dispute.currency,
    )


def of_facts(facts: Facts) -> list[Observation]:
    """Return what Stripe's event tells; that of a dispute names no booking yet."""
    if isinstance(facts, Intent):
        return of_intent(facts) if is_named(facts.booking_id, facts.event_id) else []
    if isinstance(facts, Return):
        return of_refund(facts)
    if isinstance(facts, ChargeFacts):
        if not is_named(facts.booking_id, facts.event_id) or not facts.captured_minor:
            return []  # not ours, or money that was set aside and let go
        return [
            ObserveCharge(
                facts.booking_id,
                facts.intent_id,
                facts.captured_minor,
                facts.refunded_minor,
                facts.currency,
                facts.event_id,
                customer=facts.customer or None,
            )
        ]
    if not facts.intent_id:
        return []  # of a charge that had no PaymentIntent: ours have one
    return [of_dispute("", facts)]


def message_of(event: WebhookEvent, at_ms: int) -> Incoming | None:
    """Return what the inbox keeps of Stripe's event, None if it tells us nothing.

    Args:
        event: as it was read.
        at_ms: when it was received, Unix milliseconds.
    """
    news = [] if event.facts is None else of_facts(event.facts)
    if not news:
        return None
    return Incoming(event.id, event.kind, encode_news(news), at_ms, _event_of(news[0]))


def _event_of(news: Observation) -> str:
    """Return the event that news are kept under: their booking's, or the one that they name."""
    if is_booking_id(news.booking_id):
        return event_of_booking(news.booking_id)
    named = getattr(news, "event", None) or ""
    return named if is_event_id(named) else ""
