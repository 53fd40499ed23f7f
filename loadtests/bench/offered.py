"""Throughput against offered load: requests come by the clock, up to the knee and far beyond."""

from collections.abc import Callable

from msgspec import Struct

from loadtests.bench import rounds
from loadtests.bench.rounds import BODY, Contest, Plan
from loadtests.crowd import Result, Template, run_crowd


class Offer(Struct, frozen=True):
    """One pace. `share`: of the capacity."""

    share: float
    per_second: float
    result: Result


class Offered(Struct, frozen=True):
    """What came of all paces.

    Attributes:
        capacity_per_second: holds of a crowd that waits for its answers, before and after.
        connections: those on which requests by the clock are sent; whoever finds all of
            them waiting for an answer is skipped, as a queue before the doors would do it.
        offers: pace after pace.
    """

    capacity_per_second: list[float]
    connections: int
    offers: list[Offer]

    @property
    def peak_per_second(self) -> float:
        """The most holds a second that were granted at any pace, or without one."""
        paced = (offer.result.granted_per_second for offer in self.offers)
        return max(*self.capacity_per_second, *paced)

    @property
    def utmost(self) -> Offer:
        """The largest pace."""
        return max(self.offers, key=lambda offer: offer.share)

    @property
    def kept(self) -> float:
        """Holds granted at the largest pace ÷ the peak."""
        return round(self.utmost.result.granted_per_second / self.peak_per_second, 3)


def faults(found: Offered) -> list[str]:
    """Return what makes a measurement one of something else."""
    others = {
        status: count
        for offer in found.offers
        for status, count in {**offer.result.statuses, "unknown": offer.result.unknown}.items()
        # Beyond the knee 503 is an honest answer.
        if status not in ("201", "503") and count
    }
    return [f"holds by the clock: other answers: {others}"] if others else []


def steps(plan: Plan) -> int:
    """Return how many measurements `run` makes."""
    return len(plan.offered.shares) + 2


def run(contest: Contest, plan: Plan, progress: Callable[[str, float], None]) -> Offered:
    """Measure pace after pace, each in an event of its own.

    Args:
        contest: everybody.
        plan: how much is measured.
        progress: told what is measured and how many measurements are done.
    """
    asked = plan.offered
    progress("capacity", 0)
    capacity = [_capacity(contest, plan)]
    offers = []
    for number, share in enumerate(asked.shares, 1):
        progress(f"{share:g} times the capacity offered", number)
        per_second = round(share * capacity[0])
        path = f"/api/v1/events/{contest.shop.new_event()}/holds"
        template = Template("POST", path, BODY, contest.service.buyers, idempotency_keys=True)
        spec = rounds.load(
            contest.service, plan, asked.connections, template=template, per_second=per_second
        )
        offers.append(Offer(share, per_second, run_crowd(spec)))
    progress("capacity", steps(plan) - 1)
    capacity.append(_capacity(contest, plan))
    return Offered(capacity, asked.connections, offers)


def _capacity(contest: Contest, plan: Plan) -> float:
    spec = rounds.holds(contest, plan, contest.shop.new_event())
    return run_crowd(spec).granted_per_second
