"""Courses: how the number of users, or of arrivals a second, goes up and down."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Leg:
    """A straight part of a course: from one share of the peak to another, in so many seconds."""

    seconds: float
    begin: float
    end: float

    @property
    def area(self) -> float:
        """Share of the peak times seconds."""
        return self.seconds * (self.begin + self.end) / 2

    def at(self, seconds: float) -> float:
        """Return the share of the peak after so many seconds of this leg."""
        return self.begin + (self.end - self.begin) * seconds / self.seconds

    def when(self, area: float) -> float:
        """Return after how many seconds of this leg its area is as large as this."""
        slope = (self.end - self.begin) / self.seconds
        root = math.sqrt(max(0.0, self.begin**2 + 2 * slope * area))
        return min(self.seconds, 2 * area / (self.begin + root))


@dataclass(frozen=True)
class Course:
    """A course. Where one leg ends elsewhere than the next begins, it jumps.

    Args:
        legs: one after the other.
        peak: users, or arrivals a second, where the share is 1.
    """

    legs: tuple[Leg, ...]
    peak: float

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(leg.seconds for leg in self.legs)

    def at(self, seconds: float) -> float:
        """Return users, or arrivals a second, at this moment; 0 after the end."""
        for leg in self.legs:
            if seconds < leg.seconds:
                return self.peak * leg.at(seconds)
            seconds -= leg.seconds
        return 0.0

    def moments(self) -> Iterator[float]:
        """Yield the moments of all arrivals, seconds from the beginning, in order."""
        count, before, began = 0, 0.0, 0.0
        for leg in self.legs:
            here = self.peak * leg.area
            while count + 0.5 < before + here:
                yield began + leg.when((count + 0.5 - before) / self.peak)
                count += 1
            before += here
            began += leg.seconds

    def with_peak(self, peak: float | None) -> "Course":
        """Return the same course to another height; None leaves it."""
        return self if peak is None else replace(self, peak=peak)

    def with_seconds(self, seconds: float | None) -> "Course":
        """Return the same course in another time; None leaves it."""
        if seconds is None:
            return self
        ratio = seconds / self.seconds
        return replace(
            self, legs=tuple(replace(leg, seconds=leg.seconds * ratio) for leg in self.legs)
        )


_STEPS = 5

#: Courses by the name of their shape. Peaks are users; arrivals a second have their own.
COURSES = {
    # What the first specification of this service asked for: 0, 1000, 1000, 0 in 30 seconds.
    "Seed": Course((Leg(10, 0, 1), Leg(10, 1, 1), Leg(10, 1, 0)), 1_000),
    "Ramp": Course((Leg(60, 0, 1), Leg(60, 1, 1)), 1_000),
    # The doors open: ten times as many from one second to the next.
    "Spike": Course((Leg(15, 0.1, 0.1), Leg(15, 1, 1), Leg(15, 0.1, 0.1)), 1_000),
    "Step": Course(tuple(Leg(20, n / _STEPS, n / _STEPS) for n in range(1, _STEPS + 1)), 1_000),
    "Soak": Course((Leg(60, 0, 1), Leg(1_680, 1, 1), Leg(60, 1, 0)), 200),
    # A second crowd comes when the first one's holds come back.
    "DoubleWave": Course((Leg(15, 0, 1), Leg(15, 1, 0.1), Leg(15, 0.1, 1), Leg(15, 1, 0)), 1_000),
}
