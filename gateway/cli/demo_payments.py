"""The second half of `onsale demo`: the winners pay, and every cent is accounted for."""

import json
import urllib.request
from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from rich.progress import Progress
from rich.table import Table

from gateway.cli.console import people
from loadtests.payers import Buying, Purchase, Takings, run_buying

#: Winners who pay; at the 25 payments a second that Stripe lets us open, that takes 2 s.
PAYING_MAX = 40
_GOOD, _BAD = "pm_card_visa", "pm_card_chargeDeclined"
#: Cards that may fail until the booking is cancelled: the product's default.
_ATTEMPTS = 3
#: Every so many winners, one has a card declined, and pays with another.
_DECLINED_EVERY = 8


class Winner(Struct, frozen=True):
    """A hold that was granted, and its buyer's token."""

    booking_id: str
    token: str


class Books(Struct, frozen=True):
    """What the sandbox's books say of one event, minor units."""

    captured: int
    refunded: int


def purchases_of(winners: Sequence[Winner]) -> list[Purchase]:
    """Return who pays how: the first in vain, the second wants the money back.

    Most pay at once; now and then one has a card declined first.
    """
    purchases = []
    for number, winner in enumerate(winners):
        cards: tuple[str, ...] = (_GOOD,)
        if number == 0:
            cards = (_BAD,) * _ATTEMPTS
        elif number % _DECLINED_EVERY == 2:
            cards = (_BAD, _GOOD)
        purchases.append(Purchase(winner.token, winner.booking_id, cards, refund=number == 1))
    return purchases


def pay(url: str, sandbox_url: str, purchases: list[Purchase], progress: Progress) -> Takings:
    """Let winners pay in the sandbox, and wait until each booking shows what came of it."""
    task = progress.add_task("winners pay            ", total=len(purchases))
    spec = Buying(url, sandbox_url, purchases)
    takings = run_buying(spec, lambda done: progress.update(task, completed=done))
    progress.update(task, completed=len(takings.bought))
    return takings


def books_of(sandbox_url: str, event_id: str) -> Books:
    """Return what the sandbox has taken for an event, and given back."""
    with urllib.request.urlopen(f"{sandbox_url}/_sandbox/books", timeout=30) as answer:  # noqa: S310
        intents: list[dict[str, Any]] = json.load(answer)["intents"]
    ours = [intent for intent in intents if intent["metadata"].get("event") == event_id]
    return Books(
        captured=sum(intent["captured"] for intent in ours),
        refunded=sum(intent["refunded"] for intent in ours),
    )


def verdict(
    purchases: Sequence[Purchase],
    takings: Takings,
    books: Books,
    report: dict[str, Any],
    price_minor: int,
    per_hold: int,
) -> bool:
    """Show what became of the payments, and tell whether it is what was promised."""
    counts = report["recomputed"]["ticket_types"][0]
    statuses = Counter(_decided(one.status) for one in takings.bought)
    kept = books.captured - books.refunded
    worth = counts["sold"] * price_minor
    table = Table.grid(padding=(0, 2))
    table.add_row("winners who paid", _in_words(statuses))
    latency = takings.confirmed
    table.add_row(
        "payment to CONFIRMED", f"p50 {latency.p50:.0f} ms, p99 {latency.p99:.0f} ms, by webhook"
    )
    table.add_row(
        "sandbox's books", f"{_money(books.captured)} taken, {_money(books.refunded)} back"
    )
    table.add_row(
        "journal says",
        f"{counts['sold']} sold at {_money(price_minor)} = {_money(worth)}, "
        f"{counts['held']} held, {counts['available']} free",
    )
    table.add_row("live = journal", "yes" if report["agree"] else f"NO: {report['violations']}")
    people.print(table)
    as_promised = statuses == expected_of(purchases)
    stock = counts["sold"] == statuses["CONFIRMED"] * per_hold
    proven = as_promised and stock and kept == worth and bool(report["agree"])
    if proven:
        people.print("[bold green]Every ticket sold is paid for, and no money is without one.[/]")
    else:
        people.print("[bold red]Tickets and money do not agree.[/]")
    return proven


def paid_for(winners: Sequence[Winner], takings: Takings) -> list[Winner]:
    """Return those who have tickets now."""
    confirmed = {one.booking_id for one in takings.bought if _decided(one.status) == "CONFIRMED"}
    return [winner for winner in winners if winner.booking_id in confirmed]


def _decided(status: str) -> str:
    """Return what came of a payment, wherever the tickets are by now."""
    return "CONFIRMED" if status == "TICKETS_DELIVERED" else status


def expected_of(purchases: Sequence[Purchase]) -> Counter[str]:
    """Return what has to become of these."""
    expected: Counter[str] = Counter()
    for purchase in purchases:
        paid = "REFUNDED" if purchase.refund else "CONFIRMED"
        expected[paid if _GOOD in purchase.cards else "CANCELLED"] += 1
    return expected


def _in_words(statuses: Counter[str]) -> str:
    told = sorted(statuses.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {status}" for status, count in told)


def _money(minor: int) -> str:
    return f"€{minor / 100:,.2f}"
