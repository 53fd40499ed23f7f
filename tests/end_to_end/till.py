"""Buyers who pay: one event, its till, and Stripe as a browser, a bank or an attacker sees it."""

import asyncio
import copy
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from engine.domain.booking import Booking
from engine.domain.records import Record
from engine.domain.state import EventState
from engine.journal.connect import connect
from engine.journal.entry import Entry
from engine.journal.redis_streams import RedisStreams
from engine.journal.streams import DeadLetter
from loadtests.stripe_sandbox.webhooks import sign
from tests.end_to_end.buyers import ORGANIZER, Buyers, on_sale
from tests.end_to_end.service import tokens
from tests.end_to_end.shop import WEBHOOKS, Shop
from tests.end_to_end.verify import journalled
from tests.stripe_sandbox import API_KEY, WEBHOOK_SECRET, ask
from tests.unit.engine.domain.given import replayed

_ANSWER_SECONDS = 30.0
_PATIENCE_SECONDS = 60.0
#: Shorter than a hold lasts where a drill says nothing else: of eighty buyers one may find the
#: way to Stripe closed again and again, where every other call fails.
_OPENED_SECONDS = 150.0
#: It is about the last hour: the events of all drills before are woken for it.
_RECONCILED_SECONDS = 300.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Purchase:
    """A hold whose payment is open."""

    customer: str
    booking_id: str
    intent_id: str


class Till:
    """The payments of one event; `buyers` are those who hold its tickets."""

    def __init__(self, shop: Shop, buyers: Buyers) -> None:
        self.shop = shop
        self.buyers = buyers
        self.event_id = buyers.event_id
        #: Requests that were taken and not answered, each with what happened.
        self.broken: list[str] = []
        self._numbers = itertools.count(1)

    @property
    def sandbox(self) -> Any:
        return self.shop.sandbox

    # -- buying --------------------------------------------------------------------

    async def held(self, customer: str, quantity: int = 1) -> str:
        """Hold tickets and return the booking's id."""
        key = f"till-{next(self._numbers)}"
        return (await self.buyers.held(customer, key, quantity)).booking_id

    async def ask_to_pay(self, customer: str, booking_id: str) -> httpx.Response:
        """Begin to pay, once. Raises httpx.TransportError."""
        return await self._post(f"bookings/{booking_id}/payment-intent", "buyer", customer)

    async def opened(self, customer: str, quantity: int = 1, booking_id: str = "") -> Purchase:
        """Hold tickets, and begin to pay as often as it takes."""
        booking_id = booking_id or await self.held(customer, quantity)
        answer = await self._insist(lambda: self.ask_to_pay(customer, booking_id), _OPENED_SECONDS)
        assert answer.status_code == 201, answer.text
        return Purchase(customer, booking_id, answer.json()["payment_intent_id"])

    async def paid(self, customer: str, quantity: int = 1) -> Purchase:
        """Hold tickets and pay for them; the webhooks may still be on their way."""
        purchase = await self.opened(customer, quantity)
        self.sandbox.pay(purchase.intent_id)
        return purchase

    async def bought(self, customer: str, quantity: int = 1) -> Purchase:
        """Hold tickets, pay for them and wait until they are there."""
        purchase = await self.paid(customer, quantity)
        await self.becomes(purchase, "CONFIRMED")
        return purchase

    # -- looking -------------------------------------------------------------------

    async def shown(self, purchase: Purchase) -> dict[str, Any]:
        """Return the booking as its buyer sees it, as soon as it is shown."""
        path = f"bookings/{purchase.booking_id}"
        answer = await self._insist(lambda: self._get(path, "buyer", purchase.customer))
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def status(self, purchase: Purchase) -> str:
        return str((await self.shown(purchase))["status"])

    async def becomes(self, purchase: Purchase, status: str, seconds: float = 30.0) -> float:
        """Return after how many seconds the booking is in this state."""
        began = time.monotonic()
        while (found := await self.status(purchase)) != status:
            waited = time.monotonic() - began
            assert waited < seconds, f"{purchase} is {found} and not {status} after {waited:.1f} s"
            await asyncio.sleep(_POLL_SECONDS)
        return time.monotonic() - began

    async def entries(self) -> list[Entry]:
        """Return the whole journal."""
        async with connect(self.shop.service.store_url) as client:
            return await journalled(client, self.event_id)

    async def records(self, kind: type[Record], booking_id: str = "") -> list[Any]:
        """Return the journal's records of one kind, those of one booking if it is named."""
        return [
            record
            for entry in await self.entries()
            for record in entry.records
            if isinstance(record, kind) and booking_id in ("", getattr(record, "booking_id", ""))
        ]

    async def state(self) -> EventState:
        """Return what the journal says now."""
        return replayed(entry for entry in await self.entries() if entry.sequence)

    async def booking(self, purchase: Purchase) -> Booking:
        """Return a booking with its payment, as the journal has it."""
        return (await self.state()).bookings[purchase.booking_id]

    async def dead_letters(self) -> list[DeadLetter]:
        """Return what was put aside of this event, by any consumer."""
        async with connect(self.shop.service.store_url) as client:
            streams = RedisStreams(client)
            letters = [
                letter
                for group in await streams.groups()
                for letter in await streams.dead_letters(group, 1_000)
            ]
        return [one for one in letters if getattr(one.message, "event_id", "") == self.event_id]

    def accounts(self) -> list[dict[str, Any]]:
        """Return Stripe's own accounts of this event's payments."""
        intents: list[dict[str, Any]] = self.sandbox.books()["intents"]
        return [one for one in intents if one["metadata"].get("event") == self.event_id]

    # -- what organizers and operators do ------------------------------------------

    async def refund(self, purchase: Purchase, quantity: int = 0) -> None:
        """Have the organizer give the money back: of everything, or of so many tickets."""
        items = [{"ticket_type": "ga", "quantity": quantity}] if quantity else []
        path, body = f"bookings/{purchase.booking_id}/refund", {"items": items} if items else None
        answer = await self._insist(lambda: self._post(path, "organizer", ORGANIZER, body))
        assert answer.status_code == 202, answer.text

    async def call_off(self) -> None:
        """Have the organizer cancel the event."""
        path = f"events/{self.event_id}/cancel"
        answer = await self._insist(lambda: self._post(path, "organizer", ORGANIZER, {}))
        assert answer.status_code in (200, 202), answer.text

    async def reconciled(self) -> dict[str, Any]:
        """Have everything compared with Stripe, and return the report."""
        path = "payments/reconcile?since_hours=1"
        # Who hangs up and asks again waits for the run that is under way, and then for another.
        patience = _RECONCILED_SECONDS
        answer = await self._insist(
            lambda: self._ask("POST", path, "admin", "root", seconds=patience), patience
        )
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        return report

    # -- what Stripe sends ---------------------------------------------------------

    def events_of(self, purchase: Purchase) -> list[dict[str, Any]]:
        """Return Stripe's events about one payment, oldest first."""
        found, after = [], ""
        while True:
            cursor = f"&starting_after={after}" if after else ""
            url = f"{self.sandbox.url}/v1/events?limit=100{cursor}"
            _, page = ask(url, {"authorization": f"Bearer {API_KEY}"})
            found += [one for one in page["data"] if _is_about(one, purchase.intent_id)]
            if not page["has_more"]:
                return found[::-1]
            after = page["data"][-1]["id"]

    def event_of(self, purchase: Purchase, kind: str) -> dict[str, Any]:
        """Return Stripe's newest event of a kind about one payment."""
        return [one for one in self.events_of(purchase) if one["type"] == kind][-1]

    async def send(
        self,
        event: dict[str, Any] | bytes,
        *,
        secret: str = WEBHOOK_SECRET,
        late_seconds: int = 0,
        signature: str | None = None,
    ) -> httpx.Response:
        """Send a webhook over a connection of its own, signed as Stripe does, or otherwise."""
        body = event if isinstance(event, bytes) else msgspec.json.encode(event)
        if signature is None:
            signature = sign(body, secret, int(time.time()) - late_seconds)
        headers = {"content-type": "application/json"}
        if signature:
            headers["stripe-signature"] = signature
        async with httpx.AsyncClient(timeout=30.0, trust_env=False, verify=False) as client:
            return await client.post(
                self.shop.service.url + WEBHOOKS, content=body, headers=headers
            )

    # -- over HTTP -----------------------------------------------------------------

    async def _get(self, path: str, role: str, sub: str) -> httpx.Response:
        return await self._ask("GET", path, role, sub)

    async def _post(self, path: str, role: str, sub: str, body: Any = None) -> httpx.Response:
        return await self._ask("POST", path, role, sub, body)

    async def _ask(
        self,
        method: str,
        path: str,
        role: str,
        sub: str,
        body: Any = None,
        seconds: float = _ANSWER_SECONDS,
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {tokens.make(role, sub)}"}
        return await self.buyers.client(sub).request(
            method,
            f"{self.shop.service.url}/api/v1/{path}",
            headers=headers,
            timeout=seconds,
            **({} if body is None else {"json": body}),
        )

    async def _insist(
        self, request: Callable[[], Any], seconds: float = _PATIENCE_SECONDS
    ) -> httpx.Response:
        """Ask until there is an answer that is one."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    answer: httpx.Response = await request()
                except httpx.ConnectError:
                    await asyncio.sleep(0.1)  # nobody is there
                    continue
                except httpx.TransportError as error:
                    self.broken.append(repr(error))
                    await asyncio.sleep(0.1)
                    continue
                if answer.status_code != 503:
                    return answer
                await asyncio.sleep(0.2)


def altered(event: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return an event that says something else of its object, under an id of its own."""
    other = copy.deepcopy(event)
    other["id"] = f"evt_{time.time_ns()}"
    other["data"]["object"].update(fields)
    return other


def _is_about(event: dict[str, Any], intent_id: str) -> bool:
    about = event["data"]["object"]
    return intent_id in (about["id"], about.get("payment_intent"))


@asynccontextmanager
async def till_of(shop: Shop, capacity: int, **different: Any) -> AsyncIterator[Till]:
    """Put an event on sale and let its buyers pay."""
    async with on_sale(shop.service, capacity, **different) as buyers:
        yield Till(shop, buyers)
