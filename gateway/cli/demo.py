"""`onsale demo`: a flash crowd fights over a few hundred tickets, and the audit proves it."""

import json
import tempfile
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gateway.auth import Tokens
from gateway.cli import demo_doors, demo_payments
from gateway.cli.audit import live_report
from gateway.cli.console import people, read_settings
from gateway.cli.demo_payments import PAYING_MAX, Winner
from gateway.cli.stack import Stack
from gateway.cli.surroundings import Runtime, port_is_free
from gateway.cli.up import show, started
from gateway.settings import Settings
from loadtests.crowd import Result, Spec, Template, run_crowd

_ORGANIZER = "demo-organizer"
_PER_HOLD = 2
_PRICE_MINOR = 4_500
_PROGRESS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
)


def demo(
    buyers: Annotated[int, typer.Option(min=10, max=200_000)] = 5_000,
    tickets: Annotated[int, typer.Option(min=2, max=100_000)] = 300,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
    gateways: Annotated[int, typer.Option(min=1, max=16, help="Gateway processes.")] = 1,
    once: Annotated[
        bool, typer.Option("--once", help="End afterwards; status 0 only if the audit holds.")
    ] = False,
) -> None:
    """Sell out an event under a flash crowd, prove it from the journal, and stay up."""
    quiet = {"rate_limits": "off", "log_level": "WARNING"}
    settings = read_settings().model_copy(update=quiet)
    if port and not port_is_free("127.0.0.1", port):
        people.print(f"Port {port} is in use: taking a free one.")
        port = 0
    with started(Stack(settings, "127.0.0.1", port, gateways)) as stack:
        url = stack.runtime.url
        event_id = _create_event(url, settings, tickets)
        people.print(
            f"\n{event_id} has {tickets} tickets; {buyers:,} buyers want {_PER_HOLD} each."
        )
        result, winners = _storm(url, settings, event_id, buyers)
        report = live_report(url, settings, event_id)
        expected = holds_expected(buyers, tickets)
        proven = verdict(result, report, expected, stack.runtime.durability)
        sandbox_url = stack.runtime.stripe_sandbox_url
        if sandbox_url is None:
            people.print("\nA real Stripe account is set up: nobody pays in a demo.")
        elif proven:
            proven = _payments(stack.runtime, sandbox_url, settings, event_id, winners)
        if not once:
            people.print()
            show(stack.runtime, settings)
            stack.supervise()
    if not proven:
        raise typer.Exit(1)


def _create_event(url: str, settings: Settings, tickets: int) -> str:
    token = Tokens(settings.auth_secret.get_secret_value()).make("organizer", _ORGANIZER)
    body = {
        "name": "Night of Strings",
        "starts_at": (datetime.now(UTC) + timedelta(days=90)).isoformat(),
        "currency": "EUR",
        "venue": {"name": "Halle 1", "city": "Berlin", "country": "DE"},
        "ticket_types": [
            {"code": "ga", "name": "Standing", "price": _PRICE_MINOR, "capacity": tickets}
        ],
        "refund_policy": {"until_hours_before": 48, "percent": 100},
    }
    request = urllib.request.Request(  # noqa: S310 - our own service
        f"{url}/api/v1/events",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {token}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        event_id: str = json.load(answer)["id"]
    return event_id


def _storm(url: str, settings: Settings, event_id: str, buyers: int) -> tuple[Result, list[Winner]]:
    """Let every buyer ask once, all at the same time; return who was granted a hold, too."""
    tokens = Tokens(settings.auth_secret.get_secret_value())
    with (
        tempfile.TemporaryDirectory(prefix="onsale-demo-") as directory,
        Progress(*_PROGRESS, console=people) as progress,
    ):
        making = progress.add_task("buyers get their tokens", total=buyers)
        made = []
        for number in range(buyers):
            email = f"buyer-{number}@example.org"
            made.append(tokens.make("buyer", f"demo-buyer-{number}", email=email))
            progress.advance(making)
        asking = progress.add_task("buyers ask for tickets ", total=buyers)
        host, port = urlsplit(url).hostname, urlsplit(url).port
        assert host is not None
        assert port is not None
        record = Path(directory) / "answers.jsonl"
        spec = Spec(
            host,
            port,
            template=Template(
                "POST",
                f"/api/v1/events/{event_id}/holds",
                json.dumps({"items": [{"ticket_type": "ga", "quantity": _PER_HOLD}]}),
                made,
                idempotency_keys=True,
                count=buyers,
            ),
            connections=256,
            record=str(record),
        )
        result = run_crowd(spec, lambda done: progress.update(asking, completed=done))
        return result, winners_of(record, made)


def winners_of(record: Path, tokens: Sequence[str]) -> list[Winner]:
    """Return the holds that a crowd was granted, from what it has recorded.

    Args:
        record: see `loadtests.crowd.Spec`.
        tokens: in the order in which they asked, each once.
    """
    winners = []
    with record.open() as lines:
        for line in lines:
            answer = json.loads(line)
            if answer["status"] == 201:
                booking_id: str = json.loads(answer["body"])["id"]
                winners.append(Winner(booking_id, tokens[answer["number"]]))
    return winners


def _payments(
    runtime: Runtime, sandbox_url: str, settings: Settings, event_id: str, holders: Sequence[Winner]
) -> bool:
    """Let winners pay and come to the door; tell whether tickets, money and people agree."""
    url, winners = runtime.url, holders[:PAYING_MAX]
    people.print(
        f"\n{len(winners)} winners pay in the Stripe sandbox: one fails to, some need a second "
        "card, one wants the money back."
    )
    purchases = demo_payments.purchases_of(winners)
    with Progress(*_PROGRESS, console=people) as progress:
        takings = demo_payments.pay(url, sandbox_url, purchases, progress)
    books = demo_payments.books_of(sandbox_url, event_id)
    report = live_report(url, settings, event_id)
    if not demo_payments.verdict(purchases, takings, books, report, _PRICE_MINOR, _PER_HOLD):
        return False
    paid = demo_payments.paid_for(winners, takings)
    if not paid:
        people.print("\nNobody among so few has kept a ticket: there is none to be mailed.")
        return True
    people.print("\nTheir tickets are mailed, and one of them is shown at two gates.")
    with Progress(*_PROGRESS, console=people) as progress:
        mailed = demo_doors.deliver(url, paid, progress)
    tokens = Tokens(settings.auth_secret.get_secret_value())
    staff = tokens.make("staff", "demo-staff", org=_ORGANIZER)
    return demo_doors.show(runtime, event_id, paid, mailed, staff)


def holds_expected(buyers: int, tickets: int) -> int:
    """Return how many holds are granted where each buyer asks for one."""
    return min(buyers, tickets // _PER_HOLD)


def verdict(result: Result, report: dict[str, Any], expected: int, durability: str) -> bool:
    """Show what happened and tell whether it is what was promised: so many holds, no more."""
    granted = result.statuses.get("201", 0)
    counts = report["recomputed"]["ticket_types"][0]
    exact = granted == expected and counts["held"] == expected * _PER_HOLD
    refused = ", ".join(f"{count:,} {code}" for code, count in sorted(result.codes.items()))
    latency = result.latency_ms
    table = Table.grid(padding=(0, 2))
    table.add_row("holds granted", f"{granted} of {_PER_HOLD} tickets each = {granted * _PER_HOLD}")
    table.add_row("refused", refused or "none")
    table.add_row("without an answer", str(result.unknown))
    table.add_row("answers a second", f"{result.rate:,.0f}")
    table.add_row("latency", f"p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms")
    table.add_row("durability", durability)
    table.add_row("journal says", f"{counts['held']} held, {counts['available']} free")
    table.add_row("live = journal", "yes" if report["agree"] else f"NO: {report['violations']}")
    people.print(table)
    proven = exact and bool(report["agree"])
    if proven and counts["available"] >= _PER_HOLD:
        people.print("[bold green]Everybody has what they wanted, and the journal proves it.[/]")
    elif proven:
        people.print("[bold green]Exactly the tickets there were, and the journal proves it.[/]")
    else:
        people.print("[bold red]The audit does not hold.[/]")
    return proven
