"""Objects as Stripe sends them, as far as they are looked at."""

import json
from typing import Any

METADATA = {"booking": "bk_1", "event": "evt_2", "customer": "u_3", "colour": "red"}
INTENT: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 4500,
    "amount_received": 0,
    "client_secret": "pi_1_secret_2",
    "created": 1_700_000_000,
    "currency": "eur",
    "last_payment_error": None,
    "latest_charge": None,
    "metadata": METADATA,
    "status": "requires_payment_method",
}
CHARGE: dict[str, Any] = {
    "id": "ch_1",
    "object": "charge",
    "amount": 4500,
    "amount_captured": 4500,
    "amount_refunded": 500,
    "captured": True,
    "currency": "eur",
    "disputed": False,
    "metadata": METADATA,
    "payment_intent": "pi_1",
}
REFUND: dict[str, Any] = {
    "id": "re_1",
    "object": "refund",
    "amount": 500,
    "currency": "eur",
    "metadata": {**METADATA, "refund_number": "2"},
    "payment_intent": "pi_1",
    "reason": None,
    "status": "succeeded",
}
DISPUTE: dict[str, Any] = {
    "id": "dp_1",
    "object": "dispute",
    "amount": 4500,
    "charge": "ch_1",
    "currency": "eur",
    "metadata": {},
    "payment_intent": "pi_1",
    "reason": "fraudulent",
    "status": "needs_response",
}


def event(kind: str, thing: Any) -> bytes:
    """Return the body of an event about this."""
    body = {"id": "evt_1", "object": "event", "type": kind, "created": 7, "data": {"object": thing}}
    return json.dumps(body).encode()
