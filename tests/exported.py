"""Every metric that is exported, as the code says: the documents and rules are held to it."""

from types import SimpleNamespace

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

from actors.measures import MEASURES
from engine.journal.controls import Controlled
from engine.journal.pulses import Pulse
from engine.journal.streams import Group, Lag, StreamKind
from gateway import metrics
from gateway.lookout import Lookout

#: By name: kind, and labels in order.
Exported = dict[str, tuple[str, tuple[str, ...]]]


def of_gateways() -> Exported:
    """Return what `/metrics` shows."""
    own = {
        _named(value._name, value._type): (value._type, tuple(value._labelnames))
        for value in vars(metrics).values()
        if isinstance(value, MetricWrapperBase)
    }
    paced = Controlled(stopped=True, holds_per_second=1.0)
    lookout = Lookout(None, None, SimpleNamespace(controlled=paced))
    lookout._lags = {Group("g", StreamKind.EFFECTS): [Lag(0, 1, 1, 1, 1)]}
    lookout._busiest = [Pulse("evt_000000000000", 1, 1, 1, 1, 1, 1, 1, 1)]
    beside = {
        _named(family.name, family.type): (family.type, _labels(family))
        for family in lookout.collect()
    }
    assert not own.keys() & beside.keys()
    return own | beside


def of_ray() -> Exported:
    """Return what Ray's pages show of ours."""
    return {f"ray_{one.name}": (one.kind.value, one.labels) for one in MEASURES}


def everything() -> Exported:
    return of_gateways() | of_ray()


def _named(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def _labels(family: Metric) -> tuple[str, ...]:
    (labels,) = {tuple(sample.labels) for sample in family.samples}
    return labels
