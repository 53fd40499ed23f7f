"""Whose memory a soak looks at, and what it calls growth."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.bench import soak
from loadtests.bench.processes import BenchFailed

_WAITING = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
#: What was granted in a minute at half the pace of a small machine.
BOOKINGS = 100_000


@pytest.fixture
def service(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the data directory of a service in its environment."""
    environment = {**os.environ, "ONSALE_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(
        _WAITING, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
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


def test_whom_they_have_started_counts_whatever_its_environment_says(tmp_path: Path) -> None:
    start = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], env={}, cwd='/')\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    environment = {**os.environ, "ONSALE_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", start],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert set(soak._sizes(tmp_path)) == {process.pid, child}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["ray::OwnerActor.submit", "", ""], "ray::OwnerActor"),
        (["ray::IDLE"], "ray::IDLE"),
        (["ray::event:evt_4tvjp2jw:OwnerActor.__init__"], "ray::OwnerActor"),
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


def test_a_store_that_has_no_environment_to_be_seen_is_found_beside_its_files(
    tmp_path: Path,
) -> None:
    (tmp_path / "valkey").mkdir()
    with subprocess.Popen(
        _WAITING, env={}, cwd=tmp_path / "valkey", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as store:
        assert store.stdout is not None
        assert store.stdout.readline() == b"up\n"
        assert list(soak._sizes(tmp_path)) == [store.pid]


BEGAN = {1: ("gateway.server", 100), 2: ("valkey-server", 50), 3: ("raylet", 30)}


def test_what_outlives_the_sales_is_compared_and_what_keeps_data_is_not() -> None:
    first = BEGAN | {4: ("ray::OwnerActor", 90), 1: ("gateway.server", 110)}
    last = first | {1: ("gateway.server", 120), 2: ("valkey-server", 5_000)}
    processes, gone = soak.compared(BEGAN, first, last)
    gateway = soak.Grown("gateway.server", 110, 120)
    assert (processes, gone) == ([gateway, soak.Grown("raylet", 30, 30)], [])


@pytest.mark.parametrize("when", ["in the first minute", "later"])
@pytest.mark.parametrize("pid", list(BEGAN))
def test_a_process_that_ended_or_was_started_again_is_named(pid: int, when: str) -> None:
    name = BEGAN[pid][0]
    without = {other: found for other, found in BEGAN.items() if other != pid}
    again = without | {99: BEGAN[pid]}
    first = again if when == "in the first minute" else BEGAN
    assert soak.compared(BEGAN, first, without)[1] == [name]
    assert soak.compared(BEGAN, first, again)[1] == [name]
    assert soak.compared(BEGAN, first, without | {pid: ("another", 1)})[1] == [name]


def test_what_comes_and_goes_is_missed_by_nobody() -> None:
    passing = {7: ("ray::IDLE", 80), 8: ("ray::OwnerActor", 90)}
    child = {9: ("valkey-aof-rewrite", 40)}
    assert soak.compared(BEGAN | passing, BEGAN | child, BEGAN)[1] == []


def found(**changed) -> soak.Found:
    good = {
        "per_second": 2_000,
        "statuses": {"201": 80, "409": 20},
        "p99_ms": [10.0],
        "processes": [soak.Grown("gateway.server", 100, 104)],
        "gone": [],
        "keepers": [soak.Kept("owner", 427 * BOOKINGS, BOOKINGS)],
    }
    return soak.Found(**(good | changed))


def test_a_service_that_may_go_on_for_ever_has_no_faults() -> None:
    assert soak.faults(found()) == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"gone": ["raylet"]}, "raylet has ended or was started again"),
        ({"processes": [soak.Grown("raylet", 100, 106)]}, "raylet has grown by 6.0 %"),
        ({"statuses": {"201": 1, "503": 1}}, "answers: {'201': 1, '503': 1}"),
        (
            {"keepers": [soak.Kept("owner", 1_200 * BOOKINGS, BOOKINGS)]},
            "owner keeps 1,200 bytes a booking",
        ),
        (
            {"keepers": [soak.Kept("valkey-server", 1_200 * BOOKINGS, BOOKINGS)]},
            "valkey-server keeps 1,200 bytes a booking",
        ),
    ],
)
def test_each_fault_is_told(changed: dict, fault: str) -> None:
    assert soak.faults(found(**changed)) == [fault]


def test_a_few_bookings_are_not_charged_with_what_a_process_takes_anyway() -> None:
    assert soak.faults(found(keepers=[soak.Kept("owner", 8_000_000, 10)])) == []


def test_an_owner_is_the_one_that_was_none_before() -> None:
    earlier = BEGAN | {7: ("ray::OwnerActor", 90), 8: ("ray::IDLE", 80)}
    assert soak.new_owner(earlier, earlier | {8: ("ray::OwnerActor", 95)}) == 8
    assert soak.new_owner(earlier, earlier | {9: ("ray::OwnerActor", 95)}) == 9
    with pytest.raises(BenchFailed, match="0 owners"):
        soak.new_owner(earlier, earlier)
