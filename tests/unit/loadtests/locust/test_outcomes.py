"""What counts as an outcome, as turned away, as a failure."""

import json

import pytest

from loadtests.locust.outcomes import Answer, Kind, judge, judge_scan


def told(status: int, code: str = "", retry_after: str | None = None) -> tuple[Kind, str]:
    body = json.dumps({"code": code}).encode() if code else b""
    answer = judge(status, body, retry_after, "granted")
    return answer.kind, answer.name


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_what_was_done_has_the_name_of_what_was_asked(status):
    assert told(status) == (Kind.OUTCOME, "granted")


def test_what_has_not_changed_is_not_shown_again():
    assert told(304) == (Kind.OUTCOME, "not changed")


@pytest.mark.parametrize(
    "code", ["sold_out", "not_enough", "seat_taken", "limit_per_booking", "limit_per_customer"]
)
def test_refusals_of_the_sale_are_outcomes(code):
    assert told(409, code) == (Kind.OUTCOME, code)


@pytest.mark.parametrize("status", [429, 503])
def test_a_polite_503_turns_away(status):
    assert told(status, "overloaded", "1") == (Kind.TURNED_AWAY, "overloaded")
    assert told(status, "overloaded") == (Kind.FAILURE, f"{status} overloaded")


@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (500, "internal", "500 internal"),
        (404, "event_not_found", "404 event_not_found"),
        (409, "sale_closed", "409 sale_closed"),
        (401, "", "401"),
        (500, "sold_out", "500 sold_out"),
        (0, "", "no answer"),
    ],
)
def test_everything_else_is_a_failure(status, code, name):
    assert told(status, code) == (Kind.FAILURE, name)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b'{"code":7}', b"\xff"])
def test_a_body_that_is_no_problem_document_has_no_code(body):
    assert judge(500, body, None, "granted") == Answer(Kind.FAILURE, "500")


def scan(result: str, reason: str | None = None) -> Answer:
    return judge_scan(json.dumps({"result": result, "reason": reason}).encode())


def test_a_ticket_that_is_shown_again_is_refused_and_that_is_right():
    assert scan("admitted") == Answer(Kind.OUTCOME, "admitted")
    assert scan("refused", "already_used") == Answer(Kind.OUTCOME, "already_used")


@pytest.mark.parametrize("reason", ["void", "forged", "wrong_event", "unpaid"])
def test_good_tickets_that_are_refused_are_failures(reason):
    assert scan("refused", reason) == Answer(Kind.FAILURE, reason)


def test_outcomes_are_shown_by_name_and_the_rest_with_its_kind():
    kinds = [Answer(kind, "x").shown for kind in Kind]
    assert kinds == ["x", "turned away (x)", "failure (x)"]
