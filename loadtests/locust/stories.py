"""The stories: what visitors do. Each is a class that Locust runs by its name."""

import json
import random
import time
from typing import Any, ClassVar
from uuid import uuid4

import gevent

from loadtests.locust.objectives import JOURNEY, SANDBOX
from loadtests.locust.outcomes import GRANTED, HOLD, Answer, Kind, judge_scan
from loadtests.locust.preparing import BASE
from loadtests.locust.visitors import Visitor
from loadtests.signature import sign

_EVENT = f"{BASE}/events"
_BOOKING = f"{BASE}/bookings"
#: Between two looks at a booking, seconds.
_LOOK_SECONDS = 0.1
_CONFIRMING = "from payment to CONFIRMED"
#: How long a booking may take to show that it is paid for, seconds.
_CONFIRMED_SECONDS = 30.0
_PAID = frozenset({"CONFIRMED", "TICKETS_DELIVERED"})
_CARD = json.dumps({"payment_method": "pm_card_visa"}).encode()
_GATES = 8
#: One scan of so many is of a ticket that was shown just before.
_SHOWN_AGAIN = 20


class Buyer(Visitor):
    """Somebody who can hold tickets."""

    abstract = True

    def hold(self, token: str) -> tuple[str, int] | None:
        """Ask for tickets; return booking and units if they were granted."""
        quantity = self.options.tickets_per_hold
        body = json.dumps({"items": [{"ticket_type": "ga", "quantity": quantity}]}).encode()
        answer, response = self.ask(
            "POST",
            f"{_EVENT}/{self.desk.share.event_id}/holds",
            HOLD,
            GRANTED,
            token=token,
            body=body,
            headers={"idempotency-key": uuid4().hex},
        )
        if answer.name != GRANTED:
            return None
        self.desk.count_units(quantity)
        return json.loads(response.content)["id"], quantity

    def release(self, token: str, booking_id: str, quantity: int) -> None:
        """Give tickets back."""
        answer, _ = self.ask(
            "DELETE", f"{_BOOKING}/{booking_id}", "release", "released", token=token
        )
        if answer.name == "released":
            self.desk.count_units(-quantity)


class OnSaleRush(Buyer):
    """Everybody wants tickets, now: one hold a visit."""

    def visit(self) -> None:
        """Ask for tickets."""
        with self.desk.buyer() as token:
            self.hold(token)


class BrowseAndWatch(Visitor):
    """People who look, and watch what is left: most answers say that nothing has changed."""

    needs_buyers = False

    def on_start(self) -> None:
        """Know nothing yet."""
        self._etag = ""
        super().on_start()

    def visit(self) -> None:
        """Look at the event if it is new, else at what is left of it."""
        event_id = self.desk.share.event_id
        if not self._etag:
            self.ask("GET", f"{_EVENT}?limit=20", "list of events", "shown")
            self.ask("GET", f"{_EVENT}/{event_id}", "event", "shown")
        known = {"if-none-match": self._etag} if self._etag else {}
        path = f"{_EVENT}/{event_id}/availability"
        answer, response = self.ask("GET", path, "availability", "shown", headers=known)
        if answer.kind is Kind.OUTCOME:
            self._etag = response.headers.get("etag", self._etag)


class Purchase(Buyer):
    """The whole way: hold, pay in the sandbox, wait until it is confirmed, see the tickets."""

    needs_sandbox = True

    def visit(self) -> None:
        """Buy tickets, if there are any."""
        with self.desk.buyer() as token:
            self.purchase(token)

    def purchase(self, token: str) -> None:
        """Go as far as one gets."""
        began = time.monotonic()
        held = self.hold(token)
        if held is None:
            return
        path = f"{_BOOKING}/{held[0]}"
        answer, response = self.ask(
            "POST", f"{path}/payment-intent", "payment intent", "opened", token=token
        )
        if answer.name != "opened":
            return
        intent_id = json.loads(response.content)["payment_intent_id"]
        pay = f"{self.options.sandbox_url}/_sandbox/payment_intents/{intent_id}/pay"
        paid_at = time.monotonic()
        answer, _ = self.ask("POST", pay, f"{SANDBOX}payment", "paid", body=_CARD)
        if answer.name != "paid" or not self._confirmed(path, token, paid_at):
            return
        self.tell(JOURNEY, _CONFIRMING, paid_at)
        self.ask("GET", f"{path}/tickets", "tickets", "shown", token=token)
        self.tell(JOURNEY, "from hold to tickets", began)

    def _confirmed(self, path: str, token: str, paid_at: float) -> bool:
        """Look until it is; count it as a failure if it never is."""
        while time.monotonic() - paid_at < _CONFIRMED_SECONDS:
            answer, response = self.ask("GET", path, "booking", "shown", token=token)
            if answer.name == "shown" and json.loads(response.content)["status"] in _PAID:
                self.desk.count("purchase", Answer(Kind.OUTCOME, "confirmed"))
                return True
            gevent.sleep(_LOOK_SECONDS)
        failure = Answer(Kind.FAILURE, "not confirmed")
        self.desk.count("purchase", failure)
        self.tell(JOURNEY, _CONFIRMING, paid_at, failure.name)
        return False


class DoorRush(Visitor):
    """Everybody comes at once: tickets are scanned at several gates, some of them twice."""

    needs_buyers = False
    needs_codes = True

    def on_start(self) -> None:
        """Stand at a gate."""
        self._gate = f"Gate {random.randrange(_GATES)}"  # noqa: S311 - no secret
        self._last = ""
        super().on_start()

    def visit(self) -> None:
        """Scan a ticket."""
        again = self._last and random.randrange(_SHOWN_AGAIN) == 0  # noqa: S311
        self._last = self._last if again else self.desk.code()
        scan = {"qr": self._last, "gate": self._gate, "nonce": uuid4().hex}
        path = f"{_EVENT}/{self.desk.share.door_event_id}/check-ins"
        token, body = self.options.organizer_token, json.dumps(scan).encode()
        self.ask("POST", path, "check-in", "scanned", token=token, body=body, reads=judge_scan)


class WebhookStorm(Visitor):
    """Stripe says the same of a few payments again and again, each time as another event."""

    needs_buyers = False
    needs_sandbox = needs_webhooks = True

    def visit(self) -> None:
        """Deliver a webhook."""
        body = json.dumps(self._event(random.choice(self.desk.share.payments))).encode()  # noqa: S311
        signature = sign(body, self.options.webhook_secret, int(time.time()))
        headers = {"stripe-signature": signature}
        self.ask("POST", f"{BASE}/stripe/events", "webhook", "kept", body=body, headers=headers)

    def _event(self, intent: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"evt_{uuid4().hex}",
            "object": "event",
            "api_version": None,
            "created": int(time.time()),
            "data": {"object": intent},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": "payment_intent.succeeded",
        }


class MixedDay(Purchase, BrowseAndWatch):
    """A quiet day, for hours: most look, some take tickets and give them back, few pay."""

    #: Of a hundred visits: those that only look, and those that pay.
    looking: ClassVar[int] = 70
    paying: ClassVar[int] = 8
    needs_buyers = True

    def visit(self) -> None:
        """Do one of these."""
        chance = random.randrange(100)  # noqa: S311 - no secret
        if chance < self.looking:
            BrowseAndWatch.visit(self)
            return
        with self.desk.buyer() as token:
            if chance < self.looking + self.paying:
                self.purchase(token)
                return
            held = self.hold(token)
            if held is not None:
                gevent.sleep(self.options.think_seconds)
                self.release(token, *held)


STORIES = (OnSaleRush, BrowseAndWatch, Purchase, DoorRush, WebhookStorm, MixedDay)
