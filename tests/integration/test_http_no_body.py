"""Routes that read no body: who sends one means something by it, and is told.

Routes are read from the OpenAPI document, so that a new one is tried without a line here.
"""

import httpx
import pytest

from tests.documented import OPERATIONS, Operation
from tests.in_process import BASE, InProcess

SILENT = [
    operation
    for operation in OPERATIONS
    if operation.method in ("POST", "PUT", "PATCH") and "requestBody" not in operation.spec
]
DEEP = [b"[" * 10_000, b'{"a":' * 5_000]
WRONG = [b'{"foo":1}', b"[1]", b"null", b"1", b'"x"', b"{", b"\xff", *DEEP]


@pytest.fixture
def onsale(onsale_with_books: InProcess) -> InProcess:
    return onsale_with_books


def test_some_routes_read_no_body() -> None:
    assert "POST /api/v1/events/{event_id}/cancel" in map(str, SILENT)


async def sent(onsale: InProcess, path: str, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return await onsale.post(path, onsale.token("admin", "root"), content=body, headers=headers)


@pytest.mark.parametrize("operation", SILENT, ids=str)
async def test_what_is_said_where_nothing_can_be_said_is_refused(
    onsale: InProcess, operation: Operation
) -> None:
    event_id = await onsale.event("root")
    booking_id = (await onsale.held(event_id, "root", ga=1))["id"]
    endpoint = await onsale.post(
        f"{BASE}/webhook-endpoints",
        onsale.token("organizer", "root"),
        json={"url": "https://127.0.0.1/told"},
    )
    path = operation.path.format(
        event_id=event_id,
        booking_id=booking_id,
        endpoint_id=endpoint.json()["id"],
        webhook_id="msg_none",
    )
    async with onsale.unchanged():
        for body in WRONG:
            answer = await sent(onsale, path, body)
            assert answer.status_code in (400, 422), (body, answer.text)
            assert answer.json()["code"] in ("malformed_json", "invalid_request")
        named = await sent(onsale, path, b'{"a/b":1}')
        assert [error["pointer"] for error in named.json()["errors"]] == ["/a~1b"]
    for body in (b"", b"{}"):
        assert (await sent(onsale, path, body)).json().get("code") != "invalid_request"


@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_a_reason_may_be_given_or_not_and_nothing_else(onsale: InProcess, what: str) -> None:
    path = f"{BASE}/events/{await onsale.event('root')}/{what}"
    async with onsale.unchanged():
        for body in (b'{"foo":1}', b"[1]", b'{"reason":""}', b'{"reason":"x","foo":1}'):
            assert (await sent(onsale, path, body)).status_code == 422
    for body in (b"", b"{}", b'{"reason":"Incident 112"}'):
        assert (await sent(onsale, path, body)).status_code == 200
