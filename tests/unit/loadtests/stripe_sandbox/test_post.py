"""The webhook client keeps its connections and notices every way an answer can fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import stripe

from loadtests.signature import sign
from loadtests.stripe_sandbox.post import Connection

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def endpoint(answer: Handler) -> AsyncIterator[tuple[str, list[int]]]:
    """Serve; yields the URL and a list with a number for every connection."""
    connections: list[int] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        writers.append(writer)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
                await answer(head + await reader.readexactly(size), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=1", connections
        for writer in writers:
            writer.close()
        await asyncio.sleep(0.01)


def says(answer: bytes, close: bool = False) -> Handler:
    async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if close:
            writer.close()

    return say


async def post(url: str, times: int = 1, seconds: float = 5.0) -> list[int]:
    connection = Connection()
    try:
        return [await connection.post(url, {"X-A": "b"}, b"{}", seconds) for _ in range(times)]
    finally:
        connection.close()


async def test_requests_are_whole_and_share_a_connection():
    seen: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with endpoint(answer) as (url, connections):
        assert await post(url, 3) == [200] * 3
    assert len(connections) == 1
    assert seen[0].startswith(b"POST /hook?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert seen[0].endswith(b"X-A: b\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    ("answer", "status", "connections"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, 1),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", 503, 1),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
            200,
            1,
        ),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 200, 3),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 3),
        (b"HTTP/1.1 200 OK\r\n\r\nwithout a length", 200, 3),
    ],
)
async def test_answers_of_every_form(answer, status, connections):
    async with endpoint(says(answer)) as (url, made):
        assert await post(url, 3) == [status] * 3
    assert len(made) == connections


async def test_a_connection_that_was_closed_meanwhile_is_opened_again():
    answer = says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", close=True)
    async with endpoint(answer) as (url, connections):
        assert await post(url, 3) == [200] * 3
    assert len(connections) == 3


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", b"?"])
async def test_an_answer_that_breaks_off_is_none(answer):
    async with endpoint(says(answer, close=True)) as (url, _):
        with pytest.raises(ConnectionResetError):
            await post(url)


@pytest.mark.parametrize("answer", [b"SSH-2.0 hello\r\n\r\n", b"HTTP/1.1 2 OK\r\n" + b"x" * 70_000])
async def test_what_is_no_http_is_no_answer(answer):
    async with endpoint(says(answer)) as (url, _):
        with pytest.raises(ConnectionAbortedError):
            await post(url)


async def test_an_answer_in_time_or_none():
    async with endpoint(says(b"")) as (url, _):
        with pytest.raises(TimeoutError):
            await post(url, seconds=0.05)


async def test_nobody_there():
    with pytest.raises(OSError, match="Connect call failed"):
        await post("http://127.0.0.1:9/")


def test_the_signature_is_the_one_that_stripe_checks():
    payload = '{"id": "evt_1", "object": "event", "name": "Ünal"}'
    event = stripe.Webhook.construct_event(
        payload, sign(payload.encode(), "whsec_a", 1_800_000_000), "whsec_a", tolerance=None
    )
    assert event.id == "evt_1"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(
            payload, sign(payload.encode(), "whsec_b", 1_800_000_000), "whsec_a", tolerance=None
        )
