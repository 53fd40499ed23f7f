"""What was measured against what was asked for."""

from statistics import median
from typing import Any

from msgspec import Struct

from loadtests.bench.payments import Payments
from loadtests.bench.rounds import (
    DURABLE,
    ECHO,
    RAY_CALL,
    RAY_CALL_PLAIN,
    REFUSAL,
    WEBHOOK,
    Measured,
)

#: The load that the targets speak of.
_CONNECTIONS = 256


class Finding(Struct, frozen=True):
    """One target: the value found, the floor, the aim. `at_most`: smaller is better."""

    what: str
    value: float
    floor: float
    aim: float
    unit: str = ""
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the floor is reached."""
        return self.value <= self.floor if self.at_most else self.value >= self.floor

    @property
    def aim_met(self) -> bool:
        """Whether the aim is reached, too."""
        return self.value <= self.aim if self.at_most else self.value >= self.aim


def of_rounds(measured: list[Measured]) -> list[Finding]:
    """Return the findings about the service; ratios are medians of the rounds' own ratios."""
    at = _CONNECTIONS
    if not any(item.connections == at for item in measured):
        at = max(item.connections for item in measured)
    durable = _by_round(measured, DURABLE, at)
    echo = _by_round(measured, ECHO, at)
    plain = _by_round(measured, RAY_CALL_PLAIN, at)
    shared = _by_round(measured, RAY_CALL, at)
    refusal = _by_round(measured, REFUSAL, at)
    webhook = _by_round(measured, WEBHOOK, at)
    p99 = median(
        item.result.latency_ms.p99
        for item in measured
        if (item.contender, item.connections) == (DURABLE, at)
    )
    return [
        Finding(f"durable holds ÷ FastAPI echo, {at} connections", _ratio(durable, echo), 1.8, 2.2),
        Finding("durable holds ÷ one Ray call per hold", _ratio(durable, plain), 8.0, 12.0),
        # The same with half of our design in it: its holds share an fsync, as ours do.
        Finding("durable holds ÷ Ray calls, shared fsync", _ratio(durable, shared), 8.0, 12.0),
        Finding(f"p99 of a durable hold, {at} connections", p99, 60.0, 30.0, "ms", at_most=True),
        Finding("refusals when sold out ÷ FastAPI echo", _ratio(refusal, echo), 2.0, 2.5),
        Finding("webhooks kept ÷ FastAPI echo", _ratio(webhook, echo), 0.5, 1.0),
    ]


def of_payments(found: Payments) -> list[Finding]:
    """Return the findings about payments; medians of the rounds."""
    readable = median(one.steady.readable.p99 for one in found.rounds)
    holds = median(one.holds_beside.rate / one.holds.rate for one in found.rounds)
    return [
        Finding("p99 from webhook to a readable CONFIRMED", readable, 250, 100, "ms", at_most=True),
        Finding("holds while payments are confirmed ÷ without", round(holds, 2), 0.85, 0.95),
    ]


def of_inprocess(found: dict[str, dict[str, Any]]) -> list[Finding]:
    """Return the findings about the parts."""
    findings = []
    if "decisions" in found:
        decisions = found["decisions"]
        slowest = min(decisions["per_second"].values())
        sizes = list(decisions["per_second"])
        findings += [
            Finding("decisions, at the worst size", slowest, 250_000, 400_000, "/s"),
            Finding(
                f"decisions at {int(sizes[-1]):,} ÷ at {int(sizes[0]):,} bookings",
                decisions["largest_to_smallest"],
                0.8,
                0.9,
            ),
        ]
    if "snapshot_stall" in found:
        stall = found["snapshot_stall"]
        what = f"longest stall while snapshotting {stall['bookings']:,} bookings"
        findings.append(Finding(what, stall["stall_ms"], 20.0, 5.0, "ms", at_most=True))
    if "recovery" in found:
        recovery = found["recovery"]
        slower = max(recovery["seconds_from_journal"], recovery["seconds_from_snapshot"])
        what = f"recovery of {recovery['bookings']:,} bookings to the first answer"
        findings.append(Finding(what, slower, 3.0, 1.5, "s", at_most=True))
    return findings


def _by_round(measured: list[Measured], contender: str, connections: int) -> dict[int, float]:
    return {
        item.round: item.result.rate
        for item in measured
        if (item.contender, item.connections) == (contender, connections)
    }


def _ratio(ours: dict[int, float], theirs: dict[int, float]) -> float:
    return round(median(rate / theirs[number] for number, rate in ours.items()), 2)
