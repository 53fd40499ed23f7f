"""One request and its answer on the raw ASGI interface."""

from starlette.types import Receive, Scope, Send

from engine.limits import BODY_BYTES_MAX
from gateway.problems import MEDIA_TYPE, Problem

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", MEDIA_TYPE.encode())


class Disconnected(Exception):
    """The client left before its request was read."""


class Exchange:
    """What a route needs of a request, and how it answers.

    `extra` are headers that every answer carries: the request id, the rate limit.
    """

    __slots__ = ("_headers", "_receive", "_send", "extra", "path", "request_id")

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: str,
        extra: list[tuple[bytes, bytes]],
    ) -> None:
        self.path: str = scope["path"]
        self.request_id = request_id
        self.extra = extra
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> str | None:
        """Return the first value of a header, by its name in lower case."""
        for key, value in self._headers:
            if key == name:
                return value.decode("latin-1")
        return None

    async def body(self, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """Return the whole body.

        Raises:
            Problem: `body_too_large`.
            Disconnected: the client left.
        """
        parts = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk = message.get("body", b"")
            if not message.get("more_body", False) and not parts:
                if len(chunk) > bytes_max:
                    raise Problem("body_too_large", f"At most {bytes_max} bytes.")
                return bytes(chunk)
            parts += chunk
            if len(parts) > bytes_max:
                raise Problem("body_too_large", f"At most {bytes_max} bytes.")
            if not message.get("more_body", False):
                return bytes(parts)

    async def answer(
        self, status: int, body: bytes, headers: list[tuple[bytes, bytes]], *, problem: bool = False
    ) -> None:
        """Send a JSON answer."""
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    _PROBLEM if problem else _JSON,
                    (b"content-length", str(len(body)).encode()),
                    *self.extra,
                    *headers,
                ],
            }
        )
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, problem: Problem) -> None:
        """Send a problem document."""
        headers = [(key.encode(), value.encode()) for key, value in problem.headers().items()]
        body = problem.body(self.path, self.request_id)
        await self.answer(problem.kind.status, body, headers, problem=True)
