"""What holds for every route: request ids, methods, bodies, limits, and errors of ours."""

import asyncio
import json
import re

import httpx
import pytest
from structlog.testing import capture_logs

from actors.contract import OwnerGone
from actors.wire import Halted, Overloaded, Recovering
from engine.journal.contract import Unavailable
from engine.journal.keys import CONTROLS_CHANGES
from engine.limits import BODY_BYTES_MAX
from gateway import batcher, rate_limits
from gateway.problems import KINDS
from gateway.rate_limits import RateLimits
from tests.in_process import BASE, InProcess, an_event, in_process, items

EVENTS = f"{BASE}/events"
MISSING = f"{EVENTS}/evt_000000000000"
JSON = {"content-type": "application/json"}


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict:
    """Assert that an answer is a problem document in every detail, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"/problems/{code}"
    assert problem["title"] == KINDS[code].title
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["detail"]
    assert problem["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert isinstance(problem["retryable"], bool)
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
    return problem


# -- request ids -----------------------------------------------------------------------


@pytest.mark.parametrize("path", [EVENTS, MISSING, "/livez", "/nowhere", "/openapi.json"])
async def test_a_request_id_is_taken_over_and_returned(onsale: InProcess, path: str) -> None:
    answer = await onsale.get(path, headers={"x-request-id": "mine-1"})
    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    if answer.status_code == 404:
        assert answer.json()["request_id"] == "mine-1"


async def test_so_it_is_on_the_hot_route(onsale: InProcess) -> None:
    event_id = await onsale.event()
    ann = onsale.token("buyer", "ann")
    for body in (items(ga=1), items(ga=100), {}):
        answer = await onsale.post(
            f"{EVENTS}/{event_id}/holds", ann, json=body, headers={"x-request-id": "mine"}
        )
        assert answer.headers.get_list("x-request-id") == ["mine"]
        assert answer.json().get("request_id", "mine") == "mine"


@pytest.mark.parametrize("sent", [None, "", "two words", "x" * 129, "ü", "a\x7f"])
async def test_a_request_without_a_usable_id_gets_one_of_its_own(
    onsale: InProcess, sent: str | None
) -> None:
    headers = {} if sent is None else {"x-request-id": sent.encode("latin-1")}
    given = [
        (await onsale.get(path, headers=headers)).headers["x-request-id"]
        for path in (EVENTS, "/nowhere", EVENTS)
    ]
    assert len(set(given)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", request_id) for request_id in given)


# -- paths and methods -----------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nowhere",
        BASE,
        f"{BASE}/",
        f"{EVENTS}/",
        f"{MISSING}/",
        f"{MISSING}/nothing",
        f"{MISSING}/holds/",
        "/livez/",
        "/api/v2/events",
        "//api/v1/events",
        "/API/V1/EVENTS",
        "/a%20b%22%C3%BC",
    ],
)
async def test_an_unknown_path_is_a_problem_and_no_redirect(onsale: InProcess, path: str) -> None:
    assert_problem(await onsale.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("OPTIONS", EVENTS, "GET, POST"),
        ("DELETE", EVENTS, "GET, POST"),
        ("PUT", MISSING, "GET, PATCH"),
        ("GET", f"{MISSING}/holds", "POST"),
        ("OPTIONS", f"{MISSING}/holds", "POST"),
        ("POST", f"{MISSING}/availability", "GET"),
        ("GET", f"{MISSING}/pause", "POST"),
        ("POST", "/livez", "GET"),
        ("PATCH", f"{BASE}/bookings/bk_1", "DELETE, GET"),
        ("TRACE", "/version", "GET"),
    ],
)
async def test_another_method_is_told_which_ones_there_are(
    onsale: InProcess, method: str, path: str, allowed: str
) -> None:
    answer = await onsale.ask(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert sorted(answer.headers["allow"].split(", ")) == allowed.split(", ")


async def test_head_is_answered_like_any_other_method_that_there_is_not(
    onsale: InProcess,
) -> None:
    answer = await onsale.ask("HEAD", EVENTS)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]


# -- bodies ----------------------------------------------------------------------------


async def _bodies(onsale: InProcess) -> list[tuple[str, str, str]]:
    """Return every way to send a body: method, path and token."""
    event_id = await onsale.event("acme")
    acme = onsale.token("organizer", "acme")
    return [
        ("POST", EVENTS, acme),
        ("PATCH", f"{EVENTS}/{event_id}", acme),
        ("POST", f"{EVENTS}/{event_id}/holds", onsale.token("buyer", "ann")),
    ]


NOT_JSON = [
    b"{", b"{]", b"'x'", b"{'items': 1}", b'{"items":[1,]}', b"\xff\xfe", b'{"a": "\xff"}',
    b'{"items": 1}}', b"nul", b"[" * 20_000, b'{"a":' * 10_000, b'{"a": ' + b"1" * 5_000 + b"}",
    b'{"a": "tab\tinside"}', b"\x00", b"{} {}",
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_JSON, ids=lambda body: repr(body[:12]))
async def test_a_body_that_is_not_json_is_a_problem_and_changes_nothing(
    onsale: InProcess, body: bytes
) -> None:
    for method, path, who in await _bodies(onsale):
        async with onsale.unchanged():
            answer = await onsale.ask(method, path, who, content=body, headers=JSON)
        if answer.status_code != 422:  # a number may have any length in JSON
            assert_problem(answer, 400, "malformed_json")


async def test_an_empty_body_is_a_problem(onsale: InProcess) -> None:
    for method, path, who in await _bodies(onsale):
        async with onsale.unchanged():
            answer = await onsale.ask(method, path, who, content=b"", headers=JSON)
        assert answer.json()["code"] in ("malformed_json", "invalid_request")


async def test_a_body_that_declares_too_much_is_not_read(onsale: InProcess) -> None:
    body = json.dumps(an_event(description="x" * BODY_BYTES_MAX)).encode()
    for method, path, who in [
        *await _bodies(onsale),
        ("POST", f"{MISSING}/pause", onsale.token("organizer", "acme")),
        ("GET", EVENTS, None),
    ]:
        async with onsale.unchanged():
            answer = await onsale.ask(method, path, who, content=body, headers=JSON)
        assert_problem(answer, 413, "body_too_large")


async def test_a_body_that_turns_out_too_large_is_refused_as_it_comes(onsale: InProcess) -> None:
    sent = 0

    async def chunks():
        nonlocal sent
        yield b'{"description": "'
        while sent < 50 * BODY_BYTES_MAX:
            sent += 16_384
            yield b"x" * 16_384

    for method, path, who in await _bodies(onsale):
        sent = 0
        async with onsale.unchanged():
            answer = await onsale.ask(method, path, who, content=chunks(), headers=JSON)
        assert_problem(answer, 413, "body_too_large")
        assert sent < 2 * BODY_BYTES_MAX


async def test_a_body_of_just_the_greatest_size_is_read(onsale: InProcess) -> None:
    for method, path, who in await _bodies(onsale):
        body = b" " * (BODY_BYTES_MAX - 2) + b"{}"
        answer = await onsale.ask(method, path, who, content=body, headers=JSON)
        assert answer.status_code == (200 if method == "PATCH" else 422)


async def test_a_body_in_pieces_is_the_same_as_in_one(onsale: InProcess) -> None:
    async def pieces():
        for byte in json.dumps(items(ga=1)).encode():
            yield bytes([byte])

    event_id = await onsale.event()
    ann = onsale.token("buyer", "ann")
    answer = await onsale.post(f"{EVENTS}/{event_id}/holds", ann, content=pieces())
    assert answer.status_code == 201


@pytest.mark.parametrize("declared", ["text/plain", "application/x-www-form-urlencoded", "x"])
async def test_a_body_that_is_declared_as_something_else_changes_nothing(
    onsale: InProcess, declared: str
) -> None:
    async with onsale.unchanged():
        answer = await onsale.post(
            EVENTS,
            onsale.token("organizer", "acme"),
            content=json.dumps(an_event()),
            headers={"content-type": declared},
        )
    assert_problem(answer, 422, "invalid_request")


# -- limits ----------------------------------------------------------------------------


async def test_who_asks_too_often_is_told_when_to_come_back(
    redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "PER_TOKEN", rate_limits.RateLimitItemPerMinute(2))
    async with in_process(redis, RateLimits()) as onsale:
        ann, bob = onsale.token("buyer", "ann"), onsale.token("buyer", "bob")
        path = f"{BASE}/bookings"
        for remaining in (1, 0):
            answer = await onsale.get(path, ann)
            assert answer.status_code == 200
            assert answer.headers["ratelimit"].startswith(f'"token";r={remaining};t=')
            assert '"token";q=' in answer.headers["ratelimit-policy"]
        for refused in (
            await onsale.get(path, ann),
            await onsale.post(f"{MISSING}/holds", ann, json=items(ga=1)),
        ):
            problem = assert_problem(refused, 429, "rate_limited")
            assert problem["retryable"] is True
            assert 1 <= int(refused.headers["retry-after"]) <= 63
            assert refused.headers["ratelimit"].startswith('"token";r=0;t=')
        assert (await onsale.get(path, bob)).status_code == 200
        assert (await onsale.get("/livez", ann)).status_code == 200


async def test_where_limits_are_off_no_header_speaks_of_them(onsale: InProcess) -> None:
    assert "ratelimit" not in (await onsale.get(EVENTS)).headers


# -- what is not the client's fault ----------------------------------------------------


async def _asking(onsale: InProcess) -> list[tuple[str, str, str | None, object]]:
    """Return a request of every route that asks one owner.

    A buyer's list asks many, and shows what it can.
    """
    event_id = await onsale.event("acme")
    booking = await onsale.held(event_id, "ann", ga=1)
    ann, acme = onsale.token("buyer", "ann"), onsale.token("organizer", "acme")
    event = f"{EVENTS}/{event_id}"
    return [
        ("POST", f"{event}/holds", ann, items(ga=1)),
        ("GET", f"{BASE}/bookings/{booking['id']}", ann, None),
        ("DELETE", f"{BASE}/bookings/{booking['id']}", ann, None),
        ("POST", f"{event}/pause", acme, None),
        ("POST", f"{event}/resume", acme, None),
        ("PATCH", event, acme, {"name": "x"}),
        ("POST", EVENTS, acme, an_event()),
        ("GET", f"{event}/availability", None, None),
        ("GET", f"{event}/availability/stream", None, None),
    ]


@pytest.mark.parametrize(
    ("instead", "code", "retryable"),
    [
        (Overloaded(), "overloaded", True),
        (Halted("SequenceGap: 41"), "event_halted", False),
        (Recovering(), "recovering", True),
        (OwnerGone("dead"), "recovering", True),
    ],
    ids=["overloaded", "halted", "recovering", "gone"],
)
async def test_an_owner_that_cannot_answer_is_a_503(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch, instead, code: str, retryable: bool
) -> None:
    requests = await _asking(onsale)
    monkeypatch.setattr(batcher.Lane, "fresh_availability", lambda _lane: None)
    # The deadline, milliseconds: short for whoever waits for an owner that will not come.
    monkeypatch.setattr(batcher.Lane.ask, "__defaults__", (50 if code == "recovering" else 5_000,))
    onsale.owners.instead = instead
    # Who wanted to pause or resume is in the log before it is done.
    async with onsale.unchanged(CONTROLS_CHANGES):
        # At the same time: some wait for as long as a buyer may wait for Stripe.
        answers = await asyncio.gather(
            *(onsale.ask(method, path, who, json=body) for method, path, who, body in requests)
        )
        for answer in answers:
            problem = assert_problem(answer, 503, code)
            assert problem["retryable"] is retryable
            assert "SequenceGap" not in answer.text


async def test_a_store_that_does_not_answer_is_a_503(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_args: object) -> None:
        raise Unavailable("ConnectionError: redis://secret@host gone")

    event_id = await onsale.event("acme")
    for name in ("event", "upcoming", "bookings_of"):
        monkeypatch.setattr(onsale.service.catalogue, name, away)
    ann, acme = onsale.token("buyer", "ann"), onsale.token("organizer", "acme")
    unseen = f"{EVENTS}/evt_000000000001"
    for method, path, who, body in [
        ("GET", EVENTS, None, None),
        ("GET", f"{EVENTS}?starting_after={event_id}", None, None),
        ("GET", f"{EVENTS}/{event_id}", None, None),
        ("GET", f"{EVENTS}/{event_id}/audit", acme, None),
        ("GET", f"{BASE}/bookings", ann, None),
        ("GET", f"{BASE}/bookings/bk_{'0' * 28}", ann, None),
        ("GET", f"{unseen}/availability", None, None),
        ("POST", f"{unseen}/holds", ann, items(ga=1)),
        ("POST", f"{unseen}/pause", acme, None),
    ]:
        answer = await onsale.ask(method, path, who, json=body)
        assert_problem(answer, 503, "store_unavailable")
        assert "secret" not in answer.text


async def test_an_error_of_ours_is_a_document_for_them_and_a_trace_for_us(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_args: object) -> None:
        raise ZeroDivisionError("the secret of the house")

    event_id = await onsale.event()
    ann = onsale.token("buyer", "ann")
    monkeypatch.setattr(onsale.service, "lane", broken)
    for method, path, body in [
        ("GET", f"{EVENTS}/{event_id}/availability", None),
        ("GET", f"{BASE}/bookings/bk_{'0' * 28}", None),
        ("POST", f"{EVENTS}/{event_id}/holds", items(ga=1)),
    ]:
        with capture_logs() as logged:
            answer = await onsale.ask(method, path, ann, json=body)
        assert_problem(answer, 500, "internal_error")
        assert "secret" not in answer.text
        errors = [entry for entry in logged if entry["log_level"] == "error"]
        assert [entry["event"] for entry in errors] == ["internal_error"]
        assert errors[0]["exc_info"]
