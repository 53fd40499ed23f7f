"""What the books add up to."""

from collections import Counter

from loadtests.stripe_sandbox.books import Books
from loadtests.stripe_sandbox.errors import Object

_SUMS = ("amount", "captured", "refunded", "disputed")


def accounts(books: Books) -> Object:
    """Return what was asked, taken and given back, for every intent and in all.

    Amounts are in minor units. `refunded` counts what was not refused by the bank;
    `disputed` what a bank has taken back, or would if it decided now.
    """
    intents = [_account(books, intent) for intent in books["payment_intent"]]
    totals: Counter[str] = Counter(dict.fromkeys(_SUMS, 0))
    for intent in intents:
        totals.update({name: intent[name] for name in _SUMS})
    return {
        "intents": intents,
        "totals": {"intents": len(intents), **totals},
        "statuses": Counter(intent["status"] for intent in intents),
        "events": len(books["event"]),
        "webhooks": {
            "to_deliver": sum(books.undelivered.values()),
            "given_up": len(books.undelivered) - sum(books.undelivered.values()),
        },
    }


def _account(books: Books, intent: Object) -> Object:
    refunds = books["refund"].of_intent(intent["id"])
    disputes = books["dispute"].of_intent(intent["id"])
    return {
        "id": intent["id"],
        "metadata": intent["metadata"],
        "status": intent["status"],
        "currency": intent["currency"],
        "amount": intent["amount"],
        "captured": intent["amount_received"],
        "refunded": sum(r["amount"] for r in refunds if r["status"] in ("pending", "succeeded")),
        "disputed": sum(d["amount"] for d in disputes if d["status"] != "won"),
        "refunds": len(refunds),
    }
