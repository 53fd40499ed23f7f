"""Half the peak for a quarter of an hour: does any process of the service go on growing?

    python -m loadtests.bench.soak [--minutes N]

Every minute another event is sold out, at half the rate of a crowd that waits for its
answers. Memory is the resident set. What must not grow are the processes that outlive the
sales; an event's owner and the store keep what was promised, and are shown by the booking.
Status 1 if a process has grown by more than the floor since the end of the first minute.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table

from loadtests.bench import report, servers
from loadtests.bench.processes import BenchFailed
from loadtests.bench.rounds import BODY
from loadtests.bench.servers import Onsale
from loadtests.crowd import Result, Spec, Template, run_crowd

#: Growth since the end of the first minute that is tolerated, of what a process had then.
_GROWTH_MAX = 0.05
_CONNECTIONS = 256
_PEAK_SECONDS, _WARMUP_SECONDS, _MINUTE_SECONDS = 5.0, 1.0, 58.0
#: What is on sale, of what is asked for in a minute: the rest learns that it is sold out.
_ON_SALE = 0.8
#: Processes that hold data: of bookings, each more.
_KEEPERS = ("ray::OwnerActor", "valkey-server")

console = Console(highlight=False)
if not console.is_terminal:
    console.width = 120


class Grown(Struct, frozen=True):
    """One process: bytes after the first minute and at the end."""

    name: str
    first: int
    last: int

    @property
    def growth(self) -> float:
        """Growth, as a share of what it had."""
        return self.last / self.first - 1


class Found(Struct, frozen=True):
    """What was measured.

    Attributes:
        per_second: holds that were asked for.
        statuses: how they were answered, over all minutes.
        p99_ms: latencies, minute by minute.
        processes: those that outlived the sales.
        keepers: those that keep bookings.
        bookings: that were made between the two looks at the processes.
    """

    per_second: int
    statuses: dict[str, int]
    p99_ms: list[float]
    processes: list[Grown]
    keepers: list[Grown]
    bookings: int


def main() -> int:
    """Soak, show, keep; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("bench-results"))
    options = parser.parse_args()
    if options.minutes < 2:
        parser.error("--minutes: at least 2, as the first one is what others are compared with")
    about = report.machine()
    with (
        tempfile.TemporaryDirectory(prefix="onsale-soak-") as directory,
        servers.onsale(Path(directory), buyers=5_000) as service,
    ):
        found = _soak(service, options.minutes)
    _show(found)
    path = report.keep(options.output, "soak", {"machine": about, "found": to_builtins(found)})
    console.print(f"Everything is in {path}.")
    grown = [one.name for one in found.processes if one.growth > _GROWTH_MAX]
    others = set(found.statuses) - {"201", "409"}
    if grown or others:
        console.print(f"[bold red]grown: {grown or 'nobody'}; answers: {found.statuses}[/]")
    return int(bool(grown or others))


def _soak(service: Onsale, minutes: int) -> Found:
    peak = _holds(service, 1_000_000, _PEAK_SECONDS).rate
    per_second = round(peak / 2)
    results: list[Result] = []
    first: dict[int, tuple[str, int]] = {}
    for minute in range(1, minutes + 1):
        console.print(f"minute {minute} of {minutes}: {per_second} holds a second", end="\r")
        capacity = round(per_second * _MINUTE_SECONDS * _ON_SALE)
        results.append(_holds(service, capacity, _MINUTE_SECONDS, per_second))
        first = first or _sizes(service.data_dir)
    last = _sizes(service.data_dir)
    statuses: dict[str, int] = {}
    for result in results:
        for status, count in {**result.statuses, "unknown": result.unknown}.items():
            if count:
                statuses[status] = statuses.get(status, 0) + count
    both = [Grown(name, size, last[pid][1]) for pid, (name, size) in first.items() if pid in last]
    return Found(
        per_second,
        statuses,
        [result.latency_ms.p99 for result in results],
        [one for one in both if one.name not in _KEEPERS],
        [one for one in both if one.name in _KEEPERS],
        sum(result.granted for result in results[1:]),
    )


def _holds(
    service: Onsale, capacity: int, seconds: float, per_second: float | None = None
) -> Result:
    event_id = servers.create_event(service, "On sale", capacity)
    servers.hold(service, event_id, 1)
    path = f"/api/v1/events/{event_id}/holds"
    return run_crowd(
        Spec(
            service.host,
            service.port,
            template=Template("POST", path, BODY, service.buyers),
            connections=_CONNECTIONS,
            seconds=seconds,
            warmup_seconds=_WARMUP_SECONDS,
            per_second=per_second,
        )
    )


def _sizes(data_dir: Path) -> dict[int, tuple[str, int]]:
    """Return name and resident bytes of every process of the service, by its number."""
    mark = f"ONSALE_DATA_DIR={data_dir}".encode()
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (directory / "environ").read_bytes().split(b"\0"):
                continue
            words = (directory / "cmdline").read_bytes().split(b"\0")
            pages = int((directory / "statm").read_text().split()[1])
        except OSError:
            continue  # it has ended, or is not ours
        found[int(directory.name)] = (_name(words), 4_096 * pages)
    if not found:
        raise BenchFailed(f"no process has {mark.decode()} in its environment")
    return found


def _name(words: Sequence[bytes]) -> str:
    """Return what a process is called, by its command line."""
    line = b" ".join(words).decode(errors="replace").strip()
    if line.startswith("ray::"):
        return line.split(".")[0].split(" ")[0]
    parts = line.split(" ")
    if parts[0].rpartition("/")[2].startswith("python"):
        named = [part for part in parts[1:] if not part.startswith("-")]
        return (named[0] if named else line).rpartition("/")[2]
    return parts[0].rpartition("/")[2]


def _show(found: Found) -> None:
    answers = ", ".join(f"{count:,} times {status}" for status, count in found.statuses.items())
    worst = max(found.p99_ms)
    console.print(f"{found.per_second:,} holds a second: {answers}; p99 at most {worst:.1f} ms")
    table = Table("Process", "MB after a minute", "MB at the end", "growth", box=None)
    for one in sorted(found.processes, key=lambda one: -one.growth):
        sizes = (f"{one.first / 1e6:,.1f}", f"{one.last / 1e6:,.1f}")
        table.add_row(one.name, *sizes, f"{100 * one.growth:+.1f} %")
    for one in found.keepers:
        sizes = (f"{one.first / 1e6:,.1f}", f"{one.last / 1e6:,.1f}")
        each = (one.last - one.first) / max(1, found.bookings)
        table.add_row(one.name, *sizes, f"{each:,.0f} bytes for each booking since")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
