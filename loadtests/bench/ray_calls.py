"""The peer that calls its event's actor once for each hold, and journals each by itself.

    python -m loadtests.bench.ray_calls PORT REDIS_URL RAY_ADDRESS DATA_DIR

The same single writer with the same durability (one XADD for each hold, to the same
server), without batches, in two forms:

* plain: an ordinary actor that does one call after the other, as one would write it first;
* shared: an asynchronous actor, so that the XADDs of concurrent holds share their fsync.

Both are tuned like our own: a raw ASGI callable (that asks for no token, which ours does),
bytes over Ray, no task events, the interpreter set up the same way.

One of the two places where `loadtests` reaches behind HTTP (see pyproject.toml): a call
to an actor cannot be compared without making one.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from pydantic import TypeAdapter, ValidationError
from redis import Redis
from starlette.types import Receive, Scope, Send

from actors.process import tune_interpreter
from actors.ray_environment import prepare_environment
from engine.journal.connect import connect
from loadtests.bench.hold_form import HoldBody

_parse = TypeAdapter(HoldBody).validate_json
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
PLAIN = "/plain/"
_CALLS_MAX = 1_000
_NOW = "2027-03-01T19:00:00.000Z"
_PRICE_MINOR = 4_500


class _Stock:
    """One event's stock; every hold is journalled before it is answered."""

    def __init__(self) -> None:
        self._available = 1_000_000_000
        self._bookings: dict[str, bytes] = {}
        self._sequence = 0
        tune_interpreter()

    def _take(self, request: bytes) -> tuple[bytes, bytes] | None:
        """Return the answer and the record to journal before it is given."""
        units = sum(quantity for _, quantity in _unpack(request))
        if units > self._available:
            return None
        self._available -= units
        self._sequence += 1
        booking_id = f"bk_{self._sequence:028d}"
        self._bookings[booking_id] = request
        record = _pack((booking_id, time.time_ns(), request))
        return _pack((booking_id, self._sequence)), record


class PlainInventory(_Stock):
    """Does one call after the other."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self._redis = Redis.from_url(redis_url)

    def place(self, request: bytes) -> bytes:
        """Take the units, journal them, answer."""
        taken = self._take(request)
        if taken is None:
            return b""
        self._redis.xadd("{p00}:bench-plain", {"e": taken[1]})
        return taken[0]


class SharedInventory(_Stock):
    """Journals many holds at once, each by itself."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        # As many connections as there may be calls under way.
        separator = "&" if "?" in redis_url else "?"
        self._redis = connect(f"{redis_url}{separator}max_connections={_CALLS_MAX}")

    async def place(self, request: bytes) -> bytes:
        """Take the units, journal them, answer."""
        taken = self._take(request)
        if taken is None:
            return b""
        await self._redis.xadd("{p00}:bench-shared", {"e": taken[1]})
        return taken[0]


class Application:
    """`POST` places a hold; paths under `/plain` with the plain actor."""

    def __init__(self, plain: Any, shared: Any) -> None:
        self._plain = plain
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        assert scope["type"] == "http"
        message = await receive()
        try:
            items = _parse(message["body"]).items
        except ValidationError as error:
            await _answer(send, 422, error.json().encode())
            return
        wanted = [(item.ticket_type, item.quantity or 0) for item in items]
        actor = self._plain if scope["path"].startswith(PLAIN) else self._shared
        answer = await actor.place.remote(_pack(wanted))
        if not answer:
            await _answer(send, 409, b'{"code":"sold_out"}')
            return
        booking_id, sequence = _unpack(answer)
        await _answer(send, 201, _encode(_view(scope["path"], booking_id, sequence, wanted)))


def _view(path: str, booking_id: str, sequence: int, wanted: list[tuple[str, int]]) -> Any:
    return {
        "id": booking_id,
        "event_id": path,
        "customer": "buyer-1",
        "status": "RESERVED",
        "items": [
            {"ticket_type": code, "quantity": quantity, "seats": [], "unit_price": _PRICE_MINOR}
            for code, quantity in wanted
        ],
        "total": {
            "amount": sum(quantity * _PRICE_MINOR for _, quantity in wanted),
            "currency": "EUR",
        },
        "expires_at": _NOW,
        "server_time": _NOW,
        "sequence": sequence,
        "tickets": [],
        "history": [{"status": "RESERVED", "at": _NOW}],
    }


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(port: int, redis_url: str, ray_address: str, data_dir: Path) -> None:
    """Serve until SIGTERM."""
    prepare_environment(data_dir / "ray-token")
    import ray  # noqa: PLC0415 - Ray reads its environment when imported

    from actors.runtime import join  # noqa: PLC0415

    join(ray_address)
    remote: Any = ray.remote  # its types know only some of its options
    declare_plain = remote(num_cpus=0, enable_task_events=False)
    declare_shared = remote(num_cpus=0, enable_task_events=False, max_concurrency=_CALLS_MAX)
    plain = declare_plain(PlainInventory).remote(redis_url)
    shared = declare_shared(SharedInventory).remote(redis_url)
    config = uvicorn.Config(
        Application(plain, shared),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
    config.load()
    tune_interpreter()
    uvicorn.Server(config).run()
    os._exit(0)


if __name__ == "__main__":
    # By its name, so that Ray's workers import the actor's class instead of unpickling it.
    from loadtests.bench.ray_calls import main as run

    run(int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
