"""Interleaved rounds: everybody is measured in turn, so that noise hits all alike."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from loadtests.bench import servers
from loadtests.bench.servers import Onsale
from loadtests.crowd import Result, Spec, Template, run_crowd

#: Same for everybody.
BODY = '{"items":[{"ticket_type":"ga","quantity":2}]}'

DURABLE = "durable hold"
ECHO = "FastAPI echo"
#: The peer that calls its actor for each hold, tuned as well as it can be, and as written first.
RAY_CALL = "Ray call per hold, shared fsync"
RAY_CALL_PLAIN = "Ray call per hold, plain actor"
REFUSAL = "refusal, sold out"
CONTENDERS = (DURABLE, ECHO, RAY_CALL, RAY_CALL_PLAIN, REFUSAL)

#: More than any round can take.
_CAPACITY = 1_000_000


class Plan(Struct, frozen=True):
    """How much is measured."""

    rounds: int
    seconds: float
    warmup_seconds: float
    connections: tuple[int, ...]
    buyers: int

    @property
    def steps(self) -> int:
        """How many measurements that makes."""
        return self.rounds * len(self.connections) * len(CONTENDERS)


class Measured(Struct, frozen=True):
    """One contender in one round."""

    contender: str
    round: int
    connections: int
    result: Result

    @property
    def fault(self) -> str | None:
        """What makes this measurement one of something else, None if nothing does."""
        expected = "409" if self.contender == REFUSAL else "201"
        others = {status: n for status, n in self.result.statuses.items() if status != expected}
        if self.result.unknown:
            others["unknown"] = self.result.unknown
        return f"other answers: {others}" if others else None


class Contest(Struct, frozen=True):
    """Everybody, running."""

    service: Onsale
    echo_port: int
    ray_port: int
    sold_out: str


@contextmanager
def contest(directory: Path, plan: Plan) -> Iterator[Contest]:
    """Start everybody; all of them run all the time, so that nobody has the machine alone."""
    with ExitStack() as started:
        service = started.enter_context(servers.onsale(directory, plan.buyers))
        echo_port = started.enter_context(servers.echo(directory))
        ray_port = started.enter_context(servers.ray_calls(directory, service))
        sold_out = servers.create_event(service, "Sold out", 2)
        servers.hold(service, sold_out, 2)
        yield Contest(service, echo_port, ray_port, sold_out)


def run(contest: Contest, plan: Plan, progress: Callable[[str, float], None]) -> Iterator[Measured]:
    """Measure everybody, round after round, every other round the other way round.

    Args:
        contest: everybody.
        plan: how much is measured.
        progress: told who is measured and how many measurements are done.
    """
    done = 0
    for number in range(1, plan.rounds + 1):
        for connections in plan.connections:
            for contender in CONTENDERS if number % 2 else reversed(CONTENDERS):
                progress(f"{contender}, {connections} connections", done)
                result = run_crowd(_spec(contest, contender, plan, connections))
                done += 1
                yield Measured(contender, number, connections, result)


def _spec(contest: Contest, contender: str, plan: Plan, connections: int) -> Spec:
    service = contest.service
    event_id, port, prefix = contest.sold_out, service.port, ""
    if contender == DURABLE:
        # A new event each time, so that no round begins with the bookings of another. The
        # first hold starts its owner before the clock runs.
        event_id = servers.create_event(service, "On sale", _CAPACITY)
        servers.hold(service, event_id, 1)
    elif contender == ECHO:
        port = contest.echo_port
    elif contender == RAY_CALL:
        port = contest.ray_port
    elif contender == RAY_CALL_PLAIN:
        port, prefix = contest.ray_port, "/plain"
    template = Template(
        "POST",
        f"{prefix}/api/v1/events/{event_id}/holds",
        BODY,
        service.buyers,
        # A refusal may only come from the gateway's own knowledge where a request cannot
        # be the repeat of one that was granted.
        idempotency_keys=contender != REFUSAL,
    )
    return Spec(
        service.host,
        port,
        template=template,
        connections=connections,
        seconds=plan.seconds,
        warmup_seconds=plan.warmup_seconds,
    )
