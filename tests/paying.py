"""The application with a payment desk, before a Stripe sandbox whose mail the test carries.

    async with paying(redis, sandbox) as shop:
        booking = await shop.held(event, "ann", ga=2)
        opened = await shop.opened(booking, "ann")
        sandbox.pay(opened["payment_intent_id"])
        await shop.deliver()
        await shop.until(booking, "CONFIRMED")

The sandbox has no endpoint: what it has to say waits in its list of events until `deliver`
brings it to the application, so that a test says what arrives, when, and in which order.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from redis.asyncio import Redis

from actors.payments.breaker import Breaker
from actors.payments.calling import Caller
from actors.payments.connections import Connections
from actors.payments.contract import Stripe
from actors.payments.limiter import Limiter
from actors.payments.stripe_api import StripeApi
from actors.wire import Answers, Envelope, decode_reply, encode_batch
from engine.domain.commands import ReadAvailability
from engine.journal.groups import PAYMENTS, PAYMENTS_INBOX
from engine.journal.redis_streams import RedisStreams
from engine.journal.streams import DeadLetter, Group
from engine.limits import REQUEST_DEADLINE_MS
from tests.in_process import BASE, WEBHOOK_SECRET, InProcess, in_process
from tests.stripe_sandbox import API_KEY, Refused, Sandbox, ask

WEBHOOKS = f"{BASE}/stripe/events"
#: Longest that a test waits for what the desk has to do, seconds.
_PATIENCE_SECONDS = 10.0


@asynccontextmanager
async def account(sandbox: Sandbox) -> AsyncIterator[StripeApi]:
    """Connect to a sandbox, at any pace."""
    line = Connections(API_KEY, sandbox.url)
    yield StripeApi(Caller(line, Limiter(1_000.0, 1_000.0), Breaker(time.monotonic)), time.time)
    await line.close()


def signature(body: bytes, *secrets: str, at_s: float | None = None) -> str:
    """Return the header that Stripe sends with a body: one signature for each secret."""
    when = str(int(time.time() if at_s is None else at_s))
    signed = b"%s.%s" % (when.encode(), body)
    signatures = [
        hmac.digest(secret.encode(), signed, hashlib.sha256).hex()
        for secret in secrets or (WEBHOOK_SECRET,)
    ]
    return ",".join([f"t={when}", *(f"v1={one}" for one in signatures)])


class Shop:
    """The application, the sandbox, and the way between them.

    Attributes:
        sent: ids of the sandbox's events that were brought to the application.
    """

    def __init__(self, onsale: InProcess, sandbox: Sandbox) -> None:
        self.onsale = onsale
        self.sandbox = sandbox
        self.sent: set[str] = set()
        self._streams = RedisStreams(onsale.redis)

    # -- buyers and organizers ---------------------------------------------------------

    async def held(self, event_id: str, buyer: str = "ann", **quantities: int) -> str:
        """Place a hold and return the id of the booking."""
        booking_id: str = (await self.onsale.held(event_id, buyer, **(quantities or {"ga": 1})))[
            "id"
        ]
        return booking_id

    async def pay(self, booking_id: str, buyer: str = "ann", **options: Any) -> httpx.Response:
        """Ask for the payment of a booking."""
        path = f"{BASE}/bookings/{booking_id}/payment-intent"
        return await self.onsale.post(path, self.onsale.token("buyer", buyer), **options)

    async def opened(self, booking_id: str, buyer: str = "ann") -> str:
        """Open a payment that the test needs, and return its intent's id."""
        answer = await self.pay(booking_id, buyer)
        assert answer.status_code == 201, answer.text
        intent_id: str = answer.json()["payment_intent_id"]
        return intent_id

    async def confirmed(self, event_id: str, buyer: str = "ann", **quantities: int) -> str:
        """Have somebody hold and pay, and return the id of the booking."""
        return (await self.bought(event_id, buyer, **quantities))[0]

    async def bought(
        self, event_id: str, buyer: str = "ann", card: str = "pm_card_visa", **quantities: int
    ) -> tuple[str, str]:
        """Have somebody hold and pay, and return the ids of the booking and its intent."""
        booking_id = await self.held(event_id, buyer, **quantities)
        intent_id = await self.opened(booking_id, buyer)
        self.sandbox.pay(intent_id, card)
        await self.deliver()
        await self.until(booking_id, "CONFIRMED", buyer)
        return booking_id, intent_id

    def decline(self, intent_id: str, card: str = "pm_card_chargeDeclined") -> None:
        """Try to pay with a card that fails."""
        try:
            self.sandbox.pay(intent_id, card)
        except Refused as refused:
            assert refused.error["type"] == "card_error", refused  # noqa: PT017
        else:
            raise AssertionError(f"{card} was not declined")

    async def refund(
        self,
        booking_id: str,
        role: str = "buyer",
        sub: str = "ann",
        key: str | None = None,
        **quantities: int,
    ) -> httpx.Response:
        """Ask for money back: of everything, or of so many units of these types."""
        parts = [{"ticket_type": code, "quantity": count} for code, count in quantities.items()]
        path = f"{BASE}/bookings/{booking_id}/refund"
        body = {"json": {"items": parts}} if parts else {}
        headers = {} if key is None else {"idempotency-key": key}
        return await self.onsale.post(path, self.onsale.token(role, sub), headers=headers, **body)

    async def booking(self, booking_id: str, buyer: str = "ann") -> dict[str, Any]:
        """Read a booking."""
        path = f"{BASE}/bookings/{booking_id}"
        answer = await self.onsale.get(path, self.onsale.token("buyer", buyer))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def stock(self, event_id: str) -> tuple[int, int, int]:
        """Return what is available, held and sold of an event's first type, now.

        The gateway's own answer may be a second old.
        """
        batch = encode_batch([Envelope(REQUEST_DEADLINE_MS, ReadAvailability())])
        reply = decode_reply(await self.onsale.owners.submit(event_id, batch))
        assert isinstance(reply, Answers), reply
        assert reply.availability is not None, reply
        counts = reply.availability.ticket_types[0]
        return counts.available, counts.held, counts.sold

    async def until(
        self,
        booking_id: str,
        status: str,
        buyer: str = "ann",
        *,
        also: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> dict[str, Any]:
        """Wait until a booking is in this state, and return it."""
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    found = await self.booking(booking_id, buyer)
                    if found["status"] == status and also(found):
                        return found
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"not {status}, but {found}") from None

    # -- webhooks ----------------------------------------------------------------------

    def listed(self, what: str) -> list[dict[str, Any]]:
        """Return all that a list of the sandbox's shows, newest first."""
        headers = {"authorization": f"Bearer {API_KEY}"}
        _, page = ask(f"{self.sandbox.url}/v1/{what}?limit=100", headers)
        assert not page["has_more"], f"more than one page of {what}"
        found: list[dict[str, Any]] = page["data"]
        return found

    def mail(self) -> list[dict[str, Any]]:
        """Return every event of the sandbox's that was not brought yet, oldest first."""
        return [event for event in self.listed("events")[::-1] if event["id"] not in self.sent]

    async def deliver(self, events: Iterable[dict[str, Any]] | None = None) -> list[str]:
        """Bring these events, all that are new if None; return their types."""
        kinds = []
        for event in self.mail() if events is None else events:
            answer = await self.post(event)
            assert answer.status_code == 200, answer.text
            self.sent.add(event["id"])
            kinds.append(event["type"])
        return kinds

    async def post(
        self, event: Any, header: str | None = None, *secrets: str, at_s: float | None = None
    ) -> httpx.Response:
        """Send a webhook, signed unless a header is given."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        header = signature(body, *secrets, at_s=at_s) if header is None else header
        return await self.onsale.post(WEBHOOKS, content=body, headers={"stripe-signature": header})

    async def settled(self) -> None:
        """Wait until everything that came in, or was to be done, is done or put aside."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            for group in (PAYMENTS_INBOX, PAYMENTS):
                while not await self._is_done(group):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)

    async def _is_done(self, group: Group) -> bool:
        lags = await self._streams.lag(group)
        return not any(lag.pending + lag.undelivered for lag in lags)

    async def put_aside(self) -> list[DeadLetter]:
        """Return what was given up on, once everything is settled."""
        await self.settled()
        return [
            letter
            for group in (PAYMENTS_INBOX, PAYMENTS)
            for letter in await self._streams.dead_letters(group, 100)
        ]


@asynccontextmanager
async def paying(
    redis: Redis,
    sandbox: Sandbox,
    stripe: Stripe | None = None,
    database_url: str | None = None,
) -> AsyncIterator[Shop]:
    """Run the application with a desk that asks this sandbox, or the `stripe` given."""
    async with (
        account(sandbox) as api,
        in_process(redis, stripe=stripe or api, database_url=database_url) as onsale,
    ):
        yield Shop(onsale, sandbox)
