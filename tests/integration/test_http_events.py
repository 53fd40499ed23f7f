"""Events over HTTP: created, read, listed, amended, paused."""

import re
from datetime import UTC, datetime

import httpx
import pytest

from engine.journal.keys import CONTROLS_CHANGES
from tests.in_process import BASE, InProcess, an_event

EVENTS = f"{BASE}/events"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

FULL = {
    "name": "Night of Strings",
    "starts_at": "2096-03-01T20:00:00.5+01:00",
    "ends_at": "2096-03-01T22:00:00Z",
    "doors_open_at": "2096-03-01T18:00:00Z",
    "timezone": "Europe/Berlin",
    "venue": {"name": "Halle 1", "city": "Berlin", "country": "DE"},
    "category": "music",
    "description": "Two quartets.\nOne stage.",
    "currency": "EUR",
    "hold_ttl_seconds": 300,
    "max_per_customer": 6,
    "entry_policy": "reentry",
    "sale": {"opens_at": "2096-01-01T00:00:00Z", "closes_at": "2096-03-01T18:00:00Z"},
    "refund_policy": {"until_hours_before": 48, "percent": 80},
    "ticket_types": [
        {"code": "ga", "name": "Standing", "price": 4_500, "capacity": 5_000, "max_per_booking": 6},
        {"code": "early", "name": "Early", "price": 3_000, "allotment": "balcony"},
        {"code": "late", "name": "Late", "price": 0, "allotment": "balcony"},
    ],
    "allotments": [{"code": "balcony", "capacity": 200}],
}


async def the_event(onsale: InProcess, event_id: str) -> dict:
    answer = await onsale.get(f"{EVENTS}/{event_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


# -- created ---------------------------------------------------------------------------


async def test_an_event_is_answered_as_it_was_described(onsale: InProcess) -> None:
    acme = onsale.token("organizer", "acme")
    answer = await onsale.post(EVENTS, acme, json=FULL)
    assert answer.status_code == 201
    event = answer.json()
    assert answer.headers["location"] == f"{EVENTS}/{event['id']}"
    assert answer.headers["content-type"] == "application/json"
    assert "idempotent-replayed" not in answer.headers
    assert re.fullmatch(r"evt_[0-9a-hjkmnp-tv-z]{12}", event.pop("id"))
    created_at = event.pop("created_at")
    assert TIME.fullmatch(created_at)
    age = datetime.now(UTC) - datetime.fromisoformat(created_at)
    assert abs(age.total_seconds()) < 5
    assert event == {
        "organizer": "acme",
        "cancellation": None,
        "capture_method": "automatic",
        "payment_attempts_max": 3,
        **FULL,
        "starts_at": "2096-03-01T19:00:00.500Z",
        "ends_at": "2096-03-01T22:00:00.000Z",
        "doors_open_at": "2096-03-01T18:00:00.000Z",
        "sale": {
            "opens_at": "2096-01-01T00:00:00.000Z",
            "closes_at": "2096-03-01T18:00:00.000Z",
            "paused": False,
        },
        "ticket_types": [
            {**FULL["ticket_types"][0], "allotment": None},
            {**FULL["ticket_types"][1], "capacity": 200, "max_per_booking": 10},
            {**FULL["ticket_types"][2], "capacity": 200, "max_per_booking": 10},
        ],
    }


async def test_what_is_left_out_has_the_documented_default(onsale: InProcess) -> None:
    event = await the_event(onsale, await onsale.event())
    assert event["sale"] == {"opens_at": None, "closes_at": None, "paused": False}
    assert event["hold_ttl_seconds"] == 600
    assert event["max_per_customer"] is None
    assert event["entry_policy"] == "single"
    assert event["allotments"] == []
    (kind,) = event["ticket_types"]
    assert kind["max_per_booking"] == 10
    for name in ("ends_at", "doors_open_at", "timezone", "venue", "category", "description"):
        assert event[name] is None
    assert event["refund_policy"] is None


async def test_a_null_means_the_same_as_nothing(onsale: InProcess) -> None:
    nulls = dict.fromkeys(
        ("ends_at", "doors_open_at", "timezone", "venue", "category", "description"), None
    )
    sale = {"opens_at": None, "closes_at": None}
    event = await the_event(onsale, await onsale.event(**nulls, sale=sale, refund_policy=None))
    assert event["sale"] == {**sale, "paused": False}
    availability = await onsale.get(f"{EVENTS}/{event['id']}/availability")
    assert availability.json()["on_sale"] is True


@pytest.mark.parametrize("currency", ["EUR", "JPY", "BHD"])
async def test_money_is_in_minor_units_of_every_currency(onsale: InProcess, currency: str) -> None:
    event_id = await onsale.event(currency=currency, price=4_501)
    booking = await onsale.held(event_id, "ann", ga=3)
    assert booking["total"] == {"amount": 13_503, "currency": currency}


async def test_an_admin_organizes_in_their_own_name(onsale: InProcess) -> None:
    answer = await onsale.post(EVENTS, onsale.token("admin", "root"), json=an_event())
    assert answer.status_code == 201
    assert answer.json()["organizer"] == "root"


async def test_a_description_in_any_script_comes_back_as_it_was(onsale: InProcess) -> None:
    name, description = "Ночь 🎻 夜", "e\u0301\u202e\U0001f3bb"
    event = await the_event(onsale, await onsale.event(name=name, description=description))
    assert (event["name"], event["description"]) == (name, description)


# -- read ------------------------------------------------------------------------------


async def test_an_event_is_read_by_anyone_as_it_was_created(onsale: InProcess) -> None:
    created = await onsale.post(EVENTS, onsale.token("organizer", "acme"), json=FULL)
    answer = await onsale.get(f"{EVENTS}/{created.json()['id']}")
    assert answer.status_code == 200
    assert answer.json() == created.json()


async def test_a_list_of_events_that_has_not_changed_is_not_sent_again(onsale: InProcess) -> None:
    first = await onsale.event()
    await onsale.event(starts_at="2097-01-01T00:00:00Z")

    async def asked(etag: str = "", **query: object) -> httpx.Response:
        return await onsale.get(EVENTS, params=query, headers={"if-none-match": etag})

    whole, page = await asked(), await asked(limit=1)
    etag = whole.headers["etag"]
    assert page.headers["etag"] != etag
    await onsale.held(first, "ann", ga=1)
    again = await asked(etag)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    acme = onsale.token("organizer", "acme")
    await onsale.ask("PATCH", f"{EVENTS}/{first}", acme, json={"name": "Another"})
    changed = await asked(etag)
    assert changed.status_code == 200
    assert changed.headers["etag"] not in (etag, page.headers["etag"])
    assert (await asked(page.headers["etag"], limit=1)).status_code == 200
    await onsale.event(starts_at="2098-01-01T00:00:00Z")
    assert (await asked(changed.headers["etag"])).status_code == 200


async def test_the_etag_of_an_event_changes_with_the_event_and_not_with_its_sales(
    onsale: InProcess,
) -> None:
    event_id = await onsale.event()
    first = await onsale.get(f"{EVENTS}/{event_id}")
    etag = first.headers["etag"]
    await onsale.held(event_id, "ann", ga=1)
    again = await onsale.get(f"{EVENTS}/{event_id}", headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    await onsale.post(f"{EVENTS}/{event_id}/pause", onsale.token("organizer", "acme"))
    changed = await onsale.get(f"{EVENTS}/{event_id}", headers={"if-none-match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert changed.json()["sale"]["paused"] is True


@pytest.mark.parametrize("wrap", ['"x", {}', "W/{}", '{} , W/"y"', "*"])
async def test_an_etag_is_found_in_every_form_of_the_header(onsale: InProcess, wrap: str) -> None:
    path = f"{EVENTS}/{await onsale.event()}"
    etag = (await onsale.get(path)).headers["etag"]
    answer = await onsale.get(path, headers={"if-none-match": wrap.format(etag)})
    assert answer.status_code == 304


@pytest.mark.parametrize("stale", ['""', '"0"', "nonsense", '"x" "y"'])
async def test_an_etag_that_is_not_current_gets_the_event(onsale: InProcess, stale: str) -> None:
    path = f"{EVENTS}/{await onsale.event()}"
    assert (await onsale.get(path, headers={"if-none-match": stale})).status_code == 200


@pytest.mark.parametrize(
    "event_id",
    ["evt_000000000000", "evt_", "evt_ILOU00000000", "bk_0000000000000000000000000000", "x" * 500,
     "evt_00000000000\x00", "%2e%2e", "ü", "{p00}:events", "evt_0000000000001"],
)  # fmt: skip
async def test_an_event_that_does_not_exist_is_not_found_whatever_its_id(
    onsale: InProcess, event_id: str
) -> None:
    path = f"{EVENTS}/{event_id.replace(chr(0), '%00')}"
    for suffix in ("", "/availability", "/availability/stream"):
        answer = await onsale.get(path + suffix)
        assert answer.status_code == 404, suffix
        assert answer.json()["code"] == "event_not_found"


# -- listed ----------------------------------------------------------------------------


async def test_events_are_listed_soonest_first_page_by_page(onsale: InProcess) -> None:
    ids = {}
    for month in (5, 2, 4, 1, 3):
        ids[month] = await onsale.event(starts_at=f"2096-0{month}-01T00:00:00Z")
    seen: list[str] = []
    more = True
    while more:
        query = {"limit": 2} | ({"starting_after": seen[-1]} if seen else {})
        page = (await onsale.get(EVENTS, params=query)).json()
        assert page["object"] == "list"
        assert set(page) == {"object", "data", "has_more"}
        seen += [event["id"] for event in page["data"]]
        more = page["has_more"]
    assert seen == [ids[month] for month in (1, 2, 3, 4, 5)]


async def test_a_page_that_ends_with_the_last_event_has_no_more(onsale: InProcess) -> None:
    await onsale.event(starts_at="2096-01-01T00:00:00Z")
    await onsale.event(starts_at="2096-01-02T00:00:00Z")
    page = (await onsale.get(EVENTS, params={"limit": 2})).json()
    assert (len(page["data"]), page["has_more"]) == (2, False)


async def test_a_listed_event_is_the_event(onsale: InProcess) -> None:
    event_id = await onsale.event()
    await onsale.post(f"{EVENTS}/{event_id}/pause", onsale.token("organizer", "acme"))
    (listed,) = (await onsale.get(EVENTS)).json()["data"]
    assert listed == await the_event(onsale, event_id)


async def test_an_empty_catalogue_is_an_empty_list(onsale: InProcess) -> None:
    answer = await onsale.get(EVENTS)
    assert answer.json() == {"object": "list", "data": [], "has_more": False}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": 0}, "/query/limit"),
        ({"limit": 101}, "/query/limit"),
        ({"limit": "ten"}, "/query/limit"),
        ({"limit": "9" * 5_000}, "/query/limit"),
        ({"starting_after": "evt_000000000000"}, "/query/starting_after"),
        ({"starting_after": "*"}, "/query/starting_after"),
        ({"starting_after": "x" * 65}, "/query/starting_after"),
    ],
)
async def test_a_wrong_page_is_refused_by_name(
    onsale: InProcess, query: dict, pointer: str
) -> None:
    answer = await onsale.get(EVENTS, params=query)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


# -- paused ----------------------------------------------------------------------------


async def test_a_paused_sale_takes_no_holds_until_it_is_resumed(onsale: InProcess) -> None:
    event_id = await onsale.event()
    acme = onsale.token("organizer", "acme")
    paused = await onsale.post(f"{EVENTS}/{event_id}/pause", acme)
    assert (paused.status_code, paused.json()["sale"]["paused"]) == (200, True)
    refused = await onsale.hold(event_id, "ann", ga=1)
    assert (refused.status_code, refused.json()["code"]) == (409, "sale_paused")
    resumed = await onsale.post(f"{EVENTS}/{event_id}/resume", acme)
    assert (resumed.status_code, resumed.json()["sale"]["paused"]) == (200, False)
    await onsale.held(event_id, "ann", ga=1)


@pytest.mark.parametrize("action", ["pause", "resume"])
async def test_doing_it_twice_is_the_same_as_once(onsale: InProcess, action: str) -> None:
    path = f"{EVENTS}/{await onsale.event()}/{action}"
    acme = onsale.token("organizer", "acme")
    first = await onsale.post(path, acme)
    # But for the log of who has asked for it.
    async with onsale.unchanged(but=CONTROLS_CHANGES):
        assert (await onsale.post(path, acme)).content == first.content
