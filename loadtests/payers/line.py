"""A connection that is kept: one question at a time."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec

from loadtests.own_process import LoadFailed

#: How long an answer may take, seconds.
_ANSWER_SECONDS = 30.0


class Line:
    """A way to a server, opened when it is needed.

    Args:
        url: base URL of the server.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Send a request; return status and body of the answer.

        Raises:
            LoadFailed: there was none.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        host = f"host: {self._host}:{self._port}\r\n"
        size = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\n{host}{lines}{size}\r\n"
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._exchange(head.encode() + body)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            what = f"{type(error).__name__}: {error}"
            raise LoadFailed(f"{method} {path} was not answered: {what}") from error

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, found, rest = head.partition(b"\r\ncontent-length:")
        body = await reader.readexactly(int(rest.partition(b"\r")[0]) if found else 0)
        if b"\r\nconnection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        """Let go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Client:
    """Somebody with a token, who asks for JSON.

    Args:
        line: to the service.
        token: who asks.
    """

    def __init__(self, line: Line, token: str) -> None:
        self._line = line
        self._headers = {"authorization": f"Bearer {token}"}

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer. What is not possible at the moment is tried again.

        Raises:
            LoadFailed: it was refused, or it was not possible for a long time.
        """
        data = b"" if body is None else msgspec.json.encode(body)
        give_up = asyncio.get_running_loop().time() + _ANSWER_SECONDS
        while True:
            status, answer = await self._line.ask(method, path, data, self._headers)
            if status < 300:
                return msgspec.json.decode(answer)
            if status not in (429, 503) or asyncio.get_running_loop().time() > give_up:
                told = answer.decode(errors="replace")
                raise LoadFailed(f"{method} {path}: {status} {told}")
            await asyncio.sleep(0.25)
