"""Measurements of a Ray process on Ray's own metrics page."""

from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

from actors.measures import Kind, Labels, Measure


class RayMeter:
    """Keeps `Meter`. A measurement costs about a microsecond; what is never measured, nothing."""

    def __init__(self) -> None:
        self._metrics: dict[str, Any] = {}

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
