"""Payments: end to end, at a steady pace, and what they take from holds."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from loadtests.bench import rounds
from loadtests.bench.processes import BenchFailed
from loadtests.bench.rounds import Contest, Plan
from loadtests.crowd import Latency, Result, run_crowd
from loadtests.payers import Delivered, run_buying, run_delivering

#: Payments go on for longer than the holds beside them, seconds: both begin with a process.
_LEAD_SECONDS = 1.5


class EndToEnd(Struct, frozen=True):
    """Buyers who hold, pay and wait for their tickets, as fast as that goes.

    `confirmed_ms` is from charging the card to an answer that shows the tickets.
    """

    payers: int
    payments: int
    per_second: float
    confirmed_ms: Latency


class Round(Struct, frozen=True):
    """One round.

    Attributes:
        steady: payments at the steady pace, and nothing else.
        holds: without payments.
        holds_beside: while payments are confirmed at that pace, in the same event.
        beside: those payments.
    """

    round: int
    steady: Delivered
    holds: Result
    holds_beside: Result
    beside: Delivered


class Payments(Struct, frozen=True):
    """Everything that was measured of payments."""

    end_to_end: EndToEnd
    rounds: list[Round]


def faults(found: Payments) -> list[str]:
    """Return what makes a measurement one of something else."""
    other: dict[str, int] = {}
    for one in found.rounds:
        for result in (one.holds, one.holds_beside):
            for status, count in {**result.statuses, "unknown": result.unknown}.items():
                if status != "201" and count:
                    other[status] = other.get(status, 0) + count
    return [f"holds beside payments: other answers: {other}"] if other else []


def steps(plan: Plan) -> int:
    """Return how many measurements `run` makes."""
    return 3 * plan.payments.rounds


def end_to_end(contest: Contest, plan: Plan) -> EndToEnd:
    """Let buyers pay as fast as they can, with webhooks that the sandbox sends.

    Raises:
        BenchFailed: one of them did not get tickets.
    """
    asked = plan.payments
    shop = contest.shop
    shop.paid(shop.new_event(), 2)  # once to warm up
    takings = run_buying(shop.buying(shop.new_event(), asked.payers, asked.closed_loop_seconds))
    count = len(takings.bought)
    if takings.statuses != {"CONFIRMED": count}:
        raise BenchFailed(f"payments ended as {takings.statuses}")
    return EndToEnd(asked.payers, count, round(count / takings.elapsed_s, 1), takings.confirmed)


def run(contest: Contest, plan: Plan, progress: Callable[[str, float], None]) -> list[Round]:
    """Measure all rounds, every other one the other way round.

    Args:
        contest: everybody.
        plan: how much is measured.
        progress: told what is measured and how many measurements are done.
    """
    contest.shop.withhold()
    found = []
    for number in range(1, plan.payments.rounds + 1):
        done = 3 * (number - 1)
        progress("payments at a steady pace", done)
        steady = _steady(contest, plan)
        progress("holds without and with payments", done + 1)
        if number % 2:
            alone = _holds(contest, plan)
            beside, paid = _holds_beside(contest, plan)
        else:
            beside, paid = _holds_beside(contest, plan)
            alone = _holds(contest, plan)
        found.append(Round(number, steady, alone, beside, paid))
    progress("payments", steps(plan))
    return found


def _steady(contest: Contest, plan: Plan) -> Delivered:
    asked, shop = plan.payments, contest.shop
    paid = shop.paid(shop.new_event(), round(asked.per_second * asked.seconds))
    return run_delivering(shop.delivering(paid, asked.per_second))


def _holds(contest: Contest, plan: Plan) -> Result:
    return run_crowd(rounds.holds(contest, plan, contest.shop.new_event()))


def _holds_beside(contest: Contest, plan: Plan) -> tuple[Result, Delivered]:
    asked, shop = plan.payments, contest.shop
    event_id = shop.new_event()
    seconds = plan.warmup_seconds + plan.seconds + _LEAD_SECONDS
    paid = shop.paid(event_id, round(asked.per_second * seconds))
    with ThreadPoolExecutor(1) as beside:
        # Nobody looks while holds are measured: that would cost more than the payments.
        telling = shop.delivering(paid, asked.per_second, watched=False)
        delivered = beside.submit(run_delivering, telling)
        return run_crowd(rounds.holds(contest, plan, event_id)), delivered.result()
