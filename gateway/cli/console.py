"""What the commands share: settings with clear errors, and where they write."""

import typer
from pydantic import ValidationError
from rich.console import Console

from gateway.cli.surroundings import CannotStart
from gateway.settings import Settings

#: For people; standard output belongs to programs.
people = Console(stderr=True, highlight=False)


def fail(message: str) -> typer.Exit:
    """Say in one line what is wrong and return the exit with status 1."""
    people.print(f"[bold red]onsale:[/] {message}", soft_wrap=True)
    return typer.Exit(1)


def read_settings() -> Settings:
    """Return the settings, or leave with one line for each that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise fail(f"the environment is not valid: {wrong}") from error


def cannot_start(error: CannotStart) -> typer.Exit:
    """Return the exit that names what is in the way and the remedy."""
    return fail(str(error))
