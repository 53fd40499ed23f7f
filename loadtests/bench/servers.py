"""The service under test, and what the benchmark asks it for beside the load."""

import http.client
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadtests.bench.processes import (
    HOST,
    START_SECONDS,
    BenchFailed,
    free_port,
    listening,
    process,
    wait_until,
)
from loadtests.signature import sign

#: Of the sandbox, where no money moves.
API_KEY = "sk_test_bench"
#: Who scan tickets.
_STAFF = 20
_WEBHOOK_SECRET = "whsec_bench"  # noqa: S105 - of a server that ends with the benchmark


class Onsale(Struct, frozen=True):
    """A running service, as its `runtime.json` says, and the tokens to use it with.

    Its Stripe is the sandbox at `sandbox_url`, which signs with `webhook_secret`.
    """

    host: str
    port: int
    sandbox_url: str
    webhook_secret: str
    durability: str
    redis_url: str
    ray_address: str
    data_dir: Path
    organizer: str
    buyers: list[str]
    staff: list[str]

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{self.host}:{self.port}"


@contextmanager
def onsale(directory: Path, buyers: int, smtp_url: str | None = None) -> Iterator[Onsale]:
    """Run the whole service with one gateway, embedded store and local Ray, limits off.

    Its payments go to a sandbox of the benchmark's, at any pace. Buyers have an address, and
    are written to, where there is a mail server.

    Raises:
        BenchFailed: it did not start.
    """
    data_dir, port = directory / "onsale", free_port()
    # What is measured is this machine by itself, so that every run is the same.
    foreign = {"ONSALE_REDIS_URL", "RAY_ADDRESS", "ONSALE_DATABASE_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    environment |= {
        "ONSALE_DATA_DIR": str(data_dir),
        "ONSALE_RATE_LIMITS": "off",
        "ONSALE_LOG_LEVEL": "WARNING",
        "ONSALE_STRIPE_ACCOUNT_PER_SECOND": "10000",
        "ONSALE_STRIPE_ENDPOINT_PER_SECOND": "10000",
        "STRIPE_API_KEY": API_KEY,
        "STRIPE_PUBLISHABLE_KEY": API_KEY.replace("sk_", "pk_", 1),
        "STRIPE_WEBHOOK_SECRET": _WEBHOOK_SECRET,
    }
    if smtp_url is not None:
        environment["ONSALE_SMTP_URL"] = smtp_url
    email = [] if smtp_url is None else ["--email", "buyer@example.org"]
    up = [sys.executable, "-m", "gateway.cli.main", "up", "--host", HOST, "--port", str(port)]
    with (
        _sandbox(directory, f"http://{HOST}:{port}") as sandbox_url,
        process(
            up, directory / "onsale.log", environment | {"STRIPE_API_BASE": sandbox_url}
        ) as started,
    ):
        told = data_dir / "runtime.json"
        wait_until(told.exists, started, directory / "onsale.log")
        runtime = json.loads(told.read_bytes())
        yield Onsale(
            HOST,
            port,
            sandbox_url,
            _WEBHOOK_SECRET,
            runtime["durability"],
            runtime["redis_url"],
            runtime["ray_address"],
            data_dir,
            _tokens(environment, "organizer", "bench", 1)[0],
            _tokens(environment, "buyer", "buyer", buyers, *email),
            _tokens(environment, "staff", "gate", _STAFF, "--org", "bench"),
        )


@contextmanager
def _sandbox(directory: Path, service_url: str) -> Iterator[str]:
    """Run a Stripe sandbox that sends its webhooks to this service; yields its URL."""
    port, log = free_port(), directory / "sandbox.log"
    command = [
        *(sys.executable, "-m", "loadtests.stripe_sandbox", "--port", str(port)),
        *("--api-key", API_KEY, "--webhook-secret", _WEBHOOK_SECRET),
        *("--webhook-url", f"{service_url}/api/v1/stripe/events"),
    ]
    with listening(command, log, dict(os.environ), port):
        yield f"http://{HOST}:{port}"


@contextmanager
def mail_sink(directory: Path, record: Path) -> Iterator[int]:
    """Run a mail server that takes everything and notes it; see `mail_sink`. Yield its port."""
    port = free_port()
    command = [sys.executable, "-m", "loadtests.bench.mail_sink", str(port), str(record)]
    with listening(command, directory / "mail-sink.log", dict(os.environ), port):
        yield port


def send_webhook(service: Onsale, event: str) -> None:
    """Bring one of the sandbox's events to the service. Raises BenchFailed."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=60)
    signature = sign(event.encode(), service.webhook_secret, int(time.time()))
    try:
        connection.request(
            "POST", "/api/v1/stripe/events", event.encode(), {"stripe-signature": signature}
        )
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise BenchFailed(f"a webhook was answered {response.status} {answer!r}")


def create_event(service: Onsale, name: str, capacity: int, *, price: int = 4_500) -> str:
    """Put an event on sale and return its id; nothing in it expires during the run."""
    body = {
        "name": name,
        "starts_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "currency": "EUR",
        "hold_ttl_seconds": 3_600,
        "ticket_types": [{"code": "ga", "name": "Standing", "price": price, "capacity": capacity}],
    }
    event_id: str = _asked_until(service, "/api/v1/events", service.organizer, body)["id"]
    return event_id


def hold(service: Onsale, event_id: str, quantity: int) -> None:
    """Hold tickets once; the first request starts the event's owner."""
    body = {"items": [{"ticket_type": "ga", "quantity": quantity}]}
    _asked_until(service, f"/api/v1/events/{event_id}/holds", service.buyers[0], body)


def _asked_until(service: Onsale, path: str, token: str, body: Any) -> Any:
    """Have something created, however long an owner takes to start; return the answer.

    Raises:
        BenchFailed: it was refused, or takes too long.
    """
    key = {"idempotency-key": secrets.token_hex(8)}
    give_up = time.monotonic() + START_SECONDS
    status, answer = ask(service, "POST", path, token, body, key)
    while status == 503 and time.monotonic() < give_up:
        time.sleep(0.2)
        status, answer = ask(service, "POST", path, token, body, key)
    if status != 201:
        raise BenchFailed(f"POST {path} was answered {status} {answer}")
    return answer


def get(service: Onsale, path: str) -> Any:
    """Return what the service answers to anybody who asks for this path."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=60)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def ask(
    service: Onsale,
    method: str,
    path: str,
    token: str,
    body: Any = None,
    more_headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """Send one request with a token and return status and body of the answer."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=60)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    headers |= more_headers or {}
    try:
        content = None if body is None else msgspec.json.encode(body)
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _tokens(
    environment: dict[str, str], role: str, sub: str, count: int, *options: str
) -> list[str]:
    command = [sys.executable, "-m", "gateway.cli.main", "token", "--role", role, "--sub", sub]
    command += options
    made = subprocess.run(  # noqa: S603 - our own command
        [*command, "--count", str(count)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    if made.returncode:
        raise BenchFailed(f"no tokens: {made.stderr.strip()[-500:]}")
    return made.stdout.split()
