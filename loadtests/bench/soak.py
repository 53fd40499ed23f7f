"""Half the peak for a quarter of an hour: does any process of the service go on growing?

    python -m loadtests.bench.soak [--minutes N]

Every minute another event is sold out, at half the rate of a crowd that waits for its
answers. Memory is the resident set. What must not grow are the processes that outlive the
sales; an event's owner and the store keep what was promised, and are judged by the booking.
Status 1 if a process has grown by more than it may, or has ended or was started again.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
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
#: Processes that hold data, of bookings each more.
_OWNER, _STORE = "owner", "valkey-server"
#: How many bytes of each. An owner keeps 400 to 560 (docs/CLUSTER.md), the store 250; the rest
#: is for snapshots, and for what the allocator has not given back yet.
_KEPT_BYTES_MAX = 1_000
#: Beside that, whatever was sold: a process takes some megabytes with its first requests.
_KEPT_BYTES_FREE = 16 * 1_048_576
#: Processes that come and go: owners, which are judged with their event, and Ray's idle workers.
_PASSING = ("ray::OwnerActor", "ray::IDLE", "ray::IDLE_SpillWorker", "ray::IDLE_RestoreWorker")
Sizes = dict[int, tuple[str, int]]

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


class Kept(Struct, frozen=True):
    """One process that keeps bookings: by how many bytes it grew while so many were made."""

    name: str
    grown: int
    bookings: int

    @property
    def each(self) -> float:
        """Bytes of one booking, if there was nothing else."""
        return self.grown / max(1, self.bookings)

    @property
    def too_much(self) -> bool:
        """Whether it keeps more than bookings need."""
        return self.grown > _KEPT_BYTES_MAX * self.bookings + _KEPT_BYTES_FREE


class Found(Struct, frozen=True):
    """What was measured.

    Attributes:
        per_second: holds that were asked for.
        statuses: how they were answered, over all minutes.
        p99_ms: latencies, minute by minute.
        processes: those that outlived the sales.
        gone: those that should have, and have ended or were started again.
        keepers: owners, each over its event's sale, and the store since the first minute.
    """

    per_second: int
    statuses: dict[str, int]
    p99_ms: list[float]
    processes: list[Grown]
    gone: list[str]
    keepers: list[Kept]


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
    wrong = faults(found)
    for fault in wrong:
        console.print(f"[bold red]{fault}[/]")
    return int(bool(wrong))


def faults(found: Found) -> list[str]:
    """Return what should not have been seen; nothing if the service may go on for ever."""
    told = [f"{name} has ended or was started again" for name in found.gone]
    told += [
        f"{one.name} has grown by {100 * one.growth:.1f} %"
        for one in found.processes
        if one.growth > _GROWTH_MAX
    ]
    told += [
        f"{one.name} keeps {one.each:,.0f} bytes a booking" for one in found.keepers if one.too_much
    ]
    others = set(found.statuses) - {"201", "409"}
    return [*told, f"answers: {found.statuses}"] if others else told


def compared(began: Sizes, first: Sizes, last: Sizes) -> tuple[list[Grown], list[str]]:
    """Return how those that outlive the sales have grown, and the names of those that are gone.

    Args:
        began: name and bytes of every process, by its number, before the first minute. What
            has come since may go again: a store that rewrites its file has a child.
        first: after that minute.
        last: in the end.
    """
    processes, gone = [], []
    for pid, (name, _) in began.items():
        if name in _PASSING or name.endswith("-rewrite"):
            continue
        looks = [look.get(pid, ("", 0)) for look in (first, last)]
        if any(now != name for now, _ in looks):
            gone.append(name)
        elif name != _STORE:
            processes.append(Grown(name, looks[0][1], looks[1][1]))
    return processes, gone


def _soak(service: Onsale, minutes: int) -> Found:
    peak = _holds(service, _new_event(service, 1_000_000), _PEAK_SECONDS).rate
    per_second = round(peak / 2)
    began = last = _sizes(service.data_dir)
    results: list[Result] = []
    first: Sizes = {}
    restarted: list[str] = []
    keepers: list[Kept] = []
    for minute in range(1, minutes + 1):
        console.print(f"minute {minute} of {minutes}: {per_second} holds a second", end="\r")
        event_id = _new_event(service, round(per_second * _MINUTE_SECONDS * _ON_SALE))
        before = _sizes(service.data_dir)
        owner = new_owner(last, before)
        results.append(_holds(service, event_id, _MINUTE_SECONDS, per_second))
        last = _sizes(service.data_dir)
        if owner in last:
            grown = last[owner][1] - before[owner][1]
            keepers.append(Kept(_OWNER, grown, results[-1].granted))
        else:
            restarted.append(f"the owner of minute {minute}")
        first = first or last
    processes, gone = compared(began, first, last)
    bookings = sum(result.granted for result in results[1:])
    keepers.append(Kept(_STORE, _store_bytes(last) - _store_bytes(first), bookings))
    statuses: dict[str, int] = {}
    for result in results:
        for status, count in {**result.statuses, "unknown": result.unknown}.items():
            if count:
                statuses[status] = statuses.get(status, 0) + count
    p99_ms = [result.latency_ms.p99 for result in results]
    return Found(per_second, statuses, p99_ms, processes, gone + restarted, keepers)


def _new_event(service: Onsale, capacity: int) -> str:
    """Return the id of an event that has an owner."""
    event_id = servers.create_event(service, "On sale", capacity)
    servers.hold(service, event_id, 1)
    return event_id


def new_owner(earlier: Sizes, now: Sizes) -> int:
    """Return the number of the one owner that has come since. Raises BenchFailed."""
    new = [
        pid
        for pid, (name, _) in now.items()
        # A worker that was idle has its number from then.
        if name == "ray::OwnerActor" and earlier.get(pid, ("", 0))[0] != name
    ]
    if len(new) != 1:
        raise BenchFailed(f"{len(new)} owners have come for one event")
    return new[0]


def _holds(
    service: Onsale, event_id: str, seconds: float, per_second: float | None = None
) -> Result:
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


def _sizes(data_dir: Path) -> Sizes:
    """Return name and resident bytes of every process of the service, by its number.

    Those are the ones that have its directory in their environment or work beside its files,
    and all whom these have started: Ray's dashboards write their titles over both.
    """
    mark, place = f"ONSALE_DATA_DIR={data_dir}".encode(), data_dir.resolve()
    found: Sizes = {}
    ours: set[int] = set()
    parents: dict[int, int] = {}
    for directory in Path("/proc").glob("[0-9]*"):
        pid = int(directory.name)
        try:
            marked = mark in (directory / "environ").read_bytes().split(b"\0")
            # The store writes its title over its environment, and works beside its files.
            if marked or (directory / "cwd").readlink().is_relative_to(place):
                ours.add(pid)
            stat = (directory / "stat").read_text().rpartition(")")[2].split()
            words = (directory / "cmdline").read_bytes().split(b"\0")
            found[pid] = (_name(words), _resident(pid))
            parents[pid] = int(stat[1])
        except OSError:
            continue  # it has ended, or is not ours
    if not ours:
        raise BenchFailed(f"no process has {mark.decode()} in its environment, or is there")
    return {pid: one for pid, one in found.items() if not ours.isdisjoint(_line(pid, parents))}


def _line(pid: int, parents: dict[int, int]) -> Iterator[int]:
    """Yield a process and all that it descends from."""
    while pid:
        yield pid
        pid = parents.get(pid, 0)


def _resident(pid: int) -> int:
    """Return the resident bytes of a process. Raises OSError."""
    return 4_096 * int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def _store_bytes(sizes: Sizes) -> int:
    """Return what the store has. Raises BenchFailed if it is not there."""
    found = [size for name, size in sizes.values() if name == _STORE]
    if not found:
        raise BenchFailed("the store is not there")
    return max(found)  # beside it there may be a child that rewrites its file


def _name(words: Sequence[bytes]) -> str:
    """Return what a process is called, by its command line."""
    line = b" ".join(words).decode(errors="replace").strip()
    if line.startswith("ray::"):
        # A worker that is at work shows the actor's name and the method as well.
        return f"ray::{line.split('.')[0].split(' ')[0].rpartition(':')[2]}"
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
    console.print(table)
    for kept in found.keepers:
        console.print(
            f"{kept.name}: {kept.grown / 1e6:,.1f} MB for {kept.bookings:,} bookings, "
            f"{kept.each:,.0f} bytes each (at most {_KEPT_BYTES_MAX:,})"
        )


if __name__ == "__main__":
    sys.exit(main())
