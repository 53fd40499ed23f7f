"""The process that draws tickets: as good as drawing them oneself, and it may die."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from engine.tickets import draftsman as module
from engine.tickets import paper
from engine.tickets.draftsman import Draftsman, NotDrawn
from tests.unit.engine.tickets.test_paper import EVENT, ISSUED_AT_MS, sheet


@pytest.fixture
def draftsman() -> Iterator[Draftsman]:
    drawing = Draftsman()
    yield drawing
    drawing.close()


def pid_of(draftsman: Draftsman) -> int:
    assert draftsman._process is not None
    return draftsman._process.pid


def once_drawing(draftsman: Draftsman, then: signal.Signals) -> threading.Thread:
    """Send its process this signal as soon as there is one."""

    def strike() -> None:
        give_up = time.monotonic() + 10
        while draftsman._process is None and time.monotonic() < give_up:
            time.sleep(0.001)
        os.kill(pid_of(draftsman), then)

    striking = threading.Thread(target=strike)
    striking.start()
    return striking


def test_it_draws_what_anybody_would(draftsman):
    for sheets in ((sheet(),), (sheet(1, holder="Ann Perkins"), sheet(2))):
        assert draftsman.draw(EVENT, sheets, ISSUED_AT_MS) == paper.draw(
            EVENT, sheets, ISSUED_AT_MS
        )


def test_it_gives_way_to_everybody(draftsman):
    draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)
    assert os.sched_getscheduler(pid_of(draftsman)) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_what_cannot_be_drawn_is_told_and_the_next_is_drawn(draftsman):
    with pytest.raises(NotDrawn, match="AssertionError: a document without pages is none"):
        draftsman.draw(EVENT, (), ISSUED_AT_MS)
    pid = pid_of(draftsman)
    assert draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS).startswith(b"%PDF")
    assert pid_of(draftsman) == pid


def test_killed_between_two_papers_nobody_notices(draftsman):
    drawn = draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)
    os.kill(pid_of(draftsman), signal.SIGKILL)
    assert draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS) == drawn


def test_killed_over_a_paper_it_is_drawn_by_another(draftsman):
    striking = once_drawing(draftsman, signal.SIGKILL)
    assert draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS).startswith(b"%PDF")
    striking.join()


def test_what_kills_it_again_is_not_drawn(draftsman, monkeypatch):
    monkeypatch.setattr(module, "_start", lambda: _command("import sys; sys.stdin.buffer.read(9)"))
    with pytest.raises(NotDrawn, match="twice"):
        draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)


def test_one_that_stands_still_is_not_waited_for(draftsman, monkeypatch):
    monkeypatch.setattr(module, "DRAWING_SECONDS_MAX", 0.2)
    monkeypatch.setattr(module, "_start", lambda: _command("import time; time.sleep(60)"))
    with pytest.raises(NotDrawn, match=r"longer than 0\.2 seconds"):
        draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)


def test_closed_in_the_middle_it_ends_at_once(draftsman, monkeypatch):
    monkeypatch.setattr(module, "_start", lambda: _command("import time; time.sleep(60)"))
    closing = threading.Timer(0.2, draftsman.close)
    closing.start()
    with pytest.raises(NotDrawn, match="any more"):
        draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)
    closing.join()
    assert draftsman._process is None


def test_it_ends_with_whoever_has_started_it():
    process = module._start()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0
    assert process.stdout is not None
    process.stdout.close()


def _command(program: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
