"""Brings a database's schema up to date, in this process, whoever else is doing so."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from engine.back_office_limits import STORE_MIGRATION_SECONDS_MAX
from engine.store.connect import Database

#: Names the lock of migrations among PostgreSQL's advisory locks: any number will do.
_LOCK = 0x6F6E73616C65


async def migrate(database: Database) -> None:
    """Carry out the migrations that the database has not seen yet, all or none of them.

    Raises:
        StoreAway: it did not answer, or somebody else's migration takes too long.
    """
    async with database.reading() as connection:
        if await connection.run_sync(_is_current):
            return
    # SQLite lets one process write at a time, and tables are made in the same transaction;
    # the lock does the same for PostgreSQL. Who comes second finds nothing left to do.
    async with database.writing(STORE_MIGRATION_SECONDS_MAX) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await connection.execute(text("SET LOCAL lock_timeout = 0"))
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        await connection.run_sync(_upgrade)


def _is_current(connection: Connection) -> bool:
    heads = ScriptDirectory.from_config(_config()).get_heads()
    return set(MigrationContext.configure(connection).get_current_heads()) == set(heads)


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "engine.store:migrations")
    return config
