"""Interleaved rounds: everybody is measured in turn, so that noise hits all alike."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from loadtests.bench import servers
from loadtests.bench.servers import Onsale
from loadtests.bench.shop import Shop
from loadtests.crowd import Result, Spec, Template, run_crowd

#: Same for everybody.
BODY = '{"items":[{"ticket_type":"ga","quantity":2}]}'

DURABLE = "durable hold"
ECHO = "FastAPI echo"
#: The peer that calls its actor for each hold, tuned as well as it can be, and as written first.
RAY_CALL = "Ray call per hold, shared fsync"
RAY_CALL_PLAIN = "Ray call per hold, plain actor"
REFUSAL = "refusal, sold out"
#: What Stripe says of a payment, verified and durable.
WEBHOOK = "webhook, kept"
CONTENDERS = (DURABLE, ECHO, RAY_CALL, RAY_CALL_PLAIN, REFUSAL, WEBHOOK)
_EXPECTED = {REFUSAL: "409", WEBHOOK: "200"}


class PaymentsPlan(Struct, frozen=True):
    """How much is measured of payments.

    Attributes:
        per_second: payments that reach the service, by the clock on the wall.
        rounds: each of holds without and with payments, and of payments alone.
        seconds: length of a round of payments alone.
        closed_loop_seconds: how long buyers pay as fast as they can.
        payers: how many of them.
    """

    per_second: float
    rounds: int
    seconds: float
    closed_loop_seconds: float
    payers: int


class Plan(Struct, frozen=True):
    """How much is measured."""

    rounds: int
    seconds: float
    warmup_seconds: float
    connections: tuple[int, ...]
    buyers: int
    payments: PaymentsPlan

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
        expected = _EXPECTED.get(self.contender, "201")
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
    shop: Shop


@contextmanager
def contest(directory: Path, plan: Plan) -> Iterator[Contest]:
    """Start everybody; all of them run all the time, so that nobody has the machine alone."""
    with ExitStack() as started:
        service = started.enter_context(servers.onsale(directory, plan.buyers))
        echo_port = started.enter_context(servers.echo(directory))
        ray_port = started.enter_context(servers.ray_calls(directory, service))
        sold_out = servers.create_event(service, "Sold out", 2)
        servers.hold(service, sold_out, 2)
        yield Contest(service, echo_port, ray_port, sold_out, Shop(service))


def run(contest: Contest, plan: Plan, progress: Callable[[str, float], None]) -> Iterator[Measured]:
    """Measure everybody, round after round, every other round the other way round.

    Args:
        contest: everybody.
        plan: how much is measured.
        progress: told who is measured and how many measurements are done.
    """
    contest.shop.withhold()
    webhooks = contest.shop.webhooks()
    done = 0
    for number in range(1, plan.rounds + 1):
        for connections in plan.connections:
            for contender in CONTENDERS if number % 2 else reversed(CONTENDERS):
                progress(f"{contender}, {connections} connections", done)
                if contender == WEBHOOK:
                    spec = _load(contest.service, plan, connections, webhooks=webhooks)
                else:
                    spec = _spec(contest, contender, plan, connections)
                result = run_crowd(spec)
                if contender == WEBHOOK:
                    contest.shop.settle()  # what was taken in is work for nobody else's round
                done += 1
                yield Measured(contender, number, connections, result)


def _spec(contest: Contest, contender: str, plan: Plan, connections: int) -> Spec:
    service = contest.service
    event_id, port, prefix = contest.sold_out, service.port, ""
    if contender == DURABLE:
        # A new event each time, so that no round begins with the bookings of another.
        event_id = contest.shop.new_event()
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
    return _load(service, plan, connections, port=port, template=template)


def holds(contest: Contest, plan: Plan, event_id: str) -> Spec:
    """Return the load of durable holds, at most connections."""
    path = f"/api/v1/events/{event_id}/holds"
    template = Template("POST", path, BODY, contest.service.buyers, idempotency_keys=True)
    return _load(contest.service, plan, max(plan.connections), template=template)


def _load(service: Onsale, plan: Plan, connections: int, **asked: Any) -> Spec:
    return Spec(
        **{"host": service.host, "port": service.port, **asked},
        connections=connections,
        seconds=plan.seconds,
        warmup_seconds=plan.warmup_seconds,
    )
