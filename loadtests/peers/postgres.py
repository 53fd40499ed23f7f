"""A throw-away PostgreSQL cluster, set up for what the peers do, on a Unix socket."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests.peers.sql import USER

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
#: Every commit is forced to disk before it is answered; everything else is there to help.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "wal_buffers": "64MB",
    # No replica, so nothing is written for one.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # No checkpoint within a run, and what the log has once used is kept.
    "max_wal_size": "8GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "30min",
    "jit": "off",
    "max_connections": "64",
    "listen_addresses": "",
}


class PostgresFailed(Exception):
    """The server did not start. Argument: the end of its log."""


def programs() -> Path | None:
    """Return where `initdb` and `postgres` are, None if they are nowhere; the newest of several."""
    found = [Path(path) for path in os.environ["PATH"].split(os.pathsep) if path]
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    found += sorted(installed, key=lambda path: float(path.parent.name), reverse=True)
    found.append(Path("/usr/local/bin"))
    for directory in found:
        if all(os.access(directory / name, os.X_OK) for name in ("initdb", "postgres")):
            return directory
    return None


@contextmanager
def running(where: Path) -> Iterator[Path]:
    """Run a new cluster that is gone in the end; yields the directory of its socket.

    PostgreSQL refuses to run as root, who runs it as another user.

    Raises:
        PostgresFailed: it did not start.
    """
    # Of its own, because the other user may not enter the directories of root.
    directory = Path(tempfile.mkdtemp(prefix="onsale-pg-"))
    user = _other_user() if os.getuid() == 0 else None
    if user is not None:
        os.chown(directory, user.pw_uid, user.pw_gid)
    try:
        with (directory / "log").open("ab") as log:
            options = ["--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-sync"]
            initdb = [str(where / "initdb"), *options, "-D", str(directory / "data")]
            _start(initdb, directory, user, log.fileno()).wait(_START_SECONDS)
            settings = [part for pair in SETTINGS.items() for part in ("-c", "=".join(pair))]
            place = ["-D", str(directory / "data"), "-k", str(directory)]
            server = _start(
                [str(where / "postgres"), *place, *settings], directory, user, log.fileno()
            )
        try:
            _await(directory, server)
            yield directory
        finally:
            _stop(server)
    finally:
        shutil.rmtree(directory)


def _await(directory: Path, server: subprocess.Popen[bytes]) -> None:
    # Its last line says so once it takes connections.
    status = directory / "data" / "postmaster.pid"
    give_up = time.monotonic() + _START_SECONDS
    while not status.exists() or not status.read_text().rstrip().endswith("ready"):
        if server.poll() is not None or time.monotonic() > give_up:
            raise PostgresFailed((directory / "log").read_text(errors="replace")[-1_000:])
        time.sleep(0.02)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # without waiting for connections to be closed
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.send_signal(signal.SIGQUIT)  # ends its children, which a kill would leave behind
        server.wait(_STOP_SECONDS)


def _start(
    command: list[str], directory: Path, user: pwd.struct_passwd | None, log: int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - the distribution's programs
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd=directory,
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        start_new_session=True,
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else [],
    )


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresFailed("PostgreSQL refuses to run as root, and there is no other user")
