"""What `GET /metrics` shows. Numbers only: no ids of buyers, no secrets.

What is more than one process' own is in `gateway.lookout`; `docs/OPERATING.md` has a table of
everything.

With several gateway processes, each writes to files in PROMETHEUS_MULTIPROC_DIR and
any of them answers for all.
"""

import asyncio
import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.registry import Collector

from gateway.batcher import Load

if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    # By default the process number is asked for at every count: a system call for each,
    # several times a request. A gateway never forks.
    _PROCESS = os.getpid()
    values.ValueClass = values.MultiProcessValue(lambda: _PROCESS)  # type: ignore[no-untyped-call]

#: Seconds; the promise of the door is 5, of a hold far below one.
_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.06, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
#: Seconds, up to the three days for which Stripe tries: a lag of hours has to show as one.
_DELAY_BUCKETS = (
    *(0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1_800.0),
    *(3_600.0, 7_200.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0),
)

CONTENT_TYPE = CONTENT_TYPE_LATEST

HOLDS = Counter("onsale_holds_total", "Hold requests by outcome", ["outcome"])
HOLD_SECONDS = Histogram("onsale_hold_seconds", "Time to answer a hold", buckets=_BUCKETS)
REQUESTS = Counter("onsale_requests_total", "Requests but holds", ["method", "status"])
REQUEST_SECONDS = Histogram(
    "onsale_request_seconds", "Time to answer requests but holds", buckets=_BUCKETS
)
WEBHOOKS = Counter("onsale_webhooks_total", "Stripe's webhooks by outcome", ["outcome"])
WEBHOOK_DELAY = Histogram(
    "onsale_webhook_delay_seconds",
    "From Stripe's event to its arrival here",
    buckets=_DELAY_BUCKETS,
)
SCANS = Counter("onsale_scans_total", "Scans at the doors by result or reason", ["result"])
WAITING = Gauge(
    "onsale_gateway_commands_waiting",
    "Commands that wait for an owner",
    multiprocess_mode="livesum",
)
ERRORS = Counter("onsale_internal_errors_total", "Requests that met an error of ours")
STREAMS = Gauge(
    "onsale_gateway_streams", "Availability streams that are open", multiprocess_mode="livesum"
)


def exposition(beside: Collector) -> bytes:
    """Return all metrics of all gateway processes, and others, in Prometheus' text format."""
    others = CollectorRegistry()
    others.register(beside)
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(others)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(others)


async def note_waiting(load: Load) -> None:
    """Say every second how many commands wait, until cancelled.

    Whichever gateway is asked then answers for all of them.
    """
    while True:
        WAITING.set(load.commands)
        await asyncio.sleep(1.0)
