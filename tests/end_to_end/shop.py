"""A service and the Stripe that it knows: a sandbox in the test's hands."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from engine.journal.connect import connect
from engine.journal.keys import partition_of
from engine.journal.redis_streams import RedisStreams
from tests.end_to_end.service import Service, command_line, until
from tests.stripe_sandbox import API_KEY, PUBLISHABLE_KEY, WEBHOOK_SECRET, Sandbox

WEBHOOKS = "/api/v1/stripe/events"
#: Faster than Stripe allows: what waits for its turn has unit tests, drills have no time.
_PACE = {"ONSALE_STRIPE_ACCOUNT_PER_SECOND": "1000", "ONSALE_STRIPE_ENDPOINT_PER_SECOND": "500"}


class Shop:
    """The service, and the sandbox that it takes for Stripe.

    The sandbox keeps its books and its port over every restart of the service, and sends
    its webhooks to wherever that is now. It tries again quickly.

    Args:
        directory: of both.
        dashboard: whether the service's Ray has one.
        environment: settings of the service.
    """

    def __init__(
        self,
        directory: Path,
        *,
        gateways: int = 1,
        dashboard: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._options = [
            *("--data-dir", str(directory / "stripe")),
            *("--webhook-secret", WEBHOOK_SECRET),
            *("--webhook-first-seconds", "0.2", "--webhook-longest-seconds", "1"),
        ]
        self._gateways = gateways
        self._dashboard = dashboard
        self._environment = environment or {}
        self._directory = directory
        self.sandbox = Sandbox(self._options)
        self.sandbox.start()
        self.service = self._new_service()

    def _new_service(self) -> Service:
        account = {
            "STRIPE_API_KEY": API_KEY,
            "STRIPE_API_BASE": self.sandbox.url,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
        }
        environment = {**account, **_PACE, **self._environment}
        return Service(
            self._directory / "service",
            gateways=self._gateways,
            dashboard=self._dashboard,
            environment=environment,
        )

    def start(self) -> None:
        """Start the service, and tell the sandbox where it is."""
        self.service.start()
        url = self.sandbox.url
        self.sandbox.stop()
        self.sandbox = Sandbox([*self._options, "--webhook-url", self.service.url + WEBHOOKS])
        self.sandbox.url = url
        self.sandbox.start()

    def close(self) -> None:
        """End the service."""
        self.service.close()

    def end(self) -> None:
        """End everything."""
        self.close()
        self.sandbox.stop(signal.SIGKILL)

    # -- the payment desk ----------------------------------------------------------

    def desk(self) -> int | None:
        """Return the process of the payment desk, None while there is none."""
        found = [pid for pid in self.service.processes() if _is_desk(pid)]
        return found[-1] if found else None

    async def kill_desk(self) -> int:
        """Kill -9 the payment desk; return which process that was."""
        await until(lambda: self.desk() is not None, 30.0, "there is a payment desk")
        pid = self.desk()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    async def next_desk(self, killed: int) -> int:
        """Return the process of the desk that comes after this one."""
        await until(lambda: self.desk() not in (None, killed), 30.0, "another payment desk")
        pid = self.desk()
        assert pid is not None
        return pid

    # -- past it -------------------------------------------------------------------

    async def behind(self, event_id: str) -> int:
        """Return how many messages of an event's partition some consumer has not finished."""
        async with connect(self.service.store_url) as client:
            streams = RedisStreams(client)
            partition = partition_of(event_id)
            lags = [lag for group in await streams.groups() for lag in await streams.lag(group)]
        return sum(lag.undelivered + lag.pending for lag in lags if lag.partition == partition)


def _is_desk(pid: int) -> bool:
    return command_line(pid).startswith("ray::Payment")
