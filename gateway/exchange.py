"""One request and its answer, as the plain routes see them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sized

from starlette.types import Receive, Scope, Send

from engine.limits import BODY_BYTES_MAX
from gateway.problems import MEDIA_TYPE, Problem

JSON = b"application/json"
PROBLEM = MEDIA_TYPE.encode()


class Disconnected(Exception):
    """The client left before its request was read."""


class Exchange(ABC):
    """What a route needs of a request, and how it answers.

    Args:
        headers: names in lower case; of several with one name, the first counts.
        route: name of the plain route that it is for, None if it is for another.

    `extra` are headers that every answer carries: the request id, the rate limit. `last`
    tells that the connection is closed after the answer.
    """

    __slots__ = ("extra", "headers", "last", "path", "request_id", "route")

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]], route: str | None) -> None:
        self.path = path
        self.route = route
        self.headers = dict(reversed(headers))
        self.request_id = ""
        self.extra: list[tuple[bytes, bytes]] = []
        self.last = False

    def header(self, name: bytes) -> str | None:
        """Return a header by its name in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @abstractmethod
    async def body(self, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """Return the whole body.

        Raises:
            Problem: `body_too_large`.
            Disconnected: the client left.
        """

    @abstractmethod
    async def answer(
        self,
        status: int,
        body: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        problem: bool = False,
    ) -> None:
        """Send a JSON answer."""

    async def refuse(self, problem: Problem) -> None:
        """Send a problem document."""
        headers = [(key.encode(), value.encode()) for key, value in problem.headers().items()]
        body = problem.body(self.path, self.request_id)
        await self.answer(problem.kind.status, body, headers, problem=True)


def check_length(body: Sized, bytes_max: int) -> None:
    """Return if a body is not too large. Raises Problem: `body_too_large`."""
    if len(body) > bytes_max:
        raise Problem("body_too_large", f"At most {bytes_max} bytes.")


class AsgiExchange(Exchange):
    """On the raw ASGI interface."""

    __slots__ = ("_receive", "_send")

    def __init__(self, scope: Scope, receive: Receive, send: Send, route: str | None) -> None:
        super().__init__(scope["path"], scope["headers"], route)
        self._receive = receive
        self._send = send

    async def body(self, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """See `Exchange.body`."""
        parts = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            parts += message.get("body", b"")
            check_length(parts, bytes_max)
            if not message.get("more_body", False):
                return bytes(parts)

    async def answer(
        self,
        status: int,
        body: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        problem: bool = False,
    ) -> None:
        """See `Exchange.answer`."""
        head = [
            (b"content-type", PROBLEM if problem else JSON),
            (b"content-length", b"%d" % len(body)),
            *self.extra,
            *headers,
        ]
        if self.last:
            head.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})
