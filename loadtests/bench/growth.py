"""The cost of growth: one hot event, and many at once, under the same crowd."""

from collections.abc import Callable

from msgspec import Struct

from loadtests.bench import rounds
from loadtests.bench.rounds import BODY, Contest, Plan
from loadtests.crowd import Result, Template, run_crowd


class AtOnce(Struct, frozen=True):
    """Holds in so many events at once."""

    round: int
    events: int
    connections: int
    result: Result


def faults(found: list[AtOnce]) -> list[str]:
    """Return what makes a measurement one of something else."""
    others = {
        status: count
        for one in found
        for status, count in {**one.result.statuses, "unknown": one.result.unknown}.items()
        if status != "201" and count
    }
    return [f"holds in many events: other answers: {others}"] if others else []


def steps(plan: Plan) -> int:
    """Return how many measurements `run` makes, and one that starts owners."""
    return plan.growth.rounds * len(plan.growth.events) + 1


def run(contest: Contest, plan: Plan, progress: Callable[[str, float], None]) -> list[AtOnce]:
    """Measure all rounds, every other one the other way round.

    All events and their owners are there from the beginning, so that nothing but the
    number of those that are asked for differs.

    Args:
        contest: everybody.
        plan: how much is measured.
        progress: told what is measured and how many measurements are done.
    """
    asked = plan.growth
    progress(f"starting {max(asked.events)} events", 0)
    events = [contest.shop.new_event() for _ in range(max(asked.events))]
    found: list[AtOnce] = []
    for number in range(1, asked.rounds + 1):
        for count in asked.events if number % 2 else reversed(asked.events):
            progress(f"{count} events at once", len(found) + 1)
            paths = [f"/api/v1/events/{event_id}/holds" for event_id in events[:count]]
            template = Template(
                *("POST", paths[0], BODY, contest.service.buyers),
                idempotency_keys=True,
                more_paths=paths[1:],
            )
            spec = rounds.load(contest.service, plan, asked.connections, template=template)
            found.append(AtOnce(number, count, asked.connections, run_crowd(spec)))
    return found
