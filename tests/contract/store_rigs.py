"""What the suite of the back office needs of a database beyond the contract itself."""

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import psycopg

from engine.store.sql import SqlBackOffice, open_store
from engine.store.vault import Vault
from tests.servers import watchdog

#: Neither the first key nor the second is used anywhere else.
OLD_SECRET, NEW_SECRET = b"o" * 32, b"n" * 32

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "autovacuum": "off",
}


class StoreRig(Protocol):
    url: str

    def store(self, *secrets: bytes) -> SqlBackOffice:
        """Return the back office as another process would open it."""

    def raw(self) -> bytes:
        """Return everything that the database has on disk."""

    def go_away(self) -> None:
        """Have nobody answer."""

    def come_back(self) -> None: ...


class _Rig:
    url: str

    def __init__(self) -> None:
        self._open: list[SqlBackOffice] = []

    def store(self, *secrets: bytes) -> SqlBackOffice:
        store = open_store(self.url, Vault(secrets or (NEW_SECRET, OLD_SECRET)))
        self._open.append(store)
        return store

    async def close(self) -> None:
        for store in self._open:
            await store.close()


class SqliteRig(_Rig):
    """A file. It is away while somebody else is writing."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.url = f"sqlite:///{file}"
        self._other: sqlite3.Connection | None = None

    def raw(self) -> bytes:
        return b"".join(
            file.read_bytes() for file in sorted(self.file.parent.glob(f"{self.file.name}*"))
        )

    def go_away(self) -> None:
        self._other = sqlite3.connect(self.file, isolation_level=None)
        self._other.execute("BEGIN IMMEDIATE")

    def come_back(self) -> None:
        if self._other is not None:
            self._other.close()
            self._other = None


class PostgresRig(_Rig):
    """A database of a server that is shared; the test may kill and restart the server."""

    def __init__(self, server: "PostgresServer", name: str) -> None:
        super().__init__()
        self.server = server
        self.name = name
        self.url = server.url(name)

    def raw(self) -> bytes:
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            query = "SELECT oid::text FROM pg_database WHERE datname = %s"
            (number,) = connection.execute(query, [self.name]).fetchone() or ("none",)
        found = []
        # Its tables, and the log of everybody's changes.
        for place in ("base/" + number, "pg_wal"):
            for file in (self.server.data / place).iterdir():
                # The server makes files and drops them meanwhile.
                with suppress(FileNotFoundError, IsADirectoryError):
                    found.append(file.read_bytes())
        return b"".join(found)

    def go_away(self) -> None:
        self.server.kill()

    def come_back(self) -> None:
        self.server.start()


class PostgresServer:
    """A throw-away cluster that listens on a Unix socket, and forgets everything in the end."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        # Not where pytest keeps its directories: those only their owner may enter, and
        # PostgreSQL refuses to run as root.
        self.directory = Path(tempfile.mkdtemp(prefix="onsale-pg-"))
        self.data = self.directory / "data"
        self._user = _other_user() if os.getuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)

    def url(self, name: str) -> str:
        return f"postgresql://onsale@/{name}?host={self.directory}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def create(self) -> None:
        options = ["--auth=trust", "--username=onsale", "--encoding=UTF8", "--no-sync"]
        self._run("initdb", *options, "-D", str(self.data)).wait(60)

    def start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        place = ["-D", str(self.data), "-k", str(self.directory)]
        self._process = self._run("postgres", *place, *settings)
        watchdog.note("+", self.pid)
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, f"it ended: {self._said()}"
            assert time.monotonic() < deadline, f"it does not answer: {self._said()}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would, and wait until all that served its connections is gone.

        They hold the shared memory on: while one of them is left, no server starts here.
        """
        assert self._process is not None
        others = self._children()
        self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in others):
            assert time.monotonic() < deadline, f"left of it: {others}"
            time.sleep(0.01)
        watchdog.note("-", self.pid)

    def freeze(self) -> None:
        """Have it and all that serve its connections stand still."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(10)
            finally:
                self.kill()
        shutil.rmtree(self.directory)

    def new_database(self, name: str) -> PostgresRig:
        self.start()
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return PostgresRig(self, name)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _signal_all(self, number: int) -> None:
        for pid in [self.pid, *self._children()]:
            os.kill(pid, number)

    def _children(self) -> list[int]:
        if self._process is None or self._process.poll() is not None:
            return []
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def _said(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2_000:]

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [str(self._programs / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
                start_new_session=True,
                user=None if self._user is None else self._user.pw_uid,
                group=None if self._user is None else self._user.pw_gid,
                extra_groups=None if self._user is None else [],
            )


@contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(programs)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()


def _other_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("PostgreSQL refuses to run as root, and there is no other user")
