"""`make load`, as far as it goes without Locust; tests/end_to_end/test_locust.py runs it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_without_locust_it_says_how_to_get_it_and_starts_nothing(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "loadtests.locust"),
            *("--locust", str(tmp_path / "locust"), "--output", str(tmp_path / "kept")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "make load" in run.stderr
    assert list(tmp_path.iterdir()) == []
