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

from loadtests.bench import (
    document,
    doors,
    growth,
    html,
    markdown,
    offered,
    payments,
    report,
    rounds,
    sellout,
)
from loadtests.bench.found import Found
from loadtests.bench.payments import Payments
from loadtests.bench.peers import why_no_postgres
from loadtests.bench.processes import BenchFailed
from loadtests.bench.rounds import DoorsPlan, GrowthPlan, OfferedPlan, PaymentsPlan, Plan
from loadtests.crowd import LoadFailed

_FULL = Plan(
    rounds=5,
    seconds=2.0,
    warmup_seconds=0.7,
    connections=(64, 256),
    buyers=5_000,
    payments=PaymentsPlan(
        per_second=100.0, rounds=7, seconds=3.0, closed_loop_seconds=5.0, payers=16
    ),
    doors=DoorsPlan(rounds=3, tickets=60_000),
    offered=OfferedPlan(3, 1_024, (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 2.0, 10.0)),
    growth=GrowthPlan(rounds=5, events=(1, 8, 64), connections=(1_024, 4_096)),
)
_QUICK = Plan(
    rounds=1,
    seconds=0.4,
    warmup_seconds=0.2,
    connections=(64,),
    buyers=500,
    payments=PaymentsPlan(
        per_second=100.0, rounds=1, seconds=1.0, closed_loop_seconds=1.0, payers=8
    ),
    doors=DoorsPlan(rounds=1, tickets=6_000),
    offered=OfferedPlan(1, 512, (0.5, 10.0)),
    growth=GrowthPlan(rounds=1, events=(1, 4), connections=(32, 64)),
    apart=False,
)
_IN_PROCESS = ("decisions", "replay", "memory", "snapshot_stall", "recovery")

console = Console(highlight=False)
if not console.is_terminal:
    console.width = 120


def main() -> int:
    """Measure, show, keep; return the exit status."""
    options = _options()
    plan = _QUICK if options.quick else _FULL
    judged = not options.quick
    about = report.machine()
    missing = why_no_postgres()
    if missing is not None:
        console.print(f"[yellow]Its peers over PostgreSQL are left out: {missing}[/]")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=_steps(plan))

        def progress(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done)

        found = {
            name: _in_process(name, options.quick, partial(_advance, progress, name, number))
            for number, name in enumerate(_IN_PROCESS)
        }
        progress("starting everybody", len(_IN_PROCESS))
        with tempfile.TemporaryDirectory(prefix="onsale-bench-") as directory:
            everything = _together(Path(directory), plan, found, progress)
    kept = document.document(plan, everything, about, judged=judged)
    report.show(console, kept)
    path = document.write(options.output, kept)
    path.with_suffix(".md").write_text(markdown.page(kept))
    path.with_suffix(".html").write_text(html.page(kept))
    console.print(f"Durability: {everything.durability}. Everything is in {path}, .md and .html.")
    missed = judged and not all(finding.met for finding in kept.verdict)
    return int((missed and not options.no_verdict) or bool(everything.faults))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="onsale bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute, no verdict")
    parser.add_argument("--no-verdict", action="store_true", help="status 0 whatever is found")
    parser.add_argument("--output", type=Path, default=Path("bench-results"))
    return parser.parse_args()


def _together(
    directory: Path,
    plan: Plan,
    in_process: dict[str, dict[str, Any]],
    progress: Callable[[str, float], None],
) -> Found:
    """Measure what runs together: the service, its peers, and the crowds."""
    before = len(_IN_PROCESS)

    def onwards(what: str, done: float) -> None:
        progress(what, before + done)

    with rounds.services(directory, plan) as started:
        with started(rounds.alone) as contest:
            progress("buyers who pay", before)
            whole = payments.end_to_end(contest, plan)
            paid = payments.run(contest, plan, onwards)
            before += payments.steps(plan)
        sold_out, measured = list[sellout.SellOut](), list[rounds.Measured]()
        for number in range(1, plan.rounds + 1):
            with started(rounds.contest) as contest:
                if number == 1:
                    progress("sell-outs", before)
                    sold_out = sellout.of_everybody(contest)
                measured += rounds.run(contest, plan, number, onwards)
                durability, absent = contest.service.durability, contest.peers.absent
            before += plan.steps // plan.rounds
        with started(rounds.alone) as contest:
            scanned = doors.run(contest, plan, onwards)
            before += doors.steps(plan)
        with started(rounds.alone) as contest:
            by_the_clock = offered.run(contest, plan, onwards)
            before += offered.steps(plan)
        grown = list[growth.AtOnce]()
        for number in range(1, plan.growth.rounds + 1):
            progress("starting another round", before)
            with started(rounds.alone) as contest:
                grown += growth.run(contest, plan, number, onwards)
            before += growth.steps(plan)
    return Found(
        durability,
        absent,
        sold_out,
        measured,
        Payments(whole, paid),
        scanned,
        by_the_clock,
        grown,
        in_process,
    )


def _steps(plan: Plan) -> int:
    beside = payments.steps(plan) + doors.steps(plan)
    grown = plan.growth.rounds * growth.steps(plan)
    return len(_IN_PROCESS) + plan.steps + beside + offered.steps(plan) + grown


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
