"""Ray's thread sleeps while batches come past it: with real signals, and by the clock."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from actors import parking as module
from actors.parking import Parking
from engine.limits import PARKED_SECONDS, PARKING_PAUSE_SECONDS, PARKING_QUIET_SECONDS


@pytest.fixture(autouse=True)
def _handler_restored() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


def in_another_thread(parking: Parking) -> None:
    thread = threading.Thread(target=parking.batch_past_ray)
    thread.start()
    thread.join()


class Clock:
    """Stands in for `time`; notes who slept how long. `meanwhile` is called in each sleep."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []
        self.meanwhile = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.meanwhile()
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_batch_past_ray_puts_the_main_thread_to_sleep_and_no_other():
    parking = Parking()
    slept: list[int] = []
    park = parking._park

    def watched(number: int, frame: object) -> None:
        slept.append(threading.get_ident())
        park(number, None)

    signal.signal(signal.SIGUSR2, watched)
    began = time.monotonic()

    in_another_thread(parking)
    while not slept:
        time.sleep(0.001)

    assert slept == [threading.main_thread().ident]
    assert time.monotonic() - began >= PARKED_SECONDS


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


def test_batches_that_come_while_it_sleeps_do_not_prolong_its_sleep(clock: Clock):
    parking = Parking()
    clock.meanwhile = parking.batch_past_ray

    in_another_thread(parking)

    assert clock.slept == [PARKED_SECONDS]


def test_it_has_a_pause_before_it_sleeps_again(clock: Clock):
    parking = Parking()
    in_another_thread(parking)

    clock.now += PARKING_PAUSE_SECONDS * 0.9
    in_another_thread(parking)
    assert len(clock.slept) == 1

    clock.now += PARKING_PAUSE_SECONDS * 0.2
    in_another_thread(parking)
    assert len(clock.slept) == 2


def test_it_does_not_sleep_while_batches_come_by_ray(clock: Clock):
    parking = Parking()
    parking.batch_by_ray()

    clock.now += PARKING_QUIET_SECONDS * 0.9
    in_another_thread(parking)
    assert clock.slept == []

    clock.now += PARKING_QUIET_SECONDS * 0.2
    in_another_thread(parking)
    assert clock.slept == [PARKED_SECONDS]


def test_a_signal_of_somebody_else_does_nothing(clock: Clock):
    Parking()
    signal.raise_signal(signal.SIGUSR2)
    assert clock.slept == []
