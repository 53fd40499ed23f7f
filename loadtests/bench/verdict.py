"""What was measured against what was asked for."""

from statistics import median
from typing import Any

from msgspec import Struct

from loadtests.bench.doors import Round
from loadtests.bench.found import Found
from loadtests.bench.growth import AtOnce
from loadtests.bench.offered import Offered
from loadtests.bench.payments import Payments
from loadtests.bench.peers import (
    CONDITIONAL,
    ECHO,
    FOR_UPDATE,
    LUA,
    RAY_CALL,
    RAY_CALL_PLAIN,
    SKIP_LOCKED,
)
from loadtests.bench.rounds import DURABLE, REFUSAL, WEBHOOK, Measured

#: The load that the targets speak of.
_CONNECTIONS = 256
#: How many times the holds of each peer ours should be: at least, and the aim.
_TIMES_PEERS = {
    FOR_UPDATE: (8.0, 12.0),
    CONDITIONAL: (4.5, 7.0),
    SKIP_LOCKED: (5.5, 8.0),
    LUA: (2.0, 3.0),
    RAY_CALL_PLAIN: (8.0, 12.0),
    # The same with half of our design in it: its holds share an fsync, as ours do.
    RAY_CALL: (8.0, 12.0),
}


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


def of(found: Found) -> list[Finding]:
    """Return all findings of a run."""
    return [
        *of_rounds(found.rounds),
        *of_payments(found.payments),
        *of_doors(found.doors),
        *of_offered(found.offered),
        *of_growth(found.growth),
        *of_inprocess(found.in_process),
    ]


def of_rounds(measured: list[Measured]) -> list[Finding]:
    """Return the findings about the service; ratios are medians of the rounds' own ratios.

    Each contender is compared with the holds beside it, and with another one by way of those.
    """
    at = _CONNECTIONS
    if not any(item.connections == at for item in measured):
        at = max(item.connections for item in measured)
    echo = _shares(measured, ECHO, at)
    p99 = median(
        item.result.latency_ms.p99
        for item in measured
        if (item.contender, item.connections) == (DURABLE, at)
    )
    return [
        Finding(f"durable holds ÷ FastAPI echo, {at} connections", _ours(echo), 1.8, 2.2),
        *(
            Finding(f"durable holds ÷ {peer}", _ours(theirs), floor, aim)
            for peer, (floor, aim) in _TIMES_PEERS.items()
            if (theirs := _shares(measured, peer, at))
        ),
        Finding(f"p99 of a durable hold, {at} connections", p99, 60.0, 30.0, "ms", at_most=True),
        Finding(
            "refusals when sold out ÷ FastAPI echo",
            _ratio(_shares(measured, REFUSAL, at), echo),
            *(2.0, 2.5),
        ),
        Finding(
            "webhooks kept ÷ FastAPI echo", _ratio(_shares(measured, WEBHOOK, at), echo), 0.5, 1.0
        ),
    ]


def of_payments(found: Payments) -> list[Finding]:
    """Return the findings about payments; medians of the rounds."""
    readable = median(one.steady.readable.p99 for one in found.rounds)
    holds = median(one.holds_beside.rate / one.holds.rate for one in found.rounds)
    return [
        Finding("p99 from webhook to a readable CONFIRMED", readable, 250, 100, "ms", at_most=True),
        Finding("holds while payments are confirmed ÷ without", holds, 0.85, 0.95),
    ]


def of_doors(found: list[Round]) -> list[Finding]:
    """Return the finding about check-ins; the median of the rounds' own ratios."""
    ratio = median(one.check_ins.rate / one.echo.rate for one in found)
    return [Finding("check-ins ÷ FastAPI echo", ratio, 1.2, 1.8)]


def of_offered(found: Offered) -> list[Finding]:
    """Return the findings about more than can be served."""
    utmost = found.utmost
    what = f"with {utmost.share:g} times the capacity offered"
    p99 = utmost.middle(lambda result: result.granted_ms.p99)
    return [
        Finding(f"holds granted {what} ÷ peak", found.kept, 0.9, 0.97),
        Finding(f"p99 of the admitted {what}", p99, 250.0, 100.0, "ms", at_most=True),
    ]


def of_growth(found: list[AtOnce]) -> list[Finding]:
    """Return a finding about many events for each crowd; medians of the rounds' own ratios."""
    most = max(one.events for one in found)
    findings = []
    for connections in sorted({one.connections for one in found}, reverse=True):
        alone, many = (
            {
                one.round: one.result.rate
                for one in found
                if (one.events, one.awake, one.connections) == (events, events, connections)
            }
            for events in (1, most)
        )
        what = f"{connections:,} buyers in {most} events at once ÷ in one alone"
        findings.append(Finding(what, _ratio(many, alone), 0.6, 0.8))
    return findings


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


def _shares(measured: list[Measured], contender: str, connections: int) -> dict[int, float]:
    """Return by round what a contender reached, as a share of our holds beside it."""
    return {
        item.round: item.result.rate / item.ours
        for item in measured
        if (item.contender, item.connections) == (contender, connections)
    }


def _ours(shares: dict[int, float]) -> float:
    return median(1 / share for share in shares.values())


def _ratio(ones: dict[int, float], others: dict[int, float]) -> float:
    return median(rate / others[number] for number, rate in ones.items())
