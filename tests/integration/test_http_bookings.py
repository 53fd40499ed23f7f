"""Bookings over HTTP: read, listed, released, and seen by nobody else."""

import asyncio
import time

import pytest

from actors.wire import Recovering
from engine.journal.keys import event_keys
from engine.limits import REQUEST_DEADLINE_MS
from gateway.routes import bookings
from tests.in_process import BASE, InProcess

BOOKINGS = f"{BASE}/bookings"


async def release(onsale: InProcess, booking_id: str, who: str):
    return await onsale.ask("DELETE", f"{BOOKINGS}/{booking_id}", who)


async def listed(onsale: InProcess, buyer: str, **query: object) -> dict:
    answer = await onsale.get(BOOKINGS, onsale.token("buyer", buyer), params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- read ------------------------------------------------------------------------------


async def test_a_booking_is_read_as_it_was_granted(onsale: InProcess) -> None:
    booking = await onsale.held(await onsale.event(), "ann", ga=2)
    answer = await onsale.get(f"{BOOKINGS}/{booking['id']}", onsale.token("buyer", "ann"))
    assert answer.status_code == 200
    assert answer.json() | {"server_time": ""} == booking | {"server_time": ""}
    assert answer.json()["server_time"] >= booking["server_time"]


@pytest.mark.parametrize(
    ("role", "sub", "claims", "status"),
    [
        ("buyer", "ann", {}, 200),
        ("organizer", "acme", {}, 200),
        ("staff", "tom", {"org": "acme"}, 200),
        ("admin", "root", {}, 200),
        ("buyer", "bob", {}, 404),
        ("buyer", "acme", {}, 404),
        ("buyer", "bob", {"org": "acme"}, 404),
        ("organizer", "rival", {}, 404),
        ("organizer", "rival", {"org": "acme"}, 404),
        ("staff", "tom", {}, 404),
        ("staff", "acme", {"org": "rival"}, 404),
    ],
)
async def test_a_booking_is_seen_by_its_buyer_and_its_organizer(
    onsale: InProcess, role: str, sub: str, claims: dict, status: int
) -> None:
    booking = await onsale.held(await onsale.event("acme"), "ann", ga=1)
    who = onsale.token(role, sub, **claims)
    answer = await onsale.get(f"{BOOKINGS}/{booking['id']}", who)
    assert answer.status_code == status
    if status == 404:
        unknown = booking["id"][:-1] + ("0" if booking["id"][-1] != "0" else "1")
        missing = await onsale.get(f"{BOOKINGS}/{unknown}", who)
        own = {"instance": "", "request_id": ""}
        assert answer.json() | own == missing.json() | own
        assert set(answer.headers) == set(missing.headers)


@pytest.mark.parametrize(
    "booking_id",
    [
        "bk_" + "0" * 28,
        "bk_" + "0" * 27,
        "bk_" + "0" * 29,
        "bk_" + "u" * 28,
        "evt_000000000000",
        "x",
        "x" * 2_000,
        "%00",
        "ü",
    ],
)
async def test_a_booking_that_does_not_exist_is_not_found_whatever_its_id(
    onsale: InProcess, booking_id: str
) -> None:
    ann = onsale.token("buyer", "ann")
    async with onsale.unchanged():
        for method in ("GET", "DELETE"):
            answer = await onsale.ask(method, f"{BOOKINGS}/{booking_id}", ann)
            assert (answer.status_code, answer.json()["code"]) == (404, "booking_not_found")


# -- released --------------------------------------------------------------------------


async def test_a_released_hold_is_free_at_once_for_somebody_else(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=1)
    booking = await onsale.held(event_id, "ann", ga=1)
    answer = await release(onsale, booking["id"], onsale.token("buyer", "ann"))
    assert answer.status_code == 200
    assert answer.json()["status"] == "CANCELLED"
    assert [moment["status"] for moment in answer.json()["history"]] == ["RESERVED", "CANCELLED"]
    await onsale.held(event_id, "bob", "a-key", ga=1)


async def test_releasing_twice_is_the_same_as_once(onsale: InProcess) -> None:
    event_id = await onsale.event()
    booking = await onsale.held(event_id, "ann", ga=1)
    ann = onsale.token("buyer", "ann")
    first = (await release(onsale, booking["id"], ann)).json()
    async with onsale.unchanged():
        second = await release(onsale, booking["id"], ann)
    assert second.status_code == 200
    assert second.json() | {"server_time": ""} == first | {"server_time": ""}


@pytest.mark.parametrize(
    ("role", "sub", "status"),
    [("buyer", "bob", 404), ("admin", "root", 404), ("organizer", "acme", 403)],
)
async def test_only_its_buyer_releases_a_hold(
    onsale: InProcess, role: str, sub: str, status: int
) -> None:
    booking = await onsale.held(await onsale.event("acme"), "ann", ga=1)
    async with onsale.unchanged():
        answer = await release(onsale, booking["id"], onsale.token(role, sub))
    assert answer.status_code == status


# -- listed ----------------------------------------------------------------------------


async def test_a_buyer_lists_their_own_bookings_over_all_events_newest_first(
    onsale: InProcess,
) -> None:
    events = [await onsale.event(), await onsale.event("rival")]
    mine = []
    for number in range(5):
        mine.append((await onsale.held(events[number % 2], "ann", ga=1))["id"])
        await onsale.held(events[number % 2], "bob", ga=1)
        await asyncio.sleep(0.002)  # what is of one millisecond is in no order of time
    seen: list[str] = []
    more = True
    while more:
        page = await listed(
            onsale, "ann", limit=2, **({"starting_after": seen[-1]} if seen else {})
        )
        assert page["object"] == "list"
        assert all(booking["customer"] == "ann" for booking in page["data"])
        seen += [booking["id"] for booking in page["data"]]
        more = page["has_more"]
    assert seen == mine[::-1]


async def test_a_listed_booking_is_the_booking_as_it_stands(onsale: InProcess) -> None:
    booking = await onsale.held(await onsale.event(), "ann", ga=2)
    ann = onsale.token("buyer", "ann")
    await release(onsale, booking["id"], ann)
    (found,) = (await listed(onsale, "ann"))["data"]
    read = (await onsale.get(f"{BOOKINGS}/{booking['id']}", ann)).json()
    assert found | {"server_time": ""} == read | {"server_time": ""}
    assert found["status"] == "CANCELLED"


async def test_a_page_of_bookings_is_asked_for_in_one_batch(onsale: InProcess) -> None:
    event_id = await onsale.event()
    for _ in range(5):
        await onsale.held(event_id, "ann", ga=1)
    batches = []
    submit = onsale.owners.submit

    async def counted(event: str, batch: bytes) -> bytes:
        batches.append(batch)
        return await submit(event, batch)

    onsale.owners.submit = counted
    assert len((await listed(onsale, "ann"))["data"]) == 5
    assert len(batches) == 1


async def test_nobody_has_an_empty_list(onsale: InProcess) -> None:
    assert await listed(onsale, "ann") == {
        "object": "list", "data": [], "has_more": False, "unavailable": []
    }  # fmt: skip


async def halt(onsale: InProcess, event_id: str) -> None:
    """Damage an event's journal and have its owner find that out (FAULTS 17)."""
    await onsale.owners.crash(event_id)
    journal = event_keys(event_id).journal
    second_last = (await onsale.redis.xrevrange(journal, count=2))[1][0]
    await onsale.redis.xdel(journal, second_last)
    await onsale.owners.serving(event_id)


async def test_an_event_that_is_halted_hides_its_own_bookings_and_no_others(
    onsale: InProcess,
) -> None:
    """FAULTS 17: the others go on, also where both are shown together."""
    events = [await onsale.event(), await onsale.event("rival")]
    of = {
        (await onsale.held(events[number % 2], "ann", ga=1))["id"]: events[number % 2]
        for number in range(6)
    }
    # Those of one millisecond are in no order but their own, which is to stay.
    mine = [booking["id"] for booking in (await listed(onsale, "ann"))["data"]]
    assert sorted(mine) == sorted(of)
    halted = [one for one in mine if of[one] == events[1]]
    await halt(onsale, events[1])
    answer = await onsale.get(f"{BOOKINGS}/{halted[0]}", onsale.token("buyer", "ann"))
    assert (answer.status_code, answer.json()["code"]) == (503, "event_halted")
    whole = await listed(onsale, "ann")
    assert [booking["id"] for booking in whole["data"]] == [
        one for one in mine if one not in halted
    ]
    assert whole["unavailable"] == halted
    for limit in (1, 2, 3):
        seen: list[str] = []
        more = True
        while more:
            after = {"starting_after": seen[-1]} if seen else {}
            page = await listed(onsale, "ann", limit=limit, **after)
            ids = {*page["unavailable"], *(booking["id"] for booking in page["data"])}
            assert len(ids) <= limit
            seen += [one for one in mine if one in ids]
            more = page["has_more"]
        assert seen == mine, "whoever pages loses a booking, or sees one twice"


async def test_nobody_pages_from_a_foreign_booking_of_a_halted_event(onsale: InProcess) -> None:
    event_id = await onsale.event()
    booking = await onsale.held(event_id, "bob", ga=1)
    await halt(onsale, event_id)
    ann = onsale.token("buyer", "ann")
    answer = await onsale.get(BOOKINGS, ann, params={"starting_after": booking["id"]})
    assert answer.status_code == 422


async def test_a_slow_event_keeps_a_list_waiting_for_less_than_a_request_may(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookings, "LIST_DEADLINE_MS", 300)
    booking = await onsale.held(await onsale.event(), "ann", ga=1)
    onsale.owners.instead = Recovering()
    began = time.monotonic()
    assert (await listed(onsale, "ann"))["unavailable"] == [booking["id"]]
    assert time.monotonic() - began < REQUEST_DEADLINE_MS / 1_000


async def test_nobody_pages_from_a_booking_that_they_may_not_see(onsale: InProcess) -> None:
    booking = await onsale.held(await onsale.event(), "bob", ga=1)
    ann = onsale.token("buyer", "ann")
    for after in (booking["id"], "bk_" + "0" * 28, "x", "*", "x" * 65):
        answer = await onsale.get(BOOKINGS, ann, params={"starting_after": after})
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/query/starting_after"]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "", "x"])
async def test_a_page_has_between_one_and_a_hundred_bookings(onsale: InProcess, limit: str) -> None:
    answer = await onsale.get(BOOKINGS, onsale.token("buyer", "ann"), params={"limit": limit})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/query/limit"]
