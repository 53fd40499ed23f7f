"""A meter whose measurements a test reads."""

from collections import Counter, defaultdict

from actors.measures import Kind, Labels, Measure

Key = tuple[str, ...]


class RecordingMeter:
    """Keeps `Meter`, and its rules: labels are those of the measure, and so is its kind."""

    def __init__(self) -> None:
        self.counts: Counter[Key] = Counter()
        self.observed: defaultdict[Key, list[float]] = defaultdict(list)
        self.shown: dict[Key, float] = {}

    def add(self, measure: Measure, amount: float = 1, labels: Labels | None = None) -> None:
        self.counts[self._key(measure, Kind.COUNTER, labels)] += amount
        assert amount >= 0

    def observe(self, measure: Measure, value: float, labels: Labels | None = None) -> None:
        assert value >= 0
        self.observed[self._key(measure, Kind.HISTOGRAM, labels)].append(value)

    def set(self, measure: Measure, value: float, labels: Labels | None = None) -> None:
        self.shown[self._key(measure, Kind.GAUGE, labels)] = value

    def count(self, measure: Measure, *labels: str) -> float:
        return self.counts[(measure.name, *labels)]

    def values(self, measure: Measure, *labels: str) -> list[float]:
        return self.observed[(measure.name, *labels)]

    @staticmethod
    def _key(measure: Measure, kind: Kind, labels: Labels | None) -> Key:
        given = labels or {}
        assert measure.kind is kind, measure.name
        assert set(given) == set(measure.labels), measure.name
        assert all(isinstance(value, str) for value in given.values()), measure.name
        return (measure.name, *(given[name] for name in measure.labels))
