"""The verdict is about ratios to our holds beside each, at the load the targets speak of."""

import pytest

from loadtests.bench import doors, growth, offered
from loadtests.bench.growth import AtOnce
from loadtests.bench.offered import Offer, Offered
from loadtests.bench.payments import EndToEnd, Payments, Round, faults
from loadtests.bench.peers import ECHO, FOR_UPDATE, LUA, RAY_CALL, RAY_CALL_PLAIN
from loadtests.bench.report import disturbance
from loadtests.bench.rounds import DURABLE, REFUSAL, WEBHOOK, Measured
from loadtests.bench.verdict import (
    Finding,
    of_doors,
    of_growth,
    of_inprocess,
    of_offered,
    of_payments,
    of_rounds,
)
from loadtests.crowd import Latency, Result
from loadtests.payers import Delivered


def measured(
    contender: str, number: int, rate: float, ours: float = 1.0, *, connections: int = 256, **more
):
    statuses = {{REFUSAL: "409", WEBHOOK: "200"}.get(contender, "201"): 10}
    latency = Latency(1.0, 2.0, rate / 1_000, 4.0)
    result = Result(10, 1.0, rate, more.pop("statuses", statuses), {}, latency, **more, cpu_us=9.0)
    return Measured(contender, number, connections, result, ours)


def a_run(durable: float = 20_000, connections: int = 256) -> list[Measured]:
    """Three rounds on a machine that is slower for each next pair."""
    rates = {
        DURABLE: durable,
        ECHO: 10_000.0,
        RAY_CALL: 2_000.0,
        RAY_CALL_PLAIN: 1_000.0,
        FOR_UPDATE: 2_000.0,
        LUA: 8_000.0,
        REFUSAL: 25_000.0,
        WEBHOOK: 12_000.0,
    }
    return [
        measured(
            *(contender, number, rate / (number + place), durable / (number + place)),
            connections=connections,
            unknown=0,
        )
        for number in (1, 2, 3)
        for place, (contender, rate) in enumerate(rates.items())
    ]


def test_ratios_are_those_to_our_holds_beside_each():
    values = {finding.what: finding.value for finding in of_rounds(a_run())}
    assert values["durable holds ÷ FastAPI echo, 256 connections"] == 2.0
    assert values["durable holds ÷ Ray call per hold, plain actor"] == 20.0
    assert values["durable holds ÷ Ray call per hold, shared fsync"] == 10.0
    assert values["durable holds ÷ PostgreSQL, SELECT … FOR UPDATE"] == 10.0
    assert values["durable holds ÷ Redis, a Lua script per hold"] == 2.5
    assert values["refusals when sold out ÷ FastAPI echo"] == 2.5
    assert values["webhooks kept ÷ FastAPI echo"] == 1.2
    assert values["p99 of a durable hold, 256 connections"] == 10.0


def test_a_peer_that_is_absent_has_no_finding():
    told = " ".join(finding.what for finding in of_rounds(a_run()))
    assert "conditional" not in told
    assert "SKIP LOCKED" not in told


def test_a_peer_that_keeps_something_else_is_a_fault():
    one = measured(LUA, 1, 9.0, unknown=0)
    assert one.fault is None
    oversold = Measured(LUA, 1, 256, one.result, 9.0, "10 grants, and stored is 11")
    assert oversold.fault == "10 grants, and stored is 11"


def test_other_loads_do_not_count():
    both = a_run() + a_run(durable=1.0, connections=64)
    assert of_rounds(both) == of_rounds(a_run())


def test_a_missed_floor_is_missed():
    missed = [finding.what for finding in of_rounds(a_run(durable=17_000)) if not finding.met]
    assert missed == ["durable holds ÷ FastAPI echo, 256 connections"]
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


def scanned(*rates: tuple[float, float], statuses: dict[str, int]) -> list[doors.Round]:
    """Rounds of check-ins and of the echo beside them."""
    return [
        doors.Round(
            number,
            measured(DURABLE, number, check_ins, unknown=0, statuses=statuses).result,
            measured(ECHO, number, echo, unknown=0).result,
        )
        for number, (check_ins, echo) in enumerate(rates, 1)
    ]


def test_check_ins_are_judged_by_the_median_of_their_rounds_ratios():
    rates = (18_000, 10_000), (6_500, 5_000), (3_000, 3_000)
    (finding,) = of_doors(scanned(*rates, statuses={"200": 10}))
    assert (finding.value, finding.met, finding.aim_met) == (1.3, True, False)


def test_scans_that_were_not_decided_are_no_measurement():
    assert doors.faults(scanned((2, 1), statuses={"200": 10})) == []
    (fault,) = doors.faults(scanned((2, 1), statuses={"200": 9, "503": 1}))
    assert "{'503': 1}" in fault


def test_a_machine_that_does_something_else_is_noticed():
    quiet = [measured(ECHO, number, 1_000.0 + number, unknown=0) for number in range(3)]
    assert disturbance(quiet) is None
    told = disturbance([*quiet, measured(ECHO, 4, 2_000.0, unknown=0)])
    assert told is not None
    assert "100%" in told


def by_the_clock(*granted: float, p99: float = 90.0) -> Offered:
    """Paces of half, one and ten times the capacity, at which so many holds are granted."""
    none = Latency(0, 0, 0, 0)
    offers = [
        Offer(
            share,
            share * 1_000,
            [
                Result(
                    *(9, 1.0, 9_999.0, {"201": int(rate * noise), "503": 5_000}, {}, none, 0, 5.0),
                    granted_ms=Latency(1, 2, p99 * noise, 9_999),
                )
                for noise in (3, 1, 0.5)
            ],
        )
        for share, rate in zip((0.5, 1.0, 10.0), granted, strict=True)
    ]
    return Offered([990.0, 1_000.0, 2_000.0], 64, offers)


def test_what_is_kept_beyond_the_knee_is_compared_with_the_best():
    kept, waited = of_offered(by_the_clock(500, 1_100, 990))
    assert (kept.value, kept.met, kept.aim_met) == (0.9, True, False)
    assert (waited.value, waited.met) == (90.0, True)
    kept, waited = of_offered(by_the_clock(500, 950, 890, p99=251))
    assert (kept.value, kept.met) == (0.89, False)
    assert not waited.met


def test_being_turned_away_is_no_fault_and_anything_else_is_one():
    assert offered.faults(by_the_clock(500, 950, 890)) == []
    found = by_the_clock(500, 950, 890)
    found.offers[1].results[0].statuses["500"] = 1
    assert offered.faults(found) == ["holds by the clock: other answers: {'500': 1}"]


def test_many_events_are_compared_with_one_alone_in_the_same_round():
    rates = {
        (1, 1, 128): 10_000,
        (8, 8, 128): 9_000,
        (64, 64, 128): 7_000,
        (1, 64, 128): 8_000,
        (1, 1, 64): 5_000,
        (64, 64, 64): 2_000,
    }
    found = [
        AtOnce(number, *at_once, measured(DURABLE, number, rate / number, unknown=0).result)
        for number in (1, 2, 3)
        for at_once, rate in rates.items()
    ]
    many, few = of_growth(found)
    assert many.what == "128 buyers in 64 events at once ÷ in one alone"
    assert many.value == pytest.approx(0.7)
    assert few.what == "64 buyers in 64 events at once ÷ in one alone"
    assert few.value == pytest.approx(0.4)
    assert growth.faults(found) == []
    other = measured(DURABLE, 4, 1, unknown=3).result
    assert growth.faults([AtOnce(4, 1, 1, 64, other)]) == [
        "holds in many events: other answers: {'unknown': 3}"
    ]
