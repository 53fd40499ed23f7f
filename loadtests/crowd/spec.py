"""What a crowd is told, and what it tells: the forms, and the requests as bytes."""

import itertools
import os
from collections.abc import Iterator

from msgspec import Struct


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


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the crowd does.

    Either `requests`, each sent once in this order, or a `template`. With `seconds` it
    stops after that time at the latest; requests under way are still answered and
    counted. Answers of the first `warmup_seconds` are not counted, and `seconds` begin
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


class CrowdFailed(Exception):
    """The crowd could not do what it was asked. Argument: why."""


def request_bytes(spec: Spec) -> Iterator[tuple[str | None, bytes]]:
    """Yield idempotency key and bytes of one request after the other."""
    host = f"host: {spec.host}:{spec.port}\r\n"
    if spec.template is None:
        for request in spec.requests:
            headers = {name.lower(): value for name, value in request.headers.items()}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            start = f"{request.method} {request.path} HTTP/1.1\r\n{host}{lines}"
            yield headers.get("idempotency-key"), start.encode() + _rest(request.body)
        return
    template = spec.template
    start = f"{template.method} {template.path} HTTP/1.1\r\n{host}"
    starts = [f"{start}authorization: Bearer {token}\r\n".encode() for token in template.tokens]
    rest = _rest(template.body)
    run = os.urandom(8).hex()
    numbers = itertools.count() if template.count is None else range(template.count)
    for number, head in zip(numbers, itertools.cycle(starts or [start.encode()]), strict=False):
        if template.idempotency_keys:
            key = f"{run}-{number:x}"
            yield key, b"%sidempotency-key: %s\r\n%s" % (head, key.encode(), rest)
        else:
            yield None, head + rest


def _rest(body: str) -> bytes:
    if not body:
        return b"\r\n"
    data = body.encode()
    return b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)
