"""`onsale stop`, `go`, `throttle`, `changes` against a service that notes what it is asked."""

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

EVENT = "evt_0123456789ab"
CHANGE = {
    "id": "1-0",
    "at": "2026-11-21T08:00:00.000Z",
    "who": "olga",
    "action": "stop",
    "event_id": None,
    "holds_per_second": None,
    "reason": "incident 112",
}


def onsale(*args: str) -> Result:
    return CliRunner().invoke(app, list(args), catch_exceptions=False)


class Service(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str, str, dict | None]] = []
        self.answer: tuple[int, dict] = (200, {"data": [CHANGE]})


class Answering(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _answer(self, body: dict | None) -> None:
        who = Tokens(SECRET).verify(self.headers["authorization"])
        assert who.role == "admin"
        self.server.asked.append((self.command, self.path, who.sub, body))
        status, answer = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("ONSALE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ONSALE_AUTH_SECRET", SECRET)
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
        (tmp_path / "runtime.json").write_text(json.dumps(runtime))
        yield running
        running.shutdown()


@pytest.mark.parametrize(
    ("args", "path", "body"),
    [
        (["stop"], "controls/stop", {}),
        (["go"], "controls/go", {}),
        (["stop", "--event", EVENT], f"events/{EVENT}/pause", {}),
        (["go", "--event", EVENT], f"events/{EVENT}/resume", {}),
        (["throttle", "2.5"], "controls/throttle", {"holds_per_second": 2.5, "event_id": None}),
        (
            ["throttle", "off", "--event", EVENT],
            "controls/throttle",
            {"holds_per_second": None, "event_id": EVENT},
        ),
    ],
)
def test_a_command_is_one_request(service: Service, args: list[str], path: str, body: dict) -> None:
    result = onsale(*args, "--reason", "incident 112", "--by", "olga")
    assert result.exit_code == 0, result.output
    wanted = ("POST", f"/api/v1/{path}", "olga", {"reason": "incident 112", **body})
    assert service.asked == [wanted]


def test_whoever_is_logged_in_did_it_if_nobody_else_is_named(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "someone")
    assert onsale("stop", "--reason", "why").exit_code == 0
    assert service.asked[0][2] == "someone"


@pytest.mark.parametrize("pace", ["0", "fast", "nan", "1e9"])
def test_what_is_no_pace_is_not_sent(service: Service, pace: str) -> None:
    result = onsale("throttle", pace, "--reason", "why")
    assert result.exit_code == 1
    assert "is no pace" in result.stderr
    assert service.asked == []


def test_what_is_no_event_is_not_sent(service: Service) -> None:
    result = onsale("stop", "--event", "../controls", "--reason", "why")
    assert result.exit_code == 1
    assert service.asked == []


def test_nothing_changes_without_a_reason(service: Service) -> None:
    assert onsale("stop").exit_code == 2
    assert service.asked == []


def test_the_log_is_shown_for_people_and_for_programs(service: Service) -> None:
    shown = onsale("changes", "--limit", "5")
    assert service.asked[0][1] == "/api/v1/controls/changes?limit=5"
    assert "olga" in shown.stderr
    assert "incident 112" in shown.stderr
    assert json.loads(onsale("changes", "--json").stdout) == CHANGE


def test_what_the_service_refuses_is_said_in_one_line(service: Service) -> None:
    errors = [{"pointer": "/reason", "message": "is too long"}]
    service.answer = (422, {"detail": "The request is not valid.", "errors": errors})
    result = onsale("stop", "--reason", "why")
    assert result.exit_code == 1
    assert "The request is not valid.; /reason is too long" in result.stderr


def test_without_a_service_there_is_nothing_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONSALE_DATA_DIR", str(tmp_path / "none"))
    result = onsale("stop", "--reason", "why")
    assert result.exit_code == 1
    assert "no service runs" in result.stderr
