"""The real application in this process: real owners, journals and catalogue, no Ray.

Owners live on the running event loop instead of in actors of their own; everything else is
what `onsale up` serves.

    async with in_process(client) as onsale:
        event = await onsale.event(capacity=2)
        answer = await onsale.post(f"/api/v1/events/{event}/holds", who=ann, json=...)
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from redis.asyncio import ConnectionPool, Redis

from actors.audit import audit
from actors.back_office.targets import Names, Targets
from actors.clock import TurnClock
from actors.contract import OwnerGone
from actors.owner import EventOwner, Phase
from actors.payments.contract import DeskGone, NotNow, Report, Stripe
from actors.payments.desk import PaymentDesk
from actors.wire import Health, Reply, decode_batch, encode_reply
from engine.domain.commands import Command
from engine.domain.outcomes import UnsettledPayment
from engine.journal.catalogue import Catalogue
from engine.journal.contacts import Contacts
from engine.journal.contract import Journal
from engine.journal.controls import Controls
from engine.journal.pulses import Pulses
from engine.journal.redis import RedisJournal
from engine.journal.redis_streams import RedisStreams
from engine.store.sql import open_store
from engine.store.vault import Vault
from engine.store.webhooks import SqlWebhooks
from engine.tickets.seal import Seals
from gateway.app import make_app, make_inner
from gateway.auth import Tokens, derive_key
from gateway.books import Books
from gateway.gate import Gatekeeper
from gateway.lookout import Lookout
from gateway.paying import Paying
from gateway.rate_limits import RateLimits
from gateway.service import Desks, Oversight, Service
from gateway.ticketing import Ticketing

SECRET = "the secret of these tests is long enough"
BASE = "/api/v1"
WEBHOOK_SECRET = "whsec_test"
PUBLISHABLE_KEY = "pk_test_sandbox"
#: Longest that a test waits for a line of a stream, seconds.
_PATIENCE_SECONDS = 5.0


class LocalOwners:
    """Owners in this process; keeps `actors.contract.Owners`.

    `instead` is what is replied without asking an owner, None to ask: an owner that is
    gone, one that recovers for ever. `ahead_ms` is how far the owners' clocks are ahead of
    the machine's: what is due is done with the next command. `dies_after` is a kind of
    command: the owner that is asked the next of it dies between its append and its answer.
    """

    def __init__(self, journal: Callable[[str], Journal]) -> None:
        self.instead: Reply | OwnerGone | None = None
        self.ahead_ms = 0
        self.dies_after: type[Command] | None = None
        self._journal = journal
        self._owners: dict[str, EventOwner] = {}
        self._incarnations = 0

    async def submit(self, event_id: str, batch: bytes) -> bytes:
        if isinstance(self.instead, OwnerGone):
            raise self.instead
        reply = self.instead or await (await self.serving(event_id)).submit(batch)
        if self.dies_after in {type(envelope.command) for envelope in decode_batch(batch)}:
            self.dies_after = None
            await self.crash(event_id)
            raise OwnerGone(event_id)
        return encode_reply(reply)

    async def health(self, event_id: str) -> Health:
        return (await self.serving(event_id)).health()

    async def audit(self, event_id: str) -> dict[str, Any]:
        if isinstance(self.instead, OwnerGone):
            raise self.instead
        live = await (await self.serving(event_id)).live_facts()
        return await audit(self._journal(event_id), live)

    async def serving(self, event_id: str) -> EventOwner:
        """Return the owner of an event once it serves: tests do not wait for retries."""
        owner = self._owners.get(event_id)
        if owner is None:
            self._incarnations += 1
            owner = self._owners[event_id] = EventOwner(
                self._journal(event_id),
                TurnClock(monotonic_ns=lambda: time.monotonic_ns() + self.ahead_ms * 1_000_000),
                self._incarnations.to_bytes(8, "big"),
                lambda _phase: self._owners.pop(event_id, None),
            )
            owner.start()
        while owner.phase is Phase.RECOVERING:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
        return owner

    async def crash(self, event_id: str) -> None:
        """End an owner; the next touch starts another one from the journal."""
        await self._owners.pop(event_id).stop()

    async def stop(self) -> None:
        while self._owners:
            await self.crash(next(iter(self._owners)))


class AwayDesk:
    """A payment desk that nobody is at."""

    async def open(self, _unsettled: UnsettledPayment) -> NotNow:
        return NotNow(1.0)

    async def reconcile(self, _since: int | None) -> Report:
        raise DeskGone("there is none in this test")


#: What is inside of applications that have ended: routes take longer to make than most tests.
_spare: list[FastAPI] = []


class InProcess:
    """The application and a client of it."""

    def __init__(
        self,
        redis: Redis,
        limits: RateLimits | None = None,
        stripe: Stripe | None = None,
        database_url: str = "sqlite:////nowhere/onsale.db",
    ) -> None:
        self.redis = redis
        self.tokens = Tokens(SECRET)
        self.owners = LocalOwners(lambda event_id: RedisJournal(redis, event_id))
        self.ray_answers = True
        self._working: asyncio.Task[None] | None = None
        self.desk: PaymentDesk | None = None
        self._stripe = stripe
        self._own = patient(redis)
        self.vault = Vault((derive_key(SECRET, "personal data"),))
        self.store = open_store(database_url, self.vault)
        gatekeeper = Gatekeeper(Controls(redis), "in-process")
        self.service = Service(
            self.owners,
            Catalogue(redis),
            self.tokens,
            derive_key(SECRET, "ids"),
            limits,
            Desks(
                Paying(
                    self.desk or AwayDesk(), RedisStreams(redis), (WEBHOOK_SECRET,), PUBLISHABLE_KEY
                ),
                Ticketing(
                    Seals((derive_key(SECRET, "ticket codes"),)),
                    derive_key(SECRET, "ticket numbers"),
                ),
                # Away until a test opens it.
                Books(self.store, Contacts(redis), self.vault),
                SqlWebhooks(self.store.database, self.vault),
                Targets(Names(1), private=True),
            ),
            Oversight(gatekeeper, Lookout(RedisStreams(redis), Pulses(redis), gatekeeper)),
        )
        self._inner = _spare.pop() if _spare else make_inner()
        self.app = make_app(self._inner, self.service, lambda: self.ray_answers)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://onsale.test"
        )

    def token(self, role: str, sub: str, **claims: Any) -> str:
        return self.tokens.make(role, sub, **claims)

    async def ask(
        self, method: str, path: str, who: str | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request as the holder of a token, or as nobody."""
        headers = {**({"authorization": f"Bearer {who}"} if who else {})}
        headers.update(options.pop("headers", {}))
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, who: str | None = None, **options: Any) -> httpx.Response:
        return await self.ask("GET", path, who, **options)

    async def post(self, path: str, who: str | None = None, **options: Any) -> httpx.Response:
        return await self.ask("POST", path, who, **options)

    async def event(self, organizer: str = "acme", **changes: Any) -> str:
        """Create an event that the test needs, and return its id."""
        who = self.token("organizer", organizer)
        answer = await self.post(f"{BASE}/events", who, json=an_event(**changes))
        assert answer.status_code == 201, answer.text
        event_id: str = answer.json()["id"]
        return event_id

    async def hold(
        self, event_id: str, buyer: str, key: str | None = None, **quantities: int
    ) -> httpx.Response:
        """Ask for a hold: `hold(event, "ann", ga=2)`."""
        return await self.post(
            f"{BASE}/events/{event_id}/holds",
            self.token("buyer", buyer),
            json=items(**quantities),
            headers={} if key is None else {"idempotency-key": key},
        )

    async def held(
        self, event_id: str, buyer: str, key: str | None = None, **quantities: int
    ) -> dict[str, Any]:
        """Place a hold that the test needs to be granted, and return the booking."""
        answer = await self.hold(event_id, buyer, key, **quantities)
        assert answer.status_code == 201, answer.text
        booking: dict[str, Any] = answer.json()
        return booking

    async def everything(self) -> dict[bytes, bytes]:
        """Return all that the store holds."""
        keys = sorted(await self.redis.keys())
        return {key: await self.redis.dump(key) for key in keys}

    @asynccontextmanager
    async def unchanged(self, but: str = "") -> AsyncIterator[None]:
        """Assert that what happens meanwhile leaves no trace in the store, `but` in one key."""
        before = await self.everything()
        yield
        after = await self.everything()
        for found in (before, after):
            found.pop(but.encode(), None)
        assert after == before, "the store has changed"

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator["Stream"]:
        """Open an answer that does not end by itself, and leave it."""
        stream = Stream(self.app, path)
        try:
            yield stream
        finally:
            await stream.leave()

    def open_desk(self) -> None:
        """Have a payment desk work, if there is a Stripe."""
        if self._stripe is not None:
            catalogue, streams = Catalogue(self._own), RedisStreams(self._own)
            self.desk = PaymentDesk(self._stripe, self.owners, catalogue, streams)
            self.service.paying.payments = self.desk
            self._working = asyncio.create_task(self.desk.work())

    async def close_desk(self) -> None:
        """Have the payment desk perish where it stands; `open_desk` brings the next one."""
        if self._working is not None:
            working, self._working = self._working, None
            self.service.paying.payments = AwayDesk()
            working.cancel()
            await asyncio.wait([working])
            assert working.cancelled(), working.exception()

    async def close(self) -> None:
        await self.close_desk()
        await self._own.connection_pool.disconnect()
        await self.client.aclose()
        await self.owners.stop()
        await self.store.close()
        _spare.append(self._inner)


class Stream:
    """A stream of server-sent events, read as they come."""

    def __init__(self, app: Any, path: str) -> None:
        self.headers: dict[str, str] = {}
        self.status = 0
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._left = asyncio.Event()
        self._begun = False
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"onsale.test")],
            "client": ("127.0.0.1", 1),
            "server": ("onsale.test", 80),
        }
        self._task = asyncio.create_task(app(scope, self._receive, self._send))

    async def message(self) -> tuple[dict[str, str], float]:
        """Return the fields of the next message and when it came (monotonic seconds)."""
        chunk = await asyncio.wait_for(self._chunks.get(), _PATIENCE_SECONDS)
        fields = dict(line.split(": ", 1) for line in chunk.decode()[:-2].splitlines())
        return fields, time.monotonic()

    def waiting(self) -> int:
        """Return how many messages have come and were not read."""
        return self._chunks.qsize()

    async def ended(self) -> None:
        """Wait until the server has ended the stream by itself."""
        await asyncio.wait_for(asyncio.shield(self._task), _PATIENCE_SECONDS)

    async def leave(self) -> None:
        self._left.set()
        await asyncio.wait_for(self._task, _PATIENCE_SECONDS)

    async def _receive(self) -> dict[str, Any]:
        if not self._begun:
            self._begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        elif message.get("body"):
            self._chunks.put_nowait(message["body"])


@asynccontextmanager
async def in_process(
    redis: Redis,
    limits: RateLimits | None = None,
    stripe: Stripe | None = None,
    database_url: str | None = None,
) -> AsyncIterator[InProcess]:
    """Run the application over a store; with a payment desk at work if there is a Stripe.

    Without a database, the back office is away.
    """
    onsale = InProcess(redis, limits, stripe, database_url or "sqlite:////nowhere/onsale.db")
    onsale.open_desk()
    if database_url is not None:
        await onsale.service.books.open()
    try:
        yield onsale
    finally:
        await onsale.close()


def patient(redis: Redis) -> Redis:
    """Return a client of the same store that waits for it for ever, and can be cancelled.

    With a time limit redis-py sends through `asyncio.wait_for`, which in Python 3.11 loses
    a cancellation that comes at the moment when it is done.
    """
    pool = redis.connection_pool
    options = {**pool.connection_kwargs, "socket_timeout": None}
    return Redis.from_pool(ConnectionPool(pool.connection_class, **options))


def an_event(**changes: Any) -> dict[str, Any]:
    """Return the body of an event on sale now; `capacity` and `price` are its only type's."""
    kind = {"code": "ga", "name": "Standing", "price": 4_500, "capacity": 10}
    for name in ("capacity", "price", "max_per_booking"):
        if name in changes:
            kind[name] = changes.pop(name)
    body = {
        "name": "Night of Strings",
        "starts_at": "2096-03-01T19:00:00Z",
        "currency": "EUR",
        "ticket_types": [kind],
        **changes,
    }
    return {name: value for name, value in body.items() if value is not ...}


def items(**quantities: int) -> dict[str, Any]:
    """Return the body of a hold."""
    return {
        "items": [
            {"ticket_type": code, "quantity": quantity} for code, quantity in quantities.items()
        ]
    }
