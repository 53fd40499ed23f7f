"""FAULTS 29: clients that send or read slowly, over real sockets.

Times are those of production, a hundred times shorter. Whoever is fast is served meanwhile.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from engine.limits import REQUEST_HEAD_BYTES_MAX, REQUEST_READ_SECONDS
from gateway import patience
from tests.front import PATIENCE_SECONDS, Caller, Front, front_of, holds, request, wanting
from tests.in_process import BASE, InProcess

READ_SECONDS, IDLE_SECONDS, STUCK_SECONDS = 0.3, 1.5, 0.5


@pytest.fixture
async def front(onsale: InProcess, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(patience, "REQUEST_READ_SECONDS", READ_SECONDS)
    monkeypatch.setattr(patience, "CONNECTION_IDLE_SECONDS", IDLE_SECONDS)
    monkeypatch.setattr(patience, "CONNECTION_STUCK_SECONDS", STUCK_SECONDS)
    async with front_of(onsale) as running:
        yield running


@pytest.fixture
async def patient(front: Front, monkeypatch: pytest.MonkeyPatch) -> Front:
    """A front that waits for requests as long as in production: time is not what counts."""
    monkeypatch.setattr(patience, "REQUEST_READ_SECONDS", REQUEST_READ_SECONDS)
    return front


async def available(front: Front, event_id: str) -> int:
    answer = await front.onsale.get(f"{BASE}/events/{event_id}/availability")
    free: int = answer.json()["ticket_types"][0]["available"]
    return free


async def timed_out(caller: Caller) -> None:
    """Assert that the caller is told that it was too slow, and that this was all."""
    answer = await caller.answer()
    assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["connection"] == "close"
    assert await caller.ended()


async def goes_on_without_end(caller: Caller) -> None:
    """Send more of a header than is taken; assert that the caller is told, and no more."""
    try:
        for _ in range(4 * REQUEST_HEAD_BYTES_MAX // 4_096):
            caller.writer.write(b"x" * 4_096)
            await caller.writer.drain()
    except ConnectionError:
        pass
    answer = await caller.answer()
    assert (answer.status, answer.json()["code"]) == (431, "headers_too_large")
    assert await caller.ended()


@pytest.mark.parametrize("kept_back", [1, 30, 150], ids=["body", "end of head", "head"])
async def test_half_a_request_is_not_waited_for(front: Front, kept_back: int) -> None:
    event_id = await front.onsale.event()
    sent = request(holds(event_id), front.onsale.token("buyer", "ann"), wanting(1))
    caller = await front.call()
    caller.writer.write(sent[:-kept_back])
    await timed_out(caller)
    assert await available(front, event_id) == 10


async def test_half_a_body_of_a_route_of_the_framework_is_not_waited_for(front: Front) -> None:
    sent = request(f"{BASE}/events", front.onsale.token("organizer", "acme"), b"{} ")
    caller = await front.call()
    caller.writer.write(sent[:-1])
    await timed_out(caller)


async def test_a_drop_now_and_then_wins_no_time(front: Front) -> None:
    event_id = await front.onsale.event()
    sent = request(holds(event_id), front.onsale.token("buyer", "ann"), wanting(1))
    caller, began = await front.call(), time.monotonic()
    answering = asyncio.create_task(timed_out(caller))
    for byte in sent[:-1]:
        if answering.done():
            break
        caller.writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
    else:
        pytest.fail("the whole request could be sent, drop by drop")
    await answering
    assert time.monotonic() - began >= READ_SECONDS
    assert await available(front, event_id) == 10


async def test_empty_lines_are_no_request_and_keep_nothing_open(front: Front) -> None:
    caller, began = await front.call(), time.monotonic()
    while not caller.reader.at_eof() and time.monotonic() - began < PATIENCE_SECONDS:
        caller.writer.write(b"\r\n")
        await asyncio.sleep(0.05)
    assert await caller.ended()


@pytest.mark.parametrize("asked", [True, False], ids=["after an answer", "from the beginning"])
async def test_a_connection_on_which_nothing_is_asked_ends(front: Front, asked: bool) -> None:
    caller, began = await front.call(), time.monotonic()
    if asked:
        await caller.ask(request("/livez", "", b"", method="GET"))
    assert await caller.ended()
    assert time.monotonic() - began >= IDLE_SECONDS


async def test_the_fast_are_served_while_hundreds_are_slow(front: Front) -> None:
    event_id = await front.onsale.event(capacity=100)
    ann = front.onsale.token("buyer", "ann")
    sent = request(holds(event_id), ann, wanting(1))
    slow = [await front.call() for _ in range(300)]
    for caller in slow:
        caller.writer.write(sent[:-1])
    fast, ended, waited = await front.call(), 0, []
    while ended < len(slow):
        began = time.monotonic()
        answer = await fast.ask(request("/livez", "", b"", method="GET"))
        waited.append(time.monotonic() - began)
        assert answer.status == 200
        ended = sum(caller.writer.is_closing() or caller.reader._eof for caller in slow)  # type: ignore[attr-defined]
    assert max(waited) < PATIENCE_SECONDS / 2
    assert (await fast.ask(sent)).status == 201, "the fast one was cut off as well"
    assert await available(front, event_id) == 99


async def test_a_stream_is_not_a_slow_request(front: Front) -> None:
    event_id = await front.onsale.event()
    caller = await front.call()
    path = f"{BASE}/events/{event_id}/availability/stream"
    caller.writer.write(request(path, "", b"", method="GET"))
    await caller.reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(IDLE_SECONDS + 3 * READ_SECONDS)
    await front.onsale.held(event_id, "ann", ga=1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while b'"available":9' not in await caller.reader.readline():
            pass


async def test_who_takes_nothing_of_an_answer_is_cut_off(front: Front) -> None:
    # So many documents that no buffer of the machine takes them all.
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    reader.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(reader, front.address)
    asking = request("/openapi.json", "", b"", method="GET")
    for _ in range(20):
        await loop.sock_sendall(reader, asking)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not front.state.connections:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        while front.state.connections:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    reader.close()


async def test_headers_without_end_are_refused(patient: Front) -> None:
    caller = await patient.call()
    caller.writer.write(b"GET /livez HTTP/1.1\r\nhost: a\r\nx-long: ")
    await goes_on_without_end(caller)


async def test_trailers_without_end_are_refused(patient: Front) -> None:
    caller = await patient.call()
    event = b"2\r\n{}\r\n0\r\nx-long: "
    head = request(f"{BASE}/events", "", b"", "transfer-encoding: chunked")
    caller.writer.write(head + event)
    await asyncio.sleep(0.02)
    await goes_on_without_end(caller)


async def test_long_headers_that_are_not_too_long_are_read(patient: Front) -> None:
    event_id = await patient.onsale.event()
    ann = patient.onsale.token("buyer", "ann")
    long = [f"x-{number}: {'x' * 1_000}" for number in range(30)]
    sent = request(holds(event_id), ann, wanting(1), *long)
    answer = await (await patient.call()).ask(sent[:2_000], sent[2_000:20_000], sent[20_000:])
    assert answer.status == 201


async def test_what_is_not_http_gets_a_document(patient: Front) -> None:
    answer = await (await patient.call()).ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n")
    assert (answer.status, answer.json()["code"]) == (400, "malformed_request")


async def test_an_answer_under_way_comes_before_the_refusal_of_nonsense(patient: Front) -> None:
    event_id = await patient.onsale.event()
    sent = request(holds(event_id), patient.onsale.token("buyer", "ann"), wanting(1))
    caller = await patient.call()
    caller.writer.write(sent + b"\x00nonsense\r\n\r\n")
    assert (await caller.answer()).status == 201
    assert await caller.ended()


async def test_where_there_is_no_room_those_give_way_who_wait_longest(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "REQUEST_READ_SECONDS", 30)
    monkeypatch.setattr(patience, "CONNECTIONS_MAX", 20)
    monkeypatch.setattr(patience, "CONNECTIONS_GIVE_WAY_SHARE", 0.1)
    event_id = await front.onsale.event()
    stream = request(f"{BASE}/events/{event_id}/availability/stream", "", b"", method="GET")
    streaming = await front.call()
    await streaming.ask(stream)
    idle = []
    for _ in range(30):
        idle.append(await front.call())
        idle[-1].writer.write(b"GET /livez")
        await asyncio.sleep(0.02)
    newcomer = await front.call()
    assert (await newcomer.ask(request("/livez", "", b"", method="GET"))).status == 200
    assert len(front.state.connections) <= 20
    assert not streaming.reader.at_eof(), "somebody who was being served had to give way"
    assert idle[0].reader.at_eof()


async def test_where_all_are_being_served_a_newcomer_is_told_to_come_back(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "CONNECTIONS_MAX", 2)
    event_id = await front.onsale.event()
    stream = request(f"{BASE}/events/{event_id}/availability/stream", "", b"", method="GET")
    for _ in range(2):
        await (await front.call()).ask(stream)
    answer = await (await front.call()).answer()
    assert (answer.status, answer.json()["code"]) == (503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1
