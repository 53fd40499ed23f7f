"""Measures this machine: the durable hold path against its peers, and its parts.

    python -m loadtests.bench [--quick] [--no-verdict]

Everything runs on this machine with a store of its own that forces every write to disk;
the load comes from a process of its own. Status 1 if a floor is missed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadtests.bench import payments, report, rounds, verdict
from loadtests.bench.payments import Payments
from loadtests.bench.rounds import Measured, PaymentsPlan, Plan
from loadtests.bench.servers import BenchFailed
from loadtests.crowd import LoadFailed

_FULL = Plan(
    rounds=5,
    seconds=3.0,
    warmup_seconds=1.0,
    connections=(64, 256),
    buyers=5_000,
    payments=PaymentsPlan(
        per_second=100.0, rounds=4, seconds=5.0, closed_loop_seconds=5.0, payers=16
    ),
)
_QUICK = Plan(
    rounds=1,
    seconds=0.6,
    warmup_seconds=0.4,
    connections=(64,),
    buyers=500,
    payments=PaymentsPlan(
        per_second=100.0, rounds=1, seconds=1.0, closed_loop_seconds=1.0, payers=8
    ),
)
_IN_PROCESS = ("decisions", "replay", "memory", "snapshot_stall", "recovery")

console = Console(highlight=False)
if not console.is_terminal:
    console.width = 120


def main() -> int:
    """Measure, show, keep; return the exit status."""
    options = _options()
    plan = _QUICK if options.quick else _FULL
    judged = not (options.no_verdict or options.quick)
    about = report.machine()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=len(_IN_PROCESS) + plan.steps + payments.steps(plan))

        def progress(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done)

        found = {
            name: _in_process(name, options.quick, partial(_advance, progress, name, number))
            for number, name in enumerate(_IN_PROCESS)
        }
        progress("starting everybody", len(_IN_PROCESS))
        with tempfile.TemporaryDirectory(prefix="onsale-bench-") as directory:
            measured, paid, durability = _rounds(Path(directory), plan, progress)
    findings = [
        *verdict.of_rounds(measured),
        *verdict.of_payments(paid),
        *verdict.of_inprocess(found),
    ]
    console.print(report.rates(measured), report.paid(paid, plan.payments.per_second))
    console.print(report.parts(found))
    console.print(report.findings_table(findings, verdict=judged))
    faults = sorted({f"{item.contender}: {item.fault}" for item in measured if item.fault})
    faults += payments.faults(paid)
    for fault in faults:
        console.print(f"[bold red]{fault}[/]")
    disturbed = report.disturbance(measured)
    if disturbed:
        console.print(f"[yellow]{disturbed}[/]")
    everything = report.Found(measured, paid, found)
    path = report.write(options.output, plan, durability, everything, findings, about)
    console.print(f"Durability: {durability}. Everything is in {path}.")
    return int(bool(faults) or (judged and not all(finding.met for finding in findings)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="onsale bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half a minute, no verdict")
    parser.add_argument("--no-verdict", action="store_true", help="status 0 whatever is found")
    parser.add_argument("--output", type=Path, default=Path("bench-results"))
    return parser.parse_args()


def _rounds(
    directory: Path, plan: Plan, progress: Callable[[str, float], None]
) -> tuple[list[Measured], Payments, str]:
    before = len(_IN_PROCESS)
    with rounds.contest(directory, plan) as contest:
        progress("buyers who pay", before)
        whole = payments.end_to_end(contest, plan)
        run = rounds.run(contest, plan, lambda what, done: progress(what, before + done))
        measured = list(run)
        before += plan.steps
        paid = payments.run(contest, plan, lambda what, done: progress(what, before + done))
        return measured, Payments(whole, paid), contest.service.durability


def _advance(tell: Callable[[str, float], None], name: str, before: int, share: float) -> None:
    tell(name, before + share)


def _in_process(name: str, quick: bool, progress: Callable[[float], None]) -> dict[str, Any]:
    """Carry out one measurement in a process of its own, while nothing else of ours runs."""
    command = [sys.executable, "-m", "loadtests.bench.inprocess", name]
    with subprocess.Popen(  # noqa: S603 - our own command
        [*command, *(["--quick"] if quick else [])], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if "result" in told:
                result: dict[str, Any] = told["result"]
                return result
            progress(told["progress"])
    raise BenchFailed(f"{name} ended with status {process.returncode}")


if __name__ == "__main__":
    # Whoever asks for the end gets it with everything stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status = main()
    except (BenchFailed, LoadFailed) as failure:
        console.print(f"[bold red]onsale bench:[/] {failure}", soft_wrap=True)
        status = 2
    except KeyboardInterrupt:
        status = 130
    sys.stdout.flush()
    os._exit(status)
