"""Charges and their refunds."""

from loadtests.stripe_sandbox import objects
from loadtests.stripe_sandbox.books import Books, Change
from loadtests.stripe_sandbox.cards import card
from loadtests.stripe_sandbox.disputes import is_disputed
from loadtests.stripe_sandbox.errors import Object, refused
from loadtests.stripe_sandbox.intents import merged
from loadtests.stripe_sandbox.params import OfIntentList, Params, RefundCreate


def retrieve_charge(change: Change, _: Params, charge_id: str) -> Object:
    """Return a charge."""
    return change.get("charge", charge_id, "charge")


def list_charges(change: Change, params: OfIntentList, _: str) -> Object:
    """Return charges, newest first."""
    page = change.books["charge"].page
    return page(params, "/v1/charges", intent_id=params.payment_intent)


def retrieve(change: Change, _: Params, refund_id: str) -> Object:
    """Return a refund."""
    return change.get("refund", refund_id, "refund")


def list_(change: Change, params: OfIntentList, _: str) -> Object:
    """Return refunds, newest first."""

    def wanted(refund: Object) -> bool:
        return params.charge is None or refund["charge"] == params.charge

    return change.books["refund"].page(params, "/v1/refunds", wanted, params.payment_intent)


def create(change: Change, params: RefundCreate, _: str) -> Object:
    """Give money back.

    Raises:
        StripeError: there is none, or not as much, or the bank has taken it back already.
    """
    charge = _charge(change, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    if left <= 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise refused(message, "charge_already_refunded")
    if is_disputed(change, charge):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise refused(message, "charge_disputed")
    amount = left if params.amount is None else params.amount
    if amount > left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise refused(message, param="amount")
    status = card(charge["payment_method"]).refund[0]
    fields = {"amount": amount, "reason": params.reason, "status": status}
    fields["metadata"] = merged({}, params.metadata)
    refund = change.put(objects.new_refund(change.now, charge, fields))
    _carry(change, charge, refund, amount, "charge.refunded")
    change.emit("refund.created", refund)
    return refund


def next_status(books: Books, refund: Object) -> str | None:
    """Return what becomes of a refund by itself, None if it stays as it is."""
    charge = books["charge"].get(refund["charge"])
    assert charge is not None
    steps = card(charge["payment_method"]).refund
    at = steps.index(refund["status"]) + 1 if refund["status"] in steps else len(steps)
    return steps[at] if at < len(steps) else None


def settle(change: Change, refund_id: str, status: str) -> Object:
    """Say what became of a refund. One that failed leaves the money with the merchant.

    Raises:
        StripeError: that was said already.
    """
    refund = change.get("refund", refund_id, "refund")
    before = refund["status"]
    if before in (status, "failed"):
        raise refused(f"This refund has a status of {before} already.")
    fields: Object = {"status": status}
    if status == "failed":
        fields["failure_reason"] = "expired_or_canceled_card"
        fields["failure_balance_transaction"] = objects.new_id("txn")
    refund = change.put(refund, **fields)
    charge = change.get("charge", refund["charge"])
    _carry(change, charge, refund, -refund["amount"] if status == "failed" else 0)
    change.emit("refund.updated", refund, {"status": before})
    if status == "failed":
        change.emit("refund.failed", refund)
    return refund


def _charge(change: Change, params: RefundCreate) -> Object:
    """Return the charge that is to be refunded."""
    if params.charge is not None:
        charge = change.get("charge", params.charge, "charge")
        if charge["captured"]:
            return charge
        raise refused(f"Charge {charge['id']} has no money to refund.", "charge_not_refundable")
    if params.payment_intent is None:
        message = "One of the following params should be provided: payment_intent or charge."
        raise refused(message, "parameter_missing", "payment_intent", began=False)
    intent = change.get("payment_intent", params.payment_intent, "payment_intent")
    if intent["status"] != "succeeded":
        message = (
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        )
        raise refused(message, param="payment_intent")
    return change.get("charge", intent["latest_charge"])


def _carry(
    change: Change, charge: Object, refund: Object, amount: int, event: str | None = None
) -> None:
    """Put a refund, as it is now, into its charge."""
    others = [other for other in charge["refunds"]["data"] if other["id"] != refund["id"]]
    before = {name: charge[name] for name in ("amount_refunded", "refunded")}
    refunded = charge["amount_refunded"] + amount
    charge = change.put(
        charge,
        amount_refunded=refunded,
        refunded=refunded >= charge["amount_captured"],
        refunds=objects.refund_list(charge["id"], [refund, *others]),
    )
    if event is not None:
        change.emit(event, charge, before)
