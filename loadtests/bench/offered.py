"""Throughput against offered load: requests come by the clock, up to the knee and far beyond."""

from collections.abc import Callable
from statistics import median

from msgspec import Struct

from loadtests.bench import rounds
from loadtests.bench.rounds import BODY, Contest, Plan
from loadtests.bench.shop import Stock
from loadtests.crowd import Result, Template, run_crowd

#: Times that the capacity is measured before the paces are set by it.
_CAPACITIES = 3


class Offer(Struct, frozen=True):
    """One pace. `share`: of the capacity; `results`: a round each."""

    share: float
    per_second: float
    results: list[Result]

    def middle(self, value: Callable[[Result], float]) -> float:
        """Return the median of a value of the rounds."""
        return median(value(result) for result in self.results)

    @property
    def granted_per_second(self) -> float:
        """Holds granted a second, the median of the rounds."""
        return self.middle(lambda result: result.granted_per_second)


class Offered(Struct, frozen=True):
    """What came of all paces.

    Attributes:
        capacity_per_second: holds of a crowd of as many connections that waits for its
            answers, before the first round and after each.
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
        paced = (offer.granted_per_second for offer in self.offers)
        return max(median(self.capacity_per_second), *paced)

    @property
    def utmost(self) -> Offer:
        """The largest pace."""
        return max(self.offers, key=lambda offer: offer.share)

    @property
    def kept(self) -> float:
        """Holds granted at the largest pace ÷ the peak."""
        return round(self.utmost.granted_per_second / self.peak_per_second, 3)


def faults(found: Offered) -> list[str]:
    """Return what makes a measurement one of something else."""
    others = {
        status: count
        for offer in found.offers
        for result in offer.results
        for status, count in {**result.statuses, "unknown": result.unknown}.items()
        # Beyond the knee 503 is an honest answer.
        if status not in ("201", "503") and count
    }
    return [f"holds by the clock: other answers: {others}"] if others else []


def steps(plan: Plan) -> int:
    """Return how many measurements `run` makes."""
    return (len(plan.offered.shares) + 1) * plan.offered.rounds + _CAPACITIES


def run(contest: Contest, plan: Plan, progress: Callable[[str, float], None]) -> Offered:
    """Measure all rounds, every other one from the largest pace down.

    Args:
        contest: everybody.
        plan: how much is measured.
        progress: told what is measured and how many measurements are done.
    """
    asked = plan.offered
    progress("capacity", 0)
    capacity = [_capacity(contest, plan) for _ in range(_CAPACITIES)]
    offers = [Offer(share, round(share * median(capacity)), []) for share in asked.shares]
    done = _CAPACITIES
    for number in range(1, asked.rounds + 1):
        stock = Stock(contest.shop)
        for offer in offers if number % 2 else reversed(offers):
            progress(f"{offer.share:g} times the capacity offered", done)
            offer.results.append(_hold(contest, plan, stock.event_id(), offer.per_second))
            stock.sold(offer.results[-1])
            done += 1
        progress("capacity", done)
        capacity.append(_capacity(contest, plan))
        done += 1
    return Offered(capacity, asked.connections, offers)


def _capacity(contest: Contest, plan: Plan) -> float:
    return _hold(contest, plan, contest.shop.new_event(), None).granted_per_second


def _hold(contest: Contest, plan: Plan, event_id: str, per_second: float | None) -> Result:
    """Hold at a pace, or as fast as answers come."""
    path = f"/api/v1/events/{event_id}/holds"
    template = Template("POST", path, BODY, contest.service.buyers, idempotency_keys=True)
    connections = plan.offered.connections
    return run_crowd(
        rounds.load(contest.service, plan, connections, template=template, per_second=per_second)
    )
