"""Copies the back office into another database: `python -m engine.store.move FROM TO`."""

import asyncio
import sys

from sqlalchemy import Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.back_office_limits import STORE_MIGRATION_SECONDS_MAX, STORE_MOVE_ROWS
from engine.store.connect import Database
from engine.store.migrate import migrate
from engine.store.schema import metadata


class NotEmpty(Exception):
    """The database has rows already. Argument: of which table."""

    def __str__(self) -> str:
        """Say so in a sentence."""
        return f"the table {self.args[0]} has rows already; an empty database is needed"


async def move(source: Database, target: Database) -> dict[str, int]:
    """Copy every row of every table, in one transaction; return how many each table had.

    Nobody may write to either meanwhile. Both are migrated first.

    Raises:
        NotEmpty: the target is in use; nothing was copied.
        StoreAway: one of them did not answer; nothing was copied.
    """
    await migrate(source)
    await migrate(target)
    async with (
        source.reading(STORE_MIGRATION_SECONDS_MAX) as reader,
        target.writing(STORE_MIGRATION_SECONDS_MAX) as writer,
    ):
        for table in metadata.sorted_tables:
            if await writer.scalar(select(func.count()).select_from(table)):
                raise NotEmpty(table.name)
        return {table.name: await _copy(reader, writer, table) for table in metadata.sorted_tables}


async def _copy(reader: AsyncConnection, writer: AsyncConnection, table: Table) -> int:
    count = 0
    found = await reader.stream(select(table).order_by(*table.primary_key))
    async for page in found.mappings().partitions(STORE_MOVE_ROWS):
        await writer.execute(insert(table), [dict(row) for row in page])
        count += len(page)
    counted = table.autoincrement_column
    if count and counted is not None and writer.dialect.name == "postgresql":
        # Rows came with their numbers: the next one has to be counted from there.
        newest = select(func.max(counted)).scalar_subquery()
        place = func.pg_get_serial_sequence(table.name, counted.name)
        await writer.execute(select(func.setval(place, newest)))
    return count


async def _between(source: Database, target: Database) -> None:
    try:
        for name, count in (await move(source, target)).items():
            sys.stdout.write(f"{count:>10} {name}\n")
    finally:
        await source.close()
        await target.close()


def main() -> None:
    """Copy between the databases that the command line names."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m engine.store.move FROM TO (two database URLs)")
    try:
        source, target = (Database(url) for url in sys.argv[1:])
        asyncio.run(_between(source, target))
    except (ValueError, NotEmpty) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
