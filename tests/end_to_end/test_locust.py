"""Locust against a real service, and against one that sells more than it has."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.end_to_end.service import ROOT, tokens
from tests.end_to_end.shop import Shop
from tests.stripe_sandbox import WEBHOOK_SECRET
from tests.unit.loadtests.locust.small_shop import SmallShop, open_shop

LOCUST = Path(os.environ.get("ONSALE_LOCUST", ROOT / ".venv-load" / "bin" / "locust"))
#: Two runs take half of this on an idle machine.
PATIENCE_SECONDS = 90

pytestmark = pytest.mark.skipif(not LOCUST.exists(), reason="`make .venv-load/.ready` makes it")


@contextmanager
def locust(directory: Path, url: str, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run Locust without a form; it ends with the block."""
    directory.mkdir()
    buyers = directory / "buyers"
    buyers.write_text("\n".join(tokens.make("buyer", f"buyer-{n}") for n in range(100)))
    settings = {
        "tokens_file": str(buyers),
        "organizer_token": tokens.make("organizer", "org"),
        "verdict_file": str(directory / "verdict.json"),
        "think_seconds": "0.1",
        **more,
    }
    environment = {name: value for name, value in os.environ.items() if "LOCUST" not in name}
    environment |= {f"ONSALE_LOAD_{name.upper()}": value for name, value in settings.items()}
    command = [
        *(str(LOCUST), "-f", "loadtests/locust/locustfile.py", "--headless", "--only-summary"),
        *("--host", url, "--users", "20", "--run-time", "3", "--loglevel", "ERROR", *words),
    ]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def at(port: int) -> list[str]:
    """Have master and workers meet at this port."""
    return ["--master-bind-host", "127.0.0.1"] + [
        word for name in ("--master-bind-port", "--master-port") for word in (name, str(port))
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=PATIENCE_SECONDS)[0]


def verdict(directory: Path) -> dict:
    return json.loads((directory / "verdict.json").read_text())


def missed(directory: Path) -> list[str]:
    return [finding["what"] for finding in verdict(directory)["findings"] if not finding["met"]]


def test_a_shop_that_oversells_is_found_and_an_honest_one_is_not(tmp_path):
    """The control: the same run, once with the error planted and spread over two workers."""
    with (
        open_shop(SmallShop()) as honest,
        open_shop(SmallShop(beyond=1)) as greedy,
        locust(tmp_path / "honest", honest.url, capacity="9", tickets_per_hold="1") as green,
        locust(
            *(tmp_path / "greedy", greedy.url, "--processes", "2", *at(free_port())),
            *("--json-file", str(tmp_path / "stats")),
            capacity="9",
            tickets_per_hold="1",
        ) as red,
    ):
        told, found = said(green), said(red)
    assert green.returncode == 0, told
    assert "Verdict: GREEN" in told
    assert verdict(tmp_path / "honest")["counts"]["units"] == 9
    assert red.returncode == 1, found
    assert found.count("Verdict: RED") == 1
    assert missed(tmp_path / "greedy") == [
        "oversold, by the audit",
        "units that buyers were granted",
    ]
    assert verdict(tmp_path / "greedy")["counts"]["units"] == 10
    (kept,) = json.loads((tmp_path / "stats.json").read_text())
    (row,) = verdict(tmp_path / "greedy")["rows"]
    assert kept["num_requests"] == row["requests"], "one worker's share was kept for the whole"
    assert "Response time percentiles" in found


def test_a_shop_that_turns_everybody_away_is_not_fast_but_red(tmp_path):
    closed = SmallShop(busy=1_000_000, capacity={"evt_x": 9}, held={"evt_x": 0})
    with open_shop(closed), locust(tmp_path / "run", closed.url, event_id="evt_x") as red:
        told = said(red)
    assert red.returncode == 1, told
    assert missed(tmp_path / "run") == ["turned away", "holds decided by the stock"]
    (outcome,) = verdict(tmp_path / "run")["counts"]["outcomes"]
    assert outcome == "hold: turned away (overloaded)"


def test_every_story_can_be_told_to_a_real_service(shop: Shop, tmp_path: Path):
    stories = ["OnSaleRush", "BrowseAndWatch", "Purchase", "DoorRush", "WebhookStorm", "MixedDay"]
    with locust(
        *(tmp_path / "run", shop.service.url, *stories),
        *("--loop", "open", "--max-p95-ms", "", "--html", str(tmp_path / "report.html")),
        sandbox_url=shop.sandbox.url,
        webhook_secret=WEBHOOK_SECRET,
        door_tickets="20",
        arrivals_per_second="40",
        max_skipped_percent="",
    ) as process:
        told = said(process)
    assert process.returncode == 0, told
    outcomes = verdict(tmp_path / "run")["counts"]["outcomes"]
    expected = {
        *("hold: granted", "availability: shown", "purchase: confirmed", "check-in: admitted"),
        *("webhook: kept", "tickets: shown"),
    }
    assert expected <= set(outcomes), told
    assert not [name for name in outcomes if "failure" in name]
    rows = {(row["method"], row["name"]) for row in verdict(tmp_path / "run")["rows"]}
    assert {("ARRIVAL", story) for story in stories} <= rows
    assert (tmp_path / "report.html").stat().st_size > 0


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory in which Ray finds room for its sockets, whose paths have 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="load-", dir="/tmp") as path:
        yield Path(path)


# It starts a service of its own: the same load on the one that is there is above.
@pytest.mark.drill
def test_it_brings_a_service_of_its_own_and_leaves_reports_and_nothing_else(
    tmp_path: Path, short_path: Path
):
    run = subprocess.run(
        [
            *(sys.executable, "-m", "loadtests.locust", "--buyers", "20"),
            *("--locust", str(LOCUST), "--output", str(tmp_path / "kept")),
            *("OnSaleRush", "Purchase", "--users", "8", "--run-time", "3"),
            *("--capacity", "50", "--think-seconds", "0.1", "--max-p95-ms", ""),
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "LOCUST" not in name}
        | {"TMPDIR": str(short_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Verdict: GREEN" in run.stdout + run.stderr
    (kept,) = (tmp_path / "kept").iterdir()
    outcomes = verdict(kept)["counts"]["outcomes"]
    assert {"hold: granted", "purchase: confirmed"} <= set(outcomes), run.stderr
    assert (kept / "report.html").stat().st_size > 0
    assert (kept / "stats_stats.csv").stat().st_size > 0
    rows = {row["name"]: row for row in json.loads((kept / "stats.json").read_text())}
    assert rows["hold"]["num_requests"] == sum(
        count for name, count in outcomes.items() if name.startswith("hold: ")
    )
    assert "Response time percentiles" in run.stdout + run.stderr
    # Where its service lived, and its buyers' tokens lay, is gone.
    assert not list(short_path.glob("onsale-load-*"))
