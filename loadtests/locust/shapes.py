"""Shapes: courses as classes that Locust runs by their names."""

import math

from locust import LoadTestShape
from locust.runners import MasterRunner

from loadtests.locust.running import LEAD_SECONDS, Run

#: Locust asks once a second.
_TICK_SECONDS = 1.0
#: How long visits may take to end after the course, seconds.
DRAIN_SECONDS = 30.0
#: Workers report what they have counted every three seconds.
REPORT_SECONDS = 3.5


class CourseShape(LoadTestShape):
    """The course of its name. Nothing begins before everything is ready; all visits end.

    `--users` is the peak, `--run-time` the length, if they are given.
    """

    abstract = True
    use_common_options = True

    def __init__(self) -> None:
        super().__init__()
        self._drains_from = self._left_at = math.inf

    def tick(self) -> tuple[int, float] | None:
        """Return users and how many of them start a second; None ends the run."""
        assert self.runner is not None
        run: Run = self.runner.environment.onsale
        name = type(self).__name__
        if not run.prepared:
            if not run.prepare(name):
                return None
            self._drains_from = self._left_at = math.inf
            self.reset_time()
        course, now = run.options.users_over_time(name), self.get_run_time()
        # What a tick asks for is done at once: the next tick asks for more.
        rate = max(1.0, course.peak)
        if run.options.open_loop:
            if now < LEAD_SECONDS + course.seconds:
                return round(course.peak), rate
        elif now < course.seconds:
            ahead = min(now + _TICK_SECONDS, course.seconds - 0.001)
            return round(course.at(ahead)), rate
        return self._drain(now, rate)

    def _drain(self, now: float, rate: float) -> tuple[int, float] | None:
        """Have everybody leave, and wait until they have and every count has arrived."""
        assert self.runner is not None
        self._drains_from = min(self._drains_from, now)
        if self.get_current_user_count() == 0:
            self._left_at = min(self._left_at, now)
        reports = REPORT_SECONDS if isinstance(self.runner, MasterRunner) else 0.0
        if now >= self._left_at + reports:
            return None
        if now >= self._drains_from + 2 * DRAIN_SECONDS:
            run: Run = self.runner.environment.onsale
            run.note_trouble(f"{self.get_current_user_count()} users did not leave")
            return None
        return 0, rate


class Seed(CourseShape):
    """0, 1000, 1000, 0 users in 30 seconds."""


class Ramp(CourseShape):
    """A minute up, a minute there."""


class Spike(CourseShape):
    """Ten times as many from one second to the next, and back."""


class Step(CourseShape):
    """Up in five steps."""


class Soak(CourseShape):
    """Half an hour."""


class DoubleWave(CourseShape):
    """Up, down, up, down."""


SHAPES = (Seed, Ramp, Spike, Step, Soak, DoubleWave)
