"""What processes say is one JSON object a line, and they are as protected as their parent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_TALK = """
import logging, sys, warnings
import structlog
from actors.process import configure_logging
configure_logging(sys.argv[1])
log = structlog.get_logger("ours")
with structlog.contextvars.bound_contextvars(request_id="r1", event_id="evt_1", booking_id="bk_1"):
    log.info("bought", tickets=2)
    logging.getLogger("theirs").warning("about %s", "it")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broken")
    logging.getLogger("theirs").exception("theirs, too")
logging.getLogger("httpx").info("a body with secrets")
"""


def said(level: str) -> list[dict]:
    ran = subprocess.run(
        [sys.executable, "-c", _TALK, level], capture_output=True, text=True, check=True
    )
    assert ran.stdout == ""
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_every_line_is_json_with_the_ids_that_are_known() -> None:
    bought, about, broken, theirs = said("INFO")
    ids = {"request_id": "r1", "event_id": "evt_1", "booking_id": "bk_1"}
    assert ids.items() <= bought.items()
    assert (bought["event"], bought["level"], bought["logger"]) == ("bought", "info", "ours")
    assert bought["tickets"] == 2
    assert bought["timestamp"].endswith("Z")
    assert ids.items() <= about.items(), "what a library says names the request, too"
    assert (about["event"], about["level"], about["logger"]) == ("about it", "warning", "theirs")
    for line in (broken, theirs):
        assert "ZeroDivisionError" in line["exception"]
        assert "request_id" not in line


def test_a_level_silences_what_is_below() -> None:
    assert [line["event"] for line in said("ERROR")] == ["broken", "theirs, too"]


_TAKE_OVER = """
import sys
from pathlib import Path
from actors.process import take_over_oom_score
own = Path("/proc/self/oom_score_adj")
own.write_text(sys.argv[1])
if sys.argv[2:] == ["refused"]:
    def refuse(*_):
        raise PermissionError
    Path.write_text = refuse
take_over_oom_score()
print(own.read_text())
"""
#: Scores may be raised by anybody, and be lowered again to where they came from.
_SCORE = Path("/proc/self/oom_score_adj")
needs_scores = pytest.mark.skipif(not _SCORE.exists(), reason="only Linux has them")


def score_taken_over(of_parent: int, own: int, *how: str) -> int:
    """Return the score of a process that had `own`, as Ray sets it, and then took over."""
    script = 'set -e; echo $0 > /proc/self/oom_score_adj; "$@"; exit $?'
    child = [sys.executable, "-c", _TAKE_OVER, str(own), *how]
    ran = subprocess.run(
        ["sh", "-c", script, str(of_parent), *child], capture_output=True, text=True, check=True
    )
    assert ran.stderr == ""
    return int(ran.stdout)


@needs_scores
def test_an_owner_is_as_protected_as_the_raylet_that_has_started_it() -> None:
    inherited = int(_SCORE.read_text())
    assert score_taken_over(inherited + 10, inherited + 500) == inherited + 10


@needs_scores
def test_nobody_becomes_easier_to_kill_than_it_was() -> None:
    inherited = int(_SCORE.read_text())
    assert score_taken_over(inherited + 500, inherited + 10) == inherited + 10


@needs_scores
def test_where_it_is_not_allowed_the_score_stays_and_nothing_is_said() -> None:
    inherited = int(_SCORE.read_text())
    assert score_taken_over(inherited, inherited + 500, "refused") == inherited + 500


@needs_scores
def test_a_score_that_systemd_has_lowered_is_taken_over() -> None:
    """The unit of a node lowers the raylet, which gives its workers 0."""
    inherited = int(_SCORE.read_text())
    try:
        taken = score_taken_over(inherited - 10, inherited)
    except subprocess.CalledProcessError:
        pytest.skip("this machine lets nobody lower a score")
    assert taken == inherited - 10


_PREEMPT_NOBODY = """
import os, threading
from actors.process import preempt_nobody
waits = threading.Event()
thread = threading.Thread(target=waits.wait)
thread.start()
before = {os.sched_getscheduler(int(one)) for one in os.listdir("/proc/self/task")}
preempt_nobody()
after = {os.sched_getscheduler(int(one)) for one in os.listdir("/proc/self/task")}
waits.set()
print(before == {os.SCHED_OTHER}, after == {os.SCHED_BATCH})
"""


_LEAVE_A_CORE = """
import os, threading
from actors.process import leave_a_core
waits = threading.Event()
thread = threading.Thread(target=waits.wait)
thread.start()
before = os.sched_getaffinity(0)
leave_a_core()
after = {frozenset(os.sched_getaffinity(int(one))) for one in os.listdir("/proc/self/task")}
waits.set()
print(*(len(one) for one in (before, *after)), *(before - one == {min(before)} for one in after))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux has it")
@pytest.mark.parametrize("cores", [1, 2])
def test_all_threads_of_an_owner_leave_a_core_to_others_where_there_are_others(cores: int) -> None:
    mine = sorted(os.sched_getaffinity(0))[:cores]
    if len(mine) < cores:
        pytest.skip("this machine has one core")
    confined = f"import os; os.sched_setaffinity(0, {set(mine)})\n{_LEAVE_A_CORE}"
    ran = subprocess.run(
        [sys.executable, "-c", confined], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == (["2", "1", "True"] if cores == 2 else ["1", "1", "False"])


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has it")
def test_all_threads_of_an_owner_wait_for_the_end_of_others_slices() -> None:
    command = [sys.executable, "-c", _PREEMPT_NOBODY]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "True"]
