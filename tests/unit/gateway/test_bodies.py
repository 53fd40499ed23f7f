"""Bodies: what they mean, and where exactly they are wrong."""

import json
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from engine.domain.commands import Item
from gateway.bodies import (
    EventBody,
    EventPatch,
    Moment,
    TimeZone,
    invalid,
    of_validation,
    parse_hold,
)
from gateway.problems import Problem

moment = TypeAdapter(Moment).validate_python
zone = TypeAdapter(TimeZone).validate_python


def problem_of(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        parse_hold(body)
    return caught.value


# -- holds -----------------------------------------------------------------------------


def test_a_hold_names_what_is_wanted_in_its_order() -> None:
    body = {
        "items": [
            {"ticket_type": "b", "quantity": 2},
            {"ticket_type": "a", "quantity": 1, "best_available": True},
            {"ticket_type": "c", "seats": ["P-A-1", "P-A-2"]},
            {"ticket_type": "d", "quantity": 1, "seats": None, "best_available": False},
        ]
    }
    assert parse_hold(json.dumps(body).encode()) == (
        Item("b", 2),
        Item("a", 1, (), best_available=True),
        Item("c", 2, ("P-A-1", "P-A-2")),
        Item("d", 1),
    )


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"items": [}', b"[" * 10_000, b'"\\ud800"', b"{} {}"]
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    problem = problem_of(body)
    assert (problem.code, problem.kind.status) == ("malformed_json", 400)
    assert [error.pointer for error in problem.errors] == [""]


def test_every_wrong_field_of_a_hold_is_named() -> None:
    body = {
        "items": [
            {"ticket_type": "A!", "quantity": 0},
            {"ticket_type": "b", "quantity": "2", "x": 1},
        ],
        "y": 2,
    }
    problem = problem_of(json.dumps(body).encode())
    assert (problem.code, problem.kind.status) == ("invalid_request", 422)
    assert {error.pointer for error in problem.errors} == {
        "/items/0/ticket_type",
        "/items/0/quantity",
        "/items/1/quantity",
        "/items/1/x",
        "/y",
    }


def test_what_a_client_sent_is_not_sent_back_but_for_the_names_of_fields() -> None:
    problem = problem_of(b'{"items": [{"ticket_type": "my secret", "quantity": "my secret"}]}')
    assert "my secret" not in json.dumps(problem.document("/", "1"))


# -- times and zones -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2027-03-01T19:00:00Z", datetime(2027, 3, 1, 19, tzinfo=UTC)),
        ("2027-03-01t19:00:00z", datetime(2027, 3, 1, 19, tzinfo=UTC)),
        ("2027-03-01T20:00:00+01:00", datetime(2027, 3, 1, 19, tzinfo=UTC)),
        ("2027-03-01T19:00:00.001Z", datetime(2027, 3, 1, 19, microsecond=1_000, tzinfo=UTC)),
        ("2027-03-01T19:00:00.1234567Z", datetime(2027, 3, 1, 19, 0, 0, 123_456, tzinfo=UTC)),
        ("1971-01-01T00:00:00Z", datetime(1971, 1, 1, tzinfo=UTC)),
        ("9998-12-31T23:59:59Z", datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_rfc_3339_writes_it(text: str, meant: datetime) -> None:
    assert moment(text) == meant


@pytest.mark.parametrize(
    "wrong",
    [1_800_000_000, 1.5, True, None, "1800000000", "", "2027-03-01", "2027-03-01T19:00:00",
     "2027-03-01 19:00:00Z", "2027-03-01T19:00Z", "2027-02-29T00:00:00Z",
     "\u0662027-03-01T19:00:00Z", "2027-03-01T19:00:00Z\n", "1970-12-31T23:59:59Z",
     "9999-01-01T00:00:00Z"],
)  # fmt: skip
def test_any_other_form_of_a_time_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        moment(wrong)


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires"])
def test_a_zone_is_one_of_the_iana_database(name: str) -> None:
    assert zone(name) == name


@pytest.mark.parametrize("name", ["europe/berlin", "localtime", "Factory", "../UTC", "", "x" * 65])
def test_another_name_is_no_zone(name: str) -> None:
    with pytest.raises(ValidationError):
        zone(name)


# -- amendments ------------------------------------------------------------------------


def test_an_amendment_knows_what_was_sent_from_what_was_not() -> None:
    body = EventPatch.model_validate({"sale": {"opens_at": None}})
    assert body.sale is not None
    assert body.sale.model_fields_set == {"opens_at"}
    assert body.name is None


def test_an_amended_ticket_type_says_what_is_to_change() -> None:
    with pytest.raises(ValidationError, match="needs a price or a capacity"):
        EventPatch.model_validate({"ticket_types": [{"code": "ga"}]})
    EventPatch.model_validate({"ticket_types": [{"code": "ga", "price": 0}]})


@pytest.mark.parametrize("model", [EventBody, EventPatch])
def test_defaults_are_not_shared_between_bodies(model: type[BaseModel]) -> None:
    sent = {
        "name": "x",
        "starts_at": "2096-01-01T00:00:00Z",
        "currency": "EUR",
        "ticket_types": [{"code": "ga", "name": "x", "price": 1, "capacity": 1}],
    }
    sent = {name: value for name, value in sent.items() if name in model.model_fields}
    if model is EventPatch:
        sent.pop("ticket_types")
    first, second = model.model_validate(sent), model.model_validate(sent)
    first.allotments.append(None)
    assert second.allotments == []


# -- pointers --------------------------------------------------------------------------


def test_a_pointer_escapes_what_rfc_6901_escapes() -> None:
    problem = of_validation([{"type": "x", "loc": ("a/b", 0, "~c", ""), "msg": "wrong"}])
    assert problem.errors[0].pointer == "/a~1b/0/~0c/"


def test_no_more_than_twenty_errors_are_told() -> None:
    problem = of_validation([{"type": "x", "loc": (number,), "msg": "m"} for number in range(99)])
    assert len(problem.errors) == 20


def test_one_wrong_field_is_a_problem_of_its_own() -> None:
    problem = invalid("/sale", "is wrong")
    assert problem.document("/x", "1")["errors"] == [{"pointer": "/sale", "message": "is wrong"}]
