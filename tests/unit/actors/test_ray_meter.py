"""What stands on Ray's metrics page stays there."""

import asyncio

import pytest

from actors import ray_meter as module
from actors.measures import LETTERS, OWNER_HALTED, OWNER_HOLDS, Labels, Measure
from actors.ray_meter import RayMeter


class Shown:
    """Stands in for Ray's metrics: what was set, in order."""

    def __init__(self) -> None:
        self.set_to: list[tuple[str, float, Labels]] = []

    def make(self, measure: Measure) -> "ShownMetric":
        return ShownMetric(self, measure.name)


class ShownMetric:
    def __init__(self, shown: Shown, name: str) -> None:
        self._shown = shown
        self._name = name

    def set(self, value: float, labels: Labels | None) -> None:
        self._shown.set_to.append((self._name, value, labels or {}))

    def inc(self, value: float, labels: Labels | None) -> None:
        self.set(value, labels)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    shown = Shown()
    monkeypatch.setattr(module, "_make", shown.make)
    monkeypatch.setattr(module, "_STANDING_SECONDS", 0.001)
    return shown


async def _in_a_while(shown: Shown) -> list[tuple[str, float, Labels]]:
    """Return what is set from now on, a few times over."""
    shown.set_to.clear()
    async with asyncio.timeout(5):
        while len(shown.set_to) < 12:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return shown.set_to


async def test_a_gauge_that_nobody_sets_again_is_set_to_its_last_value(shown: Shown) -> None:
    meter = RayMeter()
    meter.set(OWNER_HALTED, 0)
    meter.set(OWNER_HALTED, 1)
    meter.set(LETTERS, 3, {"status": "sent"})
    meter.set(LETTERS, 4, {"status": "failed"})

    again = await _in_a_while(shown)

    stand = [
        (OWNER_HALTED.name, 1, {}),
        (LETTERS.name, 3, {"status": "sent"}),
        (LETTERS.name, 4, {"status": "failed"}),
    ]
    assert again[:12] == [*stand, *stand, *stand, *stand]


async def test_what_is_counted_is_counted_once(shown: Shown) -> None:
    meter = RayMeter()
    meter.add(OWNER_HOLDS, 5, {"outcome": "granted"})
    meter.set(OWNER_HALTED, 0)

    assert {name for name, _, _ in await _in_a_while(shown)} == {OWNER_HALTED.name}
