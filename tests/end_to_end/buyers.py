"""Buyers of one event over HTTP, who remember everything that they asked and were told."""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx
import msgspec

from engine.limits import AVAILABILITY_AGE_MS_MAX
from loadtests.crowd import Result, Spec, Template, run_crowd
from tests.calls import READ, RELEASE, UNKNOWN, Call, Seen
from tests.end_to_end.asked import Asked, hold_of
from tests.end_to_end.service import Service, tokens

ORGANIZER = "acme"
#: Longer than the service lets anybody wait.
_ANSWER_SECONDS = 15.0
#: A buyer insists for this long: longer than any drill keeps an event without an owner.
_PATIENCE_SECONDS = 60.0
#: Longer than a drill takes, and no longer: an owner stays for as long as something is held.
_HOLD_TTL_SECONDS = 180
_NUMBERS = itertools.count(1)


class Buyers:
    """Buyers of one event; `calls` is the history of what they did."""

    def __init__(self, service: Service, event_id: str) -> None:
        self.service = service
        self.event_id = event_id
        self.calls: list[Call] = []
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._run = secrets.token_hex(4)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    # -- one request ---------------------------------------------------------------

    async def hold(self, customer: str, key: str, quantity: int = 1, kind: str = "ga") -> Call:
        """Ask for tickets once."""
        return await self._call(
            hold_of(self.event_id, customer, key, ((kind, quantity),)),
            "POST",
            f"/api/v1/events/{self.event_id}/holds",
            headers={"idempotency-key": key},
            json={"items": [{"ticket_type": kind, "quantity": quantity}]},
        )

    async def held(self, customer: str, key: str = "1", quantity: int = 1) -> Seen:
        """Ask for tickets that the drill needs to be granted."""
        call = await self.insist(customer, key, quantity)
        assert call.seen is not None, f"the drill wanted this hold, but: {call}"
        return call.seen

    async def insist(self, customer: str, key: str, quantity: int = 1) -> Call:
        """Ask for tickets until there is an answer."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                call = await self.hold(customer, key, quantity)
                if call.outcome != UNKNOWN:
                    return call
                await asyncio.sleep(0.1)

    async def insist_on(self, unknown: Sequence[Call]) -> list[Call]:
        """Repeat holds that were not answered, each under its key, until they are."""
        answered = []
        for call in unknown:
            ((_, quantity),) = call.wanted
            answered.append(await self.insist(call.customer, call.key, quantity))
        return answered

    async def read(self, customer: str, booking_id: str) -> Call:
        asked = Asked(READ, customer, booking_id=booking_id)
        return await self._call(asked, "GET", f"/api/v1/bookings/{booking_id}")

    async def release(self, customer: str, booking_id: str) -> Call:
        asked = Asked(RELEASE, customer, booking_id=booking_id)
        return await self._call(asked, "DELETE", f"/api/v1/bookings/{booking_id}")

    @asynccontextmanager
    async def asking(self, customers: int = 32) -> AsyncIterator[None]:
        """Have so many customers ask for a ticket, and another, for the length of a block.

        Requests under way at its end are awaited, and those without an answer repeated
        until they have one.
        """
        done = asyncio.Event()
        before = len(self.calls)
        tasks = [
            asyncio.create_task(self._keep_asking(f"buyer-{number}", done))
            for number in range(customers)
        ]
        try:
            yield
        finally:
            done.set()
            await asyncio.gather(*tasks)
        await self.insist_on([call for call in self.calls[before:] if call.outcome == UNKNOWN])

    async def _keep_asking(self, customer: str, done: asyncio.Event) -> None:
        for number in itertools.count(1):
            if done.is_set():
                return
            call = await self.hold(customer, f"load-{number}")
            if call.outcome == UNKNOWN:
                await asyncio.sleep(0.05)

    def under_way(self, at: float) -> list[Call]:
        """Return the calls that were asked and not yet answered at a time."""
        return [call for call in self.calls if call.asked_at < at < call.answered_at]

    async def _call(self, asked: "Asked", method: str, path: str, **request: Any) -> Call:
        headers = request.pop("headers", {})
        headers["authorization"] = f"Bearer {tokens.make('buyer', asked.customer)}"
        asked_at = time.monotonic()
        try:
            answer = await self.client(asked.customer).request(
                method, self.service.url + path, headers=headers, **request
            )
        except httpx.TransportError:
            call = asked.unanswered(asked_at, time.monotonic())
        else:
            replayed = answer.headers.get("idempotent-replayed") == "true"
            call = asked.answered(
                asked_at, time.monotonic(), answer.status_code, answer.content, replayed=replayed
            )
        self.calls.append(call)
        return call

    def client(self, customer: str) -> httpx.AsyncClient:
        """Return the client of one customer, on connections of its own."""
        client = self._clients.get(customer)
        if client is None:
            client = self._clients[customer] = _client()
        return client

    # -- very many -----------------------------------------------------------------

    async def rush(
        self,
        customers: Sequence[str],
        *,
        quantity: int = 1,
        count: int | None = None,
        connections: int = 64,
        seconds: float | None = None,
    ) -> tuple[list[Call], Result]:
        """Have a crowd ask for tickets, each request under a key of its own.

        Customers take turns, without end unless `count` or `seconds` say so. Nothing is
        repeated: what was not answered is in the calls as an unknown.
        """
        record = self.service.directory / f"rush-{self._run}-{next(_NUMBERS)}.jsonl"
        host, _, port = self.service.url.removeprefix("http://").partition(":")
        body = {"items": [{"ticket_type": "ga", "quantity": quantity}]}
        spec = Spec(
            host,
            int(port),
            template=Template(
                "POST",
                f"/api/v1/events/{self.event_id}/holds",
                msgspec.json.encode(body).decode(),
                [tokens.make("buyer", customer) for customer in customers],
                idempotency_keys=True,
                count=count,
            ),
            connections=connections,
            seconds=seconds,
            record=str(record),
        )
        result = await asyncio.to_thread(run_crowd, spec)
        calls = []
        for line in record.read_bytes().splitlines():
            told = msgspec.json.decode(line)
            customer = customers[told["number"] % len(customers)]
            asked = hold_of(self.event_id, customer, told["key"], (("ga", quantity),))
            times = told["invoked_ns"] / 1e9, told["returned_ns"] / 1e9
            if told["status"]:
                calls.append(asked.answered(*times, told["status"], told["body"].encode()))
            else:
                calls.append(asked.unanswered(*times))
        record.unlink()
        self.calls += calls
        return calls, result

    # -- the organizer's side ------------------------------------------------------

    async def availability(self) -> dict[str, int]:
        """Return the counts of the one ticket type, with everything that was answered before.

        A gateway may show counts that are AVAILABILITY_AGE_MS_MAX old, from before what
        another one has just answered.
        """
        await asyncio.sleep(AVAILABILITY_AGE_MS_MAX / 1_000)
        path = f"{self.service.url}/api/v1/events/{self.event_id}/availability"
        async with asyncio.timeout(_PATIENCE_SECONDS), _client() as client:
            while True:
                answer = await client.get(path)
                if answer.status_code == 200:
                    (kind,) = answer.json()["ticket_types"]
                    return {name: kind[name] for name in ("available", "held", "sold")}
                await asyncio.sleep(0.1)

    async def audit(self, *, live: bool = True) -> dict[str, Any]:
        """Return the audit of an event, with its owner's side unless that has none."""
        headers = {"authorization": f"Bearer {tokens.make('organizer', ORGANIZER)}"}
        path = f"{self.service.url}/api/v1/events/{self.event_id}/audit"
        async with asyncio.timeout(_PATIENCE_SECONDS), _client() as client:
            while True:
                answer = await client.get(path, headers=headers)
                if answer.status_code == 200 and (answer.json()["live"] or not live):
                    report: dict[str, Any] = answer.json()
                    return report
                assert answer.status_code in (200, 503), answer.text
                await asyncio.sleep(0.1)


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False)


@asynccontextmanager
async def on_sale(
    service: Service,
    capacity: int,
    *,
    patience_seconds: float = _PATIENCE_SECONDS,
    **different: Any,
) -> AsyncIterator[Buyers]:
    """Create an event with one ticket type, `ga`, and let its buyers in."""
    body = {
        "name": "Night of Strings",
        "starts_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
        "currency": "EUR",
        "hold_ttl_seconds": _HOLD_TTL_SECONDS,
        "ticket_types": [
            {
                "code": "ga",
                "name": "Standing",
                "price": 4_500,
                "capacity": capacity,
                "max_per_booking": different.pop("max_per_booking", 10),
            }
        ],
        **different,
    }
    headers = {
        "authorization": f"Bearer {tokens.make('organizer', ORGANIZER)}",
        "idempotency-key": secrets.token_hex(8),
    }
    async with asyncio.timeout(patience_seconds), _client() as client:
        while True:
            answer = await client.post(service.url + "/api/v1/events", headers=headers, json=body)
            if answer.status_code == 201:
                break
            assert answer.status_code == 503, answer.text
            await asyncio.sleep(0.1)
    async with Buyers(service, answer.json()["id"]) as buyers:
        yield buyers
