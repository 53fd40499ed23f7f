"""The outermost layer: request ids, rate limits, body limits, the hot route, and the net.

Pure ASGI, because every request passes here.
"""

import itertools
import re
import secrets
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.limits import BODY_BYTES_MAX
from gateway import metrics
from gateway.exchange import Disconnected, Exchange
from gateway.holds import PlaceHoldRoute, is_hold
from gateway.problems import Problem
from gateway.service import Service
from gateway.webhooks import PATH as WEBHOOK_PATH
from gateway.webhooks import WebhookRoute, is_webhook

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
#: Paths that must answer whatever the load: the operator's, and Stripe's, who pays by burst.
_UNLIMITED = frozenset({"/livez", "/readyz", "/metrics", "/version", WEBHOOK_PATH})


class Edge:
    """Wraps the FastAPI application."""

    def __init__(self, inner: ASGIApp, service: Service) -> None:
        self._inner = inner
        self._service = service
        self._place_hold = PlaceHoldRoute(service)
        self._take_webhook = WebhookRoute(service.paying)
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began = time.perf_counter()
        request_id, traceparent = self._ids(scope)
        extra = [(b"x-request-id", request_id.encode())]
        if self._service.stopping.is_set():
            extra.append((b"connection", b"close"))
        exchange = Exchange(scope, receive, send, request_id, extra)
        hot = is_hold(scope)
        webhook = not hot and is_webhook(scope)
        try:
            if self._service.limits is not None and exchange.path not in _UNLIMITED:
                client = scope.get("client")
                token = exchange.header(b"authorization")
                self._service.limits.hit(token, client[0] if client else "", extra)
            if hot:
                await self._place_hold(exchange)
            elif webhook:
                await self._take_webhook(exchange)
            else:
                scope["request_id"] = request_id
                with structlog.contextvars.bound_contextvars(
                    request_id=request_id, traceparent=traceparent
                ):
                    await self._cold(exchange, scope, receive, send)
        except Problem as problem:
            await exchange.refuse(problem)
        except Disconnected:
            return
        except Exception:
            # The one net under everything: a client gets a document, we get the trace.
            log.exception("internal_error", request_id=request_id, path=exchange.path)
            await exchange.refuse(Problem("internal_error"))
        finally:
            timer = metrics.HOLD_SECONDS if hot else metrics.REQUEST_SECONDS
            timer.observe(time.perf_counter() - began)

    async def _cold(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        declared = exchange.header(b"content-length")
        if declared is not None and declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
            raise Problem("body_too_large", f"At most {BODY_BYTES_MAX} bytes.")
        started = False

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *exchange.extra]
                metrics.REQUESTS.labels(scope["method"], message["status"]).inc()
            await send(message)

        try:
            await self._inner(scope, receive, stamped)
        except Exception:
            if not started:
                raise
            # The application has answered with a document of its own, or begun to.
            log.exception("internal_error", path=exchange.path)

    def _ids(self, scope: Scope) -> tuple[str, str | None]:
        """Return the client's request id or a new one, and its trace context if it sent one."""
        request_id = traceparent = None
        for key, value in scope["headers"]:
            if key == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                request_id = value.decode()
            elif key == b"traceparent" and _TRACEPARENT.fullmatch(value):
                traceparent = value.decode()
        return request_id or f"{self._prefix}-{next(self._numbers):x}", traceparent
