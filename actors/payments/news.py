"""What Stripe says, in the words of the rules; kept in the inbox in this form.

No text of Stripe's own goes into the inbox: it may hold names, addresses and secrets.
"""

import msgspec

from actors.payments.contract import ChargeFacts, DisputeFacts, Intent, Return
from engine.domain.commands import (
    ObserveCharge,
    ObserveDispute,
    ObservePayment,
    ObserveRefund,
)

Observation = ObservePayment | ObserveCharge | ObserveRefund | ObserveDispute
Facts = Intent | Return | ChargeFacts | DisputeFacts

encode_news = msgspec.msgpack.Encoder().encode
decode_news = msgspec.msgpack.Decoder(list[Observation]).decode


def of_intent(intent: Intent) -> list[Observation]:
    """Return what a PaymentIntent tells its booking."""
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
            )
        )
    return news


def of_refund(refund: Return) -> list[Observation]:
    """Return what a refund tells its booking: nothing, if it is not one of ours."""
    if not refund.booking_id or not refund.number:
        return []
    return [
        ObserveRefund(
            refund.booking_id,
            refund.refund_id,
            refund.number,
            refund.status,
            refund.amount_minor,
            refund.reason,
        )
    ]


def of_facts(facts: Facts) -> list[Observation]:
    """Return what Stripe's event tells; that of a dispute names no booking yet."""
    if isinstance(facts, Intent):
        return of_intent(facts) if facts.booking_id else []
    if isinstance(facts, Return):
        return of_refund(facts)
    if isinstance(facts, ChargeFacts):
        if not facts.booking_id:
            return []
        return [
            ObserveCharge(
                facts.booking_id,
                facts.intent_id,
                facts.captured_minor,
                facts.refunded_minor,
                facts.currency,
            )
        ]
    return [ObserveDispute("", facts.intent_id, facts.dispute_id, facts.status)]
