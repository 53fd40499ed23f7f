"""The servers of a benchmark, each in processes of its own, started before and ended after."""

import http.client
import json
import os
import socket
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

_START_SECONDS = 90.0
_STOP_SECONDS = 20.0
_HOST = "127.0.0.1"
#: Of the sandbox, where no money moves.
API_KEY = "sk_test_bench"
_WEBHOOK_SECRET = "whsec_bench"  # noqa: S105 - of a server that ends with the benchmark


class BenchFailed(Exception):
    """The benchmark cannot go on. Argument: why."""


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

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{self.host}:{self.port}"


@contextmanager
def onsale(directory: Path, buyers: int) -> Iterator[Onsale]:
    """Run the whole service with one gateway, embedded store and local Ray, limits off.

    Its payments go to a sandbox of the benchmark's, at any pace.

    Raises:
        BenchFailed: it did not start.
    """
    data_dir, port = directory / "onsale", _free_port()
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
    up = [sys.executable, "-m", "gateway.cli.main", "up", "--host", _HOST, "--port", str(port)]
    with (
        _sandbox(directory, f"http://{_HOST}:{port}") as sandbox_url,
        _process(
            up, directory / "onsale.log", environment | {"STRIPE_API_BASE": sandbox_url}
        ) as process,
    ):
        told = data_dir / "runtime.json"
        _await(told.exists, process, directory / "onsale.log")
        runtime = json.loads(told.read_bytes())
        yield Onsale(
            _HOST,
            port,
            sandbox_url,
            _WEBHOOK_SECRET,
            runtime["durability"],
            runtime["redis_url"],
            runtime["ray_address"],
            data_dir,
            _tokens(environment, "organizer", "bench", 1)[0],
            _tokens(environment, "buyer", "buyer", buyers),
        )


@contextmanager
def _sandbox(directory: Path, service_url: str) -> Iterator[str]:
    """Run a Stripe sandbox that sends its webhooks to this service; yields its URL."""
    port, log = _free_port(), directory / "sandbox.log"
    command = [
        *(sys.executable, "-m", "loadtests.stripe_sandbox", "--port", str(port)),
        *("--api-key", API_KEY, "--webhook-secret", _WEBHOOK_SECRET),
        *("--webhook-url", f"{service_url}/api/v1/stripe/events"),
    ]
    with _process(command, log, dict(os.environ)) as process:
        _await(lambda: _listens(port), process, log)
        yield f"http://{_HOST}:{port}"


@contextmanager
def echo(directory: Path) -> Iterator[int]:
    """Run the FastAPI route that validates and echoes; yields its port."""
    port = _free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "loadtests.bench.echo_app:app"),
        *("--host", _HOST, "--port", str(port), "--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "warning"),
    ]
    log = directory / "echo.log"
    with _process(command, log, dict(os.environ)) as process:
        _await(lambda: _listens(port), process, log)
        yield port


@contextmanager
def ray_calls(directory: Path, service: Onsale) -> Iterator[int]:
    """Run the peer that makes a Ray call for each hold; yields its port.

    It uses the store and the cluster of the service.
    """
    port = _free_port()
    command = [
        *(sys.executable, "-m", "loadtests.bench.ray_calls", str(port)),
        *(service.redis_url, service.ray_address, str(service.data_dir)),
    ]
    log = directory / "ray_calls.log"
    with _process(command, log, dict(os.environ)) as process:
        _await(lambda: _listens(port), process, log)
        yield port


def create_event(service: Onsale, name: str, capacity: int) -> str:
    """Put an event on sale and return its id; nothing in it expires during the run."""
    body = {
        "name": name,
        "starts_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "currency": "EUR",
        "hold_ttl_seconds": 3_600,
        "ticket_types": [{"code": "ga", "name": "Standing", "price": 4_500, "capacity": capacity}],
    }
    status, event = _post(service, "/api/v1/events", body, service.organizer)
    if status != 201:
        raise BenchFailed(f"the event was not created: {status} {event}")
    event_id: str = event["id"]
    return event_id


def hold(service: Onsale, event_id: str, quantity: int) -> None:
    """Hold tickets once; the first request starts the event's owner."""
    body = {"items": [{"ticket_type": "ga", "quantity": quantity}]}
    path = f"/api/v1/events/{event_id}/holds"
    give_up = time.monotonic() + _START_SECONDS
    status, answer = _post(service, path, body, service.buyers[0])
    while status == 503 and time.monotonic() < give_up:
        time.sleep(0.2)
        status, answer = _post(service, path, body, service.buyers[0])
    if status != 201:
        raise BenchFailed(f"the hold was not granted: {status} {answer}")


def _post(service: Onsale, path: str, body: Any, token: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(service.host, service.port, timeout=60)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    try:
        connection.request("POST", path, msgspec.json.encode(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def _tokens(environment: dict[str, str], role: str, sub: str, count: int) -> list[str]:
    command = [sys.executable, "-m", "gateway.cli.main", "token", "--role", role, "--sub", sub]
    made = subprocess.run(  # noqa: S603 - our own command
        [*command, "--count", str(count)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_START_SECONDS,
        check=False,
    )
    if made.returncode:
        raise BenchFailed(f"no tokens: {made.stderr.strip()[-500:]}")
    return made.stdout.split()


@contextmanager
def _process(
    command: list[str], log: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(ready: Any, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > give_up:
            told = log.read_text(errors="replace").strip()[-1_000:]
            raise BenchFailed(f"{log.stem} did not start: {told}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
