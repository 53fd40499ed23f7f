"""Measurements of a Ray process on Ray's own metrics page."""

import asyncio
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from actors.measures import Kind, Labels, Measure

#: Ray's page leaves out a gauge that nobody has set for 20 s, as if it were of somebody who is
#: gone. What stands is set again this often, seconds.
_STANDING_SECONDS = 5.0


class RayMeter:
    """Keeps `Meter`. A measurement costs about a microsecond; what is never measured, nothing.

    Gauges are set from within a running loop, which sees to it that they stay.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, Any] = {}
        self._standing: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self._again: asyncio.TimerHandle | None = None

    def add(self, measure: Measure, amount: float = 1, labels: Labels | None = None) -> None:
        """See `Meter.add`."""
        if amount:
            self._metric(measure).inc(amount, labels)

    def observe(self, measure: Measure, value: float, labels: Labels | None = None) -> None:
        """See `Meter.observe`."""
        self._metric(measure).observe(value, labels)

    def set(self, measure: Measure, value: float, labels: Labels | None = None) -> None:
        """See `Meter.set`."""
        self._metric(measure).set(value, labels)
        self._standing[measure.name, frozenset((labels or {}).items())] = value
        if self._again is None:
            self._stand()

    def _stand(self) -> None:
        for (name, labels), value in self._standing.items():
            self._metrics[name].set(value, dict(labels))
        loop = asyncio.get_running_loop()
        self._again = loop.call_later(_STANDING_SECONDS, self._stand)

    def _metric(self, measure: Measure) -> Any:
        metric = self._metrics.get(measure.name)
        if metric is None:
            metric = self._metrics[measure.name] = _make(measure)
        return metric


def _make(measure: Measure) -> Counter | Gauge | Histogram:
    if measure.kind is Kind.HISTOGRAM:
        return Histogram(measure.name, measure.text, list(measure.bounds), measure.labels)
    make = Counter if measure.kind is Kind.COUNTER else Gauge
    return make(measure.name, measure.text, measure.labels)
