"""`onsale token`: make tokens."""

from typing import Annotated

import typer

from gateway.auth import ROLES, Tokens
from gateway.cli.console import fail, read_settings


def token(
    role: Annotated[str, typer.Option(help="buyer, staff, organizer or admin.")],
    sub: Annotated[str, typer.Option(help="Who it is for; with --count a number follows.")],
    org: Annotated[str | None, typer.Option(help="Organizer that staff act for.")] = None,
    email: Annotated[str | None, typer.Option(help="Where mail goes.")] = None,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 1,
) -> None:
    """Print tokens, one a line and nothing else."""
    if role not in ROLES:
        raise fail(f"--role must be one of {', '.join(ROLES)}, not {role}")
    tokens = Tokens(read_settings().auth_secret.get_secret_value())
    for number in range(1, count + 1):
        name = sub if count == 1 else f"{sub}-{number}"
        typer.echo(tokens.make(role, name, org=org, email=email))
