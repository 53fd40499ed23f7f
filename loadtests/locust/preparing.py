"""Everything that is made ready before the clock starts, over HTTP."""

import http.client
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from loadtests.locust.audits import Audited, read_audit
from loadtests.locust.desk import Share

BASE = "/api/v1"
#: How long the service may take to answer at all, seconds: an event's owner starts meanwhile.
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.25
_ANSWER_SECONDS = 30.0
#: Tickets of one booking for the doors.
_TICKETS_PER_BOOKING = 10
#: Of the events that a run makes. Runs beyond it are not judged by what was granted.
HOLD_TTL_SECONDS = 3_600
#: Units that one buyer can have of the events that a run makes: some meet the limit.
_UNITS_PER_CUSTOMER = 10


class NotReady(Exception):
    """A run cannot begin, or its end cannot be judged. Argument: why."""


@dataclass(frozen=True)
class Wanted:
    """What a run needs.

    Attributes:
        event_id: to buy tickets of; empty makes one of `capacity` at `price` minor units.
        tickets: to be shown at doors, of an event of their own; 0 needs no such event.
        payments: that webhooks are about.
    """

    event_id: str
    capacity: int
    price: int
    tickets: int
    payments: int


class Service:
    """The service, asked one thing after the other. What it cannot do now is tried again.

    Args:
        url: base URL, of the service or of the Stripe sandbox.
        token: who asks.
    """

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        self._url = url
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._line = kind(parts.netloc, timeout=_ANSWER_SECONDS)
        self._token = token

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
        """Return the answer's document.

        Raises:
            NotReady: it was refused, or nobody answered for a minute.
        """
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            status, answer = self._exchange(method, path, body, token or self._token)
            if 200 <= status < 300:
                return json.loads(answer)
            if status not in (0, 429, 503) or time.monotonic() > give_up:
                told = answer.decode(errors="replace")
                raise NotReady(f"{method} {self._url}{path} was answered {status} {told}")
            time.sleep(_PAUSE_SECONDS)

    def _exchange(self, method: str, path: str, body: Any, token: str) -> tuple[int, bytes]:
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        try:
            self._line.request(method, path, data, headers)
            response = self._line.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._line.close()
            return 0, f"{type(error).__name__}: {error}".encode()

    def close(self) -> None:
        """Let go of the connection."""
        self._line.close()


def prepare(service: Service, sandbox: Service, wanted: Wanted, buyers: list[str]) -> Share:
    """Make everything ready; return it as one share.

    Args:
        service: asked with the token of an organizer.
        sandbox: the Stripe sandbox, asked only if payments are wanted.
        wanted: what the run needs.
        buyers: tokens; some of them get the tickets and the payments.

    Raises:
        NotReady: something could not be had.
    """
    event_id = wanted.event_id
    if not event_id:
        event_id = _event(service, "Load test", wanted.capacity, wanted.price)
        for buyer in buyers[:1]:  # the first hold starts the event's owner
            booking_id = _hold(service, event_id, buyer, 1)
            service.ask("DELETE", f"{BASE}/bookings/{booking_id}", token=buyer)
    door_event_id, codes = "", list[str]()
    if wanted.tickets:
        bookings = -(-wanted.tickets // _TICKETS_PER_BOOKING)
        door_event_id = _event(service, "Doors", bookings * _TICKETS_PER_BOOKING, 0)
        for buyer in _first(buyers, bookings):
            codes += _tickets(service, door_event_id, buyer)
    payments = list[dict[str, Any]]()
    if wanted.payments:
        paid_event = _event(service, "Paid for", wanted.payments, wanted.price)
        payers = _first(buyers, wanted.payments)
        payments = [_payment(service, sandbox, paid_event, buyer) for buyer in payers]
    return Share(event_id, door_event_id, buyers, codes[: wanted.tickets], payments)


def audit(service: Service, event_id: str) -> Audited:
    """Have an event audited. Raises NotReady."""
    document = service.ask("GET", f"{BASE}/events/{event_id}/audit")
    try:
        return read_audit(document)
    except (KeyError, TypeError) as error:
        raise NotReady(f"the audit of {event_id} cannot be read: {error!r}") from error


def _event(service: Service, name: str, capacity: int, price: int) -> str:
    body = {
        "name": name,
        "starts_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "currency": "EUR",
        "hold_ttl_seconds": HOLD_TTL_SECONDS,
        "max_per_customer": _UNITS_PER_CUSTOMER,
        "ticket_types": [{"code": "ga", "name": "Standing", "price": price, "capacity": capacity}],
    }
    return str(service.ask("POST", f"{BASE}/events", body)["id"])


def _hold(service: Service, event_id: str, buyer: str, quantity: int) -> str:
    body = {"items": [{"ticket_type": "ga", "quantity": quantity}]}
    return str(service.ask("POST", f"{BASE}/events/{event_id}/holds", body, buyer)["id"])


def _tickets(service: Service, event_id: str, buyer: str) -> list[str]:
    """Return the codes of a booking's tickets, which are free of charge."""
    booking_id = _hold(service, event_id, buyer, _TICKETS_PER_BOOKING)
    service.ask("POST", f"{BASE}/bookings/{booking_id}/payment-intent", token=buyer)
    found = service.ask("GET", f"{BASE}/bookings/{booking_id}/tickets", token=buyer)
    return [ticket["qr"] for ticket in found["data"]]


def _payment(service: Service, sandbox: Service, event_id: str, buyer: str) -> dict[str, Any]:
    """Return an intent that was paid, as Stripe shows it."""
    booking_id = _hold(service, event_id, buyer, 1)
    opened = service.ask("POST", f"{BASE}/bookings/{booking_id}/payment-intent", token=buyer)
    path = f"/_sandbox/payment_intents/{opened['payment_intent_id']}/pay"
    paid: dict[str, Any] = sandbox.ask("POST", path, {"payment_method": "pm_card_visa"})
    return paid


def _first(buyers: list[str], count: int) -> list[str]:
    if len(buyers) < count:
        raise NotReady(f"{count} buyers are needed beforehand, and there are {len(buyers)}")
    return buyers[:count]
