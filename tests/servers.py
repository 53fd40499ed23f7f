"""Real Valkey servers for tests; knows nothing of pytest.

Every server that is started here is stopped by its process id, whatever becomes of the
test, and even if the whole run is killed.
"""

import atexit
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from engine.journal.embedded import EmbeddedStore

#: Reads "+pid" and "-pid" until the run is over, then ends what is left.
_WATCH = """
import os, signal, sys
left = set()
for line in sys.stdin:
    (left.add if line[0] == "+" else left.discard)(int(line[1:]))
for pid in left:
    try:
        name = open(f"/proc/{pid}/comm").read()
        if "valkey" in name or "postgres" in name:
            os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
"""


class _Watchdog:
    """A process that outlives this one by a moment."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def note(self, sign: str, pid: int) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WATCH],
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            atexit.register(self._process.communicate)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{sign}{pid}\n")
        self._process.stdin.flush()


watchdog = _Watchdog()


class WatchedStore(EmbeddedStore):
    """A store whose server does not outlive the test run."""

    def start(self, timeout_seconds: float = 60.0) -> None:
        super().start(timeout_seconds)
        watchdog.note("+", self.pid)

    def stop(self) -> None:
        pid = None if self._process is None else self.pid
        super().stop()
        if pid is not None:
            watchdog.note("-", pid)


@contextmanager
def running_store(
    directory: Path, *, port: int = 0, settings: Mapping[str, str] | None = None
) -> Iterator[EmbeddedStore]:
    """Run a Valkey server over `directory`: append-only file on, fsync before every answer.

    The test may kill, restart or freeze it.
    """
    store = WatchedStore(directory, port=port, settings=dict(settings or {}))
    try:
        store.start()
        yield store
    finally:
        store.stop()


def empty(store: EmbeddedStore) -> None:
    """Forget everything the server holds, keeping its scripts."""
    with Redis.from_url(store.url) as client:
        client.flushall()


def append_only_file(store: EmbeddedStore) -> Path:
    """Return the file that the server is appending to."""
    files = sorted(store.directory.glob("appendonlydir/*.incr.aof"))
    assert len(files) == 1, f"the server began another file meanwhile: {files}"
    return files[0]


def tear(store: EmbeddedStore, offset: int) -> None:
    """Cut the file of a server that is not running, as a power cut would."""
    assert not store.alive(), "only a dead server's file may be torn"
    with append_only_file(store).open("r+b") as file:
        file.truncate(offset)
