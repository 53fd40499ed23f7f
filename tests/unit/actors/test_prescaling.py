"""Cores are asked for before a sale opens, once, and given back when it is no longer new."""

import asyncio

import pytest

from actors import prescaling as module
from actors.prescaling import Prescaling
from engine.journal.contract import Unavailable
from engine.limits import PRESCALE_AFTER_SECONDS, PRESCALE_BEFORE_SECONDS, PRESCALE_LOOK_SECONDS

_CORES = 64


class _Openings:
    """One sale that opens at `at_ms`."""

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self.away = False

    async def opening(self, from_ms: int, until_ms: int) -> list[str]:
        if self.away:
            raise Unavailable("away")
        return ["evt_a"] if from_ms <= self.at_ms <= until_ms else []


class _Autoscaler:
    def __init__(self) -> None:
        self.requests: list[int] = []
        self.away = False

    def request(self, cores: int) -> None:
        if self.away:
            raise ConnectionError("the head is away")
        self.requests.append(cores)


class _Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000

    def time_ns(self) -> int:
        return self.now_s * 1_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(module, "time", clock)
    # A thread of its own takes real time, of which the loop of these tests knows nothing.
    monkeypatch.setattr(module.asyncio, "to_thread", _at_once)
    return clock


async def _at_once(function, *args) -> None:
    function(*args)


async def test_cores_are_there_around_an_opening_and_only_then(clock: _Clock) -> None:
    opens_at_s = clock.now_s + PRESCALE_BEFORE_SECONDS + 100
    autoscaler = _Autoscaler()
    prescaling = Prescaling(_Openings(opens_at_s * 1_000), _CORES, autoscaler.request)
    asked = {}
    for moment in (
        opens_at_s - PRESCALE_BEFORE_SECONDS - 1,
        opens_at_s - PRESCALE_BEFORE_SECONDS,
        opens_at_s,
        opens_at_s + PRESCALE_AFTER_SECONDS,
        opens_at_s + PRESCALE_AFTER_SECONDS + 1,
    ):
        clock.now_s = moment
        await prescaling.look()
        await prescaling.look()
        asked[moment - opens_at_s] = list(autoscaler.requests)
    assert list(asked.values()) == [[0], [0, _CORES], [0, _CORES], [0, _CORES], [0, _CORES, 0]]


async def test_what_was_asked_for_stands_while_the_store_is_away(clock: _Clock) -> None:
    autoscaler, openings = _Autoscaler(), _Openings(clock.now_s * 1_000)
    prescaling = Prescaling(openings, _CORES, autoscaler.request)
    await prescaling.look()
    openings.away = True
    clock.now_s += PRESCALE_AFTER_SECONDS + 1
    await prescaling.look()
    assert autoscaler.requests == [_CORES]
    openings.away = False
    await prescaling.look()
    assert autoscaler.requests == [_CORES, 0]


async def test_an_autoscaler_that_was_away_is_asked_again(clock: _Clock) -> None:
    autoscaler = _Autoscaler()
    prescaling = Prescaling(_Openings(clock.now_s * 1_000), _CORES, autoscaler.request)
    autoscaler.away = True
    await prescaling.look()
    autoscaler.away = False
    await prescaling.look()
    assert autoscaler.requests == [_CORES]


async def test_it_goes_on_looking(clock: _Clock) -> None:
    autoscaler, openings = _Autoscaler(), _Openings(0)
    watching = asyncio.create_task(Prescaling(openings, _CORES, autoscaler.request).watch())
    await asyncio.sleep(1)
    openings.at_ms = clock.now_s * 1_000
    await asyncio.sleep(PRESCALE_LOOK_SECONDS + 1)
    watching.cancel()
    assert autoscaler.requests == [0, _CORES]


async def test_without_a_number_nothing_is_ever_asked(clock: _Clock) -> None:
    autoscaler = _Autoscaler()
    await Prescaling(_Openings(clock.now_s * 1_000), 0, autoscaler.request).watch()
    assert autoscaler.requests == []
