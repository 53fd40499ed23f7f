"""`onsale top --once` against a page whose figures the test knows."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.cli.top import Frame, Page

BUSY, SLOW = "evt_000000000001", "evt_000000000002"


def page(second: int, **more: float) -> str:
    """Return the metrics page of a service that has been selling for so many seconds."""
    counts = {
        'onsale_holds_total{outcome="granted"}': 100 * second,
        'onsale_holds_total{outcome="sold_out"}': 900 * second,
        'onsale_hold_seconds_bucket{le="0.01"}': 600 * second,
        'onsale_hold_seconds_bucket{le="0.1"}': 990 * second,
        'onsale_hold_seconds_bucket{le="5.0"}': 1_000 * second,
        'onsale_hold_seconds_bucket{le="+Inf"}': 1_000 * second,
        f'onsale_event_holds_total{{event="{BUSY}",outcome="granted"}}': 80 * second,
        f'onsale_event_holds_total{{event="{BUSY}",outcome="not_granted"}}': 800 * second,
        f'onsale_event_holds_total{{event="{SLOW}",outcome="granted"}}': 3 * second,
        f'onsale_event_holds_total{{event="{SLOW}",outcome="not_granted"}}': 0,
        f'onsale_event_units{{event="{BUSY}",state="available"}}': 1234,
        f'onsale_event_units{{event="{BUSY}",state="held"}}': 56,
        f'onsale_event_units{{event="{BUSY}",state="sold"}}': 7890,
        f'onsale_event_units{{event="{SLOW}",state="available"}}': 9,
        f'onsale_event_units{{event="{SLOW}",state="held"}}': 0,
        f'onsale_event_units{{event="{SLOW}",state="sold"}}': 0,
        f'onsale_event_inbox_commands{{event="{BUSY}"}}': 42,
        f'onsale_event_answer_p99_seconds{{event="{BUSY}"}}': 0.0123,
        'onsale_consumer_lag_messages{group="payments",stream="effects"}': 17,
        'onsale_consumer_lag_seconds{group="payments",stream="effects"}': 75,
        'onsale_consumer_pending_messages{group="payments",stream="effects"}': 3,
        'onsale_consumer_pending_seconds{group="payments",stream="effects"}': 0.5,
        "onsale_gateway_commands_waiting": 11,
        "onsale_store_up": 1,
        "onsale_sales_stopped": 0,
        "onsale_throttled_events": 0,
    }
    return "".join(f"{name} {value}\n" for name, value in {**counts, **more}.items())


def frame(**more: float) -> Frame:
    return Frame(Page(page(10), 100.0), Page(page(12, **more), 102.0), {BUSY: "Night of Strings"})


def test_holds_are_shown_by_the_second_the_most_frequent_first() -> None:
    assert list(frame().holds().items()) == [("sold_out", 900.0), ("granted", 100.0)]


def test_times_are_those_of_what_was_answered_since() -> None:
    assert frame().answered_within(0.5) == 0.01
    assert frame().answered_within(0.99) == 0.1
    quiet = Page(page(10), 100.0)
    assert Frame(quiet, Page(page(10), 101.0), {}).answered_within(0.5) is None


def test_every_busy_event_has_its_row() -> None:
    rows = list(frame().events())
    assert rows[0] == (
        BUSY, "Night of Strings", "80", "800", "1,234", "56", "7,890", "42", "12.3 ms"
    )  # fmt: skip
    assert rows[1] == (SLOW, "", "3", "0", "9", "0", "0", "0", "-")


def test_an_owner_that_begins_to_count_anew_has_no_pace_yet() -> None:
    (busy, _) = Frame(Page(page(12), 100.0), Page(page(1), 101.0), {}).events()
    assert busy[2:4] == ("0", "0")


def test_readers_have_their_rows() -> None:
    assert list(frame().readers()) == [("payments of effects", "17", "75 s", "3", "500.0 ms")]


class Service(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.second = 0
        self.more: dict[str, float] = {}
        self.names_asked = 0


class Answering(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.server.second += 1
            self._answer(200, page(self.server.second, **self.server.more))
        elif self.path == f"/api/v1/events/{BUSY}":
            self.server.names_asked += 1
            self._answer(200, json.dumps({"name": "Night of Strings"}))
        else:
            self._answer(404, json.dumps({"code": "event_not_found"}))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("ONSALE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")
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


def onsale(*args: str) -> Result:
    return CliRunner().invoke(app, ["top", *args], catch_exceptions=False)


def test_one_frame_is_printed_and_no_more(service: Service) -> None:
    result = onsale("--once", "--every", "0.2")
    assert result.exit_code == 0
    assert service.second == 2
    lines = result.stdout.splitlines()
    assert "granted" in lines[0]
    assert "sold_out" in lines[0]
    assert "waiting 11" in lines[1]
    (busy,) = [line for line in lines if BUSY in line]
    assert "Night of Strings" in busy
    assert busy.split()[-6:] == ["1,234", "56", "7,890", "42", "12.3", "ms"]
    assert any("payments of effects" in line for line in lines)
    assert "STOPPED" not in result.stdout


def test_what_hinders_sales_is_said(service: Service) -> None:
    service.more = {
        "onsale_sales_stopped": 1,
        "onsale_store_up": 0,
        "onsale_throttle_holds_per_second": 2.5,
        "onsale_throttled_events": 3,
    }
    shown = onsale("--once", "--every", "0.2").stdout
    for said in ("SALES ARE STOPPED", "STORE DOES NOT ANSWER", "at most 2.5 holds/s", "3 events"):
        assert said in shown


def test_any_gateway_can_be_looked_at(service: Service, tmp_path: Path) -> None:
    (tmp_path / "runtime.json").unlink()
    url = f"http://127.0.0.1:{service.server_port}/"
    assert onsale("--once", "--every", "0.2", "--url", url).exit_code == 0
    result = onsale("--once")
    assert result.exit_code == 1
    assert "no service runs" in result.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "file:///etc/passwd"])
def test_where_nobody_answers_it_says_so(service: Service, url: str) -> None:
    result = onsale("--once", "--url", url)
    assert result.exit_code == 1
    assert url.partition("://")[2] in result.stderr
