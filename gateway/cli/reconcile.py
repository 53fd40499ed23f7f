"""`onsale reconcile`: what Stripe says of every payment, against what we know."""

import json
import urllib.error
import urllib.request
from typing import Annotated, Any

import typer

from gateway.auth import Tokens
from gateway.cli.console import fail, people, read_settings
from gateway.cli.surroundings import running
from gateway.settings import Settings

#: A run asks Stripe about thousands of payments, 25 a second.
_SECONDS_MAX = 600


def reconcile(
    since_hours: Annotated[
        int, typer.Option(min=0, max=720, help="How far back to look for what was missed.")
    ] = 72,
) -> None:
    """Compare every open payment with Stripe now; status 0 only if nothing was left undone.

    The service does so every minute by itself. Each repair is listed with its reason.
    """
    settings = read_settings()
    runtime = running(settings.data_dir)
    if runtime is None:
        raise fail(f"no service runs on the data directory {settings.data_dir}; `onsale up` first")
    with people.status("Asking Stripe …"):
        report = ask_to_reconcile(runtime.url, settings, since_hours)
    typer.echo(json.dumps(report, indent=2))
    if report["troubles"]:
        raise fail(f"{len(report['troubles'])} payments could not be compared")


def ask_to_reconcile(url: str, settings: Settings, since_hours: int) -> dict[str, Any]:
    """Return the report of a running service."""
    token = Tokens(settings.auth_secret.get_secret_value()).make("admin", "onsale-reconcile")
    request = urllib.request.Request(  # noqa: S310 - our own service
        f"{url}/api/v1/payments/reconcile?since_hours={since_hours}",
        method="POST",
        headers={"authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS_MAX) as answer:  # noqa: S310
            report: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise fail(str(json.load(error)["detail"])) from error
    except (OSError, ValueError) as error:
        raise fail(f"the service at {url} does not answer ({error})") from error
    return report
