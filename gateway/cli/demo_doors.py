"""The end of `onsale demo`: tickets arrive by mail, and each lets somebody in once."""

import json
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from rich.progress import Progress
from rich.table import Table

from gateway.cli.console import people
from gateway.cli.demo_payments import Winner

#: How long the mails of a demo may take, seconds.
_PATIENCE_SECONDS = 60.0
_GATES = ("North", "South")


def deliver(url: str, paid: Sequence[Winner], progress: Progress) -> int:
    """Wait until the tickets of these bookings are in the mail, and return how many are."""
    task = progress.add_task("tickets are mailed     ", total=len(paid))
    waiting = list(paid)
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while waiting and time.monotonic() < give_up:
        waiting = [one for one in waiting if _status(url, one) != "TICKETS_DELIVERED"]
        progress.update(task, completed=len(paid) - len(waiting))
        time.sleep(0.1)
    return len(paid) - len(waiting)


def show(url: str, event_id: str, winner: Winner, staff: str, *, mailed: int, mail: str) -> bool:
    """Scan one ticket at two gates, and tell whether it let exactly one person in."""
    tickets = _ask(url, "GET", f"/bookings/{winner.booking_id}/tickets", winner.token)["data"]
    scans = [
        _ask(
            url,
            "POST",
            f"/events/{event_id}/check-ins",
            staff,
            {"qr": tickets[0]["qr"], "gate": gate},
        )
        for gate in _GATES
    ]
    table = Table.grid(padding=(0, 2))
    table.add_row("tickets mailed", f"{mailed} bookings, {mail}")
    for gate, scan in zip(_GATES, scans, strict=True):
        table.add_row(f"scan at gate {gate}", _in_words(tickets[0]["number"], scan))
    people.print(table)
    results = [scan["result"] for scan in scans]
    proven = results == ["admitted", "refused"] and scans[1]["reason"] == "already_used"
    if proven:
        people.print("[bold green]Every ticket is in the mail, and lets one person in once.[/]")
    else:
        people.print("[bold red]The doors do not do what they should.[/]")
    return proven


def _in_words(number: str, scan: dict[str, Any]) -> str:
    if scan["result"] == "admitted":
        return f"{number} admitted, {scan['inside']} inside"
    first = scan["first_used"]
    used = f": used at {first['at'][11:23]}, gate {first['gate']}" if first else ""
    return f"{number} refused, {scan['reason']}{used}"


def _status(url: str, winner: Winner) -> str:
    status: str = _ask(url, "GET", f"/bookings/{winner.booking_id}", winner.token)["status"]
    return status


def _ask(url: str, method: str, path: str, token: str, body: Any = None) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own service
        f"{url}/api/v1{path}",
        None if body is None else json.dumps(body).encode(),
        {"authorization": f"Bearer {token}", "content-type": "application/json"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found
