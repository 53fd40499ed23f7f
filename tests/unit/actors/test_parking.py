"""Ray's thread sleeps while batches come past it: with real signals, and by the clock."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from actors import parking as module
from actors.parking import Parking
from engine.limits import (
    PARKED_SECONDS,
    PARKING_LASTS_SECONDS,
    PARKING_PAUSE_SECONDS,
    PARKING_QUIET_SECONDS,
)

#: As long as nothing that is expected takes.
_PATIENCE_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _handler_restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def in_another_thread(parking: Parking) -> None:
    thread = threading.Thread(target=parking.batch_past_ray)
    thread.start()
    thread.join()


class Clock:
    """Stands in for `time`; notes who slept how long. `meanwhile` is called in each sleep."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []
        self.timers: list[float] = []
        self.meanwhile = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.meanwhile()
        self.now += seconds

    def set_timer(self, _which: int, seconds: float) -> None:
        self.timers.append(seconds)

    def pause_ends(self) -> None:
        """What the timer does that was set last."""
        assert self.timers.pop() == PARKING_PAUSE_SECONDS
        self.now += PARKING_PAUSE_SECONDS
        signal.raise_signal(signal.SIGALRM)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(signal, "setitimer", clock.set_timer)
    return clock


def test_a_batch_past_ray_puts_the_main_thread_to_sleep_again_and_again_and_no_other():
    parking = Parking()
    slept: list[tuple[int, float]] = []
    park = parking._park

    def watched(number: int, frame: object) -> None:
        began = time.monotonic()
        park(number, None)
        slept.append((threading.get_ident(), time.monotonic() - began))

    signal.signal(signal.SIGALRM, watched)
    give_up = time.monotonic() + _PATIENCE_SECONDS

    in_another_thread(parking)
    while len(slept) < 2 and time.monotonic() < give_up:
        time.sleep(0.001)
    parking.end()

    assert {thread for thread, _ in slept} == {threading.main_thread().ident}
    assert min(seconds for _, seconds in slept) >= PARKED_SECONDS
    assert len(slept) == 2


def test_batches_that_come_while_it_sleeps_do_not_prolong_its_sleep(clock: Clock):
    parking = Parking()
    clock.meanwhile = parking.batch_past_ray

    in_another_thread(parking)

    assert clock.slept == [PARKED_SECONDS]


def test_it_has_a_pause_before_it_sleeps_again(clock: Clock):
    parking = Parking()
    in_another_thread(parking)

    in_another_thread(parking)
    assert clock.slept == [PARKED_SECONDS]

    clock.pause_ends()
    assert clock.slept == [PARKED_SECONDS] * 2


def test_it_sleeps_on_without_a_batch_only_for_a_while(clock: Clock):
    parking = Parking()
    in_another_thread(parking)

    while clock.timers:
        clock.pause_ends()
    assert len(clock.slept) > 1
    assert 0 <= clock.now - 1_000.0 - PARKING_LASTS_SECONDS <= PARKED_SECONDS

    in_another_thread(parking)
    assert clock.timers == [PARKING_PAUSE_SECONDS]


def test_it_does_not_sleep_while_batches_come_by_ray(clock: Clock):
    parking = Parking()
    parking.batch_by_ray()

    clock.now += PARKING_QUIET_SECONDS * 0.9
    in_another_thread(parking)
    assert clock.slept == []

    clock.now += PARKING_QUIET_SECONDS * 0.2
    in_another_thread(parking)
    assert clock.slept == [PARKED_SECONDS]


def test_a_batch_by_ray_is_the_last_that_waits(clock: Clock):
    parking = Parking()
    in_another_thread(parking)

    parking.batch_by_ray()
    clock.pause_ends()
    in_another_thread(parking)

    assert clock.slept == [PARKED_SECONDS]
    assert clock.timers == []


def test_whoever_is_about_to_end_is_parked_no_more(clock: Clock):
    parking = Parking()
    clock.meanwhile = parking.end

    in_another_thread(parking)
    in_another_thread(parking)

    assert clock.slept == [PARKED_SECONDS]
    assert clock.timers == [0]


def test_no_timer_outlives_the_end():
    parking = Parking()
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE_SECONDS)

    parking.end()

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_signal_of_somebody_else_does_nothing(clock: Clock):
    Parking()
    signal.raise_signal(signal.SIGALRM)
    assert clock.slept == []
    assert clock.timers == []


def test_only_the_main_thread_can_be_parked():
    raised: list[BaseException] = []

    def make() -> None:
        try:
            Parking()
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()

    assert len(raised) == 1
