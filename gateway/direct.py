"""Requests for the plain routes go to them directly, not through ASGI.

ASGI makes a task, an event, a scope and four messages of every request, and begins before
the body is there: 4 of the 62 microseconds that a hold takes of a gateway. A small request
for a plain route is read whole and answered here; uvicorn serves whatever else there is on
the same connections, and the same routes where a request is unusual.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from engine.limits import BODY_BYTES_MAX, REQUEST_HEAD_BYTES_MAX
from gateway.edge import plain_route
from gateway.exchange import JSON, PROBLEM, Exchange, check_length
from gateway.one_write import OneWriteProtocol
from gateway.patience import Part, Patience
from gateway.problems import Problem

log = structlog.get_logger(__name__)

#: At hand, because Python 3.11 takes 0.12 microseconds to find a member of an enumeration, and
#: every request goes through all of them.
_NOTHING_YET, _HEAD, _BODY, _OURS = Part

#: A path that means what it says: nothing to decode, no query.
_LITERAL = re.compile(rb"[A-Za-z0-9_/-]+")


class _Run:
    """Runs a coroutine from one future to the next, without a task: it begins at once.

    What Python 3.12 calls an eager task. What it runs may wait for futures, not for
    `asyncio.timeout` or whatever else asks which task it is in.
    """

    __slots__ = ("_coroutine", "_give_up")

    def __init__(self, coroutine: Coroutine[Any, Any, None], give_up: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._give_up = give_up
        self()

    def __call__(self, _done: asyncio.Future[Any] | None = None) -> None:
        try:
            future = self._coroutine.send(None)
        except StopIteration:
            return
        except BaseException:
            log.exception("request_not_answered")
            self._give_up()
            raise
        future._asyncio_future_blocking = False  # noqa: SLF001 - so futures know they are heard
        future.add_done_callback(self)


class _Heads:
    """How answers of each kind begin, up to the length: the same for all of one second."""

    def __init__(self) -> None:
        self._of: list[tuple[bytes, bytes]] | None = None
        self._made: dict[tuple[int, bool], bytes] = {}

    def of(self, headers: list[tuple[bytes, bytes]], status: int, *, problem: bool) -> bytes:
        """Return status line, the server's headers, and the type of the content."""
        if headers is not self._of:
            self._of = headers
            self._made.clear()
        head = self._made.get((status, problem))
        if head is None:
            kind = (b"content-type", PROBLEM if problem else JSON)
            lines = [b"%b: %b\r\n" % line for line in (*headers, kind)]
            head = b"".join((STATUS_LINE[status], *lines, b"content-length: "))
            self._made[status, problem] = head
        return head


class _Never:
    """Stands for an event that nobody waits for."""

    def set(self) -> None:
        pass


_heads = _Heads()


def _begun(cycle: Any) -> bool:
    """Tell whether something of an answer was sent."""
    return type(cycle) is not DirectExchange and cycle.response_started


class DirectExchange(Exchange):
    """A request on its connection.

    It takes the place of uvicorn's `RequestResponseCycle`, and has what the protocol
    touches of one.
    """

    __slots__ = ("_parts", "_protocol", "disconnected", "keep_alive", "response_complete")

    message_event = _Never()

    def __init__(
        self, protocol: "DirectProtocol", path: str, headers: list[tuple[bytes, bytes]], route: str
    ) -> None:
        super().__init__(path, headers, route)
        self._protocol = protocol
        self._parts: list[bytes] = []
        self.disconnected = False
        self.keep_alive = True
        self.response_complete = False

    @property
    def short(self) -> bool:
        """Whether the body has the length it tells, and not a great one."""
        length = self.headers.get(b"content-length")
        return length is not None and length.isdigit() and int(length) <= BODY_BYTES_MAX

    def feed(self, body: bytes) -> None:
        """Take a part of the body."""
        self._parts.append(body)

    async def body(self, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """See `Exchange.body`."""
        body = b"".join(self._parts)
        check_length(body, bytes_max)
        return body

    async def answer(
        self,
        status: int,
        body: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        problem: bool = False,
    ) -> None:
        """See `Exchange.answer`."""
        protocol = self._protocol
        if protocol.flow.write_paused and not self.disconnected:
            await protocol.flow.drain()
        self.response_complete = True
        if self.disconnected:
            protocol.forget()
            return
        last = self.last or not self.keep_alive
        parts = (
            _heads.of(protocol.server_state.default_headers, status, problem=problem),
            b"%d\r\n" % len(body),
            *[b"%b: %b\r\n" % line for line in (*self.extra, *headers)],
            b"connection: close\r\n\r\n" if last else b"\r\n",
            body,
        )
        protocol.transport.write(b"".join(parts))
        if last:
            protocol.transport.close()
        protocol.on_response_complete()


class DirectProtocol(OneWriteProtocol):
    """uvicorn's protocol, with a shorter way to the plain routes, and with little patience.

    Its application has to be an `Edge`, behind whatever middleware only looks at scopes.
    """

    cycle: Any
    #: Looks after the connections of one server.
    _patience: Patience | None = None

    waits_for: Part = _NOTHING_YET
    since = 0.0
    #: Bytes around the body of the request that is being read, where they came in several parts.
    _around = 0
    _begun_here = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        super().connection_made(transport)
        cls = type(self)
        patience = cls._patience
        # Every one of them is made by this class, whatever uvicorn may have others be.
        connections: Any = self.connections
        if patience is None or not patience.looks_after(self.loop, connections):
            patience = cls._patience = Patience(self.loop, connections)
        welcome = patience.welcome(self)
        self._patience = patience
        self.since = patience.now
        if not welcome:
            self._refuse("overloaded")

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is no more."""
        super().connection_lost(exc)
        self.forget()

    def forget(self) -> None:
        """Let go of the last request, once it was answered.

        The two know each other. In a gateway that is frozen for speed (`tune_interpreter`)
        nobody else parts what refers to itself: closed connections would pile up.
        """
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle = None

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if len(data) > REQUEST_HEAD_BYTES_MAX:
            for start in range(0, len(data), REQUEST_HEAD_BYTES_MAX):
                if self.parser is None or self.transport.is_closing():
                    return
                self._read(data[start : start + REQUEST_HEAD_BYTES_MAX])
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError:
            self._refuse("malformed_request")
        else:
            if self.waits_for is _HEAD or self.waits_for is _BODY:
                self._count(len(data))

    def _count(self, size: int) -> None:
        """Count what has come of a request that is not whole yet."""
        if self._begun_here:
            self._begun_here = False
            self._around = 0
            return
        self._around += size
        if self._around > REQUEST_HEAD_BYTES_MAX and not self.kept_waiting:
            self._refuse("headers_too_large")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.waits_for = _HEAD
        self.since = self._patience.now  # type: ignore[union-attr]
        self._begun_here = True

    def on_headers_complete(self) -> None:
        """Choose the way."""
        self.waits_for = _BODY
        exchange = self._direct()
        if exchange is not None:
            self.cycle = exchange
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()

    def _direct(self) -> DirectExchange | None:
        """Return the exchange of a request that can go directly."""
        parser, before = self.parser, self.cycle
        if (
            parser.get_method() != b"POST"
            or not _LITERAL.fullmatch(self.url)
            or (route := plain_route(path := self.url.decode())) is None
            or (before is not None and not before.response_complete)
            or self.expect_100_continue
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
            or parser.should_upgrade()
        ):
            return None
        exchange = DirectExchange(self, path, self.headers, route)
        return exchange if exchange.short else None

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        if type(self.cycle) is DirectExchange:
            self.cycle.feed(body)
        else:
            super().on_body(body)
        if not self._begun_here:
            self._around -= len(body)

    def on_message_complete(self) -> None:
        """Have a request answered that was read whole."""
        self.waits_for = _OURS
        exchange = self.cycle
        if type(exchange) is not DirectExchange:
            super().on_message_complete()
            if exchange.response_complete:
                self._rest()
            return
        scope = {
            "type": "http",
            "method": "POST",
            "client": self.client,
            "scheme": self.scheme,
            "headers": self.headers,
            "exchange": exchange,
        }
        app: Any = self.app
        _Run(app(scope, None, None), self.transport.close)

    def on_response_complete(self) -> None:
        """Go on to the next request on the connection: uvicorn's, without a timer for each."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.waits_for is _OURS:
            self._rest()

    def _rest(self) -> None:
        self.waits_for = _NOTHING_YET
        self.since = self._patience.now  # type: ignore[union-attr]

    # -- for `Patience` ------------------------------------------------------------

    @property
    def kept_waiting(self) -> bool:
        """Whether the client waits for us, whatever it has sent."""
        before = self.cycle
        # What is being read while something is answered comes after that.
        answering = before is not None and not before.response_complete
        return self.flow.read_paused or (self.waits_for is _HEAD and answering)

    def unread(self) -> int:
        """Return the bytes that were written and not taken."""
        return self.transport.get_write_buffer_size()

    def give_up(self) -> None:
        """Tell the client that its request took too long, and close."""
        self._refuse("request_timeout")

    def close(self) -> None:
        """Close in good order."""
        self.transport.close()

    def abort(self) -> None:
        """Close at once, whatever was not sent."""
        self.transport.abort()

    # -- what is no request --------------------------------------------------------

    def send_400_response(self, _message: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse("malformed_request")

    def _refuse(self, code: str) -> None:
        """Send a problem document in place of the answer to what was not read, and close."""
        cycle, in_body = self.cycle, self.waits_for is _BODY
        answering = cycle is not None and not cycle.response_complete
        if self.transport.is_closing():
            return
        if answering and not in_body:
            # The answer to what came before it goes first, and is the last one.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if in_body and (not answering or self.pipeline or _begun(cycle)):
            # An answer has been given or begun already: no other one would be understood.
            self.transport.close()
            return
        if answering:
            # Nobody waits for its answer any more: it was not read whole.
            cycle.disconnected = True
            cycle.message_event.set()
        problem = Problem(code)
        request_id = secrets.token_hex(8)
        path = self.url.partition(b"?")[0].decode("latin-1") if in_body else ""
        body = problem.body(path or "/", request_id)
        named = {**problem.headers(), "x-request-id": request_id, "connection": "close"}
        lines = [b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in named.items()]
        head = _heads.of(self.server_state.default_headers, problem.kind.status, problem=True)
        self.transport.write(b"".join((head, b"%d\r\n" % len(body), *lines, b"\r\n", body)))
        self.transport.close()
