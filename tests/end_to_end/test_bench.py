"""The benchmark measures everything that it should; what it finds is not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

from loadtests.bench.peers import why_no_postgres

_SQL = {
    "PostgreSQL, SELECT … FOR UPDATE",
    "PostgreSQL, one conditional UPDATE",
    "PostgreSQL, SKIP LOCKED rows",
}
_KEEPERS = {
    "durable hold",
    "Redis, a Lua script per hold",
    "Redis, a Lua script, raw ASGI",
    "Ray call per hold, shared fsync",
    "Ray call per hold, plain actor",
}
_OTHERS = {"FastAPI echo", "raw ASGI answer", "refusal, sold out", "webhook, kept"}


def test_a_quick_benchmark_measures_everybody(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", "loadtests.bench", "--quick", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    # Also that nobody sold what there was not, or kept something else than was granted.
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (path,) = tmp_path.glob("*.json")
    kept = json.loads(path.read_bytes())
    found = kept["found"]
    absent = _SQL if why_no_postgres() else set()
    assert found["absent"].keys() == absent
    assert found["durability"] == "fsync before every answer"
    assert {one["contender"] for one in found["sold_out"]} == _KEEPERS | _SQL - absent
    assert all((one["granted"], one["fault"]) == (300, None) for one in found["sold_out"])
    assert {item["contender"] for item in found["rounds"]} == _KEEPERS | _OTHERS | _SQL - absent
    assert all(item["result"]["requests"] > 0 for item in found["rounds"])
    assert len(found["in_process"]) == 5
    assert len(kept["verdict"]) == 21 - len(absent)
    _check_parts(found)
    for package in ("ray", "fastapi", "redis", "msgspec"):
        assert kept["machine"]["packages"][package]
    told = " ".join(finished.stdout.split())
    pages = [path.with_suffix(kind).read_text() for kind in (".md", ".html")]
    for finding in kept["verdict"]:
        assert finding["what"] in told
        assert all(finding["what"] in page for page in pages)


def _check_parts(found: dict) -> None:
    payments = found["payments"]
    assert payments["end_to_end"]["payments"] > 0
    (measured,) = payments["rounds"]
    assert measured["steady"]["confirmed"] == 100
    assert measured["steady"]["readable"]["p50"] > 0
    assert measured["beside"]["confirmed"] == 210
    (scanned,) = found["doors"]
    assert scanned["check_ins"]["statuses"].keys() == {"200"}
    assert scanned["echo"]["requests"] > 0
    half, ten_times = found["offered"]["offers"]
    assert half["results"][0]["granted_ms"]["p50"] > 0
    assert ten_times["results"][0]["skipped"] > ten_times["results"][0]["requests"]
    growth = [(one["events"], one["awake"], one["connections"]) for one in found["growth"]]
    assert growth == [(1, 1, 32), (1, 1, 64), (4, 4, 32), (4, 4, 64), (1, 4, 32), (1, 4, 64)]
    assert all(one["result"]["statuses"].keys() == {"201"} for one in found["growth"])


def test_without_postgresql_it_says_how_to_install_it(monkeypatch):
    assert why_no_postgres() is None or "apt-get" in why_no_postgres()
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(os, "access", lambda *_: False)
    reason = why_no_postgres()
    assert reason is not None
    assert "apt-get install postgresql" in reason
