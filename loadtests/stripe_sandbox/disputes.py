"""Disputes: a buyer asks the bank for the money instead of the merchant."""

from typing import Literal

from loadtests.stripe_sandbox.books import Change
from loadtests.stripe_sandbox.errors import Object, refused
from loadtests.stripe_sandbox.objects import new_dispute
from loadtests.stripe_sandbox.params import OfIntentList, Params


def retrieve(change: Change, _: Params, dispute_id: str) -> Object:
    """Return a dispute."""
    return change.get("dispute", dispute_id, "dispute")


def list_(change: Change, params: OfIntentList, _: str) -> Object:
    """Return disputes, newest first."""

    def wanted(dispute: Object) -> bool:
        return params.charge is None or dispute["charge"] == params.charge

    return change.books["dispute"].page(params, "/v1/disputes", wanted, params.payment_intent)


def open_dispute(change: Change, charge_id: str, reason: str, amount: int | None = None) -> Object:
    """Dispute a charge, or so much of it.

    Raises:
        StripeError: it was not captured, not as much, or is disputed already.
    """
    charge = change.get("charge", charge_id)
    if not charge["captured"] or charge["disputed"]:
        raise refused(f"Charge {charge_id} cannot be disputed.", "charge_disputed")
    captured = charge["amount_captured"]
    amount = captured if amount is None else amount
    if not 0 < amount <= captured:
        raise refused(f"Charge {charge_id} has no {amount} to dispute.", param="amount")
    change.put(charge, disputed=True)
    dispute = change.put(new_dispute(change.now, charge, reason, amount))
    change.emit("charge.dispute.created", dispute)
    return dispute


def is_disputed(change: Change, charge: Object) -> bool:
    """Tell whether the bank has the money of a charge: a dispute is open, or was lost.

    The charge itself stays disputed for ever.
    """
    of_intent = change.books["dispute"].of_intent(charge["payment_intent"])
    return any(one["charge"] == charge["id"] and one["status"] != "won" for one in of_intent)


def close_dispute(change: Change, dispute_id: str, status: Literal["won", "lost"]) -> Object:
    """Decide a dispute.

    Raises:
        StripeError: it was decided already.
    """
    dispute = change.get("dispute", dispute_id, "dispute")
    if dispute["status"] != "needs_response":
        raise refused(f"This dispute is already closed: {dispute['status']}.")
    previous = {"status": dispute["status"]}
    dispute = change.put(dispute, status=status)
    change.emit("charge.dispute.closed", dispute, previous)
    return dispute
