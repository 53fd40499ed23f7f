"""The verdict: green only if everything is met, red with an oversell in any disguise."""

from dataclasses import replace

import pytest

from loadtests.locust.audits import Audited, read_audit
from loadtests.locust.objectives import (
    ARRIVAL,
    JOURNEY,
    Numbers,
    Objectives,
    Row,
    judge,
    verdict_text,
)

COUNTS = {
    "outcomes": {"hold: granted": 50},
    "answers": 1_000,
    "turned_away": 0,
    "units": 100,
    "begun": 0,
    "skipped": 0,
}
AUDIT = Audited("evt_1", 0, agree=True, committed=100, capacity=100)
GOOD = Numbers([Row("POST", "hold", 1_000, 0, 80.0)], COUNTS, [AUDIT], "evt_1")


def missed(numbers: Numbers, objectives: Objectives | None = None) -> list[str]:
    found = judge(numbers, objectives or Objectives())
    return [finding.what for finding in found if not finding.met]


def counts(**changed: int) -> Numbers:
    return replace(GOOD, counts={**COUNTS, **changed})


def test_a_good_run_is_green():
    assert missed(GOOD) == []
    assert "Verdict: GREEN" in verdict_text(judge(GOOD, Objectives()), GOOD)


def test_an_oversell_that_the_audit_shows_is_red():
    numbers = replace(GOOD, audits=[replace(AUDIT, oversold=1)])
    assert missed(numbers) == ["oversold, by the audit"]
    text = verdict_text(judge(numbers, Objectives()), numbers)
    assert "MISSED  oversold, by the audit" in text
    assert "Verdict: RED" in text


def test_an_oversell_of_any_event_of_the_run_is_red():
    other = Audited("evt_2", 1, agree=True, committed=11, capacity=10)
    assert missed(replace(GOOD, audits=[AUDIT, other])) == ["oversold, by the audit"]


def test_an_audit_that_disagrees_is_red():
    numbers = replace(GOOD, audits=[replace(AUDIT, agree=False)])
    assert missed(numbers) == ["live = journal"]


def test_an_oversell_that_the_audit_hides_is_red():
    assert missed(counts(units=101)) == ["units that buyers were granted"]


def test_a_grant_that_the_journal_does_not_know_is_red():
    numbers = replace(GOOD, audits=[replace(AUDIT, committed=98)])
    assert missed(numbers) == ["units that buyers were granted"]


def test_an_event_that_was_there_before_is_not_counted_by_the_kit():
    assert missed(replace(counts(units=101), made=None)) == []


def test_a_run_without_an_audit_is_red():
    assert missed(replace(GOOD, audits=[])) == ["oversold"]


def test_errors_are_red_from_the_share_that_was_asked_for():
    failing = replace(GOOD, rows=[Row("POST", "hold", 1_000, 10, 80.0)])
    assert missed(failing) == ["errors"]
    assert missed(failing, Objectives(error_percent=1.0)) == []
    assert missed(failing, Objectives(error_percent=0.9)) == ["errors"]


def test_a_journey_that_did_not_end_is_an_error():
    numbers = replace(GOOD, rows=[*GOOD.rows, Row(JOURNEY, "to CONFIRMED", 5, 1, 30_000.0)])
    assert missed(numbers) == ["errors"]


def test_a_run_that_asked_for_nothing_is_red():
    assert missed(replace(GOOD, rows=[])) == ["requests"]


def test_the_slowest_kind_of_request_decides():
    numbers = replace(GOOD, rows=[*GOOD.rows, Row("GET", "event", 3, 0, 501.0)])
    assert missed(numbers) == ["p95, worst: GET event"]
    assert missed(numbers, Objectives(p95_ms=501.0)) == []
    assert missed(numbers, Objectives(p95_ms=None)) == []


def test_neither_the_sandbox_nor_a_journey_is_the_services_latency():
    others = [Row("POST", "sandbox payment", 9, 0, 9_999.0), Row(JOURNEY, "tickets", 9, 0, 9_999.0)]
    assert missed(replace(GOOD, rows=[*GOOD.rows, *others])) == []


def test_an_open_loop_is_judged_from_the_moment_of_arrival():
    numbers = replace(GOOD, rows=[*GOOD.rows, Row(ARRIVAL, "OnSaleRush", 9, 0, 501.0)])
    assert missed(numbers) == ["p95, worst: ARRIVAL OnSaleRush"]


def test_skipped_arrivals_are_judged():
    assert missed(counts(begun=990, skipped=10)) == []
    assert missed(counts(begun=980, skipped=20)) == ["arrivals skipped"]
    assert missed(counts(begun=0, skipped=20), Objectives(skipped_percent=None)) == []


def test_a_few_may_be_turned_away_and_more_where_that_was_said():
    assert missed(counts(turned_away=10)) == []
    assert missed(counts(turned_away=11)) == ["turned away"]
    some = Objectives(turned_away_percent=5.0)
    assert missed(counts(turned_away=50), some) == []
    assert missed(counts(turned_away=51), some) == ["turned away"]
    assert missed(counts(turned_away=500), Objectives(turned_away_percent=None)) == []


def told(**outcomes: int) -> Numbers:
    """Return a run in which holds, and nothing else, were answered so often."""
    named = {f"hold: {name}": count for name, count in outcomes.items()}
    return replace(GOOD, counts={**COUNTS, "outcomes": named, "units": 0})


def test_a_run_in_which_everybody_is_turned_away_is_red_though_any_number_may_be():
    stopped = {"outcomes": {"hold: turned away (sales_stopped)": 1_000}, "turned_away": 1_000}
    numbers = replace(GOOD, counts={**COUNTS, **stopped, "units": 0})
    assert missed(numbers) == ["turned away", "holds decided by the stock"]
    assert missed(numbers, Objectives(turned_away_percent=None)) == ["holds decided by the stock"]


@pytest.mark.parametrize("name", ["granted", "sold_out", "not_enough", "seat_taken"])
def test_one_hold_that_was_granted_or_refused_for_stock_is_a_sale(name: str):
    assert missed(told(**{name: 1, "limit_per_customer": 999})) == []
    assert missed(told(limit_per_customer=999)) == ["holds decided by the stock"]


def test_who_asks_for_no_tickets_needs_none():
    looking = {**COUNTS, "outcomes": {"availability: shown": 1_000}, "units": 0}
    assert missed(replace(GOOD, counts=looking)) == []


def test_trouble_is_red():
    numbers = replace(GOOD, troubles=["worker 1 went missing"])
    assert missed(numbers) == ["trouble"]


def test_a_note_changes_nothing_but_is_read():
    numbers = replace(GOOD, notes=["short of CPU"])
    assert missed(numbers) == []
    assert "Note: short of CPU" in verdict_text(judge(numbers, Objectives()), numbers)


def document(**changed) -> dict:
    kinds = [
        {"code": "a", "capacity": 10, "held": 4, "sold": 6, "blocked": 0},
        {"code": "b", "capacity": 5, "held": 1, "sold": 0, "blocked": 2},
    ]
    side = {"digest": "d", "ticket_types": kinds}
    told = {"event_id": "evt_1", "agree": True, "violations": [], "live": side, "recomputed": side}
    return told | changed


def test_an_audit_is_read():
    assert read_audit(document()) == Audited("evt_1", 0, agree=True, committed=11, capacity=15)
    assert not read_audit(document(agree=False)).agree
    assert not read_audit(document(violations=["I1"])).agree


@pytest.mark.parametrize("side", ["live", "recomputed"])
def test_one_type_beyond_its_capacity_is_oversold_though_another_has_room(side):
    full = {"code": "a", "capacity": 10, "held": 4, "sold": 7, "blocked": 0}
    room = {"code": "b", "capacity": 5, "held": 0, "sold": 0, "blocked": 0}
    assert read_audit(document(**{side: {"ticket_types": [full, room]}})).oversold == 1


def test_while_the_owner_recovers_the_journal_alone_is_read():
    assert read_audit(document(live=None)).oversold == 0
