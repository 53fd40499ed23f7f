"""What no event can be made of: every wrong field is named, and nothing is kept."""

import pytest

from tests.in_process import BASE, InProcess, an_event

EVENTS = f"{BASE}/events"
KIND = {"code": "ga", "name": "Standing", "price": 4_500, "capacity": 10}
STOCK = {"code": "floor", "capacity": 10}


async def assert_refused(onsale: InProcess, body: object) -> list[str]:
    """Assert that the body is refused as a whole, and return the pointers to what is wrong."""
    acme = onsale.token("organizer", "acme")
    async with onsale.unchanged():
        answer = await onsale.post(EVENTS, acme, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "invalid_request"
    assert all(error["message"] for error in problem["errors"])
    return [error["pointer"] for error in problem["errors"]]


NOT_A_NAME = ["", " \t ", "x" * 201, "a\x00b", "a\nb", "\x0ba", 7, None, True, ["x"], {"x": 1}]
NOT_A_TIME = [
    0, 4_000_000_000, "4000000000", True, [], "", "soon", "2096-03-01", "2096-03-01T19:00Z",
    "2096-03-01 19:00:00Z", "2096-03-01T19:00:00", "2096-02-30T19:00:00Z", "2096-13-01T19:00:00Z",
    "2096-03-01T24:00:00Z", "2096-03-01T19:00:00+25:00", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z", "x" * 5_000,
]  # fmt: skip
NOT_A_COUNT = [-1, 1.5, "5", True, None, [], 10**30]


@pytest.mark.parametrize("name", NOT_A_NAME, ids=lambda name: repr(name)[:20])
async def test_a_name_is_one_line_of_text(onsale: InProcess, name: object) -> None:
    assert await assert_refused(onsale, an_event(name=name)) == ["/name"]


@pytest.mark.parametrize("moment", [*NOT_A_TIME, None], ids=lambda moment: repr(moment)[:30])
async def test_the_start_is_a_time_as_rfc_3339_writes_it(onsale: InProcess, moment: object) -> None:
    assert await assert_refused(onsale, an_event(starts_at=moment)) == ["/starts_at"]


@pytest.mark.parametrize("field", ["ends_at", "doors_open_at"])
@pytest.mark.parametrize("moment", NOT_A_TIME[:8], ids=lambda moment: repr(moment)[:30])
async def test_so_is_every_other_time(onsale: InProcess, field: str, moment: object) -> None:
    assert await assert_refused(onsale, an_event(**{field: moment})) == [f"/{field}"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"starts_at": "2020-01-01T00:00:00Z"}, "/starts_at"),
        ({"ends_at": "2096-03-01T19:00:00Z"}, "/ends_at"),
        ({"doors_open_at": "2096-03-01T19:00:01Z"}, "/doors_open_at"),
        ({"sale": {"closes_at": "2020-01-01T00:00:00Z"}}, "/sale/closes_at"),
        ({"sale": {"opens_at": "2096-03-01T19:00:00Z"}}, "/sale/opens_at"),
        (
            {"sale": {"opens_at": "2096-01-02T00:00:00Z", "closes_at": "2096-01-01T00:00:00Z"}},
            "/sale/opens_at",
        ),
    ],
)
async def test_times_that_contradict_each_other_or_the_clock_are_refused(
    onsale: InProcess, changes: dict, pointer: str
) -> None:
    assert await assert_refused(onsale, an_event(**changes)) == [pointer]


@pytest.mark.parametrize(
    "currency", ["XXX", "XTS", "XAU", "ZZZ", "EURO", "€", "", 978, None, [], {"code": "EUR"}]
)
async def test_a_currency_is_one_of_iso_4217_that_can_be_paid_with(
    onsale: InProcess, currency: object
) -> None:
    assert await assert_refused(onsale, an_event(currency=currency)) == ["/currency"]


@pytest.mark.parametrize(
    "zone",
    ["Mars/Olympus", "Europe/berlin", "CEST", "+01:00", "../../etc/passwd", "localtime", "", 1, []],
)
async def test_a_time_zone_is_one_of_the_iana_database(onsale: InProcess, zone: object) -> None:
    assert await assert_refused(onsale, an_event(timezone=zone)) == ["/timezone"]


@pytest.mark.parametrize(
    ("venue", "pointer"),
    [
        ({}, "/venue/name"),
        ({"name": ""}, "/venue/name"),
        ({"name": "Halle", "country": "Germany"}, "/venue/country"),
        ({"name": "Halle", "country": "XX"}, "/venue/country"),
        ({"name": "Halle", "city": 5}, "/venue/city"),
        ({"name": "Halle", "capacity": 5}, "/venue/capacity"),
        ("Halle", "/venue"),
    ],
)
async def test_a_venue_has_a_name_and_lies_in_a_country(
    onsale: InProcess, venue: object, pointer: str
) -> None:
    assert await assert_refused(onsale, an_event(venue=venue)) == [pointer]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("hold_ttl_seconds", [4, 3_601, 0, 60.5, "60", True, None]),
        ("max_per_customer", [0, -1, 1_000_001, 1.5, "6", True]),
        ("entry_policy", ["", "twice", "Single", None, 1]),
        ("category", NOT_A_NAME[:-4]),
        ("description", ["x" * 10_001, 5, []]),
        ("allotments", [None, {}, "floor"]),
    ],
)
async def test_other_fields_keep_to_their_limits(
    onsale: InProcess, field: str, values: list
) -> None:
    for value in values:
        body = an_event(**{field: value})
        assert await assert_refused(onsale, body) == [f"/{field}"], value


@pytest.mark.parametrize(
    ("policy", "pointer"),
    [
        ({"percent": 100}, "/refund_policy/until_hours_before"),
        ({"until_hours_before": 48, "percent": 101}, "/refund_policy/percent"),
        ({"until_hours_before": -1, "percent": 5}, "/refund_policy/until_hours_before"),
        ([], "/refund_policy"),
    ],
)
async def test_a_refund_policy_says_until_when_and_how_much(
    onsale: InProcess, policy: object, pointer: str
) -> None:
    assert await assert_refused(onsale, an_event(refund_policy=policy)) == [pointer]


# -- ticket types and allotments -------------------------------------------------------


@pytest.mark.parametrize("field", ["price", "capacity"])
@pytest.mark.parametrize("count", NOT_A_COUNT, ids=repr)
async def test_prices_and_capacities_are_whole_numbers(
    onsale: InProcess, field: str, count: object
) -> None:
    body = an_event(ticket_types=[KIND | {field: count}])
    assert await assert_refused(onsale, body) == [f"/ticket_types/0/{field}"]


@pytest.mark.parametrize(
    ("kind", "pointer"),
    [
        ({"price": 100_000_001}, "price"),
        ({"capacity": 0}, "capacity"),
        ({"capacity": 1_000_001}, "capacity"),
        ({"max_per_booking": 0}, "max_per_booking"),
        ({"max_per_booking": 1_001}, "max_per_booking"),
        ({"code": "GA"}, "code"),
        ({"code": ""}, "code"),
        ({"code": "ga\n"}, "code"),
        ({"code": "a/b"}, "code"),
        ({"code": "x" * 33}, "code"),
        ({"name": ""}, "name"),
        ({"seats": [{"section": "P", "rows": [{"label": "A", "seats": "1-20"}]}]}, "seats"),
        ({"seats": []}, "seats"),
        ({"colour": "red"}, "colour"),
        ({"capacity": None, "allotment": "none"}, "allotment"),
        ({"allotment": "floor"}, "capacity"),
    ],
)
async def test_a_wrong_ticket_type_is_named_by_its_place(
    onsale: InProcess, kind: dict, pointer: str
) -> None:
    body = an_event(ticket_types=[KIND | {"code": "first"}, KIND | kind])
    assert await assert_refused(onsale, body) == [f"/ticket_types/1/{pointer}"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"ticket_types": []}, "/ticket_types"),
        ({"ticket_types": None}, "/ticket_types"),
        ({"ticket_types": {}}, "/ticket_types"),
        ({"ticket_types": [KIND] * 51}, "/ticket_types"),
        ({"ticket_types": [KIND, KIND]}, "/ticket_types/1/code"),
        ({"ticket_types": ["ga"]}, "/ticket_types/0"),
        ({"allotments": [STOCK]}, "/allotments"),
        ({"allotments": [STOCK, STOCK]}, "/allotments/1/code"),
        ({"allotments": [STOCK | {"code": "ga"}]}, "/ticket_types/0/code"),
        ({"allotments": [STOCK | {"capacity": 0}]}, "/allotments/0/capacity"),
        (
            {
                "ticket_types": [{"code": "floor", "name": "F", "price": 1, "allotment": "floor"}],
                "allotments": [STOCK],
            },
            "/ticket_types/0/code",
        ),
    ],
)
async def test_ticket_types_and_allotments_fit_together(
    onsale: InProcess, changes: dict, pointer: str
) -> None:
    assert await assert_refused(onsale, an_event(**changes)) == [pointer]


# -- as a whole ------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "starts_at", "currency", "ticket_types"])
async def test_what_is_required_cannot_be_left_out(onsale: InProcess, field: str) -> None:
    assert await assert_refused(onsale, an_event(**{field: ...})) == [f"/{field}"]


async def test_unknown_fields_are_refused(onsale: InProcess) -> None:
    body = an_event(id="evt_000000000000", **{"organizer": "me", "": 1, "a/b~": 2})
    assert await assert_refused(onsale, body) == ["/id", "/organizer", "/", "/a~1b~0"]


@pytest.mark.parametrize("body", [[], "text", 5, True, [an_event()], {}])
async def test_a_body_of_another_form_is_refused(onsale: InProcess, body: object) -> None:
    assert await assert_refused(onsale, body)


async def test_every_wrong_field_is_named_at_once(onsale: InProcess) -> None:
    body = an_event(name="", currency="ZZZ", ticket_types=[KIND | {"price": -1, "capacity": 0}])
    assert sorted(await assert_refused(onsale, body)) == [
        "/currency",
        "/name",
        "/ticket_types/0/capacity",
        "/ticket_types/0/price",
    ]


async def test_a_problem_stays_short_however_much_is_wrong(onsale: InProcess) -> None:
    body = an_event(**{f"field-{number}": 1 for number in range(1_000)})
    assert len(await assert_refused(onsale, body)) == 20


@pytest.mark.parametrize(
    "raw", [r'{"name": "\ud800"}', r'{"description": "\ud800"}', r'{"\ud800": 1}']
)
async def test_half_a_surrogate_pair_is_not_text(onsale: InProcess, raw: str) -> None:
    async with onsale.unchanged():
        answer = await onsale.post(
            EVENTS,
            onsale.token("organizer", "acme"),
            content=raw,
            headers={"content-type": "application/json"},
        )
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"starts_at": "9998-12-31T23:59:59-23:59"},
        {"starts_at": "2096-03-01t19:00:00.123456789+14:00"},
        {"sale": {"opens_at": "1971-01-01T00:00:00+23:59"}},
        {"price": 0},
        {"price": 100_000_000, "capacity": 1_000_000, "max_per_booking": 1_000},
        {"hold_ttl_seconds": 5},
        {"hold_ttl_seconds": 3_600},
        {"ticket_types": [KIND | {"code": f"t{number}"} for number in range(50)]},
        {"timezone": "America/Argentina/ComodRivadavia"},
        {"name": "x" * 200, "description": "\n" * 10_000},
    ],
    ids="-".join,
)
async def test_what_is_just_within_the_limits_is_taken_and_shown(
    onsale: InProcess, changes: dict
) -> None:
    event_id = await onsale.event(**changes)
    assert (await onsale.get(f"{EVENTS}/{event_id}")).status_code == 200
    assert len((await onsale.get(EVENTS)).json()["data"]) == 1
