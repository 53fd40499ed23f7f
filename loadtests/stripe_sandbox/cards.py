"""Stripe's test payment methods: what each of them does."""

import os
import re

from msgspec import Struct

from loadtests.stripe_sandbox.errors import refused


class Card(Struct, frozen=True):
    """A test card.

    Attributes:
        code: error code of a charge that is declined; None if it is not.
        decline_code: why, more precisely; None if there is nothing more precise.
        authenticates: asks for 3-D Secure first.
        delayed: the payment is processing for a while before it is known.
        refund: what becomes of a refund: the states it takes, one after the other.
        disputed: the charge is disputed at once.
    """

    last4: str
    brand: str = "visa"
    code: str | None = None
    decline_code: str | None = None
    authenticates: bool = False
    delayed: bool = False
    refund: tuple[str, ...] = ("succeeded",)
    disputed: bool = False


def _declined(last4: str, decline_code: str, code: str = "card_declined") -> Card:
    return Card(last4, code=code, decline_code=decline_code)


_CARDS = {
    "visa": Card("4242"),
    "visa_debit": Card("5556"),
    "mastercard": Card("4444", "mastercard"),
    "amex": Card("8431", "amex"),
    "chargeDeclined": _declined("0002", "generic_decline"),
    "chargeDeclinedInsufficientFunds": _declined("9995", "insufficient_funds"),
    "chargeDeclinedLostCard": _declined("9987", "lost_card"),
    "chargeDeclinedStolenCard": _declined("9979", "stolen_card"),
    "chargeDeclinedFraudulent": _declined("0019", "fraudulent"),
    "chargeDeclinedVelocityLimitExceeded": _declined("6975", "card_velocity_exceeded"),
    "chargeDeclinedExpiredCard": Card("0069", code="expired_card"),
    "chargeDeclinedIncorrectCvc": Card("0127", code="incorrect_cvc"),
    "chargeDeclinedProcessingError": Card("0119", code="processing_error"),
    "authenticationRequired": Card("3184", authenticates=True),
    "authenticationRequiredChargeDeclinedInsufficientFunds": Card(
        "8260", code="card_declined", decline_code="insufficient_funds", authenticates=True
    ),
    "threeDSecure2Required": Card("3220", authenticates=True),
    "threeDSecureRequired": Card("3063", authenticates=True),
    "createDispute": Card("0259", disputed=True),
    "pendingRefund": Card("7726", refund=("pending", "succeeded")),
    "refundFail": Card("5126", refund=("succeeded", "failed")),
}

_CHARGED_LATER = {
    "pm_usBankAccount_success": Card("6789", delayed=True),
    "pm_usBankAccount_insufficientFunds": Card(
        "2227", code="card_declined", decline_code="insufficient_funds", delayed=True
    ),
}

#: By the names that the API takes.
CARDS: dict[str, Card] = {
    **_CHARGED_LATER,
    **{f"pm_card_{name}": card for name, card in _CARDS.items()},
    **{f"pm_card_visa_{name}": card for name, card in _CARDS.items() if card.code},
}

_BY_LAST4 = {card.last4: card for card in CARDS.values()}
#: What `used` makes: the digits tell the card.
_USED = re.compile(r"pm_(\d{4})[0-9a-f]{24}")

MESSAGES = {
    "card_declined": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}


def used(payment_method: str) -> str:
    """Return the id of the payment method that a test card becomes by its use.

    Each use makes a new one, as with Stripe; one that was made before stays what it is.

    Raises:
        StripeError: there is no such payment method.
    """
    found = card(payment_method)
    known = payment_method not in CARDS
    return payment_method if known else f"pm_{found.last4}{os.urandom(12).hex()}"


def card(payment_method: str) -> Card:
    """Return a test card by its name, or by the id of a payment method that was made of it.

    Raises:
        StripeError: there is no such payment method.
    """
    made = _USED.fullmatch(payment_method)
    found = CARDS.get(payment_method) if made is None else _BY_LAST4.get(made[1])
    if found is None:
        message = f"No such PaymentMethod: '{payment_method}'"
        raise refused(message, "resource_missing", "payment_method")
    return found
