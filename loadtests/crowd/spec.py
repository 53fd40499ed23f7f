"""What a crowd is told, and what it tells: the forms, and the requests as bytes."""

import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator

from msgspec import Struct

from loadtests.signature import sign


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """One request, word for word."""

    method: str
    path: str
    headers: dict[str, str] = {}
    body: str = ""


class Template(Struct, frozen=True, forbid_unknown_fields=True):
    """Requests that differ by who asks: `tokens` in turn, without end unless `count` is set.

    With `idempotency_keys` every request carries a key that was never used before.
    """

    method: str
    path: str
    body: str = ""
    tokens: list[str] = []
    idempotency_keys: bool = False
    count: int | None = None


class Webhooks(Struct, frozen=True, forbid_unknown_fields=True):
    """Webhooks as Stripe sends them: these events in turn, without end.

    Each is sent under an id of its own, that no event had before, and is signed with
    `secret` at the moment it is sent.
    """

    path: str
    secret: str
    events: list[str]


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the crowd does.

    Either `requests`, each sent once in this order, or a `template`, or `webhooks`. With
    `seconds` it stops after that time at the latest; requests under way are still answered
    and counted. Answers of the first `warmup_seconds` are not counted, and `seconds` begin
    after them. A request whose connection breaks, or that is not answered for
    `answer_seconds`, is counted as unknown and not repeated. If no connection can be had
    for `patience_seconds`, the crowd leaves.

    `record` is a file that gets a JSON line for every request: its number, its
    idempotency key, when it was sent and answered (CLOCK_MONOTONIC, the same in all
    processes of a machine), status (0: unknown) and body.
    """

    host: str
    port: int
    requests: list[Request] = []
    template: Template | None = None
    webhooks: Webhooks | None = None
    connections: int = 256
    seconds: float | None = None
    warmup_seconds: float = 0.0
    answer_seconds: float = 15.0
    patience_seconds: float = 30.0
    record: str | None = None


class Latency(Struct, frozen=True):
    """Milliseconds from sending a request to the last byte of its answer."""

    p50: float
    p90: float
    p99: float
    max: float


class Result(Struct, frozen=True):
    """What came of it. `codes` are those of problem documents.

    `cpu_us` is what one request cost this process, microseconds: the rate cannot be
    above a million divided by it.
    """

    requests: int
    elapsed_s: float
    rate: float
    statuses: dict[str, int]
    codes: dict[str, int]
    latency_ms: Latency
    unknown: int
    cpu_us: float


def latency_of(found_ns: Iterable[int]) -> Latency:
    """Return what these add up to; zeros if there are none."""
    ordered = sorted(found_ns)
    return Latency(*(_quantile_ms(ordered, quantile) for quantile in (0.5, 0.9, 0.99, 1.0)))


def _quantile_ms(ordered_ns: list[int], quantile: float) -> float:
    """Return the value that this share of all does not exceed; 0 of nothing."""
    if not ordered_ns:
        return 0.0
    index = min(len(ordered_ns) - 1, int(quantile * len(ordered_ns)))
    return round(ordered_ns[index] / 1e6, 3)


def request_bytes(spec: Spec) -> Iterator[tuple[str | None, bytes]]:
    """Yield idempotency key and bytes of one request after the other."""
    host = f"host: {spec.host}:{spec.port}\r\n"
    if spec.webhooks is not None:
        yield from _webhook_bytes(spec.webhooks, host)
        return
    if spec.template is None:
        for request in spec.requests:
            headers = {name.lower(): value for name, value in request.headers.items()}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            start = f"{request.method} {request.path} HTTP/1.1\r\n{host}{lines}"
            yield headers.get("idempotency-key"), start.encode() + _rest(request.body.encode())
        return
    template = spec.template
    start = f"{template.method} {template.path} HTTP/1.1\r\n{host}"
    starts = [f"{start}authorization: Bearer {token}\r\n".encode() for token in template.tokens]
    rest = _rest(template.body.encode())
    run = os.urandom(8).hex()
    numbers = itertools.count() if template.count is None else range(template.count)
    for number, head in zip(numbers, itertools.cycle(starts or [start.encode()]), strict=False):
        if template.idempotency_keys:
            key = f"{run}-{number:x}"
            yield key, b"%sidempotency-key: %s\r\n%s" % (head, key.encode(), rest)
        else:
            yield None, head + rest


def _webhook_bytes(webhooks: Webhooks, host: str) -> Iterator[tuple[str, bytes]]:
    head = f"POST {webhooks.path} HTTP/1.1\r\n{host}stripe-signature: ".encode()
    # What comes before an event's id, and what comes after it.
    halves = [event.split(json.loads(event)["id"], 1) for event in webhooks.events]
    parts = itertools.cycle([(before.encode(), after.encode()) for before, after in halves])
    run = os.urandom(8).hex()
    for number, (before, after) in enumerate(parts):
        event_id = f"evt_{run}{number:08x}"
        body = b"%s%s%s" % (before, event_id.encode(), after)
        signature = sign(body, webhooks.secret, int(time.time()))
        yield event_id, b"%s%s\r\n%s" % (head, signature.encode(), _rest(body))


def _rest(data: bytes) -> bytes:
    if not data:
        return b"\r\n"
    return b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)
