"""The `onsale` command: the one way in."""

from typing import Annotated

import typer

from gateway.cli import (
    audit,
    bench,
    controls,
    customer,
    dead_letters,
    demo,
    doctor,
    reconcile,
    token,
    top,
    up,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A reservation engine for high-demand ticket on-sales.",
)
app.command()(up.up)
app.command()(demo.demo)
app.command()(bench.bench)
app.command()(token.token)
app.command()(audit.audit)
app.command()(reconcile.reconcile)
app.command()(doctor.doctor)
app.command()(top.top)
app.command()(controls.stop)
app.command()(controls.go)
app.command()(controls.throttle)
app.command()(controls.changes)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(customer.app, name="customer")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - only then

        typer.echo(version("onsale"))
        raise typer.Exit


@app.callback()
def _main(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run one of the commands."""


if __name__ == "__main__":
    app()
