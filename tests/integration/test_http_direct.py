"""Requests for plain routes that go to them directly, over real sockets.

However a request is written, what it gets is the same: directly, or through ASGI where it
is unusual. Which way it went is asked of the protocol.
"""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.limits import BODY_BYTES_MAX
from gateway.direct import DirectExchange, DirectProtocol
from gateway.rate_limits import RateLimits
from tests.front import PATIENCE_SECONDS, Front, front_of, holds, request, wanting
from tests.in_process import BASE, InProcess, in_process


@pytest.fixture
async def front(onsale: InProcess) -> AsyncIterator[Front]:
    async with front_of(onsale) as running:
        yield running


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Which way each request took that was told apart so far: True for the direct one."""
    taken: list[bool] = []
    decide = DirectProtocol._direct

    def told(self: DirectProtocol) -> DirectExchange | None:
        exchange = decide(self)
        taken.append(exchange is not None)
        return exchange

    monkeypatch.setattr(DirectProtocol, "_direct", told)
    return taken


@pytest.fixture
def parting_only_when_asked() -> Iterator[None]:
    """Nobody looks for what refers to itself, as in a gateway at work."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_a_hold_goes_directly_and_is_answered_like_any_other(
    front: Front, direct: list[bool]
) -> None:
    event_id = await front.onsale.event(capacity=3)
    ann = front.onsale.token("buyer", "ann")
    caller = await front.call()
    granted = await caller.ask(
        request(holds(event_id), ann, wanting(2), "X-Request-ID: mine", "Idempotency-Key: k")
    )
    refused = await caller.ask(request(holds(event_id), ann, wanting(2)))
    again = await caller.ask(request(holds(event_id), ann, wanting(2), "idempotency-key: k"))
    assert direct == [True, True, True]
    assert granted.status == 201
    assert granted.headers["x-request-id"] == "mine"
    assert granted.headers["content-type"] == "application/json"
    assert granted.headers["location"] == f"/api/v1/bookings/{granted.json()['id']}"
    assert (refused.status, refused.json()["code"]) == (409, "not_enough")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert (again.status, again.body) == (201, granted.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert front.state.total_requests == 3


@pytest.mark.parametrize(
    ("headers", "query", "version"),
    [
        (["expect: 100-continue"], "", "1.1"),
        (["connection: close"], "", "1.1"),
        ([], "?a=b", "1.1"),
        ([], "", "1.0"),
    ],
    ids=["expect", "close", "query", "HTTP/1.0"],
)
async def test_an_unusual_request_gets_the_same_the_longer_way(
    front: Front, direct: list[bool], headers: list[str], query: str, version: str
) -> None:
    event_id = await front.onsale.event()
    ann = front.onsale.token("buyer", "ann")
    caller = await front.call()
    sent = request(holds(event_id) + query, ann, wanting(1), *headers, version=version)
    answer = await caller.ask(sent)
    if answer.status == 100:
        answer = await caller.answer()
    assert direct == [False]
    assert answer.status == 201


async def test_an_encoded_path_means_the_same(front: Front, direct: list[bool]) -> None:
    event_id = await front.onsale.event()
    ann = front.onsale.token("buyer", "ann")
    path = holds(event_id).replace("holds", "%68olds")
    answer = await (await front.call()).ask(request(path, ann, wanting(1)))
    assert (answer.status, direct) == (201, [False])


async def test_a_body_in_chunks_takes_the_longer_way(front: Front, direct: list[bool]) -> None:
    event_id = await front.onsale.event()
    ann = front.onsale.token("buyer", "ann")
    body = wanting(1)
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    sent = request(holds(event_id), ann, chunked, "transfer-encoding: chunked")
    answer = await (await front.call()).ask(sent)
    assert (answer.status, direct) == (201, [False])


async def test_a_request_that_comes_byte_by_byte_is_read_whole(
    front: Front, direct: list[bool]
) -> None:
    event_id = await front.onsale.event()
    sent = request(holds(event_id), front.onsale.token("buyer", "ann"), wanting(1))
    half = len(sent) - 20
    parts = [sent[:100], sent[100:half], *(bytes([byte]) for byte in sent[half:])]
    answer = await (await front.call()).ask(*parts)
    assert (answer.status, direct) == (201, [True])


async def test_two_requests_at_once_are_answered_in_their_order(
    front: Front, direct: list[bool]
) -> None:
    event_id = await front.onsale.event(capacity=100)
    ann = front.onsale.token("buyer", "ann")
    sent = [
        request(holds(event_id), ann, wanting(units), f"x-request-id: {units}")
        for units in (1, 2, 3)
    ]
    sent.insert(1, request(f"{BASE}/events/{event_id}", ann, b"", "x-request-id: g", method="GET"))
    caller = await front.call()
    caller.writer.write(b"".join(sent))
    answers = [await caller.answer() for _ in sent]
    assert [one.headers["x-request-id"] for one in answers] == ["1", "g", "2", "3"]
    assert [one.status for one in answers] == [201, 200, 201, 201]
    assert direct[0] is True
    assert (await caller.ask(sent[0])).status == 201, "the connection is of no more use"


@pytest.mark.parametrize("extra", [0, 1])
async def test_the_largest_body_is_read_and_a_larger_one_refused(front: Front, extra: int) -> None:
    event_id = await front.onsale.event()
    body = wanting(1)
    body += b" " * (BODY_BYTES_MAX + extra - len(body))
    sent = request(holds(event_id), front.onsale.token("buyer", "ann"), body)
    answer = await (await front.call()).ask(sent)
    assert answer.status == (413 if extra else 201)


@pytest.mark.parametrize(
    "lengths", [["content-length: 5", "content-length: 6"], ["content-length: -1"]]
)
async def test_a_request_whose_length_is_not_clear_is_refused_whole(
    front: Front, lengths: list[str]
) -> None:
    event_id = await front.onsale.event()
    ann = front.onsale.token("buyer", "ann")
    lines = [f"POST {holds(event_id)} HTTP/1.1", "host: a", f"authorization: Bearer {ann}"]
    caller = await front.call()
    answer = await caller.ask("\r\n".join([*lines, *lengths]).encode() + b"\r\n\r\n" + wanting(1))
    assert answer.status == 400
    assert await caller.ended()
    store = await front.onsale.get(f"{BASE}/events/{event_id}/availability", ann)
    assert store.json()["ticket_types"][0]["available"] == 10


async def test_whoever_leaves_before_the_answer_has_bought_all_the_same(front: Front) -> None:
    event_id = await front.onsale.event()
    ann = front.onsale.token("buyer", "ann")
    caller = await front.call()
    caller.writer.write(request(holds(event_id), ann, wanting(1), "idempotency-key: k"))
    caller.writer.close()
    again = await (await front.call()).ask(
        request(holds(event_id), ann, wanting(1), "idempotency-key: k")
    )
    assert again.status == 201
    while front.state.connections - {front.protocols[-1]}:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("leaves", ["after the answer", "before the answer"])
@pytest.mark.parametrize("query", ["", "?a=b"], ids=["directly", "the longer way"])
async def test_a_connection_that_is_closed_leaves_nothing_behind(
    front: Front, query: str, leaves: str, parting_only_when_asked: None
) -> None:
    event_id = await front.onsale.event()
    sent = request(holds(event_id) + query, front.onsale.token("buyer", "ann"), wanting(1))
    caller = await front.call()
    if leaves == "after the answer":
        assert (await caller.ask(sent)).status == 201
    else:
        caller.writer.write(sent)
    caller.writer.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not front.protocols:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        left = weakref.ref(front.protocols.pop())
        while left() is not None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_who_leaves_within_a_request_has_asked_for_nothing(front: Front) -> None:
    event_id = await front.onsale.event()
    ann = front.onsale.token("buyer", "ann")
    caller = await front.call()
    caller.writer.write(request(holds(event_id), ann, wanting(1))[:-3])
    await caller.writer.drain()
    caller.writer.close()
    while front.state.connections or not front.protocols:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    free = await front.onsale.get(f"{BASE}/events/{event_id}/availability", ann)
    assert free.json()["ticket_types"][0]["available"] == 10


async def test_a_gateway_that_stops_takes_leave_on_every_way(
    front: Front, direct: list[bool]
) -> None:
    event_id = await front.onsale.event()
    sent = request(holds(event_id), front.onsale.token("buyer", "ann"), wanting(1))
    caller = await front.call()
    assert "connection" not in (await caller.ask(sent)).headers
    front.onsale.service.stopping.set()
    assert (await caller.ask(sent)).headers["connection"] == "close"
    assert await caller.ended()
    assert direct == [True, True]


async def test_uvicorn_closes_the_connection_after_what_is_under_way(front: Front) -> None:
    event_id = await front.onsale.event()
    sent = request(holds(event_id), front.onsale.token("buyer", "ann"), wanting(1))
    caller = await front.call()
    caller.writer.write(sent[:-1])
    await caller.writer.drain()
    while not (front.protocols and front.protocols[0].cycle):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    front.protocols[0].shutdown()
    assert (await caller.ask(sent[-1:])).status == 201
    assert await caller.ended()


async def test_an_error_of_ours_is_a_document_here_too(
    front: Front, direct: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = await front.onsale.event()

    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(front.onsale.service.tokens, "verify", broken)
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    sent = request(holds(event_id), "x", wanting(1), f"traceparent: {traceparent}")
    with capture_logs() as logs:
        answer = await (await front.call()).ask(sent)
    assert (answer.status, answer.json()["code"]) == (500, "internal_error")
    (told,) = [line for line in logs if line["event"] == "internal_error"]
    assert told["traceparent"] == traceparent
    assert direct == [True]


async def test_the_limits_are_those_of_the_client_behind_a_proxy(
    redis: Any, direct: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = RateLimits()
    seen: list[str] = []
    monkeypatch.setattr(limits, "hit", lambda _token, address, _extra: seen.append(address))
    async with (
        in_process(redis, limits) as onsale,
        front_of(onsale, proxy_headers=True, forwarded_allow_ips="127.0.0.1") as front,
    ):
        event_id = await onsale.event()
        ann = onsale.token("buyer", "ann")
        seen.clear()
        caller = await front.call()
        await caller.ask(request(holds(event_id), ann, wanting(1)))
        await caller.ask(request(holds(event_id), ann, wanting(1), "x-forwarded-for: 203.0.113.9"))
    assert seen == ["127.0.0.1", "203.0.113.9"]
    assert direct == [True, True]


async def test_a_client_that_does_not_read_is_not_written_to_without_end(front: Front) -> None:
    event_id = await front.onsale.event(capacity=1)
    ann = front.onsale.token("buyer", "ann")
    caller = await front.call()
    await caller.ask(request(holds(event_id), ann, wanting(1)))
    protocol = front.protocols[0]
    protocol.pause_writing()
    caller.writer.write(request(holds(event_id), ann, wanting(1)))
    await asyncio.sleep(0.1)
    assert not protocol.cycle.response_complete
    protocol.resume_writing()
    assert (await caller.answer()).status == 409
