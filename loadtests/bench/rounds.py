"""Interleaved rounds: each contender is measured beside our holds, so that noise hits both."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from msgspec import Struct

from loadtests.bench import servers
from loadtests.bench.peers import (
    CONDITIONAL,
    ECHO,
    FOR_UPDATE,
    LUA,
    LUA_RAW,
    RAW,
    RAY_CALL,
    RAY_CALL_PLAIN,
    SKIP_LOCKED,
    Peers,
    only_echo,
    peers,
)
from loadtests.bench.servers import Onsale
from loadtests.bench.shop import Shop, Stock
from loadtests.crowd import Result, Spec, Template, run_crowd

#: Same for everybody.
BODY = '{"items":[{"ticket_type":"ga","quantity":1}]}'

DURABLE = "durable hold"
REFUSAL = "refusal, sold out"
#: What Stripe says of a payment, verified and durable.
WEBHOOK = "webhook, kept"
CONTENDERS = (
    *(DURABLE, FOR_UPDATE, CONDITIONAL, SKIP_LOCKED, LUA, LUA_RAW, RAY_CALL_PLAIN, RAY_CALL),
    *(ECHO, RAW, REFUSAL, WEBHOOK),
)
#: Who is measured at fewer connections than the most, too.
_AT_FEWER = (ECHO, RAY_CALL_PLAIN)
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


class DoorsPlan(Struct, frozen=True):
    """How much is measured at the doors: rounds, and tickets scanned in each at most."""

    rounds: int
    tickets: int


class OfferedPlan(Struct, frozen=True):
    """How much is measured by the clock: rounds, connections, paces as shares of the capacity."""

    rounds: int
    connections: int
    shares: tuple[float, ...]


class GrowthPlan(Struct, frozen=True):
    """How much is measured of many events at once.

    Args:
        rounds: how often.
        events: how many at once.
        connections: how many of them, for all events together; each in turn.
    """

    rounds: int
    events: tuple[int, ...]
    connections: tuple[int, ...]


class Plan(Struct, frozen=True):
    """How much is measured. `apart`: each round and each part has services of its own."""

    rounds: int
    seconds: float
    warmup_seconds: float
    connections: tuple[int, ...]
    buyers: int
    payments: PaymentsPlan
    doors: DoorsPlan
    offered: OfferedPlan
    growth: GrowthPlan
    apart: bool = True

    @property
    def steps(self) -> int:
        """How many measurements that makes."""
        others = len(CONTENDERS) - 1 + len(_AT_FEWER) * (len(self.connections) - 1)
        return self.rounds * 2 * others


class Measured(Struct, frozen=True):
    """One contender in one round.

    Attributes:
        contender: who was measured.
        round: from one on.
        connections: how many.
        result: what came of it.
        ours: durable holds a second, measured right before or after.
        miscounted: why what it keeps is not what it granted, None if it is.
    """

    contender: str
    round: int
    connections: int
    result: Result
    ours: float
    miscounted: str | None = None

    @property
    def fault(self) -> str | None:
        """What makes this measurement one of something else, None if nothing does."""
        if self.miscounted:
            return self.miscounted
        expected = _EXPECTED.get(self.contender, "201")
        others = {status: n for status, n in self.result.statuses.items() if status != expected}
        if self.result.unknown:
            others["unknown"] = self.result.unknown
        return f"other answers: {others}" if others else None


class Contest(Struct, frozen=True):
    """Everybody, running; `sold_out` is an event that is, '' where nobody asks for one."""

    service: Onsale
    peers: Peers
    sold_out: str
    shop: Shop


Start = Callable[[Path, Plan], AbstractContextManager[Contest]]
Starting = Callable[[Start], AbstractContextManager[Contest]]


@contextmanager
def services(directory: Path, plan: Plan) -> Iterator[Starting]:
    """Yield what starts a contest, `contest` or `alone`: a new one each time if `plan.apart`.

    Else it is one with everybody, all the time.
    """
    with ExitStack() as kept:
        one = None if plan.apart else kept.enter_context(contest(directory, plan))
        numbers = count(1)

        @contextmanager
        def started(start: Start) -> Iterator[Contest]:
            if one is not None:
                yield one
                return
            place = directory / str(next(numbers))
            place.mkdir()
            with start(place, plan) as new:
                yield new

        yield started


@contextmanager
def contest(directory: Path, plan: Plan) -> Iterator[Contest]:
    """Start everybody; all of them run all the time, so that nobody has the machine alone.

    Each round has everybody anew: an owner that is awake costs the machine something also
    without work, so that those of earlier rounds would slow down the later ones.
    """
    with ExitStack() as started:
        service = started.enter_context(servers.onsale(directory, plan.buyers))
        others = started.enter_context(peers(directory, service))
        sold_out = servers.create_event(service, "Sold out", 2)
        servers.hold(service, sold_out, 2)
        yield Contest(service, others, sold_out, Shop(service))


@contextmanager
def alone(directory: Path, plan: Plan) -> Iterator[Contest]:
    """Start a service, and of its peers only the echo.

    For what is measured in many events: no owner of an earlier part is awake beside them.
    """
    with ExitStack() as started:
        service = started.enter_context(servers.onsale(directory, plan.buyers))
        yield Contest(service, started.enter_context(only_echo(directory)), "", Shop(service))


def run(
    contest: Contest, plan: Plan, number: int, progress: Callable[[str, float], None]
) -> Iterator[Measured]:
    """Measure everybody in one round, every other round the other way round.

    Our holds, all in one event while its stock lasts, are measured again beside each of the
    others: a machine that has neighbours is another one after some seconds.

    Args:
        contest: everybody.
        plan: how much is measured.
        number: of the round, from one on.
        progress: told who is measured and how many measurements of this round are done.
    """
    contest.shop.withhold()
    webhooks = contest.shop.webhooks()
    done = 0
    for connections in plan.connections:
        asked = CONTENDERS if connections == max(plan.connections) else _AT_FEWER
        others = [name for name in asked if name not in (DURABLE, *contest.peers.absent)]
        stock = Stock(contest.shop)
        for contender in others if number % 2 else reversed(others):
            found: dict[str, tuple[Result, str | None]] = {}
            for name in (DURABLE, contender) if number % 2 else (contender, DURABLE):
                progress(f"{name}, {connections} connections", done)
                if name == DURABLE:
                    held = run_crowd(_ours(contest, plan, connections, stock.event_id()))
                    stock.sold(held)
                    found[name] = held, None
                elif name == WEBHOOK:
                    flood = load(contest.service, plan, connections, webhooks=webhooks)
                    found[name] = run_crowd(flood), None
                    contest.shop.settle()  # what was taken in is work for nobody else's round
                elif name == REFUSAL:
                    refused = _ours(contest, plan, connections, contest.sold_out, keys=False)
                    found[name] = run_crowd(refused), None
                else:
                    found[name] = _peer(contest, name, plan, connections)
                done += 1
            ours = found[DURABLE][0].rate
            for name, (result, miscounted) in found.items():
                yield Measured(name, number, connections, result, ours, miscounted)


def _peer(
    contest: Contest, contender: str, plan: Plan, connections: int
) -> tuple[Result, str | None]:
    """Measure a peer; also tell what is wrong with what it has stored."""
    peer = contest.peers.running[contender]
    event_id = peer.new_event()
    path = f"{peer.event_path(event_id)}/holds"
    template = Template("POST", path, BODY, contest.service.buyers, idempotency_keys=True)
    result = run_crowd(load(contest.service, plan, connections, port=peer.port, template=template))
    return result, peer.miscounted(event_id, result.granted)


def _ours(
    contest: Contest, plan: Plan, connections: int, event_id: str, *, keys: bool = True
) -> Spec:
    """Return the load of our holds.

    A refusal may only come from the gateway's own knowledge where a request cannot repeat one
    that was granted: where it has no key.
    """
    path = f"/api/v1/events/{event_id}/holds"
    template = Template("POST", path, BODY, contest.service.buyers, idempotency_keys=keys)
    return load(contest.service, plan, connections, template=template)


def holds(contest: Contest, plan: Plan, event_id: str) -> Spec:
    """Return the load of durable holds, at most connections."""
    return _ours(contest, plan, max(plan.connections), event_id)


def echo(contest: Contest, plan: Plan) -> Spec:
    """Return the load of the echo, at most connections."""
    peer = contest.peers.running[ECHO]
    template = Template("POST", f"{peer.event_path('any')}/holds", BODY, contest.service.buyers)
    return load(contest.service, plan, max(plan.connections), port=peer.port, template=template)


def load(service: Onsale, plan: Plan, connections: int, **asked: Any) -> Spec:
    """Return a load on the service, or on another port, of the plan's length."""
    return Spec(
        **{"host": service.host, "port": service.port, **asked},
        connections=connections,
        seconds=plan.seconds,
        warmup_seconds=plan.warmup_seconds,
    )
