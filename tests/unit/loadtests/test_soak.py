"""Whose memory a soak looks at, and what it calls growth."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.bench import soak
from loadtests.bench.processes import BenchFailed


@pytest.fixture
def service(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the data directory of a service in its environment."""
    waiting = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    environment = {**os.environ, "ONSALE_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(
        waiting, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process


def test_the_processes_of_this_service_are_found_and_no_other(
    service: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    found = soak._sizes(tmp_path)
    assert list(found) == [service.pid]
    ((_name, size),) = found.values()
    assert 1_000_000 < size < 100_000_000
    with pytest.raises(BenchFailed, match="no process"):
        soak._sizes(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["ray::OwnerActor.submit", "", ""], "ray::OwnerActor"),
        (["ray::IDLE"], "ray::IDLE"),
        (["/a/b/valkey-server unixsocket:/x/valkey.sock"], "valkey-server"),
        (["/a/python3.11", "-m", "gateway.server", ""], "gateway.server"),
        (["/a/python", "-u", "/b/ray/dashboard/agent.py", "--x=1"], "agent.py"),
        (["/b/raylet/raylet", "--x=1"], "raylet"),
    ],
)
def test_a_process_is_called_by_what_it_runs(command: list[str], name: str) -> None:
    assert soak._name([word.encode() for word in command]) == name


def test_growth_is_a_share_of_what_there_was() -> None:
    assert soak.Grown("x", 100, 106).growth == pytest.approx(0.06)
    assert soak.Grown("x", 100, 90).growth == pytest.approx(-0.1)
