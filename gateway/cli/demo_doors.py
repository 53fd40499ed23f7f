"""The end of `onsale demo`: tickets arrive by mail, and each lets somebody in once."""

import json
import time
import urllib.request
from collections.abc import Sequence
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress
from rich.table import Table

from gateway.cli.console import people
from gateway.cli.demo_payments import Winner
from gateway.cli.surroundings import Runtime

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


def show(runtime: Runtime, event_id: str, paid: Sequence[Winner], mailed: int, staff: str) -> bool:
    """Open one mail, scan one of its tickets at two gates, and tell whether all is as it should be.

    Args:
        runtime: of the service.
        event_id: of the tickets.
        paid: who has tickets; not empty.
        mailed: how many of them have theirs in the mail.
        staff: a token for the doors.
    """
    url, winner = runtime.url, paid[0]
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
    table.add_row("tickets mailed", f"{mailed} bookings, {runtime.mail}")
    for gate, scan in zip(_GATES, scans, strict=True):
        table.add_row(f"scan at gate {gate}", _in_words(tickets[0]["number"], scan))
    people.print(table)
    in_the_mail = _show_mail(runtime.mail_dir, winner) and mailed == len(paid)
    results = [scan["result"] for scan in scans]
    once = results == ["admitted", "refused"] and scans[1]["reason"] == "already_used"
    if in_the_mail and once:
        people.print("[bold green]Every ticket is in the mail, and lets one person in once.[/]")
    if not in_the_mail:
        people.print("[bold red]Not every ticket is in the mail.[/]")
    if not once:
        people.print("[bold red]The doors do not do what they should.[/]")
    return in_the_mail and once


def _show_mail(mail_dir: str | None, winner: Winner) -> bool:
    """Say what the mail of a booking carries, and tell whether that is its tickets."""
    if mail_dir is None:
        people.print("Mail goes by SMTP: there is no file here to look into.")
        return True
    attached = attached_to_mail(Path(mail_dir), winner.booking_id)
    if attached is None:
        people.print(f"No mail in {mail_dir} carries the tickets of {winner.booking_id}.")
        return False
    said = f"{attached.path}: {attached.name}, {attached.size:,} bytes"
    people.print(said, soft_wrap=True, highlight=False, markup=False)
    return True


class Attached(NamedTuple):
    """A PDF, the mail that carries it, and its size in bytes."""

    path: Path
    name: str
    size: int


def attached_to_mail(mail_dir: Path, booking_id: str) -> Attached | None:
    """Return the tickets that a mail about this booking carries, None if none does."""
    for path in sorted(mail_dir.glob(f"*{booking_id}*.eml")):
        mail = message_from_bytes(path.read_bytes(), policy=policy.default)
        for part in mail.iter_attachments():
            content = part.get_content()
            if part.get_content_type() == "application/pdf" and content.startswith(b"%PDF-"):
                return Attached(path, part.get_filename() or "", len(content))
    return None


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
