"""The application on a socket, and callers that send it bytes as they please."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from gateway.direct import DirectProtocol
from tests.in_process import BASE, InProcess, items

#: Longest that a test waits for an answer, seconds.
PATIENCE_SECONDS = 5.0


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One connection, on which bytes are sent as the test wants them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), headers, body)

    async def ask(self, *parts: bytes) -> Answer:
        """Send a request part by part, and return its answer."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0.01)
        return await self.answer()

    async def ended(self) -> bool:
        """Tell whether the server closes the connection, also where it was still sent to."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


class Front:
    """The application on a socket."""

    def __init__(self, onsale: InProcess, **options: Any) -> None:
        self.onsale = onsale
        self.state = ServerState()
        self.protocols: list[DirectProtocol] = []
        self._callers: list[Caller] = []
        self._config = uvicorn.Config(
            onsale.app, http=DirectProtocol, ws="none", lifespan="off", log_config=None, **options
        )
        self._config.load()

    def protocol(self) -> asyncio.Protocol:
        made = DirectProtocol(self._config, self.state, {})
        self.protocols.append(made)
        return made

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.protocol, "127.0.0.1", 0)
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()

    async def call(self) -> Caller:
        self._callers.append(Caller(*await asyncio.open_connection(*self.address)))
        return self._callers[-1]

    async def close(self) -> None:
        self._server.close()
        for caller in self._callers:
            caller.writer.close()
            with suppress(ConnectionError):
                await caller.writer.wait_closed()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.state.connections:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)


@asynccontextmanager
async def front_of(onsale: InProcess, **options: Any) -> AsyncIterator[Front]:
    front = Front(onsale, **options)
    await front.open()
    try:
        yield front
    finally:
        await front.close()


def request(
    path: str, who: str, body: bytes, *headers: str, method: str = "POST", version: str = "1.1"
) -> bytes:
    lines = [
        f"{method} {path} HTTP/{version}",
        "host: onsale.test",
        f"authorization: Bearer {who}",
        *headers,
    ]
    if not any(line.lower().startswith("transfer-encoding") for line in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def wanting(units: int) -> bytes:
    return json.dumps(items(ga=units)).encode()


def holds(event_id: str) -> str:
    return f"{BASE}/events/{event_id}/holds"
