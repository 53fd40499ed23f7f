"""Whoever has to share a core notices, and whoever has it alone owes nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine import courtesy
from engine.courtesy import Courtesy

_SPIN = "print('here', flush=True)\nwhile True: pass"


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


@contextmanager
def somebody_on_our_core() -> Iterator[None]:
    """Have this thread and a process that never rests share one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with subprocess.Popen([sys.executable, "-c", _SPIN], stdout=subprocess.PIPE) as other:
            try:
                assert other.stdout is not None
                other.stdout.readline()
                yield
            finally:
                other.kill()
    finally:
        os.sched_setaffinity(0, cores)


def test_whoever_was_kept_waiting_waits_by_itself_then():
    with somebody_on_our_core():
        polite = Courtesy()
        spin(0.4)
        assert 0.2 <= polite.due() <= 1.0


def test_nobody_waits_longer_than_a_second(monkeypatch: pytest.MonkeyPatch):
    polite = Courtesy()
    monkeypatch.setattr(courtesy, "_waited_ns", lambda: 10**12)
    assert polite.due() == 1.0


def test_what_was_paid_is_not_due_again(monkeypatch: pytest.MonkeyPatch):
    counts = iter([5_000_000, 105_000_000, 105_000_000])
    monkeypatch.setattr(courtesy, "_waited_ns", lambda: next(counts))
    polite = Courtesy()
    assert polite.due() == pytest.approx(0.4)
    assert polite.due() == 0.0
