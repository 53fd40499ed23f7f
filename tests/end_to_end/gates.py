"""The gates of one event over HTTP: scanners that insist on an answer and remember each one."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from engine.domain.records import TicketScanned
from engine.journal.connect import connect
from loadtests.crowd import Request, Spec, run_crowd
from tests.end_to_end.buyers import ORGANIZER, Buyers, on_sale
from tests.end_to_end.service import Service, tokens
from tests.end_to_end.verify import journalled

#: A scanner insists for this long: longer than any drill keeps an event without an owner.
_PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.05


class Gates:
    """Gates of one event, on as many connections as there are scans under way.

    `answers` are the bodies of all scans by nonce, the first one first.
    """

    def __init__(self, buyers: Buyers) -> None:
        self.buyers = buyers
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self._client = httpx.AsyncClient(
            timeout=15.0, trust_env=False, limits=httpx.Limits(max_connections=None)
        )
        self._nonces = itertools.count(1)
        self._headers = {
            role: {"authorization": f"Bearer {tokens.make(role, sub, org=ORGANIZER)}"}
            for role, sub in (("staff", "tom"), ("organizer", ORGANIZER))
        }

    async def close(self) -> None:
        await self._client.aclose()

    async def ticket(self, customer: str, key: str = "1") -> dict[str, Any]:
        """Return a ticket that a customer has just got for nothing, in a booking of its own."""
        booking = await self.buyers.held(customer, key)
        path = f"/api/v1/bookings/{booking.booking_id}"
        who = {"authorization": f"Bearer {tokens.make('buyer', customer)}"}
        confirmed = await self._insist("POST", f"{path}/payment-intent", who)
        assert confirmed.status_code == 200, confirmed.text
        found = await self._insist("GET", f"{path}/tickets", who)
        assert found.status_code == 200, found.text
        ticket: dict[str, Any]
        (ticket,) = found.json()["data"]
        return ticket

    async def scan(self, gate: str, qr: str, nonce: str | None = None) -> dict[str, Any]:
        """Scan a ticket, under the same nonce until there is an answer, and return it."""
        nonce = nonce or f"{gate}-{next(self._nonces)}"
        body = {"qr": qr, "gate": gate, "nonce": nonce}
        path = f"/api/v1/events/{self.buyers.event_id}/check-ins"
        answer = await self._insist("POST", path, self._headers["staff"], json=body)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        self.answers.setdefault(nonce, []).append(said)
        return said

    async def rush(self, qr: str, scans: int, gates: int) -> None:
        """Have a crowd scan one ticket, at so many gates at once, each under its own nonce.

        What was not answered is repeated under its nonce until it is.
        """
        record = self.buyers.service.directory / f"rush-{next(self._nonces)}.jsonl"
        host, _, port = self.buyers.service.url.removeprefix("http://").partition(":")
        names = [f"gate{number % gates}" for number in range(scans)]
        asked = [(gate, f"{gate}-{record.stem}-{n}") for n, gate in enumerate(names)]
        headers = {**self._headers["staff"], "content-type": "application/json"}
        path = f"/api/v1/events/{self.buyers.event_id}/check-ins"
        bodies = [{"qr": qr, "gate": gate, "nonce": nonce} for gate, nonce in asked]
        requests = [
            Request("POST", path, headers, msgspec.json.encode(body).decode()) for body in bodies
        ]
        spec = Spec(host, int(port), requests=requests, connections=gates, record=str(record))
        await asyncio.to_thread(run_crowd, spec)
        unanswered = []
        for line in record.read_bytes().splitlines():
            told = msgspec.json.decode(line)
            gate, nonce = asked[told["number"]]
            if told["status"] == 200:
                self.answers[nonce] = [msgspec.json.decode(told["body"])]
            else:
                assert told["status"] in (0, 503), told
                unanswered.append((gate, nonce))
        record.unlink()
        await asyncio.gather(*(self.scan(gate, qr, nonce) for gate, nonce in unanswered))

    async def scan_again(self, qr: str, nonce: str) -> None:
        """Repeat a scan that was answered, at another gate; it must get the first answer."""
        assert await self.scan("elsewhere", qr, nonce) == self.answers[nonce][0]

    async def journalled(self) -> list[TicketScanned]:
        """Return all scans that the journal holds."""
        async with connect(self.buyers.service.store_url) as client:
            entries = await journalled(client, self.buyers.event_id)
        records = (record for entry in entries for record in entry.records)
        return [record for record in records if isinstance(record, TicketScanned)]

    async def refund(self, booking_id: str) -> int:
        """Ask for the money of a booking, until there is an answer; return its status."""
        path = f"/api/v1/bookings/{booking_id}/refund"
        answer = await self._insist("POST", path, self._headers["organizer"])
        assert answer.status_code in (202, 409), answer.text
        return answer.status_code

    async def _insist(
        self, method: str, path: str, headers: dict[str, str], **request: Any
    ) -> httpx.Response:
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                answer = await self._client.request(
                    method, self.buyers.service.url + path, headers=headers, **request
                )
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code != 503:
                return answer
            assert time.monotonic() < give_up, f"{method} {path}: no answer"
            await asyncio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def at_the_gates(service: Service, capacity: int, **different: Any) -> AsyncIterator[Gates]:
    """Create an event that costs nothing, and open its gates."""
    kind = {"code": "ga", "name": "Standing", "price": 0, "capacity": capacity}
    kind["max_per_booking"] = min(capacity, 10)
    async with on_sale(service, capacity, ticket_types=[kind], **different) as buyers:
        gates = Gates(buyers)
        try:
            yield gates
        finally:
            await gates.close()
