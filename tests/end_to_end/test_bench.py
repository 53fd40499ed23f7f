"""The benchmark measures everything that it should; what it finds is not judged here."""

import json
import subprocess
import sys


def test_a_quick_benchmark_measures_everybody(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", "loadtests.bench", "--quick", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_bytes())
    assert found["durability"] == "fsync before every answer"
    assert {item["contender"] for item in found["rounds"]} == {
        "durable hold",
        "FastAPI echo",
        "Ray call per hold, shared fsync",
        "Ray call per hold, plain actor",
        "refusal, sold out",
        "webhook, kept",
    }
    assert all(item["result"]["requests"] > 0 for item in found["rounds"])
    assert len(found["in_process"]) == 5
    assert len(found["verdict"]) == 12
    payments = found["payments"]
    assert payments["end_to_end"]["payments"] > 0
    (measured,) = payments["rounds"]
    assert measured["steady"]["confirmed"] == 100
    assert measured["steady"]["readable"]["p50"] > 0
    assert measured["beside"]["confirmed"] == 250
    for package in ("ray", "fastapi", "redis", "msgspec"):
        assert found["machine"]["packages"][package]
    for finding in found["verdict"]:
        assert finding["what"] in " ".join(finished.stdout.split())
