"""The outermost layer: request ids, rate limits, body limits, the plain routes, and the net.

Every request passes here; `gateway.direct` brings those for the plain routes.
"""

import functools
import itertools
import re
import secrets
import time
from collections.abc import Awaitable, Callable

import structlog
from prometheus_client import Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.limits import BODY_BYTES_MAX
from gateway import metrics
from gateway.doors import SUFFIX as CHECK_INS
from gateway.doors import CheckInRoute
from gateway.exchange import AsgiExchange, Disconnected, Exchange
from gateway.holds import PREFIX, PlaceHoldRoute
from gateway.holds import SUFFIX as HOLDS
from gateway.problems import Problem
from gateway.routes.common import BOOKING_ID_FORM, EVENT_ID_FORM
from gateway.service import Service
from gateway.webhooks import PATH as WEBHOOK_PATH
from gateway.webhooks import WebhookRoute

log = structlog.get_logger(__name__)

#: Paths of the plain routes, callables outside of FastAPI; what is caught names the route.
_PLAIN = re.compile(f"{PREFIX}[^/]*({HOLDS}|{CHECK_INS})|({WEBHOOK_PATH})")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_EVENT_ID = re.compile(EVENT_ID_FORM[1:-1])
_BOOKING_ID = re.compile(BOOKING_ID_FORM[1:-1])
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
#: Answers an exchange.
Route = Callable[[Exchange], Awaitable[None]]
#: End of the path of what lasts as long as somebody looks.
_STREAM_SUFFIX = "/availability/stream"
#: Paths that must answer whatever the load: the operator's, and Stripe's, who pays by burst.
UNLIMITED = frozenset({"/livez", "/readyz", "/metrics", "/version", WEBHOOK_PATH})


def _named(path: str) -> dict[str, str]:
    """Return the ids in a path, for the log."""
    found = {"event_id": _EVENT_ID.search(path), "booking_id": _BOOKING_ID.search(path)}
    return {name: match[0] for name, match in found.items() if match}


def _traceparent(exchange: Exchange) -> str | None:
    """Return a well-formed `traceparent`, for the log."""
    traceparent = exchange.header(b"traceparent")
    if traceparent is None or not _TRACEPARENT.fullmatch(traceparent):
        return None
    return traceparent


def plain_route(path: str) -> str | None:
    """Return the name of the plain route that a POST to this path is for, None if it is not."""
    plain = _PLAIN.fullmatch(path)
    return plain and (plain[1] or plain[2])


class Edge:
    """Wraps the FastAPI application, and has the plain routes beside it."""

    def __init__(self, inner: ASGIApp, service: Service) -> None:
        self._inner = inner
        self._service = service
        self._plain: dict[str, Route] = {
            HOLDS: PlaceHoldRoute(service),
            CHECK_INS: CheckInRoute(service),
            WEBHOOK_PATH: WebhookRoute(service.paying),
        }
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection, or the exchange that comes in its place."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        exchange: Exchange | None = scope.get("exchange")
        if exchange is None:
            route = plain_route(scope["path"]) if scope["method"] == "POST" else None
            exchange = AsgiExchange(scope, receive, send, route)
        client = scope.get("client")
        address = client[0] if client else ""
        route = exchange.route
        if route is None:
            cold = functools.partial(self._cold, scope=scope, receive=receive, send=send)
            streams = exchange.path.endswith(_STREAM_SUFFIX)
            await self._serve(exchange, address, cold, None if streams else metrics.REQUEST_SECONDS)
            return
        seconds = metrics.HOLD_SECONDS if route == HOLDS else metrics.REQUEST_SECONDS
        await self._serve(exchange, address, self._plain[route], seconds)

    async def _serve(
        self, exchange: Exchange, address: str, route: Route, seconds: Histogram | None
    ) -> None:
        """Have a route answer; whatever goes wrong, the client gets a document."""
        began = time.perf_counter()
        request_id = exchange.headers.get(b"x-request-id")
        if request_id is None or not _REQUEST_ID.fullmatch(request_id):
            request_id = f"{self._prefix}-{next(self._numbers):x}".encode()
        exchange.request_id = request_id.decode()
        exchange.extra.append((b"x-request-id", request_id))
        exchange.last = self._service.stopping.is_set()
        try:
            if self._service.limits is not None and exchange.path not in UNLIMITED:
                token = exchange.header(b"authorization")
                self._service.limits.hit(token, address, exchange.extra)
            await route(exchange)
        except Problem as problem:
            await exchange.refuse(problem)
        except Disconnected:
            return
        except Exception:
            # The one net under everything: a client gets a document, we get the trace.
            metrics.ERRORS.inc()
            log.exception(
                "internal_error",
                request_id=exchange.request_id,
                traceparent=_traceparent(exchange),
                path=exchange.path,
            )
            await exchange.refuse(Problem("internal_error"))
        finally:
            if seconds is not None:
                seconds.observe(time.perf_counter() - began)

    async def _cold(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        scope["request_id"] = exchange.request_id
        with structlog.contextvars.bound_contextvars(
            request_id=exchange.request_id,
            traceparent=_traceparent(exchange),
            **_named(exchange.path),
        ):
            await self._ask_inner(exchange, scope, receive, send)

    async def _ask_inner(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> None:
        declared = exchange.header(b"content-length")
        if declared is not None and declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
            raise Problem("body_too_large", f"At most {BODY_BYTES_MAX} bytes.")
        started = False
        began = time.perf_counter()

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *exchange.extra]
                if exchange.last:
                    message["headers"].append((b"connection", b"close"))
                metrics.REQUESTS.labels(scope["method"], message["status"]).inc()
                if scope["method"] != "GET":
                    # What was asked for may say more than we know: only the route is told.
                    log.info(
                        "request",
                        method=scope["method"],
                        route=getattr(scope.get("route"), "path", None),
                        status=message["status"],
                        took_ms=round((time.perf_counter() - began) * 1_000, 1),
                    )
            await send(message)

        try:
            await self._inner(scope, receive, stamped)
        except Exception:
            if not started:
                raise
            # The application has answered with a document of its own, or begun to.
            metrics.ERRORS.inc()
            log.exception("internal_error", path=exchange.path)
