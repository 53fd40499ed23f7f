"""The schema is made by migrations, and is exactly what the tables declare."""

import asyncio
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, text

from engine.store.schema import metadata
from tests.contract.store_rigs import StoreRig

#: Opens the database of its first argument and migrates it, when its input ends.
_MIGRATE = """
import asyncio, sys
from engine.store.sql import open_store
from engine.store.vault import Vault

async def main():
    store = open_store(sys.argv[1], Vault((b"k" * 32,)))
    print("ready", flush=True)
    sys.stdin.read()
    await store.migrate()
    await store.close()

asyncio.run(main())
"""


def _differences(connection: Connection) -> list[object]:
    return compare_metadata(MigrationContext.configure(connection), metadata)


async def _found(rig: StoreRig) -> list[object]:
    async with rig.store().database.reading() as connection:
        return await connection.run_sync(_differences)


async def test_the_migrations_make_the_tables_that_are_declared(store_rig: StoreRig) -> None:
    assert len(await _found(store_rig)) >= len(metadata.tables)
    await store_rig.store().migrate()
    assert await _found(store_rig) == []


async def test_to_migrate_again_changes_nothing(store_rig: StoreRig) -> None:
    store = store_rig.store()
    for _ in range(2):
        await store.migrate()
    await store_rig.store().migrate()
    assert await _found(store_rig) == []


async def test_tasks_of_one_process_migrate_at_once(store_rig: StoreRig) -> None:
    await asyncio.gather(*(store_rig.store().migrate() for _ in range(4)))
    assert await _found(store_rig) == []


async def test_processes_migrate_at_once(store_rig: StoreRig, tmp_path: Path) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _MIGRATE, store_rig.url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        said = await asyncio.gather(*(process.communicate(b"") for process in processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert await _found(store_rig) == []


async def test_a_schema_of_a_later_version_is_left_alone(store_rig: StoreRig) -> None:
    store = store_rig.store()
    await store.migrate()
    async with store.database.writing() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999_later'"))
    with pytest.raises(CommandError, match="9999_later"):
        await store.migrate()
    assert await _found(store_rig) == []


async def test_a_migration_that_fails_leaves_nothing_behind(
    store_rig: StoreRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_rig.store()
    async with store.database.writing() as connection:
        await connection.execute(text("CREATE TABLE voids (mine int)"))
    with pytest.raises(Exception, match="already exists"):
        await store.migrate()
    async with store.database.writing() as connection:
        await connection.execute(text("DROP TABLE voids"))
    await store.migrate()
    assert await _found(store_rig) == []
