"""A pace is kept over any stretch of time, and a burst is at most a second's worth."""

import pytest

from gateway.gate import Pace


def passed(per_second: float, times: list[float]) -> int:
    """Return how many of those that come at these times get through."""
    pace, count = Pace(), 0
    for now in times:
        if pace.wait(per_second, now) == 0:
            pace.take(per_second, now)
            count += 1
    return count


@pytest.mark.parametrize("per_second", [0.1, 0.5, 1.0, 3.0, 50.0])
def test_a_flood_is_let_through_at_this_pace(per_second: float) -> None:
    seconds = 100
    flood = [1_000.0 + tick / 200 for tick in range(200 * seconds)]
    wanted = seconds * per_second
    assert wanted * 0.98 <= passed(per_second, flood) <= wanted * 1.01 + max(1, per_second) + 1


def test_a_burst_is_at_most_a_seconds_worth() -> None:
    assert passed(10.0, [1_000.0] * 100) == 10
    assert passed(0.1, [1_000.0] * 100) == 1


def test_whoever_waits_as_long_as_it_says_gets_through() -> None:
    pace = Pace()
    for _ in range(5):
        assert pace.wait(5.0, 7.0) == 0
        pace.take(5.0, 7.0)
    wait = pace.wait(5.0, 7.0)
    assert wait == pytest.approx(0.2)
    assert pace.wait(5.0, 7.0 + wait + 1e-9) == 0
