"""What a run was asked to reach, what it reached, and the verdict."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from loadtests.locust.audits import Audited
from loadtests.locust.outcomes import DECIDED, HOLD

#: Rows of Locust's statistics that are no requests: from a moment to another one.
ARRIVAL, JOURNEY = "ARRIVAL", "JOURNEY"
#: Names of requests that are not the service's begin so.
SANDBOX = "sandbox "


@dataclass(frozen=True)
class Objectives:
    """What is asked for; None asks for nothing.

    Attributes:
        error_percent: of all requests, at most.
        p95_ms: of every kind of request, and of arrivals from their moment, at most.
        turned_away_percent: of all answers, at most.
        skipped_percent: of all arrivals of an open loop, at most.
    """

    error_percent: float = 0.0
    p95_ms: float | None = 500.0
    turned_away_percent: float | None = 1.0
    skipped_percent: float | None = 1.0


@dataclass(frozen=True)
class Row:
    """A row of Locust's statistics."""

    method: str
    name: str
    requests: int
    failures: int
    p95_ms: float

    @property
    def asks(self) -> bool:
        """Whether its rows are requests, of anyone."""
        return self.method not in (ARRIVAL, JOURNEY)

    @property
    def timed(self) -> bool:
        """Whether its p95 is the service's."""
        return self.method != JOURNEY and not self.name.startswith(SANDBOX)


@dataclass(frozen=True)
class Numbers:
    """What a run came to, all processes together.

    Attributes:
        rows: Locust's.
        counts: see `Desk.counts`.
        audits: of the events of the run.
        made: id of the event that the run made to buy tickets of, if it did.
        troubles: what makes it no measurement at all.
        notes: what whoever reads it should know.
    """

    rows: list[Row]
    counts: dict[str, Any]
    audits: list[Audited] = field(default_factory=list)
    made: str | None = None
    troubles: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Finding:
    """One objective: what was found, and whether that is enough."""

    what: str
    found: str
    asked: str
    met: bool


def judge(numbers: Numbers, asked: Objectives) -> list[Finding]:
    """Return the findings; the verdict is green if all are met."""
    return [
        *_of_requests(numbers, asked),
        *_of_holds(numbers),
        *_of_arrivals(numbers, asked),
        *_of_stock(numbers),
        *(Finding("trouble", trouble, "none", met=False) for trouble in numbers.troubles),
    ]


def _of_requests(numbers: Numbers, asked: Objectives) -> Iterable[Finding]:
    asking = [row for row in numbers.rows if row.asks]
    requests = sum(row.requests for row in asking)
    yield Finding("requests", f"{requests:,}", "> 0", requests > 0)
    yield _share("errors", sum(row.failures for row in numbers.rows), requests, asked.error_percent)
    counts = numbers.counts
    if asked.turned_away_percent is not None:
        turned_away, limit = counts["turned_away"], asked.turned_away_percent
        yield _share("turned away", turned_away, counts["answers"], limit)
    timed = [row for row in numbers.rows if row.timed and row.requests]
    if asked.p95_ms is not None and timed:
        worst = max(timed, key=lambda row: row.p95_ms)
        met = worst.p95_ms <= asked.p95_ms
        what = f"p95, worst: {worst.method} {worst.name}"
        yield Finding(what, f"{worst.p95_ms:g} ms", f"≤ {asked.p95_ms:g} ms", met)


def _of_holds(numbers: Numbers) -> Iterable[Finding]:
    """Find a run in which tickets were asked for and nobody came as far as the stock."""
    holds = {
        name: count
        for name, count in numbers.counts["outcomes"].items()
        if name.startswith(f"{HOLD}: ")
    }
    if holds:
        decided = sum(holds.get(f"{HOLD}: {name}", 0) for name in DECIDED)
        yield Finding("holds decided by the stock", f"{decided:,}", "> 0", decided > 0)


def _of_arrivals(numbers: Numbers, asked: Objectives) -> Iterable[Finding]:
    skipped = numbers.counts["skipped"]
    due = numbers.counts["begun"] + skipped
    if due and asked.skipped_percent is not None:
        yield _share("arrivals skipped", skipped, due, asked.skipped_percent)


def _of_stock(numbers: Numbers) -> Iterable[Finding]:
    oversold = sum(audited.oversold for audited in numbers.audits)
    if not numbers.audits:
        yield Finding("oversold", "no audit", "0", met=False)
        return
    yield Finding("oversold, by the audit", f"{oversold:,}", "0", oversold == 0)
    differ = [audited.event_id for audited in numbers.audits if not audited.agree]
    yield Finding("live = journal", ", ".join(differ) or "yes", "yes", not differ)
    # The audit is the service's own word. What buyers were told is not.
    kept = numbers.counts["units"]
    for audited in numbers.audits:
        if audited.event_id == numbers.made:
            limit = min(audited.capacity, audited.committed)
            asked = f"≤ {audited.capacity:,} and ≤ {audited.committed:,} in the journal"
            yield Finding("units that buyers were granted", f"{kept:,}", asked, kept <= limit)


def _share(what: str, count: int, of: int, percent: float) -> Finding:
    share = 100 * count / of if of else 0.0
    return Finding(what, f"{count:,} = {share:.2f} %", f"≤ {percent:g} %", share <= percent)


def verdict_text(findings: list[Finding], numbers: Numbers) -> str:
    """Return what a person reads in the end."""
    counts = numbers.counts
    width = max(len(finding.what) for finding in findings)
    lines = ["", "What visitors were told"]
    lines += [f"  {count:>9,}  {name}" for name, count in counts["outcomes"].items()]
    if counts["begun"]:
        due = counts["begun"] + counts["skipped"]
        lines += ["Open loop", f"  {due:>9,}  arrivals, {counts['skipped']:,} of them skipped"]
    lines.append("Objectives")
    for finding in findings:
        mark = "met   " if finding.met else "MISSED"
        lines.append(
            f"  {mark}  {finding.what:<{width}}  {finding.found}  (asked: {finding.asked})"
        )
    lines += [f"Note: {note}" for note in numbers.notes]
    green = all(finding.met for finding in findings)
    return "\n".join([*lines, f"Verdict: {'GREEN' if green else 'RED'}", ""])
