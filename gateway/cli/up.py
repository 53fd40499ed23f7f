"""`onsale up`: serve until Ctrl-C."""

import contextlib
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.table import Table

from gateway.auth import Tokens
from gateway.cli.console import cannot_start, people, read_settings
from gateway.cli.stack import Stack
from gateway.cli.surroundings import CannotStart, Runtime
from gateway.settings import Settings


def up(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
    gateways: Annotated[int, typer.Option(min=1, max=64, help="Gateway processes.")] = 1,
    dashboard: Annotated[
        bool, typer.Option(help="Ray's dashboard: eleven processes, if Ray is started here.")
    ] = True,
) -> None:
    """Serve until Ctrl-C, with an embedded store and a local cluster if none are set."""
    settings = read_settings()
    with started(Stack(settings, host, port, gateways, dashboard=dashboard)) as stack:
        show(stack.runtime, settings)
        stack.supervise()
        people.print("Stopping: requests under way are answered first.")


@contextlib.contextmanager
def started(stack: Stack) -> Iterator[Stack]:
    """Start a stack for the length of a block, or leave with one line that says why not."""
    with contextlib.ExitStack() as exits:
        try:
            with people.status("Starting store, Ray and gateways …"):
                exits.enter_context(stack)
        except CannotStart as error:
            raise cannot_start(error) from error
        yield stack


def show(runtime: Runtime, settings: Settings) -> None:
    """Print every URL, and a token for an organizer and a buyer."""
    table = Table.grid(padding=(0, 2))
    table.add_row("API", f"{runtime.url}/api/v1")
    table.add_row("Documentation", f"{runtime.url}/docs")
    table.add_row("Metrics", f"{runtime.url}/metrics")
    of_cluster = "(none)" if settings.ray_address is None else "(that of the cluster)"
    table.add_row("Ray dashboard", runtime.dashboard_url or of_cluster)
    table.add_row("Store", f"{runtime.redis_url}  ({runtime.durability})")
    table.add_row("Database", runtime.database)
    table.add_row("Mail", runtime.mail)
    if runtime.stripe_sandbox_url is not None:
        table.add_row("Payments", f"{runtime.stripe_sandbox_url}  (a SANDBOX: no money moves)")
    else:
        table.add_row("Payments", settings.stripe_api_base or "Stripe")
    table.add_row("Rate limits", settings.rate_limits)
    people.print(table)
    tokens = Tokens(settings.auth_secret.get_secret_value())
    for role, sub in (("organizer", "organizer-1"), ("buyer", "buyer-1")):
        people.print(f"\nToken of {role} {sub} (one day):")
        people.print(tokens.make(role, sub), soft_wrap=True, style="dim")
    people.print("\nCtrl-C stops it.")
