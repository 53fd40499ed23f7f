"""Tests of the actors run in virtual time: see `tests.virtual_time`."""

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from typing import Any

import pytest

from tests.unit.actors.given import Stage
from tests.virtual_time import VirtualLoop, let_time_be_virtual


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], VirtualLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> list[MutableMapping[str, Any]]:
    """What the actors have logged, oldest first."""
    return let_time_be_virtual(monkeypatch)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A store without an event, and no owner yet."""
    setting = Stage()
    yield setting
    await setting.strike()
