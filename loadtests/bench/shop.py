"""Payments that were made in the sandbox and that the service has yet to hear of."""

import json
import urllib.request
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from loadtests.bench import servers
from loadtests.bench.processes import BenchFailed
from loadtests.bench.servers import API_KEY, Onsale
from loadtests.crowd import Result, Webhooks
from loadtests.payers import Buying, Delivering, Paid, Purchase, run_buying, run_delivering

#: More than any round can take.
_CAPACITY = 1_000_000
#: An event of which so many are held is left for a new one: no measurement holds as many more.
_HELD_MAX = _CAPACITY // 2
_WEBHOOK_PATH = "/api/v1/stripe/events"
#: Payments that the flood of webhooks is about.
_FLOOD_PAYMENTS = 100
#: Buyers who make payments ready at the same time.
_AT_ONCE = 16
_PAGE = 100


class Shop:
    """Events, and buyers who have paid, at a service whose sandbox is ours.

    Args:
        service: the service.
    """

    def __init__(self, service: Onsale) -> None:
        self._service = service
        self._flooded = ""

    def new_event(self) -> str:
        """Put an event on sale and return its id; its owner has been started."""
        event_id = servers.create_event(self._service, "On sale", _CAPACITY)
        servers.hold(self._service, event_id, 1)
        return event_id

    def buying(self, event_id: str, payers: int, seconds: float) -> Buying:
        """Return buyers who hold, pay and wait for their tickets, as fast as that goes."""
        service = self._service
        purchases = [Purchase(token) for token in service.buyers]
        return Buying(
            service.url, service.sandbox_url, purchases, event_id, at_once=payers, seconds=seconds
        )

    def withhold(self) -> None:
        """Have the sandbox send no more webhooks: from now on the benchmark carries them."""
        for endpoint in self._ask("GET", "webhook_endpoints")["data"]:
            self._ask("DELETE", f"webhook_endpoints/{endpoint['id']}")

    def paid(self, event_id: str, count: int) -> list[Paid]:
        """Return holds that were just paid for, each with the sandbox's event that says so.

        The service asks Stripe by itself about payments that say nothing for 20 seconds.

        Raises:
            BenchFailed: something went wrong on the way.
        """
        service = self._service
        tokens = service.buyers * (count // len(service.buyers) + 1)
        purchases = [Purchase(token) for token in tokens[:count]]
        spec = Buying(
            service.url,
            service.sandbox_url,
            purchases,
            event_id,
            at_once=min(count, _AT_ONCE),
            watched=False,
        )
        bought = run_buying(spec).bought
        events = self._succeeded(one.booking_id for one in bought)
        return [Paid(events[one.booking_id], one.booking_id, one.token) for one in bought]

    def webhooks(self) -> Webhooks:
        """Return a flood of webhooks about some payments; each is another event."""
        self._flooded = self.new_event()
        events = [paid.event for paid in self.paid(self._flooded, _FLOOD_PAYMENTS)]
        return Webhooks(_WEBHOOK_PATH, self._service.webhook_secret, events)

    def settle(self) -> None:
        """Return when everything that the flood said has been handled.

        One event's webhooks are handled in order: a payment that comes after them is the last.
        """
        run_delivering(self.delivering(self.paid(self._flooded, 1), 1.0))

    def delivering(
        self, paid: list[Paid], per_second: float, *, watched: bool = True
    ) -> Delivering:
        """Return how the service is told of payments."""
        service = self._service
        return Delivering(service.url, service.webhook_secret, paid, per_second, watched=watched)

    def _succeeded(self, booking_ids: Iterable[str]) -> dict[str, str]:
        """Return the events that say that these bookings are paid for."""
        missing, found = set(booking_ids), dict[str, str]()
        query: dict[str, Any] = {"type": "payment_intent.succeeded", "limit": _PAGE}
        while missing:
            page = self._ask("GET", f"events?{urlencode(query)}")
            for event in page["data"]:
                booking_id = event["data"]["object"]["metadata"]["booking"]
                if booking_id in missing:
                    missing.discard(booking_id)
                    found[booking_id] = json.dumps(event, separators=(",", ":"))
            if missing and not page["has_more"]:
                raise BenchFailed(f"{len(missing)} payments were not made")
            query["starting_after"] = page["data"][-1]["id"] if page["data"] else ""
        return found

    def _ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own sandbox
            f"{self._service.sandbox_url}/v1/{path}",
            headers={"authorization": f"Bearer {API_KEY}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)


class Stock:
    """The event of several measurements, and another one before it could sell out.

    Each event has an owner, which takes something from the machine as long as it is awake.
    """

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._event_id = ""
        self._held = 0

    def event_id(self) -> str:
        """Return the event of the next measurement."""
        if not self._event_id or self._held > _HELD_MAX:
            self._event_id, self._held = self._shop.new_event(), 0
        return self._event_id

    def sold(self, result: Result) -> None:
        """Note what a measurement has held."""
        self._held += result.granted
