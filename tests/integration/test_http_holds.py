"""The hot route over HTTP: what is granted, what is refused, and in which order."""

import asyncio
import re

import pytest

from tests.in_process import BASE, InProcess, items

EVENTS = f"{BASE}/events"
BOOKING_ID = re.compile(r"bk_[0-9a-hjkmnp-tv-z]{28}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

#: Two prices on one stock, and a type of its own.
SHARED = {
    "ticket_types": [
        {"code": "full", "name": "Full", "price": 4_500, "allotment": "floor"},
        {"code": "half", "name": "Half", "price": 2_000, "allotment": "floor"},
        {"code": "box", "name": "Box", "price": 9_000, "capacity": 4, "max_per_booking": 2},
    ],
    "allotments": [{"code": "floor", "capacity": 4}],
}


async def refusal(onsale: InProcess, event_id: str, buyer: str, **quantities: int) -> dict:
    """Assert that a hold is refused without a trace, and return the problem."""
    async with onsale.unchanged():
        answer = await onsale.hold(event_id, buyer, **quantities)
        again = await onsale.hold(event_id, buyer, "a-key", **quantities)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == answer.json()["status"]
    own = {"request_id": ""}
    assert again.json() | own == answer.json() | own, "the owner would have said something else"
    return answer.json()


# -- granted ---------------------------------------------------------------------------


async def test_a_granted_hold_is_a_booking_in_every_detail(onsale: InProcess) -> None:
    event_id = await onsale.event(**SHARED)
    answer = await onsale.hold(event_id, "ann", full=2, box=1)
    assert answer.status_code == 201
    booking = answer.json()
    assert BOOKING_ID.fullmatch(booking["id"])
    assert booking["id"][3:15] == event_id[4:]
    assert answer.headers["location"] == f"{BASE}/bookings/{booking['id']}"
    assert answer.headers["content-type"] == "application/json"
    assert "idempotent-replayed" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)
    held_at, expires_at = booking["server_time"], booking["expires_at"]
    assert TIME.fullmatch(held_at)
    assert TIME.fullmatch(expires_at)
    assert booking == {
        "id": booking["id"],
        "event_id": event_id,
        "customer": "ann",
        "status": "RESERVED",
        "items": [
            {"ticket_type": "full", "quantity": 2, "seats": [], "unit_price": 4_500},
            {"ticket_type": "box", "quantity": 1, "seats": [], "unit_price": 9_000},
        ],
        "total": {"amount": 18_000, "currency": "EUR"},
        "expires_at": expires_at,
        "server_time": held_at,
        "sequence": 2,
        "tickets": [],
        "history": [{"status": "RESERVED", "at": held_at}],
    }


async def test_the_price_is_that_of_the_moment_of_the_hold(onsale: InProcess) -> None:
    event_id = await onsale.event(**SHARED)
    booking = await onsale.held(event_id, "ann", half=1)
    acme = onsale.token("organizer", "acme")
    body = {"ticket_types": [{"code": "box", "price": 1}]}
    await onsale.ask("PATCH", f"{EVENTS}/{event_id}", acme, json=body)
    after = await onsale.get(f"{BASE}/bookings/{booking['id']}", onsale.token("buyer", "ann"))
    assert after.json()["total"] == {"amount": 2_000, "currency": "EUR"}
    assert (await onsale.held(event_id, "ann", box=1))["total"]["amount"] == 1


async def test_an_admin_may_hold_for_themselves(onsale: InProcess) -> None:
    path = f"{EVENTS}/{await onsale.event()}/holds"
    answer = await onsale.post(path, onsale.token("admin", "root"), json=items(ga=1))
    assert (answer.status_code, answer.json()["customer"]) == (201, "root")


async def test_a_stampede_gets_exactly_what_there_is(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=20)
    answers = await asyncio.gather(
        *(onsale.hold(event_id, f"buyer-{number}", ga=1) for number in range(200))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 180
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 20
    counts = (await onsale.get(f"{EVENTS}/{event_id}/availability")).json()["ticket_types"][0]
    assert (counts["available"], counts["held"]) == (0, 20)


async def test_types_that_share_a_stock_take_from_it_together(onsale: InProcess) -> None:
    event_id = await onsale.event(**SHARED)
    await onsale.held(event_id, "ann", full=2, half=1)
    problem = await refusal(onsale, event_id, "bob", full=1, half=1)
    assert (problem["code"], problem["available"], problem["held"]) == ("not_enough", 1, 3)
    counts = (await onsale.get(f"{EVENTS}/{event_id}/availability")).json()["ticket_types"]
    assert [(kind["available"], kind["held"]) for kind in counts] == [(1, 3), (1, 3), (4, 0)]


# -- refused, in the order in which the reasons win -------------------------------------


async def test_the_reasons_win_in_the_order_of_the_contract(onsale: InProcess) -> None:
    """Everything is wrong at once; each cure uncovers the next reason."""
    event_id = await onsale.event(**SHARED, max_per_customer=3)
    acme = onsale.token("organizer", "acme")
    await onsale.held(event_id, "ann", "used", full=3)
    await onsale.post(f"{EVENTS}/{event_id}/pause", acme)
    reused = await onsale.hold(event_id, "ann", "used", none=1)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")

    async def code(**quantities: int) -> tuple[int, str]:
        problem = await refusal(onsale, event_id, "ann", **quantities)
        return problem["status"], problem["code"]

    assert await code(none=1, box=3) == (409, "sale_paused")
    await onsale.post(f"{EVENTS}/{event_id}/resume", acme)
    assert await code(none=1, box=3) == (422, "unknown_ticket_type")
    assert await code(box=3) == (409, "limit_per_booking")
    assert await code(full=2) == (409, "limit_per_customer")
    problem = await refusal(onsale, event_id, "bob", full=2)
    assert (problem["status"], problem["code"]) == (409, "not_enough")
    assert (problem["available"], problem["held"], problem["subject"]) == (1, 3, "full")


async def test_a_sale_that_has_not_opened_says_so(onsale: InProcess) -> None:
    event_id = await onsale.event(sale={"opens_at": "2096-01-01T00:00:00Z"})
    problem = await refusal(onsale, event_id, "ann", ga=1)
    assert (problem["status"], problem["code"]) == (409, "sale_not_open")
    assert problem["retryable"] is True


async def test_a_sale_that_is_over_says_so(onsale: InProcess) -> None:
    event_id = await onsale.event()
    acme = onsale.token("organizer", "acme")
    sale = {"closes_at": "2026-01-01T00:00:00Z"}
    closed = await onsale.ask("PATCH", f"{EVENTS}/{event_id}", acme, json={"sale": sale})
    assert closed.status_code == 200
    problem = await refusal(onsale, event_id, "ann", ga=1)
    assert (problem["status"], problem["code"], problem["retryable"]) == (409, "sale_closed", False)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"ticket_type": "ga", "seats": ["P-A-1", "P-A-2"]}, "seats/0"),
        ({"ticket_type": "ga", "quantity": 2, "best_available": True}, "best_available"),
    ],
)
async def test_seats_are_refused_until_there_are_any(
    onsale: InProcess, item: dict, field: str
) -> None:
    path = f"{EVENTS}/{await onsale.event()}/holds"
    async with onsale.unchanged():
        answer = await onsale.post(path, onsale.token("buyer", "ann"), json={"items": [item]})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_seat")
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"/items/0/{field}"]


async def test_an_unknown_ticket_type_is_refused_by_its_place(onsale: InProcess) -> None:
    problem = await refusal(onsale, await onsale.event(), "ann", ga=1, none=1)
    assert (problem["code"], problem["subject"]) == ("unknown_ticket_type", "none")
    pointer, message = "/items/1/ticket_type", "The event has no such ticket type"
    assert problem["errors"] == [{"pointer": pointer, "message": message}]


async def test_the_limits_are_told_with_the_refusal(onsale: InProcess) -> None:
    event_id = await onsale.event(max_per_booking=3, max_per_customer=4)
    problem = await refusal(onsale, event_id, "ann", ga=4)
    assert (problem["code"], problem["limit"], problem["subject"]) == ("limit_per_booking", 3, "ga")
    await onsale.held(event_id, "ann", ga=3)
    problem = await refusal(onsale, event_id, "ann", ga=2)
    assert (problem["code"], problem["limit"]) == ("limit_per_customer", 4)


async def test_what_is_held_may_come_back_and_what_is_gone_may_not(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=2)
    booking = await onsale.held(event_id, "ann", ga=2)
    problem = await refusal(onsale, event_id, "bob", ga=1)
    assert (problem["code"], problem["retryable"]) == ("not_enough", True)
    assert (problem["available"], problem["held"], problem["sequence"]) == (0, 2, 2)
    await onsale.ask("DELETE", f"{BASE}/bookings/{booking['id']}", onsale.token("buyer", "ann"))
    await onsale.held(event_id, "bob", "later", ga=2)


async def test_an_unknown_event_is_not_found_before_anything_else(onsale: InProcess) -> None:
    for event_id in ("evt_000000000000", "x", "", "evt_" + "0" * 600, "%00"):
        answer = await onsale.hold(event_id, "ann", ga=1)
        assert (answer.status_code, answer.json()["code"]) == (404, "event_not_found")


# -- not a request at all --------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/items"),
        ({"items": None}, "/items"),
        ({"items": []}, "/items"),
        ({"items": {}}, "/items"),
        ({"items": ["ga"]}, "/items/0"),
        ({"items": [{"ticket_type": "ga", "quantity": 1}] * 51}, "/items"),
        ({"items": [{"quantity": 1}]}, "/items/0/ticket_type"),
        ({"items": [{"ticket_type": None, "quantity": 1}]}, "/items/0/ticket_type"),
        ({"items": [{"ticket_type": "GA", "quantity": 1}]}, "/items/0/ticket_type"),
        ({"items": [{"ticket_type": "x" * 33, "quantity": 1}]}, "/items/0/ticket_type"),
        ({"items": [{"ticket_type": "ga"}]}, "/items/0/quantity"),
        ({"items": [{"ticket_type": "ga", "quantity": None}]}, "/items/0/quantity"),
        ({"items": [{"ticket_type": "ga", "best_available": True}]}, "/items/0/quantity"),
        ({"items": [{"ticket_type": "ga", "quantity": 1, "price": 0}]}, "/items/0/price"),
        ({"items": [{"ticket_type": "ga", "quantity": 1}], "note": "x"}, "/note"),
        (
            {"items": [{"ticket_type": "ga", "quantity": 1, "best_available": 1}]},
            "/items/0/best_available",
        ),
        (
            {"items": [{"ticket_type": "ga", "quantity": 1}, {"ticket_type": "ga", "quantity": 2}]},
            "/items/1/ticket_type",
        ),
        ({"items": [{"ticket_type": "ga", "seats": []}]}, "/items/0/seats"),
        ({"items": [{"ticket_type": "ga", "seats": ["A-1", "A-1"]}]}, "/items/0/seats"),
        ({"items": [{"ticket_type": "ga", "seats": [""]}]}, "/items/0/seats/0"),
        ({"items": [{"ticket_type": "ga", "seats": ["A"] * 101}]}, "/items/0/seats"),
        ({"items": [{"ticket_type": "ga", "seats": ["A-1"], "quantity": 1}]}, "/items/0/seats"),
        ([], ""),
        ("ga", ""),
        (7, ""),
    ],
)
async def test_a_wrong_field_is_named_by_its_pointer(
    onsale: InProcess, body: object, pointer: str
) -> None:
    path = f"{EVENTS}/{await onsale.event()}/holds"
    async with onsale.unchanged():
        answer = await onsale.post(path, onsale.token("buyer", "ann"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("quantity", [0, -1, 1_001, 10**30, 1.0, 1.5, "2", True, [], {}], ids=repr)
async def test_a_quantity_is_a_whole_number_within_reason(
    onsale: InProcess, quantity: object
) -> None:
    path = f"{EVENTS}/{await onsale.event()}/holds"
    body = {"items": [{"ticket_type": "ga", "quantity": quantity}]}
    async with onsale.unchanged():
        answer = await onsale.post(path, onsale.token("buyer", "ann"), json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/items/0/quantity"]
