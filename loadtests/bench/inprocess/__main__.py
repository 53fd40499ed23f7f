"""Carries out one measurement and writes JSON lines: progress, then the result."""

import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from actors.process import configure_logging, tune_interpreter
from actors.ray_environment import ENVIRONMENT
from loadtests.bench.inprocess import decisions, memory, recovery, replay, snapshot_stall

#: Each takes a function that is told which share of the work is done, 0 to 1.
_MEASUREMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "decisions": decisions.measure,
    "replay": replay.measure,
    "memory": memory.measure,
    "snapshot_stall": snapshot_stall.measure,
    "recovery": recovery.measure,
}


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    if ENVIRONMENT.keys() - os.environ:
        # Some of it counts from the start of a process: be started as an owner is.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], ENVIRONMENT | os.environ)  # noqa: S606
    name, *options = sys.argv[1:]
    configure_logging("WARNING")
    tune_interpreter()
    try:
        found = _MEASUREMENTS[name](lambda x: _tell({"progress": x}), quick="--quick" in options)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    _tell({"result": found})
