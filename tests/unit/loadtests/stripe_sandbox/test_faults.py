"""Faults strike whom they should, as often as they should, and the same way again."""

import msgspec
import pytest

from loadtests.stripe_sandbox.faults import Fault, Faults


def drawn(seed: int, count: int = 200) -> list[tuple[str, float]]:
    faults = Faults(seed)
    faults.add(
        [
            Fault("rate_limit", probability=0.3),
            Fault("latency", probability=0.5, seconds_min=1, seconds_max=2),
        ],
        0,
    )
    strikes = [faults.draw("payment_intents.create", "rate_limit", "latency") for _ in range(count)]
    return [(kind, strike.wait) for drawn in strikes for kind, strike in drawn.items()]


def test_the_same_seed_is_the_same_fate():
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_chance_is_what_was_asked_for():
    kinds = [kind for kind, _ in drawn(7, 2000)]
    assert 500 < kinds.count("rate_limit") < 700
    assert 900 < kinds.count("latency") < 1100
    assert all(1 <= wait <= 2 for kind, wait in drawn(7) if kind == "latency")


def test_only_some_operations():
    faults = Faults(0)
    faults.add([Fault("rate_limit", only="payment_intents.*")], 0)
    assert faults.draw("payment_intents.cancel", "rate_limit")
    assert not faults.draw("refunds.create", "rate_limit")
    assert not faults.draw("payment_intents.cancel", "latency")


def test_so_often_and_no_more():
    faults = Faults(0)
    faults.add([Fault("rate_limit", times=2)], 0)
    assert [bool(faults.draw("x", "rate_limit")) for _ in range(3)] == [True, True, False]
    assert faults.shown() == []


def test_faults_are_shown_and_ended():
    faults = Faults(0)
    first, second = faults.add([Fault("latency"), Fault("rate_limit", only="refunds.*")], 0)
    faults.draw("x", "latency", "rate_limit")
    assert [(shown["kind"], shown["struck"]) for shown in faults.shown()] == [
        ("latency", 1),
        ("rate_limit", 0),
    ]
    faults.clear(first.id)
    assert [shown["id"] for shown in faults.shown()] == [second.id]
    faults.clear()
    assert faults.shown() == []


def test_an_outage_ends_by_itself_or_by_hand():
    faults = Faults(0)
    assert not faults.outage(0)
    faults.add([Fault("outage", seconds=5)], 100)
    assert faults.outage(104.9)
    assert not faults.outage(105)
    faults.add([Fault("outage")], 200)
    assert faults.outage(1e9)
    faults.clear()
    assert not faults.outage(1e9)


@pytest.mark.parametrize(
    "fault",
    [{"kind": "flood"}, {"kind": "latency", "probability": 2}, {"kind": "latency", "no": 1}, {}],
)
def test_a_fault_that_is_none_is_refused(fault):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fault, Fault)
