"""`onsale reconcile`, and `onsale up` with half of a Stripe account."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.auth import Tokens
from gateway.cli.main import app
from tests.in_process import SECRET

REPORT = {"notices": 1, "unsettled": 2, "recent": 3, "repairs": [], "troubles": []}


def onsale(*args: str) -> Result:
    return CliRunner().invoke(app, list(args), catch_exceptions=False)


class Service(ThreadingHTTPServer):
    """A service that answers every request with what the test says, and notes what it was."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str]] = []
        self.answer: tuple[int, dict] = (200, REPORT)


class Answering(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.headers["authorization"]))
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("STRIPE_", "ONSALE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ONSALE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ONSALE_AUTH_SECRET", SECRET)
    return tmp_path


@pytest.fixture
def service(data_dir: Path) -> Iterator[Service]:
    with Service() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        runtime = {
            "pid": os.getpid(),
            "url": f"http://127.0.0.1:{running.server_port}",
            "redis_url": "",
            "ray_address": "",
            "dashboard_url": None,
            "durability": "",
        }
        (data_dir / "runtime.json").write_text(json.dumps(runtime))
        yield running
        running.shutdown()


# -- reconcile -------------------------------------------------------------------------


def test_the_report_is_all_that_is_printed(service: Service) -> None:
    result = onsale("reconcile", "--since-hours", "5")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == REPORT
    ((path, authorization),) = service.asked
    assert path == "/api/v1/payments/reconcile?since_hours=5"
    assert Tokens(SECRET).verify(authorization).role == "admin"


def test_what_could_not_be_compared_fails_the_command(service: Service) -> None:
    service.answer = (200, {**REPORT, "troubles": ["bk_1: payment_mismatch: amount"]})
    result = onsale("reconcile")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["troubles"] == ["bk_1: payment_mismatch: amount"]
    assert "1 payments could not be compared" in result.stderr


def test_a_stripe_that_is_away_is_said_in_one_line(service: Service) -> None:
    service.answer = (503, {"detail": "Stripe does not answer: no answer: ConnectError"})
    result = onsale("reconcile")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.strip().splitlines()[-1] == (
        "onsale: Stripe does not answer: no answer: ConnectError"
    )


def test_without_a_service_it_says_what_to_do() -> None:
    result = onsale("reconcile")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "`onsale up` first" in result.stderr


def test_a_service_that_has_just_gone_is_said(service: Service) -> None:
    service.shutdown()
    service.server_close()
    result = onsale("reconcile")
    assert result.exit_code == 1
    assert "does not answer" in result.stderr


@pytest.mark.parametrize("hours", ["-1", "721", "x"])
def test_stripe_remembers_thirty_days(hours: str) -> None:
    assert onsale("reconcile", "--since-hours", hours).exit_code == 2


# -- up --------------------------------------------------------------------------------


@pytest.mark.parametrize("secrets", [None, ",", " , "])
def test_an_account_without_its_webhook_secret_does_not_start(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, secrets: str | None
) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_4711")
    if secrets is not None:
        monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", secrets)
    result = onsale("up", "--port", "0")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.strip().splitlines()
    assert line == (
        "onsale: STRIPE_API_KEY is set and STRIPE_WEBHOOK_SECRET is not. "
        "Set it to the signing secret of the webhook endpoint (whsec_…)."
    )
    assert "sk_test_4711" not in result.output
    assert list(data_dir.iterdir()) == [], "something was started before"
