"""The database behind a URL: its transactions, and what it means when it does not answer.

SQLite is one file under the data directory, for one machine; PostgreSQL serves several.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import psycopg
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import AdaptedConnection
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from engine.back_office_limits import (
    STORE_CONNECTIONS_MAX,
    STORE_DEADLINE_SECONDS,
    STORE_TIMEOUT_SECONDS,
)
from engine.store.contract import StoreAway

_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "sqlite": "sqlite+aiosqlite",
}

#: Pause before a file is asked again whether it can be switched to write-ahead logging.
_WAL_PAUSE_SECONDS = 0.02
#: What SQLite says when somebody else writes, or the disk does not do its part.
_SQLITE_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
#: A standby that has not been made the primary yet.
_READ_ONLY_STATE = "25006"
#: Class of PostgreSQL's errors for what is too large: it will be the next time too.
_TOO_LARGE_CLASS = "54"


class _Impatient(psycopg.AsyncConnection[Any]):
    """A connection that is dropped together with a statement that nobody waits for any more.

    By itself psycopg asks the server to cancel the statement and waits ten seconds for that,
    also if the server is frozen. Here the server ends it by its own time limit.
    """

    async def cancel_safe(self, *, timeout: float = 0.0) -> None:  # noqa: ARG002, ASYNC109
        """Drop the connection, which is what psycopg calls this for."""
        self.pgconn.finish()


def default_url(data_dir: Path) -> str:
    """Return where the back office is kept when nothing else is said: a file there."""
    url = URL.create("sqlite", database=str(data_dir.resolve() / "onsale.db"))
    return url.render_as_string()


def driver_url(text: str) -> URL:
    """Return the URL that the driver is given.

    Raises:
        ValueError: it names no database of ours; says what is wrong, without the password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Its own message may repeat a part of the password.
        raise ValueError(
            "the database's URL cannot be read; it is postgresql://user:password@host/name, with"
            " special characters percent-encoded, or sqlite:///path"
        ) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise ValueError(
            f"a database's URL begins with postgresql:// or sqlite:///, not {url.drivername}://"
        )
    if url.drivername == "sqlite":
        _check_sqlite(url)
    else:
        _check_postgresql(url)
    return url.set(drivername=driver)


class Database:
    """Transactions of one process on the database behind a URL.

    Nothing is connected before the first one. Every process has its own.

    Raises:
        ValueError: see `driver_url`.
    """

    def __init__(self, url: str) -> None:
        self._url = driver_url(url)
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
        self._engine = self._sqlite() if self._is_sqlite else self._postgresql()
        self._writer = self._engine.execution_options(onsale_writes=True)

    def reading(
        self, deadline_seconds: float | None = None
    ) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that only reads.

        Raises:
            StoreAway: the database did not answer in time.
        """
        return self._transaction(self._engine, deadline_seconds)

    def writing(
        self, deadline_seconds: float | None = None
    ) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a transaction that is committed at its end, and undone by any exception.

        On SQLite nobody else writes meanwhile, in no process.

        Raises:
            StoreAway: the database did not answer in time; it may have committed.
        """
        return self._transaction(self._writer, deadline_seconds)

    async def close(self) -> None:
        """Let go of every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(
        self, engine: AsyncEngine, deadline_seconds: float | None
    ) -> AsyncIterator[AsyncConnection]:
        deadline_seconds = deadline_seconds or STORE_DEADLINE_SECONDS
        try:
            async with asyncio.timeout(deadline_seconds), engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            if not _is_away(error):
                raise
            raise StoreAway(str(error.orig).partition("\n")[0]) from error
        except PoolTimeout as error:
            raise StoreAway("every connection is in use") from error
        except TimeoutError as error:
            raise StoreAway(f"no answer within {deadline_seconds:g} s") from error

    def _sqlite(self) -> AsyncEngine:
        assert self._url.database is not None
        Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(
            self._url,
            connect_args={"timeout": STORE_TIMEOUT_SECONDS},
            pool_size=STORE_CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=STORE_TIMEOUT_SECONDS,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    def _postgresql(self) -> AsyncEngine:
        timeout_ms = int(STORE_TIMEOUT_SECONDS * 1_000)
        settings = "".join(
            f" -c {name}={timeout_ms}"
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        )
        return create_async_engine(
            self._url,
            connect_args={
                "async_creator_fn": _Impatient.connect,
                "connect_timeout": int(STORE_TIMEOUT_SECONDS),
                "tcp_user_timeout": timeout_ms,
                "application_name": "onsale",
                "options": str(self._url.query.get("options", "")) + settings,
                # Prepared statements would break behind a pooler that hands connections
                # round, and few of ours come twice with as many parameters.
                "prepare_threshold": None,
            },
            pool_size=STORE_CONNECTIONS_MAX,
            max_overflow=0,
            pool_timeout=STORE_TIMEOUT_SECONDS,
            # A restart that happened while nothing was asked is nobody's error.
            pool_pre_ping=True,
            hide_parameters=True,
        )


def _check_sqlite(url: URL) -> None:
    if url.host:
        raise ValueError("a SQLite URL has three slashes before a relative path, four before /")
    if url.database in {None, "", ":memory:"}:
        raise ValueError("a SQLite URL names a file: sqlite:///path")
    if url.query:
        raise ValueError("a SQLite URL takes no options")


def _check_postgresql(url: URL) -> None:
    try:
        make_conninfo(**{name: ",".join(value) for name, value in url.normalized_query.items()})
    except psycopg.ProgrammingError as error:
        raise ValueError(f"the database's URL has an {error}".strip()) from None


def _set_up_sqlite(connection: AdaptedConnection, _entry: ConnectionPoolEntry) -> None:
    connection.run_async(_set_pragmas)


async def _set_pragmas(connection: aiosqlite.Connection) -> None:
    # Without this Python would begin transactions by itself, and later than is safe.
    connection.isolation_level = None
    while not await _has_wal(connection):  # noqa: ASYNC110 - it is for another process
        await asyncio.sleep(_WAL_PAUSE_SECONDS)
    # With WAL and less than FULL, a power cut loses what was committed.
    await connection.execute_fetchall("PRAGMA synchronous = FULL")
    await connection.execute_fetchall("PRAGMA foreign_keys = ON")
    # What is erased is overwritten, not only let go of.
    await connection.execute_fetchall("PRAGMA secure_delete = ON")


async def _has_wal(connection: aiosqlite.Connection) -> bool:
    """Switch a new file to write-ahead logging; this alone does not wait for others."""
    try:
        await connection.execute_fetchall("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise
    return True


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes then is refused if somebody wrote in between,
    # without any waiting: one that will write says so at once.
    writes = connection.get_execution_options().get("onsale_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _is_away(error: DBAPIError) -> bool:
    """Tell whether the database is at fault, and not the statement."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        # The low byte is what went wrong, the others are details.
        return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) in _SQLITE_AWAY
    state = getattr(cause, "sqlstate", None) or ""
    if error.connection_invalidated or state == _READ_ONLY_STATE:
        return True
    return isinstance(cause, psycopg.OperationalError) and not state.startswith(_TOO_LARGE_CLASS)
