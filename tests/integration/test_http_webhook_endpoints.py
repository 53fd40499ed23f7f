"""Webhook endpoints over HTTP: registered, tried, rotated, looked through, removed."""

import asyncio
import base64
import re
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from actors.back_office.courier import Courier
from actors.back_office.posting import Poster
from actors.back_office.targets import Names, Targets
from engine.back_office_limits import ENDPOINTS_MAX
from engine.store.webhook_contract import Announcement, DeliveryStatus, WebhookKind
from tests.documented import DOCUMENT
from tests.in_process import BASE, InProcess
from tests.receiver import answer, receiving

ENDPOINTS = f"{BASE}/webhook-endpoints"
URL = "http://127.0.0.1:8080/hook"
#: When everything is due and every former secret's time is over, Unix milliseconds.
LATER_MS = 4_000_000_000_000
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def onsale(onsale_with_books: InProcess) -> InProcess:
    return onsale_with_books


@pytest.fixture
def acme(onsale: InProcess) -> str:
    return onsale.token("organizer", "acme")


async def register(
    onsale: InProcess, who: str, url: str = URL, key: str | None = None, **body: Any
) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await onsale.post(ENDPOINTS, who, json={"url": url, **body}, headers=headers)


async def registered(onsale: InProcess, who: str, url: str = URL, **body: Any) -> dict[str, Any]:
    answer = await register(onsale, who, url, **body)
    assert answer.status_code == 201, answer.text
    endpoint: dict[str, Any] = answer.json()
    return endpoint


async def put(onsale: InProcess, *numbers: int, organizer: str = "acme") -> None:
    await onsale.service.webhooks.put(
        [Announcement(f"msg_{n}", organizer, "booking.expired", b"{}") for n in numbers]
    )


# -- registered ------------------------------------------------------------------------


async def test_an_endpoint_is_answered_with_its_secret_and_never_again(
    onsale: InProcess, acme: str
) -> None:
    kinds = ["event.cancelled", "booking.confirmed"]
    answer = await register(onsale, acme, kinds=kinds)
    assert answer.status_code == 201
    endpoint = answer.json()
    path = f"{ENDPOINTS}/{endpoint['id']}"
    assert answer.headers["location"] == path
    assert "idempotent-replayed" not in answer.headers
    secret = endpoint.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert re.fullmatch(r"whe_[0-9a-hjkmnp-tv-z]{16}", endpoint["id"])
    assert TIME.fullmatch(endpoint["created_at"])
    assert endpoint == {
        "id": endpoint["id"],
        "organizer": "acme",
        "url": URL,
        "kinds": kinds,
        "created_at": endpoint["created_at"],
        "disabled": None,
    }
    assert (await onsale.get(path, acme)).json() == endpoint
    listed = (await onsale.get(ENDPOINTS, acme)).json()
    assert listed == {"object": "list", "data": [endpoint], "has_more": False}


async def test_without_kinds_it_is_told_of_all(onsale: InProcess, acme: str) -> None:
    for body in ({}, {"kinds": None}):
        assert (await registered(onsale, acme, **body))["kinds"] is None


async def test_a_repeat_under_its_key_gets_the_first_answer(onsale: InProcess, acme: str) -> None:
    first = await register(onsale, acme, key="one")
    again = await register(onsale, acme, key='"one"')
    assert again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    other = await register(onsale, acme, key="one", kinds=["event.changed"])
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    rival = await register(onsale, onsale.token("organizer", "rival"), key="one")
    assert rival.json()["id"] != first.json()["id"]


async def test_without_a_key_each_request_makes_another(onsale: InProcess, acme: str) -> None:
    first, second = await registered(onsale, acme), await registered(onsale, acme)
    assert first["id"] != second["id"]
    assert first["secret"] != second["secret"]


async def test_there_are_ten_and_no_more(onsale: InProcess, acme: str) -> None:
    for number in range(ENDPOINTS_MAX):
        await registered(onsale, acme, f"{URL}/{number}")
    answer = await register(onsale, acme)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhook_endpoints")
    await registered(onsale, onsale.token("organizer", "rival"))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": 5}, "/url"),
        ({"url": ""}, "/url"),
        ({"url": "x" * 1_001}, "/url"),
        ({"url": "ftp://127.0.0.1/"}, "/url"),
        ({"url": "https://user:password@127.0.0.1/"}, "/url"),
        ({"url": "https://127.0.0.1:22/"}, "/url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "/url"),
        ({"url": "https://no-such-host.invalid/"}, "/url"),
        ({"url": URL, "kinds": []}, "/kinds"),
        ({"url": URL, "kinds": ["ping"]}, "/kinds/0"),
        ({"url": URL, "kinds": ["booking.confirmed"] * 2}, ""),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
    ],
)
async def test_a_wrong_field_is_named(
    onsale: InProcess, acme: str, body: dict[str, Any], pointer: str
) -> None:
    answer = await onsale.post(ENDPOINTS, acme, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await onsale.get(ENDPOINTS, acme)).json()["data"] == []


async def test_what_is_not_public_is_refused_unless_the_operator_says_otherwise(
    onsale: InProcess, acme: str
) -> None:
    onsale.service.targets = Targets(Names(1), private=False)
    for url in (URL, "https://127.0.0.1/", "https://localhost/", "https://2130706433/"):
        answer = await register(onsale, acme, url)
        assert answer.status_code == 422, url
        assert "not public" in answer.json()["detail"]


def test_every_kind_is_documented() -> None:
    schema = DOCUMENT["components"]["schemas"]["WebhookKind"]
    assert schema["enum"] == list(WebhookKind)


# -- removed and rotated ---------------------------------------------------------------


async def test_what_is_removed_is_gone(onsale: InProcess, acme: str) -> None:
    endpoint = await registered(onsale, acme)
    path = f"{ENDPOINTS}/{endpoint['id']}"
    answer = await onsale.ask("DELETE", path, acme)
    assert (answer.status_code, answer.content) == (204, b"")
    for method, rest in (("DELETE", ""), ("GET", ""), ("GET", "/deliveries"), ("POST", "/test")):
        answer = await onsale.ask(method, path + rest, acme)
        assert (answer.status_code, answer.json()["code"]) == (404, "webhook_endpoint_not_found")


async def test_a_new_secret_is_shown_and_signs_beside_the_former_one(
    onsale: InProcess, acme: str
) -> None:
    endpoint = await registered(onsale, acme)
    answer = await onsale.post(f"{ENDPOINTS}/{endpoint['id']}/rotate-secret", acme)
    assert answer.status_code == 200
    rotated = answer.json()
    assert rotated["secret"] != endpoint["secret"]
    assert {**rotated, "secret": endpoint["secret"]} == endpoint
    await put(onsale, 1)
    (due,) = await onsale.service.webhooks.due(LATER_MS, 1, 1, 1, ())
    assert due.secrets == (rotated["secret"],), "after a day only the new one signs"
    now_ms = due.give_up_ms - 3 * 86_400_000
    await put(onsale, 2)
    (due,) = await onsale.service.webhooks.due(now_ms + 60_000, 1, 1, 1, ())
    assert due.secrets == (rotated["secret"], endpoint["secret"])


# -- tried -----------------------------------------------------------------------------


async def test_a_ping_arrives(onsale: InProcess, acme: str) -> None:
    async with receiving(answer(200)) as receiver:
        endpoint = await registered(onsale, acme, receiver.url, kinds=["event.changed"])
        asked = await onsale.post(f"{ENDPOINTS}/{endpoint['id']}/test", acme)
        assert asked.status_code == 202
        ping = asked.json()
        assert TIME.fullmatch(ping["created_at"])
        assert ping == {
            "webhook_id": ping["webhook_id"],
            "kind": "ping",
            "status": "PENDING",
            "attempts": 0,
            "next_attempt_at": ping["created_at"],
            "status_code": None,
            "error": None,
            "created_at": ping["created_at"],
            "finished_at": None,
        }
        poster = Poster()
        courier = Courier(onsale.service.webhooks, onsale.service.targets, poster)
        working = asyncio.create_task(courier.work())
        async with asyncio.timeout(10):
            while (kept := await deliveries(onsale, acme, endpoint))[0]["status"] == "PENDING":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        working.cancel()
        await asyncio.wait([working])
        await poster.close()
    (got,) = receiver.got
    assert got.headers["webhook-id"] == ping["webhook_id"]
    body = Webhook(endpoint["secret"]).verify(got.body, got.headers)
    assert body["type"] == "ping"
    assert body["data"] == {"endpoint_id": endpoint["id"]}
    (line,) = kept
    assert (line["status"], line["status_code"], line["attempts"]) == ("DELIVERED", 200, 1)
    assert line["next_attempt_at"] is None
    assert TIME.fullmatch(line["finished_at"])


async def deliveries(
    onsale: InProcess, who: str, endpoint: dict[str, Any], **query: Any
) -> list[dict[str, Any]]:
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries"
    answer = await onsale.get(path, who, params=query)
    assert answer.status_code == 200, answer.text
    page: list[dict[str, Any]] = answer.json()["data"]
    return page


# -- the log ---------------------------------------------------------------------------


async def test_the_log_is_listed_newest_first_page_by_page(onsale: InProcess, acme: str) -> None:
    endpoint = await registered(onsale, acme)
    for number in range(5):
        await put(onsale, number)
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries"
    seen: list[str] = []
    more = True
    while more:
        query = {"limit": 2} | ({"starting_after": seen[-1]} if seen else {})
        page = (await onsale.get(path, acme, params=query)).json()
        seen += [one["webhook_id"] for one in page["data"]]
        more = page["has_more"]
    assert seen == [f"msg_{number}" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"limit": 0}, "/query/limit"),
        ({"limit": 101}, "/query/limit"),
        ({"starting_after": "msg_9"}, "/query/starting_after"),
        ({"starting_after": "x" * 65}, "/query/starting_after"),
    ],
)
async def test_a_wrong_page_is_refused_by_name(
    onsale: InProcess, acme: str, query: dict[str, Any], pointer: str
) -> None:
    endpoint = await registered(onsale, acme)
    answer = await onsale.get(f"{ENDPOINTS}/{endpoint['id']}/deliveries", acme, params=query)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_what_cannot_be_an_id_is_not_looked_for(
    onsale: InProcess, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL has no text with a NUL in it, and fails where it is asked for one."""
    endpoint = await registered(onsale, acme)
    webhooks = onsale.service.webhooks
    found = webhooks.endpoint

    async def asked(*ids: str) -> Any:
        assert not any("\0" in one for one in ids), "the database was asked"
        return await found(ids[0])

    monkeypatch.setattr(webhooks, "endpoint", asked)
    monkeypatch.setattr(webhooks, "delivery", asked)
    for method, path, code in (
        ("GET", f"{ENDPOINTS}/%00", "webhook_endpoint_not_found"),
        ("DELETE", f"{ENDPOINTS}/whe_%00", "webhook_endpoint_not_found"),
        ("POST", f"{ENDPOINTS}/{endpoint['id']}%00/test", "webhook_endpoint_not_found"),
        ("POST", f"{ENDPOINTS}/{endpoint['id']}/deliveries/%00/replay", "webhook_not_found"),
    ):
        answer = await onsale.ask(method, path, acme)
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    page = f"{ENDPOINTS}/{endpoint['id']}/deliveries?starting_after=%00"
    assert (await onsale.get(page, acme)).status_code == 422


async def test_what_was_given_up_can_be_sent_again(onsale: InProcess, acme: str) -> None:
    endpoint = await registered(onsale, acme)
    await put(onsale, 1)
    webhooks = onsale.service.webhooks
    (due,) = await webhooks.due(LATER_MS, 1, 1, 1, ())
    await webhooks.failed(due, 500, "not taken", None, due.leased_until_ms)
    (line,) = await deliveries(onsale, acme, endpoint)
    assert (line["status"], line["error"], line["attempts"]) == ("GIVEN_UP", "not taken", 1)
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries"
    answer = await onsale.post(f"{path}/msg_1/replay", acme)
    assert answer.status_code == 202
    replayed = answer.json()
    assert (replayed["status"], replayed["attempts"]) == ("PENDING", 0)
    assert [replayed] == await deliveries(onsale, acme, endpoint)
    answer = await onsale.post(f"{path}/msg_2/replay", acme)
    assert (answer.status_code, answer.json()["code"]) == (404, "webhook_not_found")


async def test_to_a_disabled_endpoint_nothing_can_be_sent(onsale: InProcess, acme: str) -> None:
    endpoint = await registered(onsale, acme)
    await put(onsale, 1)
    await onsale.service.webhooks.disable(endpoint["id"], "it answered 410 Gone", 1_000)
    path = f"{ENDPOINTS}/{endpoint['id']}"
    for rest in ("/test", "/deliveries/msg_1/replay"):
        answer = await onsale.post(path + rest, acme)
        assert (answer.status_code, answer.json()["code"]) == (409, "webhook_endpoint_disabled")
    shown = (await onsale.get(path, acme)).json()
    assert shown["disabled"] == {
        "at": "1970-01-01T00:00:01.000Z",
        "reason": "it answered 410 Gone",
    }
    kept = await onsale.service.webhooks.delivery(endpoint["id"], "msg_1")
    assert kept is not None
    assert kept.status is DeliveryStatus.GIVEN_UP


# -- whose it is -----------------------------------------------------------------------


async def test_only_the_organizer_and_an_admin_see_an_endpoint(
    onsale: InProcess, acme: str
) -> None:
    endpoint = await registered(onsale, acme)
    path = f"{ENDPOINTS}/{endpoint['id']}"
    assert (await onsale.get(path, onsale.token("admin", "root"))).status_code == 200
    rival = onsale.token("organizer", "rival")
    assert (await onsale.get(path, rival)).json()["code"] == "webhook_endpoint_not_found"
    assert (await onsale.get(ENDPOINTS, rival)).json()["data"] == []
    assert (await onsale.ask("DELETE", path, rival)).status_code == 404
    assert (await onsale.get(path, acme)).status_code == 200


async def test_while_the_database_is_away_it_says_so(onsale: InProcess, acme: str) -> None:
    away = InProcess(onsale.redis)
    try:
        for method, path in (("GET", ""), ("POST", "/whe_1/test"), ("DELETE", "/whe_1")):
            answer = await away.ask(method, ENDPOINTS + path, away.token("organizer", "acme"))
            assert (answer.status_code, answer.json()["code"]) == (503, "back_office_unavailable")
            assert answer.json()["retryable"] is True
            assert "retry-after" in answer.headers
    finally:
        await away.close()
