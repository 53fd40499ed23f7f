"""The cost of growth: one hot event, and many at once, under the same crowds."""

from collections.abc import Callable, Iterator
from itertools import product

from msgspec import Struct

from loadtests.bench import rounds
from loadtests.bench.rounds import BODY, Contest, Plan
from loadtests.crowd import Result, Template, run_crowd


class AtOnce(Struct, frozen=True):
    """Holds in so many events at once, while the owners of so many were awake."""

    round: int
    events: int
    awake: int
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
    """Return how many measurements `run` makes of a round."""
    return (len(plan.growth.events) + 1) * len(plan.growth.connections)


def run(
    contest: Contest, plan: Plan, number: int, progress: Callable[[str, float], None]
) -> Iterator[AtOnce]:
    """Measure one round: from few events to many, and few again beside the many.

    Nobody's owner is awake before it is asked for, so that one event is first measured as it
    is alone. The owners that have woken cost the machine something also without work.

    Args:
        contest: everybody.
        plan: how much is measured.
        number: of the round, from one on.
        progress: told what is measured and how many measurements of this round are done.
    """
    asked = plan.growth
    events: list[str] = []
    counts = (*asked.events, asked.events[0])
    for done, (count, connections) in enumerate(product(counts, asked.connections)):
        progress(f"{count} events at once", done)
        events += [contest.shop.new_event() for _ in range(count - len(events))]
        paths = [f"/api/v1/events/{event_id}/holds" for event_id in events[:count]]
        template = Template(
            *("POST", paths[0], BODY, contest.service.buyers),
            idempotency_keys=True,
            more_paths=paths[1:],
        )
        spec = rounds.load(contest.service, plan, connections, template=template)
        yield AtOnce(number, count, len(events), connections, run_crowd(spec))
