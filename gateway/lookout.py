"""What the metrics page says of more than this process: the store, its readers, busy events.

Asked now and then and shown from memory, so that a scrape is quick and costs the store
little, and goes on when the store is away.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from engine.journal.contract import Unavailable
from engine.journal.controls import Controlled
from engine.journal.pulses import Pulse, Pulses
from engine.journal.streams import Group, Lag, Streams
from engine.limits import LAG_EVERY_SECONDS, PULSES_EVERY_SECONDS, SCRAPE_WAIT_SECONDS
from gateway.gate import Gatekeeper

log = structlog.get_logger(__name__)

_OF_GROUP = ("group", "stream")


class Lookout:
    """Looks at the store for the metrics page; keeps prometheus_client's `Collector`.

    Args:
        streams: whose readers may be behind.
        pulses: of the busiest events.
        gatekeeper: knows what operators have set.
    """

    def __init__(self, streams: Streams, pulses: Pulses, gatekeeper: Gatekeeper) -> None:
        self._streams = streams
        self._pulses = pulses
        self._gatekeeper = gatekeeper
        self._lags: dict[Group, list[Lag]] = {}
        self._lags_due = 0.0
        self._busiest: list[Pulse] = []
        self._busiest_due = 0.0
        self._up = False
        self._looking: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Have what is shown be fresh, if the store says so within SCRAPE_WAIT_SECONDS."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        done, _ = await asyncio.wait([self._looking], timeout=SCRAPE_WAIT_SECONDS)
        if done:
            self._looking.result()
        else:
            self._forget()

    async def _look(self) -> None:
        now = time.monotonic()
        try:
            if now >= self._busiest_due:
                self._busiest = await self._pulses.busiest()
                self._busiest_due = now + PULSES_EVERY_SECONDS
            if now >= self._lags_due:
                groups = await self._streams.groups()
                self._lags = {group: await self._streams.lag(group) for group in groups}
                self._lags_due = now + LAG_EVERY_SECONDS
            self._up = True
        except Unavailable as error:
            log.warning("store_unreachable", error=str(error))
            self._forget()

    def _forget(self) -> None:
        """Show nothing of which nobody knows whether it is still so."""
        self._up = False
        self._lags, self._busiest = {}, []
        self._lags_due = self._busiest_due = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield what is shown."""
        yield GaugeMetricFamily("onsale_store_up", "1 if the store answers", float(self._up))
        yield from _controls(self._gatekeeper.controlled)
        yield from _lags(self._lags)
        yield from _events(self._busiest)


def _controls(controlled: Controlled) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "onsale_sales_stopped", "1 while an operator has stopped all sales", controlled.stopped
    )
    pace = GaugeMetricFamily(
        "onsale_throttle_holds_per_second",
        "Holds of all events let through, where an operator has set a pace",
        labels=(),
    )
    if controlled.holds_per_second is not None:
        pace.add_metric((), controlled.holds_per_second)
    yield pace
    yield GaugeMetricFamily(
        "onsale_throttled_events",
        "Events for which an operator has set a pace",
        len(controlled.events),
    )


def _lags(lags: dict[Group, list[Lag]]) -> Iterator[Metric]:
    behind = GaugeMetricFamily(
        "onsale_consumer_lag_messages", "Messages that no reader was handed yet", labels=_OF_GROUP
    )
    oldest = GaugeMetricFamily(
        "onsale_consumer_lag_seconds", "Age of the oldest of those", labels=_OF_GROUP
    )
    pending = GaugeMetricFamily(
        "onsale_consumer_pending_messages",
        "Messages handed to a reader and not finished",
        labels=_OF_GROUP,
    )
    oldest_pending = GaugeMetricFamily(
        "onsale_consumer_pending_seconds", "Age of the oldest of those", labels=_OF_GROUP
    )
    for group, parts in lags.items():
        labels = (group.name, group.kind.value)
        behind.add_metric(labels, sum(part.undelivered for part in parts))
        pending.add_metric(labels, sum(part.pending for part in parts))
        oldest.add_metric(labels, _oldest(part.oldest_undelivered_ms for part in parts))
        oldest_pending.add_metric(labels, _oldest(part.oldest_pending_ms for part in parts))
    yield from (behind, oldest, pending, oldest_pending)


def _oldest(ages_ms: Iterable[int | None]) -> float:
    return max((age_ms or 0 for age_ms in ages_ms), default=0) / 1_000


def _events(busiest: list[Pulse]) -> Iterator[Metric]:
    """Yield the series of single events; there are HOT_EVENTS_MAX of them at most."""
    holds = CounterMetricFamily(
        "onsale_event_holds",
        "Holds that the owner of a busy event has decided, by granted or not_granted",
        labels=("event", "outcome"),
    )
    expired = CounterMetricFamily(
        "onsale_event_holds_expired", "Holds of a busy event whose time was up", labels=("event",)
    )
    units = GaugeMetricFamily(
        "onsale_event_units",
        "Stock of a busy event, by available, held or sold",
        labels=("event", "state"),
    )
    inbox = GaugeMetricFamily(
        "onsale_event_inbox_commands",
        "Commands that wait for the owner of a busy event",
        labels=("event",),
    )
    p99 = GaugeMetricFamily(
        "onsale_event_answer_p99_seconds",
        "Within which time the owner of a busy event has answered all but a hundredth of turns",
        labels=("event",),
    )
    for pulse in busiest:
        event = pulse.event_id
        holds.add_metric((event, "granted"), pulse.granted)
        holds.add_metric((event, "not_granted"), pulse.refused)
        expired.add_metric((event,), pulse.expired)
        for state in ("available", "held", "sold"):
            units.add_metric((event, state), getattr(pulse, state))
        inbox.add_metric((event,), pulse.inbox)
        p99.add_metric((event,), pulse.p99_us / 1e6)
    yield from (holds, expired, units, inbox, p99)
