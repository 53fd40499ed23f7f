"""Problems: every code has a kind, every document its members, every secret its silence."""

import re

import msgspec
import pytest

from engine.domain.outcomes import TRANSIENT, Refusal, Refused
from gateway.batcher import Unanswered
from gateway.problems import KINDS, MEDIA_TYPE, FieldError, Problem, of_refusal


@pytest.mark.parametrize("code", [*Refusal, *Unanswered])
def test_every_refusal_and_every_silence_has_a_kind(code: str) -> None:
    assert code in KINDS


@pytest.mark.parametrize("code", KINDS)
def test_every_kind_can_be_told_to_a_client(code: str) -> None:
    kind = KINDS[code]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    assert 400 <= kind.status <= 503
    assert kind.title
    assert re.fullmatch(r"[A-Z].+[.]", kind.advice), "it is one or more whole sentences"
    assert kind.title not in kind.advice
    assert "<" not in kind.title + kind.advice
    document = Problem(code).document("/api/v1/events", "request-1")
    assert list(document) == [
        "type", "title", "status", "detail", "instance", "code", "request_id", "retryable"
    ]  # fmt: skip
    assert document["type"] == f"/problems/{code}"
    assert document["status"] == kind.status
    assert document["detail"]


@pytest.mark.parametrize("code", KINDS)
def test_only_what_may_pass_by_itself_is_retryable(code: str) -> None:
    retryable = Problem(code).document("/", "1")["retryable"]
    if code in set(Refusal):
        assert retryable is (code in TRANSIENT)
    elif KINDS[code].status in (429, 503):
        assert retryable is (code != "event_halted")
    else:
        assert retryable is (code == "request_timeout")


@pytest.mark.parametrize("code", KINDS)
def test_who_should_come_back_is_told_when_and_never_all_at_once(code: str) -> None:
    waits = {Problem(code).headers().get("retry-after") for _ in range(100)}
    assert waits == ({"1", "2", "3"} if KINDS[code].status in (429, 503) else {None})


def test_a_known_wait_is_told_as_it_is() -> None:
    assert Problem("rate_limited", retry_after=42).headers() == {"retry-after": "42"}


def test_a_code_that_is_none_is_an_error_of_ours() -> None:
    with pytest.raises(KeyError):
        Problem("no_such_code")


def test_the_body_is_the_document() -> None:
    problem = Problem("invalid_request", "x", (FieldError("/a", "b"),), {"extra": 1})
    document = msgspec.json.decode(problem.body("/path", "id"))
    assert document["errors"] == [{"pointer": "/a", "message": "b"}]
    assert document["extra"] == 1
    assert MEDIA_TYPE == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "instance"),
    [("/api/v1/events", "/api/v1/events"), ("/a b", "/a%20b"), ("/ü\x00", "/%C3%BC%00")],
)
def test_the_instance_is_a_reference_whatever_was_asked_for(path: str, instance: str) -> None:
    assert Problem("not_found").document(path, "1")["instance"] == instance


# -- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("code", list(Refusal))
def test_a_refusal_without_more_to_say_says_its_title(code: Refusal) -> None:
    problem = of_refusal(Refused(code), 5)
    assert problem.code == code
    # A 404 says no more than that of an object that is not there at all.
    assert problem.detail == ("" if KINDS[code].status == 404 else f"{KINDS[code].title}.")


def test_a_refusal_tells_what_stood_in_the_way() -> None:
    refused = Refused(Refusal.NOT_ENOUGH, "ga", available=0, held=3)
    document = of_refusal(refused, 41).document("/", "1")
    assert document["detail"] == "Not enough left: ga; 0 free, 3 held."
    assert {name: document[name] for name in ("subject", "available", "held", "sequence")} == {
        "subject": "ga",
        "available": 0,
        "held": 3,
        "sequence": 41,
    }
    assert "limit" not in document


def test_a_limit_is_told_with_its_number() -> None:
    document = of_refusal(Refused(Refusal.LIMIT_PER_CUSTOMER, limit=4)).document("/", "1")
    assert document["limit"] == 4
    assert document["detail"] == "More than one customer may have: limit 4."
    assert "sequence" not in document


def test_taken_seats_are_named() -> None:
    refused = Refused(Refusal.SEAT_TAKEN, "seat", seats=("P-A-1", "P-A-2"))
    assert of_refusal(refused).document("/", "1")["seats"] == ["P-A-1", "P-A-2"]


@pytest.mark.parametrize("code", [Refusal.EVENT_NOT_FOUND, Refusal.BOOKING_NOT_FOUND])
def test_what_is_foreign_is_told_like_what_is_missing(code: Refusal) -> None:
    foreign, missing = of_refusal(Refused(code), 41), Problem(code)
    assert foreign.body("/x", "1") == missing.body("/x", "1")
