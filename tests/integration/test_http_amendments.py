"""`PATCH /events/{id}`: what may change, what may not, and that it is all or nothing."""

import pytest

from tests.in_process import BASE, InProcess

EVENTS = f"{BASE}/events"

SHARED = {
    "ticket_types": [
        {"code": "full", "name": "Full", "price": 4_500, "allotment": "floor"},
        {"code": "half", "name": "Half", "price": 2_000, "allotment": "floor"},
        {"code": "box", "name": "Box", "price": 9_000, "capacity": 4},
    ],
    "allotments": [{"code": "floor", "capacity": 10}],
}


async def amended(onsale: InProcess, event_id: str, **body):
    acme = onsale.token("organizer", "acme")
    return await onsale.ask("PATCH", f"{EVENTS}/{event_id}", acme, json=body)


async def assert_refused(onsale: InProcess, event_id: str, status: int, code: str, **body) -> dict:
    """Assert the refusal, and that nothing of the amendment was done."""
    async with onsale.unchanged():
        answer = await amended(onsale, event_id, name="Another name", **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()


# -- what may change -------------------------------------------------------------------


async def test_what_is_sent_changes_and_the_rest_stays(onsale: InProcess) -> None:
    event_id = await onsale.event(description="as it was")
    before = (await onsale.get(f"{EVENTS}/{event_id}")).json()
    answer = await amended(
        onsale,
        event_id,
        name="Night of Winds",
        sale={"closes_at": "2096-02-01T00:00:00Z"},
        ticket_types=[{"code": "ga", "price": 5_000, "capacity": 12}],
    )
    assert answer.status_code == 200
    kind = before["ticket_types"][0] | {"price": 5_000, "capacity": 12}
    assert answer.json() == before | {
        "name": "Night of Winds",
        "sale": before["sale"] | {"closes_at": "2096-02-01T00:00:00.000Z"},
        "ticket_types": [kind],
    }
    assert (await onsale.get(f"{EVENTS}/{event_id}")).json() == answer.json()


async def test_a_null_in_the_sale_takes_the_limit_away(onsale: InProcess) -> None:
    window = {"opens_at": "2096-01-01T00:00:00Z", "closes_at": "2096-02-01T00:00:00Z"}
    event_id = await onsale.event(sale=window)
    opened = (await amended(onsale, event_id, sale={"opens_at": None})).json()
    assert opened["sale"]["opens_at"] is None
    assert opened["sale"]["closes_at"] == "2096-02-01T00:00:00.000Z"
    await onsale.held(event_id, "ann", ga=1)


@pytest.mark.parametrize(
    "body", [{}, {"sale": {}}, {"ticket_types": []}, {"name": "Night of Strings"}]
)
async def test_an_amendment_of_nothing_changes_nothing(onsale: InProcess, body: dict) -> None:
    event_id = await onsale.event()
    before = (await onsale.get(f"{EVENTS}/{event_id}")).json()
    async with onsale.unchanged():
        answer = await amended(onsale, event_id, **body)
    assert (answer.status_code, answer.json()) == (200, before)


async def test_a_higher_capacity_is_on_sale_at_once(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=1)
    await onsale.held(event_id, "ann", ga=1)
    assert (await onsale.hold(event_id, "bob", "k", ga=1)).status_code == 409
    await amended(onsale, event_id, ticket_types=[{"code": "ga", "capacity": 2}])
    await onsale.held(event_id, "bob", "k", ga=1)


async def test_a_capacity_may_fall_to_what_is_held_and_not_below(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=10)
    await onsale.held(event_id, "ann", ga=3)
    exact = await amended(onsale, event_id, ticket_types=[{"code": "ga", "capacity": 3}])
    assert exact.status_code == 200
    problem = await assert_refused(
        onsale, event_id, 409, "below_committed", ticket_types=[{"code": "ga", "capacity": 2}]
    )
    assert (problem["subject"], problem["limit"], problem["retryable"]) == ("ga", 3, False)


async def test_a_shared_allotment_is_amended_by_its_own_code(onsale: InProcess) -> None:
    event_id = await onsale.event(**SHARED)
    await onsale.held(event_id, "ann", full=2, half=1)
    event = (await amended(onsale, event_id, allotments=[{"code": "floor", "capacity": 3}])).json()
    assert event["allotments"] == [{"code": "floor", "capacity": 3}]
    assert [kind["capacity"] for kind in event["ticket_types"]] == [3, 3, 4]
    await assert_refused(
        onsale, event_id, 409, "below_committed", allotments=[{"code": "floor", "capacity": 2}]
    )


async def test_an_own_stock_may_be_named_as_an_allotment(onsale: InProcess) -> None:
    event_id = await onsale.event(**SHARED)
    event = (await amended(onsale, event_id, allotments=[{"code": "box", "capacity": 5}])).json()
    assert [kind["capacity"] for kind in event["ticket_types"]] == [10, 10, 5]


# -- what may not ----------------------------------------------------------------------


async def test_the_price_of_what_was_ever_held_is_fixed_and_that_of_its_neighbour_is_not(
    onsale: InProcess,
) -> None:
    event_id = await onsale.event(**SHARED)
    await onsale.held(event_id, "ann", full=1)
    problem = await assert_refused(
        onsale, event_id, 409, "price_committed", ticket_types=[{"code": "full", "price": 1}]
    )
    assert problem["subject"] == "full"
    other = await amended(onsale, event_id, ticket_types=[{"code": "half", "price": 1_000}])
    assert other.status_code == 200
    booking = await onsale.held(event_id, "bob", half=2)
    assert booking["total"]["amount"] == 2_000


@pytest.mark.parametrize(
    ("body", "code", "subject", "pointer"),
    [
        (
            {"ticket_types": [{"code": "full", "price": 1}, {"code": "none", "price": 1}]},
            "unknown_ticket_type", "none", "/ticket_types/1/code",
        ),
        (
            {"ticket_types": [{"code": "none", "capacity": 1}]},
            "unknown_allotment", "none", "/ticket_types/0/code",
        ),
        (
            {"ticket_types": [{"code": "full", "capacity": 1}]},
            "unknown_allotment", "full", "/ticket_types/0/code",
        ),
        (
            {"allotments": [{"code": "none", "capacity": 1}]},
            "unknown_allotment", "none", "/allotments/0/code",
        ),
    ],
)  # fmt: skip
async def test_an_unknown_code_is_refused_by_name_and_place(
    onsale: InProcess, body: dict, code: str, subject: str, pointer: str
) -> None:
    event_id = await onsale.event(**SHARED)
    problem = await assert_refused(onsale, event_id, 422, code, **body)
    assert problem["subject"] == subject
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert problem["errors"][0]["message"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": None}, "/name"),
        ({"sale": None}, "/sale"),
        (
            {"ticket_types": [{"code": "full", "price": None, "capacity": 9}]},
            "/ticket_types/0/price",
        ),
    ],
)
async def test_null_does_not_stand_for_what_is_left_out(
    onsale: InProcess, body: dict, pointer: str
) -> None:
    event_id = await onsale.event(**SHARED)
    async with onsale.unchanged():
        answer = await amended(onsale, event_id, **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    "sale",
    [
        {"opens_at": "2096-03-01T19:00:00Z"},
        {"opens_at": "2096-02-01T00:00:00Z", "closes_at": "2096-02-01T00:00:00Z"},
    ],
)
async def test_a_sale_cannot_open_when_it_is_over(onsale: InProcess, sale: dict) -> None:
    event_id = await onsale.event()
    problem = await assert_refused(onsale, event_id, 422, "sale_window_invalid", sale=sale)
    assert [error["pointer"] for error in problem["errors"]] == [f"/sale/{list(sale)[-1]}"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"ticket_types": [{"code": "full"}]}, "/ticket_types/0"),
        ({"ticket_types": [{"code": "full", "price": -1}]}, "/ticket_types/0/price"),
        ({"ticket_types": [{"code": "full", "capacity": 0}]}, "/ticket_types/0/capacity"),
        ({"ticket_types": [{"code": "full", "capacity": True}]}, "/ticket_types/0/capacity"),
        ({"ticket_types": [{"code": "full", "name": "x"}]}, "/ticket_types/0/name"),
        ({"ticket_types": [{"code": "box", "price": 1}] * 2}, "/ticket_types/1/code"),
        ({"ticket_types": [{"price": 1}]}, "/ticket_types/0/code"),
        ({"ticket_types": [{"code": "x", "price": 1}] * 51}, "/ticket_types"),
        ({"allotments": [{"code": "floor", "capacity": 11}] * 2}, "/allotments/1/code"),
        ({"allotments": [{"code": "floor"}]}, "/allotments/0/capacity"),
        (
            {
                "ticket_types": [{"code": "box", "capacity": 5}],
                "allotments": [{"code": "box", "capacity": 6}],
            },
            "/allotments/0/code",
        ),
        ({"sale": {"opens_at": 0}}, "/sale/opens_at"),
        ({"sale": {"opens": None}}, "/sale/opens"),
        ({"sale": []}, "/sale"),
        ({"starts_at": "2097-01-01T00:00:00Z"}, "/starts_at"),
        ({"currency": "USD"}, "/currency"),
        ({"max_per_customer": 1}, "/max_per_customer"),
        ({"a/b~c": 1}, "/a~1b~0c"),
    ],
)
async def test_what_cannot_be_amended_is_named_by_its_pointer(
    onsale: InProcess, body: dict, pointer: str
) -> None:
    event_id = await onsale.event(**SHARED)
    problem = await assert_refused(onsale, event_id, 422, "invalid_request", **body)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, "two\nlines", "nul\0", 5, ["x"], True])
async def test_a_name_that_cannot_be_printed_is_refused(onsale: InProcess, name: object) -> None:
    event_id = await onsale.event()
    async with onsale.unchanged():
        answer = await amended(onsale, event_id, name=name)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/name"]


# -- by whom ---------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["organizer", "admin"])
async def test_another_organizer_finds_nothing_and_an_admin_finds_all(
    onsale: InProcess, role: str
) -> None:
    event_id = await onsale.event()
    answer = await onsale.ask(
        "PATCH", f"{EVENTS}/{event_id}", onsale.token(role, "other"), json={"name": "Mine"}
    )
    missing = await onsale.ask(
        "PATCH", f"{EVENTS}/evt_000000000000", onsale.token(role, "other"), json={"name": "Mine"}
    )
    assert missing.status_code == 404
    if role == "admin":
        assert answer.json()["name"] == "Mine"
        return
    same = {"instance": "", "request_id": ""}
    assert answer.json() | same == missing.json() | same
