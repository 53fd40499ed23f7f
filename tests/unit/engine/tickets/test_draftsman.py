"""The process that draws tickets: as good as drawing them oneself, and it may die."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

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


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if a block takes longer than it should."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_it_draws_what_anybody_would(draftsman):
    for sheets in ((sheet(),), (sheet(1, holder="Ann Perkins"), sheet(2))):
        assert draftsman.draw(EVENT, sheets, ISSUED_AT_MS) == paper.draw(
            EVENT, sheets, ISSUED_AT_MS
        )


def test_it_gives_way_to_everybody(draftsman):
    draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)
    assert os.getpriority(os.PRIO_PROCESS, pid_of(draftsman)) == 19
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19


def test_what_cannot_be_drawn_is_told_and_the_next_is_drawn(draftsman):
    with pytest.raises(NotDrawn, match=r"^AssertionError at paper\.py:\d+$"):
        draftsman.draw(EVENT, (), ISSUED_AT_MS)
    pid = pid_of(draftsman)
    assert draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS).startswith(b"%PDF")
    assert pid_of(draftsman) == pid


def test_killed_between_two_papers_nobody_notices(draftsman):
    drawn = draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)
    os.kill(pid_of(draftsman), signal.SIGKILL)
    assert draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS) == drawn


def test_killed_over_a_paper_it_is_drawn_by_another(draftsman):
    def strike() -> None:
        while draftsman._process is None:
            time.sleep(0.001)
        os.kill(pid_of(draftsman), signal.SIGKILL)

    striking = threading.Thread(target=strike)
    striking.start()
    assert draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS).startswith(b"%PDF")
    striking.join()


def test_what_kills_it_again_is_not_drawn_and_its_last_words_are_told(draftsman, monkeypatch):
    parting = "import sys; sys.stdin.buffer.read(9); sys.exit('out of paper')"
    monkeypatch.setattr(module, "_start", lambda said: _command(parting, said))
    with pytest.raises(NotDrawn, match=r"twice.*out of paper"):
        draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)


def test_one_that_stands_still_is_not_waited_for(draftsman, monkeypatch):
    monkeypatch.setattr(module, "DRAWING_SECONDS_MAX", 0.2)
    monkeypatch.setattr(module, "_start", lambda said: _command(_SLEEP, said))
    with within(20), pytest.raises(NotDrawn, match=r"longer than 0\.2 seconds"):
        draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)


def test_closed_in_the_middle_it_ends_at_once(draftsman, monkeypatch):
    drawing = threading.Event()

    def start(said: IO[bytes]) -> subprocess.Popen[bytes]:
        drawing.set()
        return _command(_SLEEP, said)

    monkeypatch.setattr(module, "_start", start)
    closing = threading.Thread(target=lambda: drawing.wait(20) and draftsman.close())
    closing.start()
    with within(20), pytest.raises(NotDrawn, match="any more"):
        draftsman.draw(EVENT, (sheet(),), ISSUED_AT_MS)
    closing.join()
    assert draftsman._process is None


def test_it_ends_with_whoever_has_started_it():
    with module._start(subprocess.DEVNULL) as process:
        process.stdin.close()
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()


_SLEEP = "import time; time.sleep(60)"


def _command(program: str, said: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
    )
