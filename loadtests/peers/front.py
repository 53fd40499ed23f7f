"""The HTTP side of every peer: a thin Starlette route, or a raw ASGI callable.

Unlike ours it asks for no token, counts nothing, and knows no repeats: what differs beside
the way to a durable hold is in the peers' favour.

    PUT  /{way}/api/v1/events/{event}          {"capacity": n}
    GET  /{way}/api/v1/events/{event}          what is stored of it
    POST /{way}/api/v1/events/{event}/holds    the same body and answer as ours
    GET  /{way}/api/v1/events/{event}/holds/{booking}
"""

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import uvicorn
import uvloop
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from actors.process import tune_interpreter
from loadtests.peers.contract import Order, Way
from loadtests.peers.hold_form import HoldBody

TICKET_TYPE = "ga"
_PRICE_MINOR = 4_500
_HOLD = timedelta(hours=1)
_parse = TypeAdapter(HoldBody).validate_json
_encode = msgspec.json.Encoder().encode


class Raw:
    """Serves several ways, each under its name, by hand."""

    def __init__(self, ways: dict[str, Way]) -> None:
        self._ways = ways

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        assert scope["type"] == "http"
        name, _, _, _, event_id, *rest = scope["path"][1:].split("/")
        way = self._ways[name]
        if rest == ["holds"]:
            status, body = await _place(way, event_id, await _body(receive))
        elif rest:
            status, body = 200, _encode(await way.read(event_id, rest[1]))
        elif scope["method"] == "PUT":
            capacity = msgspec.json.decode(await _body(receive))["capacity"]
            await way.put_on_sale(event_id, TICKET_TYPE, capacity)
            status, body = 201, b"{}"
        else:
            status, body = 200, _encode(await way.tally(event_id))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def routed(ways: dict[str, Way]) -> Starlette:
    """Serve several ways, each under its name: a route for holds, the rest by hand."""

    async def place(request: Request) -> Response:
        told = request.path_params
        status, body = await _place(ways[told["way"]], told["event_id"], await request.body())
        return Response(body, status, media_type="application/json")

    hot = Route("/{way}/api/v1/events/{event_id}/holds", place, methods=["POST"])
    return Starlette(routes=[hot, Mount("/", Raw(ways))])


FRONTS: dict[str, Callable[[dict[str, Way]], ASGIApp]] = {"raw": Raw, "route": routed}


async def _place(way: Way, event_id: str, body: bytes) -> tuple[int, bytes]:
    try:
        items = _parse(body).items
    except ValidationError as error:
        return 422, error.json().encode()
    if len(items) > 1:
        return 422, b'{"code":"one_ticket_type_only"}'
    now = datetime.now(UTC)
    order = Order(
        f"bk_{time.time_ns():016x}{secrets.token_hex(6)}",
        event_id,
        "buyer-1",
        items[0].ticket_type,
        items[0].quantity or 1,
        _PRICE_MINOR,
        now + _HOLD,
    )
    number = await way.place(order)
    if number is None:
        return 409, b'{"code":"sold_out"}'
    return 201, _encode(_view(order, now, number))


def _view(order: Order, now: datetime, number: int) -> dict[str, Any]:
    return {
        "id": order.booking_id,
        "event_id": order.event_id,
        "customer": order.customer,
        "status": "RESERVED",
        "items": [
            {
                "ticket_type": order.ticket_type,
                "quantity": order.quantity,
                "seats": [],
                "unit_price": order.unit_price_minor,
            }
        ],
        "total": {"amount": order.quantity * order.unit_price_minor, "currency": "EUR"},
        "expires_at": order.expires_at,
        "server_time": now,
        "sequence": number,
        "tickets": [],
        "history": [{"status": "RESERVED", "at": now}],
    }


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return body


def serve(
    port: int, front: str, opened: Callable[[], AbstractAsyncContextManager[dict[str, Way]]]
) -> None:
    """Serve until SIGTERM on a port of loopback.

    Args:
        port: of this machine.
        front: one of FRONTS.
        opened: opens the ways, on the loop that serves them.
    """
    uvloop.run(_serve(port, front, opened))


async def _serve(
    port: int, front: str, opened: Callable[[], AbstractAsyncContextManager[dict[str, Way]]]
) -> None:
    async with opened() as ways:
        await serve_app(port, FRONTS[front](ways))


async def serve_app(port: int, app: ASGIApp) -> None:
    """Serve an application on a port of loopback, tuned as ours is, until SIGTERM."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
        )
    )
    tune_interpreter()
    await server.serve()
