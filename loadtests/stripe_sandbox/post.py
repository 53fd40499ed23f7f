"""A small HTTP client for webhooks: one request at a time over a connection that is kept."""

import asyncio
from urllib.parse import urlsplit

#: Of an answer, bytes: nobody reads it.
_ANSWER_BYTES_MAX = 1_000_000


class Connection:
    """A way to one endpoint, opened when it is needed and kept for the next request."""

    def __init__(self) -> None:
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._target = ("", 0)

    async def post(self, url: str, headers: dict[str, str], body: bytes, seconds: float) -> int:
        """Send a request and return the status of the answer.

        Args:
            url: where to.
            headers: besides those that every request has.
            body: its content.
            seconds: how long all of it may take.

        Raises:
            OSError: nobody is there, or the connection broke.
            TimeoutError: no answer came in time.
        """
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{lines}"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange((host, port), secure, request)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _exchange(self, target: tuple[str, int], secure: bool, request: bytes) -> int:
        kept = self._reader is not None and self._target == target
        if kept:
            try:
                return await self._ask(request)
            except (OSError, EOFError):
                pass  # closed while nobody used it; the event's id makes a repetition harmless
        self.close()
        self._target = target
        self._reader, self._writer = await asyncio.open_connection(*target, ssl=secure or None)
        try:
            return await self._ask(request)
        except EOFError:
            raise ConnectionResetError("the connection was closed before an answer") from None

    async def _ask(self, request: bytes) -> int:
        reader, writer = self._reader, self._writer
        assert reader is not None
        assert writer is not None
        writer.write(request)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            status = int(head[9:12])
            await self._skip(reader, head, status)
        except (asyncio.LimitOverrunError, ValueError) as error:
            raise ConnectionAbortedError(f"this is no HTTP: {error}") from None
        if b"\r\nconnection: close" in head or head.startswith(b"http/1.0"):
            self.close()
        return status

    async def _skip(self, reader: asyncio.StreamReader, head: bytes, status: int) -> None:
        """Read to the end of the answer."""
        if status in (204, 304):
            return
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if found:
            size = int(rest.partition(b"\r")[0])
            if size > _ANSWER_BYTES_MAX:
                raise ValueError("too long an answer")
            await reader.readexactly(size)
        elif b"\r\ntransfer-encoding: chunked" in head:
            while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
                await reader.readexactly(size + 2)
            await reader.readuntil(b"\r\n")
        else:
            self.close()
