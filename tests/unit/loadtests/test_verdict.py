"""The verdict is about ratios of the same round, at the load the targets speak of."""

from loadtests.bench.payments import EndToEnd, Payments, Round, faults
from loadtests.bench.report import disturbance
from loadtests.bench.rounds import (
    DURABLE,
    ECHO,
    RAY_CALL,
    RAY_CALL_PLAIN,
    REFUSAL,
    WEBHOOK,
    Measured,
)
from loadtests.bench.verdict import Finding, of_inprocess, of_payments, of_rounds
from loadtests.crowd import Latency, Result
from loadtests.payers import Delivered


def measured(contender: str, number: int, rate: float, *, connections: int = 256, **more):
    statuses = {{REFUSAL: "409", WEBHOOK: "200"}.get(contender, "201"): 10}
    latency = Latency(1.0, 2.0, rate / 1_000, 4.0)
    result = Result(10, 1.0, rate, more.pop("statuses", statuses), {}, latency, **more, cpu_us=9.0)
    return Measured(contender, number, connections, result)


def a_run(durable: float = 20_000, connections: int = 256) -> list[Measured]:
    """Three rounds on a machine that gets slower and slower."""
    rates = {
        DURABLE: durable,
        ECHO: 10_000.0,
        RAY_CALL: 2_000.0,
        RAY_CALL_PLAIN: 1_000.0,
        REFUSAL: 25_000.0,
        WEBHOOK: 12_000.0,
    }
    return [
        measured(contender, number, rate / number, connections=connections, unknown=0)
        for number in (1, 2, 3)
        for contender, rate in rates.items()
    ]


def test_ratios_are_those_of_the_same_round():
    values = {finding.what: finding.value for finding in of_rounds(a_run())}
    assert values["durable holds ÷ FastAPI echo, 256 connections"] == 2.0
    assert values["durable holds ÷ one Ray call per hold"] == 20.0
    assert values["durable holds ÷ Ray calls, shared fsync"] == 10.0
    assert values["refusals when sold out ÷ FastAPI echo"] == 2.5
    assert values["webhooks kept ÷ FastAPI echo"] == 1.2
    assert values["p99 of a durable hold, 256 connections"] == 10.0


def test_other_loads_do_not_count():
    both = a_run() + a_run(durable=1.0, connections=64)
    assert of_rounds(both) == of_rounds(a_run())


def test_a_missed_floor_is_missed():
    assert [finding.met for finding in of_rounds(a_run(durable=17_000))] == [
        False,
        True,
        True,
        True,
        True,
        True,
    ]
    assert all(finding.met for finding in of_rounds(a_run()))


def test_smaller_is_better_where_it_says_so():
    stall = Finding("stall", 20.0, 20.0, 5.0, "ms", at_most=True)
    assert (stall.met, stall.aim_met) == (True, False)
    assert not Finding("stall", 20.1, 20.0, 5.0, "ms", at_most=True).met
    rate = Finding("rate", 20.0, 20.0, 25.0)
    assert (rate.met, rate.aim_met) == (True, False)


def test_the_worst_size_and_the_slower_way_are_judged():
    found = of_inprocess(
        {
            "decisions": {
                "per_second": {"1000": 500_000, "1000000": 300_000},
                "largest_to_smallest": 0.6,
            },
            "recovery": {
                "bookings": 100_000,
                "seconds_from_journal": 3.1,
                "seconds_from_snapshot": 0.2,
            },
        }
    )
    assert [(finding.value, finding.met) for finding in found] == [
        (300_000, True),
        (0.6, False),
        (3.1, False),
    ]


def test_other_answers_make_a_measurement_worthless():
    assert measured(DURABLE, 1, 9.0, unknown=0).fault is None
    assert measured(REFUSAL, 1, 9.0, unknown=0).fault is None
    assert measured(WEBHOOK, 1, 9.0, unknown=0).fault is None
    assert measured(DURABLE, 1, 9.0, unknown=2).fault == "other answers: {'unknown': 2}"
    failing = measured(DURABLE, 1, 9.0, unknown=0, statuses={"201": 9, "503": 1})
    assert failing.fault == "other answers: {'503': 1}"


def paid(*rounds: tuple[float, float, float], statuses: dict[str, int] | None = None) -> Payments:
    """Rounds of readable p99, holds without payments and holds beside them."""
    none = Latency(0, 0, 0, 0)
    found = []
    for number, (readable, alone, beside) in enumerate(rounds, 1):
        steady, other = (
            Delivered(500, 0, none, none, Latency(1, 2, p99, p99), 0.1, 5.0)
            for p99 in (readable, 9_999)
        )
        holds = measured(DURABLE, number, alone, unknown=0).result
        less = measured(DURABLE, number, beside, unknown=0, statuses=statuses or {"201": 10}).result
        found.append(Round(number, steady, holds, less, other))
    return Payments(EndToEnd(16, 100, 99.0, none), found)


def test_payments_are_judged_by_the_median_of_their_rounds():
    late, slow = of_payments(paid((300, 10_000, 8_000), (90, 5_000, 4_500), (80, 2_000, 1_990)))
    assert (late.value, late.met, late.aim_met) == (90, True, True)
    assert (slow.value, slow.met, slow.aim_met) == (0.9, True, False)
    late, slow = of_payments(paid((251, 10_000, 8_400)))
    assert (late.met, slow.met) == (False, False)


def test_holds_that_were_refused_beside_payments_are_no_measurement():
    assert faults(paid((90, 10, 9))) == []
    (fault,) = faults(paid((90, 10, 9), statuses={"201": 9, "503": 1}))
    assert "{'503': 1}" in fault


def test_a_machine_that_does_something_else_is_noticed():
    quiet = [measured(ECHO, number, 1_000.0 + number, unknown=0) for number in range(3)]
    assert disturbance(quiet) is None
    told = disturbance([*quiet, measured(ECHO, 4, 2_000.0, unknown=0)])
    assert told is not None
    assert "100%" in told
