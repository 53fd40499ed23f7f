"""Rows that are written only if they tell something new, and rows as what they stand for."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Column, CursorResult, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

_T = TypeVar("_T", bound=msgspec.Struct)

Row = dict[str, Any]


async def put_new(
    connection: AsyncConnection, table: Table, key: Sequence[str], rows: Sequence[Row]
) -> None:
    """Insert rows; those whose unique key is there already change nothing."""
    if rows:
        statement = insert(connection, table).on_conflict_do_nothing(index_elements=key)
        await connection.execute(statement, rows)


async def put_newer(
    connection: AsyncConnection, table: Table, key: str, rows: Sequence[Row]
) -> None:
    """Insert rows, or write them over rows of the same key and an earlier sequence."""
    if not rows:
        return
    statement = insert(connection, table)
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=[key],
        set_={name: new[name] for name in rows[0] if name != key},
        where=table.c.sequence < new.sequence,
    )
    await connection.execute(statement, rows)


def insert(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Begin an insert that knows what to do about rows that are there already."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def columns(table: Table, kind: type[msgspec.Struct]) -> list[Column[Any]]:
    """Return the columns that make one of these."""
    return [table.c[name] for name in kind.__struct_fields__]


def read(result: CursorResult[Any], kind: type[_T]) -> list[_T]:
    """Return the rows as what they stand for."""
    return msgspec.convert(result.mappings().all(), list[kind])  # type: ignore[valid-type]
