"""New objects, complete as Stripe publishes them.

Objects are never changed after they were made, only replaced, so that an event may carry
one as it was, and parts that are always the same are shared.
"""

import os
from typing import Any

from loadtests.stripe_sandbox.cards import Card
from loadtests.stripe_sandbox.errors import Object

#: The version that release 16 of the `stripe` package is pinned to.
API_VERSION = "2026-10-28.endive"

#: How long a merchant may answer a dispute, seconds.
_EVIDENCE_SECONDS = 7 * 86_400


def _nulls(names: str) -> Object:
    return dict.fromkeys(names.split())


_EVIDENCE: Object = _nulls(
    "access_activity_log billing_address cancellation_policy cancellation_policy_disclosure"
    " cancellation_rebuttal customer_communication customer_email_address customer_name"
    " customer_purchase_ip customer_signature duplicate_charge_documentation"
    " duplicate_charge_explanation duplicate_charge_id product_description receipt refund_policy"
    " refund_policy_disclosure refund_refusal_explanation service_date service_documentation"
    " shipping_address shipping_carrier shipping_date shipping_documentation"
    " shipping_tracking_number uncategorized_file uncategorized_text"
)


def new_id(prefix: str) -> str:
    """Return an id that nobody can guess, in the manner of Stripe's."""
    return f"{prefix}_{os.urandom(12).hex()}"


_INTENT: Object = {
    "amount_capturable": 0,
    "amount_details": {"tip": {}},
    "amount_received": 0,
    "livemode": False,
    "metadata": {},
    "object": "payment_intent",
    "payment_method_configuration_details": {"id": "pmc_sandbox", "parent": None},
    "payment_method_options": {},
    "payment_method_types": ["card"],
    "status": "requires_payment_method",
} | _nulls(
    "application application_fee_amount automatic_payment_methods canceled_at cancellation_reason"
    " customer customer_account description excluded_payment_method_types last_payment_error"
    " latest_charge managed_payments next_action on_behalf_of payment_method processing"
    " receipt_email review setup_future_usage shipping source statement_descriptor"
    " statement_descriptor_suffix transfer_data transfer_group"
)


def new_intent(now: int, fields: Object) -> Object:
    """Return a payment intent that nobody has paid."""
    intent_id = new_id("pi")
    return {
        **_INTENT,
        "id": intent_id,
        "client_secret": f"{intent_id}_secret_{os.urandom(12).hex()}",
        "created": now,
        **fields,
    }


_BILLING: Object = {"address": _nulls("city country line1 line2 postal_code state")} | _nulls(
    "email name phone tax_id"
)

_CARD_DETAILS: Object = {
    "checks": _nulls("address_line1_check address_postal_code_check") | {"cvc_check": "pass"},
    "country": "US",
    "exp_month": 8,
    "exp_year": 2030,
    "extended_authorization": {"status": "disabled"},
    "fingerprint": "sandboxsandboxAB",
    "funding": "credit",
    "incremental_authorization": {"status": "unavailable"},
    "multicapture": {"status": "unavailable"},
    "network_token": {"used": False},
    "regulated_status": "unregulated",
} | _nulls("installments mandate network_transaction_id transaction_link_id wallet")

_CHARGE: Object = {
    "amount_captured": 0,
    "amount_refunded": 0,
    "billing_details": _BILLING,
    "captured": False,
    "disputed": False,
    "fraud_details": {},
    "livemode": False,
    "object": "charge",
    "paid": True,
    "refunded": False,
    "status": "succeeded",
} | _nulls(
    "application application_fee application_fee_amount balance_transaction"
    " failure_balance_transaction failure_code failure_message receipt_number review source"
    " source_transfer transfer_data"
)
_COPIED = [
    "amount",
    "currency",
    "customer",
    "description",
    "metadata",
    "on_behalf_of",
    "receipt_email",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
]
_AUTHENTICATED: Object = {
    "authentication_flow": "challenge",
    "electronic_commerce_indicator": "05",
    "exemption_indicator": None,
    "result": "authenticated",
    "result_reason": None,
    "transaction_id": "00000000-0000-0000-0000-000000000000",
    "version": "2.2.0",
}
_APPROVED: Object = {
    "advice_code": None,
    "network_advice_code": None,
    "network_decline_code": None,
    "network_status": "approved_by_network",
    "reason": None,
    "seller_message": "Payment complete.",
    "type": "authorized",
}


def new_charge(now: int, intent: Object, card: Card, authenticated: bool = False) -> Object:
    """Return a charge of this card that succeeded and is not captured."""
    charge_id = new_id("ch")
    return {
        **_CHARGE,
        **{name: intent[name] for name in _COPIED},
        "id": charge_id,
        "calculated_statement_descriptor": intent["statement_descriptor"] or "SANDBOX",
        "created": now,
        "outcome": _APPROVED,
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": _method_details(intent, card, authenticated),
        "receipt_url": f"https://pay.stripe.com/receipts/sandbox/{charge_id}",
        "refunds": refund_list(charge_id, []),
    }


def _method_details(intent: Object, card: Card, authenticated: bool) -> Object:
    amount = intent["amount"]
    return {
        "card": {
            **_CARD_DETAILS,
            "amount_authorized": amount,
            "authorization_code": os.urandom(3).hex(),
            "brand": card.brand,
            "last4": card.last4,
            "network": card.brand,
            "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
            "three_d_secure": _AUTHENTICATED if authenticated else None,
        },
        "type": "card",
    }


def payment_method(now: int, card: Card, intent: Object) -> Object:
    """Return the payment method of an intent, as a failed payment shows it."""
    shown = {"brand": card.brand, "last4": card.last4, "checks": None, "wallet": None}
    names = ("country", "exp_month", "exp_year", "fingerprint", "funding")
    return {
        "id": intent["payment_method"],
        "object": "payment_method",
        "billing_details": _BILLING,
        "card": shown | {name: _CARD_DETAILS[name] for name in names},
        "created": now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def declined(charge: Object, code: str, decline_code: str | None, message: str) -> Object:
    """Return the charge as one that the bank declined."""
    outcome: Object = {
        "advice_code": "try_again_later",
        "network_advice_code": None,
        "network_decline_code": "05",
        "network_status": "declined_by_network",
        "reason": decline_code or code,
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }
    failed: Object = {"status": "failed", "paid": False, "outcome": outcome}
    return {**charge, **failed, "failure_code": code, "failure_message": message}


def refund_list(charge_id: str, refunds: list[Object]) -> Object:
    """Return the refunds of a charge, as the charge carries them."""
    url = f"/v1/charges/{charge_id}/refunds"
    return {"object": "list", "data": refunds, "has_more": False, "url": url}


_REFUND: Object = {
    "destination_details": {
        "card": {
            "reference_status": "pending",
            "reference_type": "acquirer_reference_number",
            "type": "refund",
        },
        "type": "card",
    },
    "object": "refund",
} | _nulls("customer customer_account receipt_number source_transfer_reversal transfer_reversal")


def new_refund(now: int, charge: Object, fields: Object) -> Object:
    """Return a refund of a charge."""
    return {
        **_REFUND,
        "id": new_id("re"),
        "balance_transaction": new_id("txn"),
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        **fields,
    }


def new_dispute(now: int, charge: Object, reason: str, amount: int) -> Object:
    """Return a dispute about so much of a charge that waits for an answer."""
    card = charge["payment_method_details"]["card"]
    return {
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**_EVIDENCE, "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + _EVIDENCE_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "id": new_id("dp"),
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "object": "dispute",
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": card["brand"],
                "case_type": "chargeback",
                "network": card["network"],
                "network_reason_code": "10.4",
            },
            "type": "card",
        },
        "reason": reason,
        "status": "needs_response",
    }


def new_event(now: int, kind: str, thing: Object, previous: Object | None) -> Object:
    """Return an event about an object as it is now.

    Args:
        now: seconds since 1970.
        kind: the event's type.
        thing: the object.
        previous: what had another value before; None where Stripe does not say.
    """
    data: dict[str, Any] = {"object": thing}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": now,
        "data": data,
        "livemode": False,
        "pending_webhooks": 0,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def new_endpoint(now: int, url: str, enabled_events: list[str], fields: Object) -> Object:
    """Return a webhook endpoint; `secret` is for its creator only."""
    return {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": now,
        "description": None,
        "enabled_events": enabled_events,
        "livemode": False,
        "metadata": {},
        "secret": f"whsec_{os.urandom(16).hex()}",
        "status": "enabled",
        "url": url,
        **fields,
    }
