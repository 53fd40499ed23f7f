"""Tickets over HTTP: of confirmed bookings only, for whoever may see those, and readable."""

import asyncio
import re
import threading
from datetime import UTC, datetime
from typing import Any

import httpx
import icalendar
import pytest

from engine.limits import DRAWINGS_WAITING_MAX
from engine.tickets.seal import Opened
from tests.in_process import BASE, InProcess
from tests.reading_codes import read_pdf, read_png, text_of

BOOKINGS = f"{BASE}/bookings"
TICKETS = f"{BASE}/tickets"


async def confirmed(onsale: InProcess, buyer: str = "ann", ga: int = 2, **event: Any) -> dict:
    """Book and confirm, free of charge."""
    booking = await onsale.held(await onsale.event(price=0, **event), buyer, ga=ga)
    who = onsale.token("buyer", buyer)
    answer = await onsale.post(f"{BOOKINGS}/{booking['id']}/payment-intent", who)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "CONFIRMED"
    return answer.json()


async def tickets(onsale: InProcess, booking_id: str, who: str | None = None) -> list[dict]:
    answer = await onsale.get(
        f"{BOOKINGS}/{booking_id}/tickets", who or onsale.token("buyer", "ann")
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["has_more"] is False
    return answer.json()["data"]


async def refund(onsale: InProcess, booking_id: str, **quantities: int) -> httpx.Response:
    items = [{"ticket_type": code, "quantity": count} for code, count in quantities.items()]
    body = {"json": {"items": items}} if items else {}
    who = onsale.token("organizer", "acme")
    return await onsale.post(f"{BOOKINGS}/{booking_id}/refund", who, **body)


# -- what there is ---------------------------------------------------------------------


async def test_a_hold_has_no_tickets(onsale: InProcess) -> None:
    booking = await onsale.held(await onsale.event(), "ann", ga=2)
    assert booking["tickets"] == []
    assert await tickets(onsale, booking["id"]) == []
    ann = onsale.token("buyer", "ann")
    guessed = f"tkt_{booking['id'][3:]}00"
    for file in ("", "/qr.svg", "/qr.png", "/ticket.pdf"):
        answer = await onsale.get(f"{TICKETS}/{guessed}{file}", ann)
        assert (answer.status_code, answer.json()["code"]) == (404, "ticket_not_found")
    for file in ("tickets.pdf", "calendar.ics"):
        answer = await onsale.get(f"{BOOKINGS}/{booking['id']}/{file}", ann)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_issued")


async def test_a_confirmed_booking_has_a_ticket_for_each_unit(onsale: InProcess) -> None:
    booking = await confirmed(onsale, ga=3)
    found = await tickets(onsale, booking["id"])
    assert [ticket["id"] for ticket in found] == booking["tickets"]
    assert len(set(booking["tickets"])) == 3
    assert len({ticket["number"] for ticket in found}) == 3
    assert len({ticket["qr"] for ticket in found}) == 3
    for ticket in found:
        assert set(ticket) == {
            "id", "number", "booking_id", "event_id", "ticket_type", "seat", "status", "qr"
        }  # fmt: skip
        assert re.fullmatch(r"tkt_[0-9a-hjkmnp-tv-z]{30}", ticket["id"])
        assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}", ticket["number"])
        assert ticket["booking_id"] == booking["id"]
        assert ticket["event_id"] == booking["event_id"]
        assert (ticket["ticket_type"], ticket["seat"]) == ("ga", None)
        assert ticket["status"] == "ACTIVE"
        one = await onsale.get(f"{TICKETS}/{ticket['id']}", onsale.token("buyer", "ann"))
        assert one.json() == ticket


async def test_tickets_are_the_same_after_the_owner_and_the_gateway_have_died(
    onsale: InProcess,
) -> None:
    """I8: issuing twice issues nothing. Nothing about tickets is stored anywhere."""
    booking = await confirmed(onsale)
    before = await tickets(onsale, booking["id"])
    async with onsale.unchanged():
        assert await tickets(onsale, booking["id"]) == before
    await onsale.owners.crash(booking["event_id"])
    other = InProcess(onsale.redis)
    try:
        assert await tickets(other, booking["id"]) == before
    finally:
        await other.close()


async def test_tickets_are_listed_page_by_page(onsale: InProcess) -> None:
    booking = await confirmed(onsale, ga=5, max_per_booking=5)
    ann = onsale.token("buyer", "ann")
    path = f"{BOOKINGS}/{booking['id']}/tickets"
    seen: list[str] = []
    more = True
    while more:
        after = {"starting_after": seen[-1]} if seen else {}
        page = (await onsale.get(path, ann, params={"limit": 2, **after})).json()
        assert page["object"] == "list"
        seen += [ticket["id"] for ticket in page["data"]]
        more = page["has_more"]
    assert seen == booking["tickets"]
    for after in (booking["id"], f"tkt_{booking['id'][3:]}zz", "x"):
        answer = await onsale.get(path, ann, params={"starting_after": after})
        assert answer.status_code == 422


async def test_more_units_than_ticket_ids_are_not_held(onsale: InProcess) -> None:
    kinds = [
        {"code": code, "name": code, "price": 0, "capacity": 900, "max_per_booking": 900}
        for code in ("a", "b")
    ]
    event_id = await onsale.event(ticket_types=kinds)
    answer = await onsale.hold(event_id, "ann", a=500, b=501)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/items"]
    booking = await onsale.held(event_id, "ann", a=500, b=500)
    ann = onsale.token("buyer", "ann")
    paid = await onsale.post(f"{BOOKINGS}/{booking['id']}/payment-intent", ann)
    assert len(set(paid.json()["tickets"])) == 1_000


# -- who may see them ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "sub", "claims", "status"),
    [
        ("buyer", "ann", {}, 200),
        ("organizer", "acme", {}, 200),
        ("staff", "tom", {"org": "acme"}, 200),
        ("admin", "root", {}, 200),
        ("buyer", "bob", {}, 404),
        ("organizer", "rival", {}, 404),
        ("staff", "tom", {"org": "rival"}, 404),
    ],
)
async def test_who_may_see_a_booking_may_see_its_tickets(
    onsale: InProcess, role: str, sub: str, claims: dict, status: int
) -> None:
    booking = await confirmed(onsale)
    who = onsale.token(role, sub, **claims)
    for path in paths(booking):
        answer = await onsale.get(path, who)
        assert answer.status_code == status, (path, answer.text)
        if status == 404:
            unknown = path.replace(booking["id"][3:], booking["id"][3:-1] + "7")
            missing = await onsale.get(unknown, who)
            own = {"instance": "", "request_id": ""}
            assert answer.json() | own == missing.json() | own
            assert set(answer.headers) == set(missing.headers)


def paths(booking: dict) -> list[str]:
    """Return every path that shows a ticket of a booking, but for its files."""
    ticket = f"{TICKETS}/{booking['tickets'][0]}"
    return [f"{BOOKINGS}/{booking['id']}/tickets", ticket]


def files(booking: dict) -> list[str]:
    ticket = f"{TICKETS}/{booking['tickets'][0]}"
    booked = f"{BOOKINGS}/{booking['id']}"
    drawn = [f"{ticket}/qr.svg", f"{ticket}/qr.png", f"{ticket}/ticket.pdf"]
    return [*drawn, f"{booked}/tickets.pdf", f"{booked}/calendar.ics"]


@pytest.mark.parametrize(
    ("role", "sub", "status"),
    [
        ("buyer", "ann", 200),
        ("buyer", "bob", 404),
        ("admin", "root", 404),
        ("organizer", "acme", 403),
        ("staff", "sam", 403),
    ],
)
async def test_files_are_for_their_buyer_alone(
    onsale: InProcess, role: str, sub: str, status: int
) -> None:
    booking = await confirmed(onsale)
    who = onsale.token(role, sub, org="acme")
    for path in files(booking):
        answer = await onsale.get(path, who)
        assert answer.status_code == status, path
        if status == 404:
            missing = path.replace(booking["id"][3:], "0" * 28)
            like = (await onsale.get(missing, who)).json()
            own = {"instance": "", "request_id": ""}
            assert answer.json() | own == like | own


@pytest.mark.parametrize("ticket_id", ["tkt_" + "0" * 30, "tkt_" + "u" * 30, "bk_x", "x" * 999])
async def test_a_ticket_that_does_not_exist_is_not_found(onsale: InProcess, ticket_id: str) -> None:
    for file in ("", "/qr.svg", "/qr.png", "/ticket.pdf"):
        answer = await onsale.get(f"{TICKETS}/{ticket_id}{file}", onsale.token("admin", "root"))
        assert (answer.status_code, answer.json()["code"]) == (404, "ticket_not_found")


# -- what voids them -------------------------------------------------------------------


async def test_a_refunded_booking_has_void_tickets_and_no_codes(onsale: InProcess) -> None:
    booking = await confirmed(onsale)
    ann = onsale.token("buyer", "ann")
    etags = {path: (await onsale.get(path, ann)).headers["etag"] for path in files(booking)}
    assert (await refund(onsale, booking["id"])).status_code == 202
    found = await tickets(onsale, booking["id"])
    assert [ticket["id"] for ticket in found] == booking["tickets"]
    assert [(ticket["status"], ticket["qr"]) for ticket in found] == 2 * [("VOID", None)]
    for path, etag in etags.items():
        answer = await onsale.get(path, ann, headers={"if-none-match": etag})
        assert (answer.status_code, answer.json()["code"]) == (409, "ticket_void")


async def test_a_part_that_was_given_back_voids_the_last_tickets(onsale: InProcess) -> None:
    booking = await confirmed(onsale, ga=3)
    before = await tickets(onsale, booking["id"])
    assert (await refund(onsale, booking["id"], ga=1)).status_code == 202
    after = await tickets(onsale, booking["id"])
    assert after[:2] == before[:2]
    assert after[2] == before[2] | {"status": "VOID", "qr": None}


async def test_a_cancelled_event_voids_every_ticket(onsale: InProcess) -> None:
    booking = await confirmed(onsale)
    acme = onsale.token("organizer", "acme")
    path = f"{BASE}/events/{booking['event_id']}/cancel"
    assert (await onsale.post(path, acme)).status_code == 202
    found = await tickets(onsale, booking["id"])
    assert {ticket["status"] for ticket in found} == {"VOID"}


# -- files -----------------------------------------------------------------------------


async def test_the_code_says_what_the_ticket_says(onsale: InProcess) -> None:
    booking = await confirmed(onsale)
    ann = onsale.token("buyer", "ann")
    for ticket in await tickets(onsale, booking["id"]):
        png = await onsale.get(f"{TICKETS}/{ticket['id']}/qr.png", ann)
        assert png.headers["content-type"] == "image/png"
        assert read_png(png.content) == ticket["qr"]
        opened = onsale.service.ticketing.seals.open(ticket["qr"])
        assert isinstance(opened, Opened)
        assert (opened.ticket_id, opened.event_id) == (ticket["id"], booking["event_id"])
        svg = await onsale.get(f"{TICKETS}/{ticket['id']}/qr.svg", ann)
        assert svg.headers["content-type"] == "image/svg+xml"
        assert ticket["number"] in svg.text


async def test_paper_says_what_the_tickets_say(onsale: InProcess) -> None:
    booking = await confirmed(
        onsale,
        name="حفلة الليل 音乐会 🎉",
        timezone="Europe/Berlin",
        venue={"name": "היכל התרבות", "city": "กรุงเทพฯ"},
    )
    ann = onsale.token("buyer", "ann")
    found = await tickets(onsale, booking["id"])
    together = await onsale.get(f"{BOOKINGS}/{booking['id']}/tickets.pdf", ann)
    assert together.headers["content-type"] == "application/pdf"
    assert read_pdf(together.content) == [ticket["qr"] for ticket in found]
    for ticket in found:
        alone = await onsale.get(f"{TICKETS}/{ticket['id']}/ticket.pdf", ann)
        assert alone.headers["content-type"] == "application/pdf"
        assert read_pdf(alone.content) == [ticket["qr"]]
        for text in (text_of(alone.content), text_of(together.content)):
            assert ticket["number"] in text
            assert "1 March 2096, 20:00 (Europe/Berlin)" in text
            assert "Standing" in text


async def test_the_paper_of_a_booking_has_only_tickets_that_admit(onsale: InProcess) -> None:
    booking = await confirmed(onsale, ga=3)
    found = await tickets(onsale, booking["id"])
    path = f"{BOOKINGS}/{booking['id']}/tickets.pdf"
    before = await onsale.get(path, onsale.token("buyer", "ann"))
    assert (await refund(onsale, booking["id"], ga=1)).status_code == 202
    after = await onsale.get(
        path, onsale.token("buyer", "ann"), headers={"if-none-match": before.headers["etag"]}
    )
    assert after.status_code == 200
    assert read_pdf(after.content) == [ticket["qr"] for ticket in found[:2]]


async def test_a_booking_of_a_coach_company_is_printed_one_by_one(onsale: InProcess) -> None:
    booking = await confirmed(onsale, ga=101, capacity=101, max_per_booking=101)
    ann = onsale.token("buyer", "ann")
    answer = await onsale.get(f"{BOOKINGS}/{booking['id']}/tickets.pdf", ann)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_tickets")
    last = await onsale.get(f"{TICKETS}/{booking['tickets'][-1]}/ticket.pdf", ann)
    assert last.status_code == 200


async def test_an_entry_for_the_calendar(onsale: InProcess) -> None:
    booking = await confirmed(onsale, timezone="Europe/Berlin", venue={"name": "Halle 1"})
    ann = onsale.token("buyer", "ann")
    answer = await onsale.get(f"{BOOKINGS}/{booking['id']}/calendar.ics", ann)
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    (entry,) = icalendar.Calendar.from_ical(answer.content).walk("VEVENT")
    assert entry.start == datetime(2096, 3, 1, 19, tzinfo=UTC)
    assert (entry["summary"], entry["location"]) == ("Night of Strings", "Halle 1")
    for ticket in await tickets(onsale, booking["id"]):
        assert ticket["number"] in entry["description"]


async def test_a_file_is_not_sent_to_who_has_it(onsale: InProcess) -> None:
    booking = await confirmed(onsale)
    ann = onsale.token("buyer", "ann")
    etags = set()
    for path in files(booking):
        answer = await onsale.get(path, ann)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "private, no-cache"
        assert re.search(r'filename="[\w.-]+"$', answer.headers["content-disposition"])
        etag = answer.headers["etag"]
        again = await onsale.get(path, ann, headers={"if-none-match": etag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert (await onsale.get(path, ann)).content == answer.content
        etags.add(etag)
    assert len(etags) == len(files(booking)), "each file has its own versions"


async def test_a_file_is_drawn_once_for_all_who_ask(onsale: InProcess) -> None:
    drawn = []
    drawings = onsale.service.ticketing.drawings

    def draw() -> bytes:
        drawn.append(1)
        return b"drawn"

    assert await asyncio.gather(*(drawings.get("a", draw) for _ in range(9))) == 9 * [b"drawn"]
    assert await drawings.get("a", draw) == b"drawn"
    assert len(drawn) == 1


async def test_what_was_not_asked_for_lately_is_forgotten(onsale: InProcess) -> None:
    drawings = onsale.service.ticketing.drawings
    drawn: list[int] = []

    async def get(number: int) -> None:
        await drawings.get(str(number), lambda: drawn.append(number) or bytes(1 << 20))

    for number in (*range(16), 0, 16, 0, 1):
        await get(number)
    assert drawn == [*range(17), 1]


async def test_a_gateway_that_draws_too_much_already_says_so(onsale: InProcess) -> None:
    booking = await confirmed(onsale)
    ann = onsale.token("buyer", "ann")
    drawings = onsale.service.ticketing.drawings
    go = threading.Event()
    waiting = [
        asyncio.create_task(drawings.get(str(number), lambda: bytes(go.wait(10))))
        for number in range(DRAWINGS_WAITING_MAX)
    ]
    await asyncio.sleep(0)
    try:
        answer = await onsale.get(f"{TICKETS}/{booking['tickets'][0]}/qr.png", ann)
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"]
    finally:
        go.set()
        await asyncio.gather(*waiting)
    answer = await onsale.get(f"{TICKETS}/{booking['tickets'][0]}/qr.png", ann)
    assert answer.status_code == 200


async def test_a_drawing_that_fails_is_tried_again(onsale: InProcess) -> None:
    drawings = onsale.service.ticketing.drawings

    def fail() -> bytes:
        raise ValueError("no paper")

    with pytest.raises(ValueError, match="no paper"):
        await drawings.get("a", fail)
    assert await drawings.get("a", lambda: b"drawn") == b"drawn"
