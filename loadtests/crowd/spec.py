"""What a crowd is told, and what it tells: the forms, and the requests as bytes."""

import itertools
import json
import operator
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

    With `idempotency_keys` every request carries a key that was never used before. With
    `bodies` there is one request for each of them, and `body` is none of them. With
    `more_paths` these and `path` take turns, too.
    """

    method: str
    path: str
    body: str = ""
    tokens: list[str] = []
    idempotency_keys: bool = False
    count: int | None = None
    bodies: list[str] = []
    more_paths: list[str] = []


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

    Without `per_second` each connection asks again once it is answered: the server sets
    the pace. With it the clock does, whoever still waits: a request takes any connection
    on which nothing is under way, and is skipped if there is none. Its latency counts from
    the moment at which it was due. Needs `seconds`.

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
    per_second: float | None = None


class Latency(Struct, frozen=True):
    """Milliseconds from sending a request, or when it was due, to the last byte of its answer."""

    p50: float
    p90: float
    p99: float
    max: float


class Result(Struct, frozen=True):
    """What came of it. `codes` are those of problem documents.

    `cpu_us` is what one request cost this process, microseconds: the rate cannot be
    above a million divided by it. `skipped` were due and found no connection free.
    `granted_ms` is the latency of those that were answered with a status below 400, and
    `warmup_statuses` tells of the answers that are not counted elsewhere.
    """

    requests: int
    elapsed_s: float
    rate: float
    statuses: dict[str, int]
    codes: dict[str, int]
    latency_ms: Latency
    unknown: int
    cpu_us: float
    skipped: int = 0
    granted_ms: Latency = Latency(0, 0, 0, 0)
    warmup_statuses: dict[str, int] = {}

    @property
    def granted(self) -> int:
        """How many were answered with 201, whenever that was."""
        return self.statuses.get("201", 0) + self.warmup_statuses.get("201", 0)

    @property
    def granted_per_second(self) -> float:
        """The rate of those that were answered with 201."""
        granted = self.statuses.get("201", 0)
        return round(granted / self.elapsed_s, 1) if granted else 0.0


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
    paths = [template.path, *template.more_paths]
    starts = [f"{template.method} {path} HTTP/1.1\r\n{host}".encode() for path in paths]
    asking = [f"authorization: Bearer {token}\r\n".encode() for token in template.tokens]
    heads = map(operator.add, itertools.cycle(starts), itertools.cycle(asking or [b""]))
    if template.bodies:
        for head, body in zip(heads, template.bodies, strict=False):
            yield None, head + _rest(body.encode())
        return
    rest = _rest(template.body.encode())
    run = os.urandom(8).hex()
    numbers = itertools.count() if template.count is None else range(template.count)
    for number, head in zip(numbers, heads, strict=False):
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
