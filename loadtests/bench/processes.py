"""Processes of a benchmark: started before it, ended after it, whatever happens."""

import ctypes
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 90.0
_STOP_SECONDS = 20.0


_libc = ctypes.CDLL(None)
#: See prctl(2).
_PR_SET_PDEATHSIG = 1


class BenchFailed(Exception):
    """The benchmark cannot go on. Argument: why."""


@contextmanager
def process(
    command: list[str], log: Path, environment: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command whose output goes to this file."""
    with log.open("wb") as output:
        running = subprocess.Popen(  # noqa: S603 - our own commands
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - asks the kernel, nothing else
        )
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def _end_with_parent() -> None:
    """Have the kernel ask this process to end once the benchmark is gone, also by kill -9."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once a process is ready.

    Raises:
        BenchFailed: it ended, or is not ready after a long time.
    """
    give_up = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > give_up:
            told = log.read_text(errors="replace").strip()[-1_000:]
            raise BenchFailed(f"{log.stem} did not start: {told}")
        time.sleep(0.05)


@contextmanager
def listening(
    command: list[str], log: Path, environment: dict[str, str], port: int
) -> Iterator[None]:
    """Run a command that listens on this port of loopback."""
    with process(command, log, environment) as started:
        wait_until(lambda: listens(port), started, log)
        yield


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port of loopback."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
