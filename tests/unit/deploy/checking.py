"""What must be so of every file that starts something, whoever reads it."""

import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import typer
import yaml

from actors.ray_environment import NO_ACTORS
from gateway.cli.main import app
from gateway.settings import Settings

ROOT = Path(__file__).parents[3]
#: Read by others: uvicorn, Ray's own ways to a token, Python, the shell, glibc.
_FOREIGN = {"FORWARDED_ALLOW_IPS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "PATH"}
_FOREIGN |= {"PYTHONUNBUFFERED", "HEAD_IP", "GLIBC_TUNABLES"}
#: Typer has a click of its own, and shows this of it.
_UsageError: Any = typer.BadParameter.__base__
_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN$|KEY$|KEYS$")


class Wrong(Exception):
    """A file would not do what it says. Argument: what is wrong with it."""


def documents(path: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all((ROOT / path).read_text()) if found]


def env_file(path: str) -> dict[str, str]:
    """Return what a file sets, lines that are meant to be filled in included."""
    lines = re.findall(r"^#?([A-Z][A-Za-z0-9_]*=.*)$", (ROOT / path).read_text(), re.MULTILINE)
    return dict(line.split("=", 1) for line in lines)


@cache
def _settings() -> set[str]:
    return {str(field.validation_alias) for field in Settings.model_fields.values()}


@cache
def _ray_binary() -> bytes:
    import ray._raylet

    return Path(ray._raylet.__file__).read_bytes()


def check_variables(names: Iterable[str]) -> None:
    """Find variables that nobody reads. Raises Wrong."""
    for name in names:
        if name in _settings() | _FOREIGN:
            continue
        if name.startswith("RAY_") and _ray_knows(name):
            continue
        if name in _of_log_monitor():
            continue
        raise Wrong(f"nobody reads {name}")


def _ray_knows(name: str) -> bool:
    from ray._private import services

    known = name == "RAY_USAGE_STATS_ENABLED" or name in vars(services)
    return known or name.encode() + b"\0" in _ray_binary()


def _of_log_monitor() -> set[str]:
    """Return what Ray's log monitor has; it keeps variables under their own names."""
    from ray._private import log_monitor

    return set(vars(log_monitor))


def check_open_secrets(variables: dict[str, str]) -> None:
    """Find secrets that stand where everybody can read them. Raises Wrong."""
    for name, value in variables.items():
        if _SECRET.search(name) and value and not value.startswith("/"):
            raise Wrong(f"{name} is a secret")


def commands(script: str) -> Iterator[list[str]]:
    """Return the commands of a shell's script."""
    for part in re.split(r"&&?|;|\n", script):
        words = [word for word in shlex.split(part) if word not in {"exec", "sudo"}]
        if words:
            yield words


def check_command(words: list[str]) -> list[str]:
    """Find words that `onsale` or `ray start` does not take. Raises Wrong."""
    program, *arguments = Path(words[0]).name, *words[1:]
    try:
        if program == "onsale":
            _parse(typer.main.get_command(app), arguments)
        elif program == "ray" and arguments[0] == "start":
            from ray.scripts.scripts import cli

            _parse(cli, arguments)
            _check_ray_start(arguments)
    except (click.UsageError, _UsageError) as error:
        raise Wrong(f"{' '.join(words)}: {error.format_message()}") from error
    return words


def _parse(group: Any, arguments: list[str]) -> None:
    name, *rest = arguments
    command = group.get_command(group.make_context("", [name], resilient_parsing=True), name)
    if command is None:
        raise Wrong(f"onsale has no command {name}")
    command.make_context(name, rest)


def _check_ray_start(arguments: list[str]) -> None:
    if "--disable-usage-stats" not in arguments:
        raise Wrong("it tells somebody else that it runs")
    if "--head" not in arguments:
        return
    ((label, value),) = NO_ACTORS.items()
    for wanted in ("--num-cpus=0", f"--labels={label}={value}", "--dashboard-host=127.0.0.1"):
        if wanted not in arguments:
            raise Wrong(f"a head without {wanted}")
