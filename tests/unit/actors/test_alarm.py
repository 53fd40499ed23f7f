"""A timer that is put off more often than it rings."""

import asyncio

import pytest
import uvloop

from engine.alarm import Alarm
from tests.virtual_time import VirtualClocks


class Bell:
    """An alarm, and how long after the test began it has rung."""

    def __init__(self) -> None:
        self.rung: list[float] = []
        self._began = VirtualClocks.monotonic()
        self.alarm = Alarm(lambda: self.rung.append(VirtualClocks.monotonic() - self._began))


@pytest.fixture
async def bell() -> Bell:
    return Bell()


async def test_it_rings_once_and_in_time(bell: Bell) -> None:
    bell.alarm.set(2.0)
    await asyncio.sleep(60.0)
    assert bell.rung == pytest.approx([2.0])


async def test_nothing_to_wait_for_is_rung_at_once_but_never_from_within(bell: Bell) -> None:
    bell.alarm.set(0)
    assert bell.rung == []
    await asyncio.sleep(0.001)
    assert bell.rung == pytest.approx([0.0])


async def test_put_off_it_rings_at_the_later_time_only(bell: Bell) -> None:
    for _ in range(5):
        bell.alarm.set(2.0)
        await asyncio.sleep(1.0)
    await asyncio.sleep(60.0)
    assert bell.rung == pytest.approx([6.0])


async def test_brought_forward_it_rings_at_the_earlier_time_only(bell: Bell) -> None:
    bell.alarm.set(50.0)
    bell.alarm.set(1.0)
    await asyncio.sleep(60.0)
    assert bell.rung == pytest.approx([1.0])


async def test_off_it_does_not_ring(bell: Bell) -> None:
    bell.alarm.set(2.0)
    await asyncio.sleep(1.0)
    bell.alarm.off()
    await asyncio.sleep(60.0)
    assert bell.rung == []


@pytest.mark.parametrize("pause", [0.5, 10.0])
async def test_off_and_set_anew_it_rings(bell: Bell, pause: float) -> None:
    bell.alarm.set(2.0)
    bell.alarm.off()
    await asyncio.sleep(pause)
    bell.alarm.set(3.0)
    await asyncio.sleep(60.0)
    assert bell.rung == pytest.approx([pause + 3.0])


async def test_what_it_calls_may_set_it_again() -> None:
    rung: list[float] = []

    def ring() -> None:
        rung.append(VirtualClocks.monotonic())
        if len(rung) < 3:
            alarm.set(1.0)

    alarm = Alarm(ring)
    began = VirtualClocks.monotonic()
    alarm.set(1.0)
    await asyncio.sleep(60.0)
    assert rung == pytest.approx([began + 1.0, began + 2.0, began + 3.0])


# -- the loop of gateways and owners: its timers are of whole milliseconds --------------


def test_of_uvloop_even_what_rings_at_once_is_put_off_and_off() -> None:
    async def put_off() -> int:
        rung: list[int] = []
        alarm = Alarm(lambda: rung.append(1))
        alarm.set(0.0002)
        alarm.set(0.03)
        await asyncio.sleep(0.01)
        assert rung == []
        await asyncio.sleep(0.06)
        alarm.set(0.0002)
        alarm.off()
        await asyncio.sleep(0.01)
        return len(rung)

    assert uvloop.run(put_off()) == 1


def test_of_uvloop_it_looks_once_for_each_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = Alarm._look

    def counted(alarm: Alarm) -> None:
        nonlocal looks
        looks += 1
        look(alarm)

    async def ring() -> None:
        for number in range(60):
            rung = asyncio.Event()
            Alarm(rung.set).set((1 + number % 7) / 1_000)
            await rung.wait()

    monkeypatch.setattr(Alarm, "_look", counted)
    uvloop.run(ring())
    assert looks < 2 * 60
