"""An organizer's server: takes webhooks over real sockets, and behaves as badly as told.

async with receiving(answer(500), answer(200)) as receiver:
    ...  # send to receiver.url
    assert receiver.got[0].headers["webhook-id"] == ...
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

#: Answers one request, or does not.
Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Got(NamedTuple):
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer at once; underscores in the names of headers stand for hyphens."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        lines |= {"content-length": str(len(body))}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status} So\r\n{text}\r\n".encode() + body)
        await writer.drain()

    return behave


async def hang(_writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.get_running_loop().create_future()


async def break_off(writer: asyncio.StreamWriter) -> None:
    """Close the connection without an answer."""
    writer.close()


async def talk_nonsense(writer: asyncio.StreamWriter) -> None:
    """Answer in another protocol."""
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    await writer.drain()


async def never_end(writer: asyncio.StreamWriter) -> None:
    """Answer 200 with a body without an end, as fast as it is taken."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Answer one byte at a time, each soon enough for anyone who waits for the next."""
    for byte in b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


class Receiver:
    """What was received, and how the next request is treated: the last way for ever."""

    def __init__(self, behaviours: tuple[Behaviour, ...]) -> None:
        self.behaviours = list(behaviours)
        self.got: list[Got] = []
        self.connections = 0
        self.url = ""
        self.arrived = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.got.append(await _read(reader))
                self.arrived.set()
                few = len(self.behaviours) == 1
                await (self.behaviours[0] if few else self.behaviours.pop(0))(writer)
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *lines = head.split("\r\n")[:-2]
    pairs = [one.split(": ", 1) for one in lines]
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Got(line, headers, body)


@asynccontextmanager
async def receiving(
    *behaviours: Behaviour, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Listen on a free port of 127.0.0.1."""
    receiver = Receiver(behaviours)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await receiver.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
