"""`onsale audit`: what the journal says of an event, against what is live."""

import asyncio
import json
import urllib.error
import urllib.request
from typing import Annotated, Any

import typer
from redis.exceptions import RedisError

from actors.audit import audit as audit_journal
from engine.domain.ids import is_event_id
from engine.journal.catalogue import Catalogue
from engine.journal.connect import connect
from engine.journal.contract import Unavailable
from engine.journal.redis import RedisJournal
from engine.limits import AUDIT_SECONDS_MAX
from gateway.auth import Tokens
from gateway.cli.at_rest import store_url
from gateway.cli.console import fail, people, read_settings
from gateway.cli.stripes_books import BooksUnread, compare_with_sandbox
from gateway.cli.surroundings import Runtime, running
from gateway.settings import Settings


def audit(event: Annotated[str, typer.Argument(help="Id of the event.")]) -> None:
    """Recompute an event from its journal; status 0 only if everything agrees.

    With the service running, its live state is compared too; without it, what is stored. If
    it uses the Stripe sandbox, the journal's money is compared with the sandbox's books (I7).
    """
    if not is_event_id(event):
        raise fail(f"{event} is not the id of an event (evt_ and twelve characters)")
    settings = read_settings()
    runtime = running(settings.data_dir)
    with people.status("Replaying the journal …"):
        if runtime is not None:
            report = live_report(runtime.url, settings, event)
            report["stripe"] = _by_the_books(runtime, report, event)
        else:
            with store_url(settings) as url:
                report = asyncio.run(_from_store(url, event))
    typer.echo(json.dumps(report, indent=2))
    if not report["agree"]:
        raise fail(f"{event} does not agree with its journal")


def live_report(url: str, settings: Settings, event_id: str) -> dict[str, Any]:
    """Return the audit that a running service makes of itself."""
    token = Tokens(settings.auth_secret.get_secret_value()).make("admin", "onsale-audit")
    request = urllib.request.Request(  # noqa: S310 - our own service
        f"{url}/api/v1/events/{event_id}/audit", headers={"authorization": f"Bearer {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=AUDIT_SECONDS_MAX) as answer:  # noqa: S310
            report: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise fail(f"{event_id}: {json.load(error)['detail']}") from error
    except (OSError, ValueError) as error:
        raise fail(f"the service at {url} does not answer ({error})") from error
    return report


def _by_the_books(runtime: Runtime, report: dict[str, Any], event: str) -> dict[str, Any] | None:
    """Return what the sandbox's books say, None without a sandbox; violations go to the report."""
    if runtime.stripe_sandbox_url is None:
        return None
    try:
        found = compare_with_sandbox(runtime.redis_url, runtime.stripe_sandbox_url, event)
    except BooksUnread as error:
        found = {"violations": [f"I7: not compared with Stripe's books: {error}"]}
    report["violations"] += found.pop("violations")
    report["agree"] = not report["violations"]
    return found


async def _from_store(url: str, event_id: str) -> dict[str, Any]:
    client = connect(url)
    try:
        if await Catalogue(client).event(event_id) is None:
            raise fail(f"there is no event {event_id}")
        return await audit_journal(RedisJournal(client, event_id), None)
    except (Unavailable, RedisError) as error:
        raise fail(f"the store does not answer ({error})") from error
    finally:
        await client.aclose()
