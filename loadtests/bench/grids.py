"""What is shown of a benchmark, as rows of text; `report`, `markdown` and `html` draw it."""

from statistics import median

from msgspec import Struct

from loadtests.bench.document import Document
from loadtests.bench.found import Found
from loadtests.bench.rounds import CONTENDERS, DURABLE, REFUSAL, WEBHOOK, Plan
from loadtests.crowd import Latency, Result


class Grid(Struct, frozen=True):
    """A table. The first column is text; the others are numbers, unless there is only one."""

    columns: list[str]
    rows: list[list[str]]


def all_of(kept: Document) -> list[Grid]:
    """Return everything there is to show, in order."""
    found, plan = kept.found, kept.plan
    return [
        *(rates(found, connections) for connections in plan.connections),
        paced(found),
        at_once(found),
        paid(found, plan),
        scanned(found),
        parts(found),
        against_targets(kept),
    ]


def rates(found: Found, connections: int) -> Grid:
    """Return rates and latencies of everybody, medians of all rounds."""
    grid = Grid(
        [
            f"Requests, {connections} connections, median of the rounds",
            *("per second", "p50 ms", "p99 ms", "slowest to fastest round", "ours ÷ this"),
        ],
        [],
    )
    for contender in CONTENDERS:
        if contender in found.absent:
            grid.rows.append([contender, "not measured", "", "", "", ""])
            continue
        measured = found.of(contender, connections)
        if not measured:
            continue  # only at more connections
        results = [one.result for one in measured]
        rates_found = [result.rate for result in results]
        times = median(one.ours / one.result.rate for one in measured)
        other_work = contender in (DURABLE, REFUSAL, WEBHOOK)
        grid.rows.append(
            [
                contender,
                f"{median(rates_found):,.0f}",
                *_latency(results),
                f"{min(rates_found):,.0f} to {max(rates_found):,.0f}",
                "" if other_work else f"{times:.2f}",
            ]
        )
    return grid


def paced(found: Found) -> Grid:
    """Return holds that come by the clock, medians of all rounds."""
    grid = Grid(
        [
            f"Holds by the clock, {found.offered.connections} connections, offered",
            *("per second", "granted", "turned away", "skipped", "p50 ms", "p99 ms"),
        ],
        [],
    )
    for offer in found.offered.offers:
        turned_away = offer.middle(lambda one: one.statuses.get("503", 0) / one.elapsed_s)
        grid.rows.append(
            [
                f"{offer.share:g} times the capacity",
                f"{offer.per_second:,.0f}",
                f"{offer.granted_per_second:,.0f}",
                f"{turned_away:,.0f}",
                f"{offer.middle(lambda one: one.skipped / one.elapsed_s):,.0f}",
                f"{offer.middle(lambda one: one.granted_ms.p50):.1f}",
                f"{offer.middle(lambda one: one.granted_ms.p99):.1f}",
            ]
        )
    return grid


def at_once(found: Found) -> Grid:
    """Return holds in many events at once, medians of all rounds."""
    grid = Grid(["Holds in events at once", "per second", "p50 ms", "p99 ms"], [])
    measured: dict[tuple[int, int, int], list[Result]] = {}
    for one in found.growth:
        measured.setdefault((one.connections, one.events, one.awake), []).append(one.result)
    for (connections, events, awake), results in sorted(measured.items()):
        rate = median(result.rate for result in results)
        name = "1 event" if events == 1 else f"{events} events"
        if awake > events:
            name += f", the owners of {awake} awake"
        name += f"; {connections:,} connections"
        grid.rows.append([name, f"{rate:,.0f}", *_latency(results)])
    return grid


def paid(found: Found, plan: Plan) -> Grid:
    """Return payments, medians of all rounds."""
    pace = f"{plan.payments.per_second:g} payments/s"
    end, rounds = found.payments.end_to_end, found.payments.rounds
    rows = [
        [
            f"hold, pay, CONFIRMED; {end.payers} buyers in a closed loop",
            f"{end.per_second:g} /s, card to CONFIRMED {_told(end.confirmed_ms)}",
        ]
    ]
    for what, latencies in (
        ("durable", [one.steady.accepted for one in rounds]),
        ("CONFIRMED by the booking's own clock", [one.steady.decided for one in rounds]),
        ("CONFIRMED and read", [one.steady.readable for one in rounds]),
    ):
        p50, p99 = median(one.p50 for one in latencies), median(one.p99 for one in latencies)
        rows.append([f"webhook to {what}, {pace}", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"])
    for what, rates_found in (
        ("without payments", [one.holds.rate for one in rounds]),
        (f"beside {pace}", [one.holds_beside.rate for one in rounds]),
    ):
        rows.append([f"durable holds {what}", f"{median(rates_found):,.0f} /s"])
    return Grid(["Payments", ""], rows)


def scanned(found: Found) -> Grid:
    """Return check-ins, medians of all rounds."""
    check_ins = [one.check_ins for one in found.doors]
    p50, p99 = _latency(check_ins)
    rate = median(result.rate for result in check_ins)
    echo = median(one.echo.rate for one in found.doors)
    return Grid(
        ["At the doors", ""],
        [
            ["check-ins of valid tickets", f"{rate:,.0f} /s, p50 {p50} ms, p99 {p99} ms"],
            ["FastAPI echo", f"{echo:,.0f} /s"],
        ],
    )


def parts(found: Found) -> Grid:
    """Return what was measured in process."""
    parts_found = found.in_process
    memory, stall, recovery = (
        parts_found[name] for name in ("memory", "snapshot_stall", "recovery")
    )
    return Grid(
        ["In process", ""],
        [
            *(
                [f"decide + apply, {int(size):,} bookings held", f"{rate:,} /s"]
                for size, rate in parts_found["decisions"]["per_second"].items()
            ),
            ["replay", f"{parts_found['replay']['records_per_second']:,} records/s"],
            ["memory", f"{memory['bytes_per_booking']} bytes per booking ({memory['how']})"],
            [
                f"longest stall, snapshot of {stall['bookings']:,} bookings",
                f"{stall['stall_ms']} ms; {stall['stall_ms_without_snapshot']} ms without one",
            ],
            *(
                [
                    f"first answer, {recovery['bookings']:,} bookings, from the {source}",
                    f"{recovery[f'seconds_from_{source}']} s",
                ]
                for source in ("journal", "snapshot")
            ),
        ],
    )


def against_targets(kept: Document) -> Grid:
    """Return the targets."""
    grid = Grid(["Against the targets", "found", "at least", "aim", ""], [])
    for finding in kept.verdict:
        sign = "≤ " if finding.at_most else ""
        mark = ("aim" if finding.aim_met else "yes") if finding.met else "missed"
        grid.rows.append(
            [
                finding.what,
                _number(finding.value, finding.unit),
                sign + _number(finding.floor, finding.unit),
                sign + _number(finding.aim, finding.unit),
                mark if kept.judged else "",
            ]
        )
    return grid


def _latency(results: list[Result]) -> tuple[str, str]:
    return (
        f"{median(result.latency_ms.p50 for result in results):.1f}",
        f"{median(result.latency_ms.p99 for result in results):.1f}",
    )


def _told(latency: Latency) -> str:
    return f"p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms"


def _number(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()
