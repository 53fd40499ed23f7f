"""URLs of databases: which are understood, and how the others are refused."""

from pathlib import Path

import pytest

from engine.store.connect import Database, default_url, driver_url


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("postgresql://u:p@h:5433/n", "postgresql+psycopg://u:p@h:5433/n"),
        ("postgres://u:p%40ss@h/n", "postgresql+psycopg://u:p%40ss@h/n"),
        ("postgresql://h/n?sslmode=require", "postgresql+psycopg://h/n?sslmode=require"),
        ("postgresql:///n?host=%2Frun", "postgresql+psycopg:///n?host=%2Frun"),
        ("sqlite:///relative.db", "sqlite+aiosqlite:///relative.db"),
        ("sqlite:////var/lib/on sale/x.db", "sqlite+aiosqlite:////var/lib/on sale/x.db"),
    ],
)
def test_a_database_is_spoken_to_by_the_right_driver(text: str, driver: str) -> None:
    assert driver_url(text).render_as_string(hide_password=False) == driver


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot be read"),
        ("back-office.db", "cannot be read"),
        ("postgresql://u:secret-word:x@h:port/n", "cannot be read"),
        ("postgresql://u:secret-word@h:1x/n", "cannot be read"),
        ("mysql://u:secret-word@h/n", "not mysql://"),
        ("postgresql+asyncpg://u:secret-word@h/n", r"not postgresql\+asyncpg://"),
        ("postgresql://u:secret-word@h/n?tiemout=3", 'invalid connection option "tiemout"'),
        ("sqlite://", "names a file"),
        ("sqlite:///:memory:", "names a file"),
        ("sqlite://back-office.db", "three slashes"),
        ("sqlite:///x.db?mode=ro", "no options"),
    ],
)
def test_anything_else_is_refused_by_its_fault(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        Database(text)
    assert "secret-word" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("name", ["data", "on sale", "50%25?#ü"])
def test_the_default_is_a_file_of_the_data_directory(tmp_path: Path, name: str) -> None:
    database = driver_url(default_url(tmp_path / name)).database
    assert database == str(tmp_path / name / "onsale.db")
