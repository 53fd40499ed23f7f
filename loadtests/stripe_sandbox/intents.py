"""Payment intents: from the first request to the money, or to none."""

import msgspec

from loadtests.stripe_sandbox import objects
from loadtests.stripe_sandbox.books import Change
from loadtests.stripe_sandbox.cards import MESSAGES, Card, card, used
from loadtests.stripe_sandbox.disputes import open_dispute
from loadtests.stripe_sandbox.errors import Object, StripeError, refused, unexpected_state
from loadtests.stripe_sandbox.params import (
    AutomaticPaymentMethods,
    IntentCancel,
    IntentCapture,
    IntentConfirm,
    IntentCreate,
    IntentFields,
    IntentList,
    IntentRetrieve,
    IntentUpdate,
    Metadata,
)

#: Least amounts that Stripe charges, minor units; about half a dollar.
_AMOUNT_MIN = {"jpy": 50, "gbp": 30, "dkk": 250, "nok": 300, "sek": 300, "czk": 1500, "huf": 17500}
_AMOUNT_MAX = 99_999_999
#: What an intent keeps as it was given.
_KEPT = [name for name in IntentFields.__struct_fields__ if name not in ("expand", "metadata")]
#: In the order in which Stripe's messages name them.
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)


def create(change: Change, params: IntentCreate, _: str) -> Object:
    """Create an intent, and confirm it at once if that is asked for."""
    currency = params.currency.lower()
    _check_amount(params.amount, currency)
    fields = {
        **_given(params),
        "amount": params.amount,
        "currency": currency,
        "capture_method": params.capture_method,
        "confirmation_method": params.confirmation_method,
        "metadata": merged({}, params.metadata),
    }
    if params.payment_method_types is None:
        automatic = params.automatic_payment_methods or AutomaticPaymentMethods(enabled=True)
        fields["automatic_payment_methods"] = msgspec.to_builtins(automatic)
    if params.payment_method is not None:
        fields["payment_method"] = used(params.payment_method)
        fields["status"] = "requires_confirmation"
    intent = change.put(objects.new_intent(change.now, fields))
    change.emit("payment_intent.created", intent)
    if not params.confirm:
        return intent
    return confirm(
        change,
        IntentConfirm(
            off_session=params.off_session,
            return_url=params.return_url,
            error_on_requires_action=params.error_on_requires_action,
        ),
        intent["id"],
    )


def retrieve(change: Change, _: IntentRetrieve, intent_id: str) -> Object:
    """Return an intent."""
    return change.get("payment_intent", intent_id, "intent")


def list_(change: Change, params: IntentList, _: str) -> Object:
    """Return intents, newest first."""

    def wanted(intent: Object) -> bool:
        return params.customer is None or intent["customer"] == params.customer

    return change.books["payment_intent"].page(params, "/v1/payment_intents", wanted)


def update(change: Change, params: IntentUpdate, intent_id: str) -> Object:
    """Change an intent: its metadata at any time, the rest before it is paid."""
    intent = change.get("payment_intent", intent_id, "intent")
    fields = _given(params)
    if params.amount is not None or params.currency is not None or fields.get("payment_method"):
        what = "payment_method" if fields.get("payment_method") else "amount"
        _require(intent, _OPEN, f"This PaymentIntent's {what} could not be updated", "updated")
    currency = (params.currency or intent["currency"]).lower()
    if params.amount is not None:
        _check_amount(params.amount, currency)
        fields["amount"] = params.amount
    if params.capture_method is not None:
        fields["capture_method"] = params.capture_method
    if fields.get("payment_method"):
        fields["payment_method"] = used(fields["payment_method"])
        fields["status"] = "requires_confirmation"
    metadata = merged(intent["metadata"], params.metadata)
    return change.put(intent, **fields, currency=currency, metadata=metadata)


def confirm(change: Change, params: IntentConfirm, intent_id: str) -> Object:
    """Try to pay.

    Raises:
        StripeError: the card was declined, or the intent is not to be paid any more.
    """
    intent = change.get("payment_intent", intent_id, "intent")
    if intent["status"] == "succeeded":
        message = (
            "You cannot confirm this PaymentIntent because it has already succeeded after being"
            " previously confirmed."
        )
        raise unexpected_state(intent, message)
    _require(intent, _OPEN, "You cannot confirm this PaymentIntent", "confirmed")
    name = params.payment_method or intent["payment_method"]
    if name is None:
        message = (
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can"
            " either update the PaymentIntent with a payment method and then confirm it again, or"
            " confirm it again directly with a payment method or ConfirmationToken."
        )
        raise unexpected_state(intent, message)
    paying, name = card(name), used(name)
    intent = change.put(intent, payment_method=name, last_payment_error=None, next_action=None)
    if paying.authenticates and (params.off_session or params.error_on_requires_action):
        intent = _decline(change, intent, paying, "authentication_required")
    elif paying.authenticates:
        action = _next_action(change.site, intent, params.return_url)
        intent = change.put(intent, status="requires_action", next_action=action)
        change.emit("payment_intent.requires_action", intent)
    elif paying.delayed:
        intent = change.put(intent, status="processing")
        change.emit("payment_intent.processing", intent)
    else:
        intent = _charge(change, intent, paying)
    if failure := intent["last_payment_error"]:
        raise StripeError(402, {**failure, "payment_intent": intent})
    return intent


def authenticate(change: Change, intent_id: str, succeeds: bool) -> Object:
    """Answer what 3-D Secure asked the buyer, and go on with the payment or end it."""
    intent = change.get("payment_intent", intent_id, "intent")
    _require(
        intent, ("requires_action",), "You cannot authenticate this PaymentIntent", "authenticated"
    )
    intent = change.put(intent, next_action=None)
    if succeeds:
        return _charge(change, intent, card(intent["payment_method"]), authenticated=True)
    message = (
        "The provided PaymentMethod has failed authentication. You can provide"
        " payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent"
        " again."
    )
    failure = refused(message, "payment_intent_authentication_failure").error
    return _failed(change, intent, failure)


def settle(change: Change, intent_id: str) -> Object:
    """End the processing of a payment, whichever way its payment method ends."""
    intent = change.get("payment_intent", intent_id, "intent")
    _require(intent, ("processing",), "You cannot settle this PaymentIntent", "settled")
    return _charge(change, intent, card(intent["payment_method"]))


def cancel(change: Change, params: IntentCancel, intent_id: str) -> Object:
    """Cancel an intent; money that was set aside is let go."""
    intent = change.get("payment_intent", intent_id, "intent")
    _require(intent, _CANCELABLE, "You cannot cancel this PaymentIntent", "canceled")
    if intent["status"] == "requires_capture":
        charge = change.get("charge", intent["latest_charge"])
        before = {"amount_refunded": 0, "refunded": False}
        charge = change.put(charge, amount_refunded=charge["amount"], refunded=True)
        change.emit("charge.refunded", charge, before)
    intent = change.put(
        intent,
        status="canceled",
        canceled_at=change.now,
        cancellation_reason=params.cancellation_reason,
        amount_capturable=0,
        next_action=None,
    )
    change.emit("payment_intent.canceled", intent)
    return intent


def capture(change: Change, params: IntentCapture, intent_id: str) -> Object:
    """Take the money that was set aside, or a part of it and let the rest go."""
    intent = change.get("payment_intent", intent_id, "intent")
    _require(intent, ("requires_capture",), "This PaymentIntent could not be captured", "captured")
    available = intent["amount_capturable"]
    amount = available if params.amount_to_capture is None else params.amount_to_capture
    if not 0 < amount <= available:
        message = (
            f"The amount to capture ({amount}) must be positive and not greater than the"
            f" authorized amount ({available})."
        )
        code = "amount_too_large" if amount else "amount_too_small"
        raise refused(message, code, "amount_to_capture")
    charge = change.get("charge", intent["latest_charge"])
    charge = change.put(charge, **_captured(amount))
    previous = {"amount_captured": 0, "balance_transaction": None, "captured": False}
    change.emit("charge.captured", charge, previous)
    intent = change.put(intent, metadata=merged(intent["metadata"], params.metadata))
    return _succeeded(change, intent, amount)


def merged(metadata: dict[str, str], given: Metadata | str) -> dict[str, str]:
    """Return metadata with what was given: empty values remove, nothing at all removes all."""
    if isinstance(given, str):
        return {}
    return {key: value for key, value in {**metadata, **given}.items() if value}


def _charge(change: Change, intent: Object, paying: Card, *, authenticated: bool = False) -> Object:
    if paying.code is not None:
        return _decline(change, intent, paying, paying.decline_code, authenticated)
    charge = objects.new_charge(change.now, intent, paying, authenticated)
    amount = intent["amount"]
    manual = intent["capture_method"] == "manual"
    charge = change.put(charge, **({} if manual else _captured(amount)))
    change.emit("charge.succeeded", charge)
    intent = change.put(intent, latest_charge=charge["id"])
    if manual:
        intent = change.put(intent, status="requires_capture", amount_capturable=amount)
        change.emit("payment_intent.amount_capturable_updated", intent)
        return intent
    intent = _succeeded(change, intent, amount)
    if paying.disputed:
        open_dispute(change, charge["id"], "fraudulent")
    return intent


def _captured(amount: int) -> Object:
    return {
        "captured": True,
        "amount_captured": amount,
        "balance_transaction": objects.new_id("txn"),
    }


def _succeeded(change: Change, intent: Object, amount: int) -> Object:
    intent = change.put(intent, status="succeeded", amount_received=amount, amount_capturable=0)
    change.emit("payment_intent.succeeded", intent)
    return intent


def _decline(
    change: Change,
    intent: Object,
    paying: Card,
    decline_code: str | None,
    authenticated: bool = False,
) -> Object:
    code = paying.code or "card_declined"
    message = MESSAGES.get(decline_code or code, MESSAGES.get(code, MESSAGES["card_declined"]))
    charge = objects.new_charge(change.now, intent, paying, authenticated)
    charge = change.put(objects.declined(charge, code, decline_code, message))
    change.emit("charge.failed", charge)
    more = {"charge": charge["id"], "decline_code": decline_code}
    failure = refused(message, code, kind="card_error", **more).error
    return _failed(change, change.put(intent, latest_charge=charge["id"]), failure)


def _failed(change: Change, intent: Object, failure: Object) -> Object:
    used = objects.payment_method(change.now, card(intent["payment_method"]), intent)
    intent = change.put(
        intent,
        status="requires_payment_method",
        payment_method=None,
        last_payment_error={**failure, "payment_method": used},
    )
    change.emit("payment_intent.payment_failed", intent)
    return intent


def _next_action(site: str, intent: Object, return_url: str | None) -> Object:
    page = f"{site}/_sandbox/payment_intents/{intent['id']}/authenticate"
    if return_url is None:
        details = {"type": "three_d_secure_redirect", "stripe_js": page}
        return {"type": "use_stripe_sdk", "use_stripe_sdk": details}
    redirect = {"return_url": return_url, "url": page}
    return {"type": "redirect_to_url", "redirect_to_url": redirect}


def _given(params: IntentFields) -> Object:
    """Return what was given of the fields that an intent simply keeps; nothing unsets one."""
    values = {name: getattr(params, name) for name in _KEPT}
    return {name: value or None for name, value in values.items() if value is not None}


def _check_amount(amount: int, currency: str) -> None:
    least = _AMOUNT_MIN.get(currency, 50)
    if amount < least:
        message = f"Amount must be at least {least} {currency} (in the smallest unit)."
        raise refused(message, "amount_too_small", "amount", began=False)
    if amount > _AMOUNT_MAX:
        message = f"Amount must be no more than {_AMOUNT_MAX} {currency} (in the smallest unit)."
        raise refused(message, "amount_too_large", "amount", began=False)


def _require(intent: Object, statuses: tuple[str, ...], cannot: str, done: str) -> None:
    if intent["status"] not in statuses:
        message = (
            f"{cannot} because it has a status of {intent['status']}. Only a PaymentIntent with"
            f" one of the following statuses may be {done}: {', '.join(statuses)}."
        )
        raise unexpected_state(intent, message)
