"""`onsale stop`, `go`, `throttle` and `changes`: an operator's hand on all sales."""

import getpass
import json
from typing import Annotated

import typer
from rich.table import Table

from engine.domain.ids import is_event_id
from engine.limits import HOLDS_PER_SECOND_MAX, HOLDS_PER_SECOND_MIN, LIST_MAX
from gateway.cli.admin import ask, service_of
from gateway.cli.console import fail, people, read_settings

_Reason = Annotated[str, typer.Option(help="Why; it is kept with the change.")]
_Event = Annotated[str | None, typer.Option(help="Only this event.")]
_By = Annotated[
    str,
    typer.Option(help="Who does it; it is kept with the change.", default_factory=getpass.getuser),
]


def stop(reason: _Reason, by: _By, event: _Event = None) -> None:
    """Stop new holds of all events, or of one, in every gateway within a second.

    What is held can still be paid, and doors stay open.
    """
    _send("controls/stop" if event is None else f"events/{_known(event)}/pause", by, reason)


def go(reason: _Reason, by: _By, event: _Event = None) -> None:
    """Take new holds again, after a stop of all events or of one."""
    _send("controls/go" if event is None else f"events/{_known(event)}/resume", by, reason)


def throttle(
    holds_per_second: Annotated[str, typer.Argument(help="A number, or `off`.")],
    reason: _Reason,
    by: _By,
    event: _Event = None,
) -> None:
    """Let only so many new holds a second through, of all events together or of one."""
    body = {"holds_per_second": _pace(holds_per_second), "event_id": event and _known(event)}
    _send("controls/throttle", by, reason, **body)


def changes(
    limit: Annotated[int, typer.Option(min=1, max=LIST_MAX, help="How many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List who has stopped, paused or slowed down sales, newest first."""
    settings = read_settings()
    url = service_of(settings).url
    found = ask(url, settings, "onsale-changes", "GET", f"controls/changes?limit={limit}")["data"]
    if as_json:
        for change in found:
            typer.echo(json.dumps(change))
        return
    table = Table("when", "who", "what", "event", "holds/s", "why", box=None)
    for change in found:
        names = ("at", "who", "action", "event_id", "holds_per_second", "reason")
        table.add_row(*("" if change[name] is None else str(change[name]) for name in names))
    people.print(table)


def _send(path: str, by: str, reason: str, **more: object) -> None:
    settings = read_settings()
    body = {"reason": reason, **more}
    typer.echo(json.dumps(ask(service_of(settings).url, settings, by, "POST", path, body)))


def _known(event: str) -> str:
    if not is_event_id(event):
        raise fail(f"{event} is not the id of an event (evt_ and twelve characters)")
    return event


def _pace(text: str) -> float | None:
    if text == "off":
        return None
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not HOLDS_PER_SECOND_MIN <= pace <= HOLDS_PER_SECOND_MAX:
        raise fail(f"{text} is no pace: a number from {HOLDS_PER_SECOND_MIN} up, or `off`")
    return pace
