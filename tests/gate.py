"""The doors of an event over HTTP, with somebody who has tickets standing before them."""

from typing import Any

import httpx
import jsonschema

from tests.documented import DOCUMENT
from tests.in_process import BASE, InProcess

EVENTS = f"{BASE}/events"
CHECK_IN = DOCUMENT["paths"][EVENTS + "/{event_id}/check-ins"]["post"]
#: Before there was the event: what a scanner says whose clock was never set.
PAST = "2026-01-01T00:00:00Z"


class Gate:
    """Doors of acme's event, and ann's tickets."""

    def __init__(self, onsale: InProcess, event_id: str, tickets: list[dict]) -> None:
        self.onsale = onsale
        self.event_id = event_id
        self.tickets = tickets
        self.qr: str = tickets[0]["qr"]
        self.staff = onsale.token("staff", "tom", org="acme")
        self.path = f"{EVENTS}/{event_id}/check-ins"

    async def ask(
        self, qr: str | None = None, who: str | None = None, **fields: Any
    ) -> httpx.Response:
        """Send a scan; of the first ticket unless told."""
        body = {"qr": qr or self.qr, "gate": "North", **fields}
        return await self.onsale.post(self.path, who or self.staff, json=body)

    async def scan(self, qr: str | None = None, **fields: Any) -> dict:
        """Return what is said of a scan; it must be what the document says."""
        answer = await self.ask(qr, **fields)
        assert answer.status_code == 200, answer.text
        schema = CHECK_IN["responses"]["200"]["content"]["application/json"]["schema"]
        whole = {**schema, "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(whole).validate(answer.json())
        said: dict = answer.json()
        assert set(said) == {"result", "reason", "ticket", "first_used", "inside"}
        return said

    async def refused(self, qr: str | None = None, **fields: Any) -> str:
        """Return the reason for which a scan is refused."""
        said = await self.scan(qr, **fields)
        assert said["result"] == "refused"
        return said["reason"]

    async def upload(self, *scans: dict, who: str | None = None) -> httpx.Response:
        body = {"scans": list(scans)}
        return await self.onsale.post(f"{self.path}/offline", who or self.staff, json=body)

    async def undo(
        self, ticket_id: str, who: str | None = None, key: str | None = None
    ) -> httpx.Response:
        acme = self.onsale.token("organizer", "acme")
        body = {"ticket_id": ticket_id}
        headers = {} if key is None else {"idempotency-key": key}
        return await self.onsale.post(f"{self.path}/undo", who or acme, json=body, headers=headers)

    async def refund(self, **quantities: int) -> httpx.Response:
        items = [{"ticket_type": code, "quantity": count} for code, count in quantities.items()]
        acme = self.onsale.token("organizer", "acme")
        path = f"{BASE}/bookings/{self.tickets[0]['booking_id']}/refund"
        return await self.onsale.post(path, acme, **({"json": {"items": items}} if items else {}))


async def gate(onsale: InProcess, ga: int = 2, **event: Any) -> Gate:
    """Open the doors of an event, free of charge, to which ann has tickets."""
    event_id = await onsale.event(price=0, **event)
    booking = await onsale.held(event_id, "ann", ga=ga)
    ann = onsale.token("buyer", "ann")
    path = f"{BASE}/bookings/{booking['id']}"
    assert (await onsale.post(f"{path}/payment-intent", ann)).status_code == 200
    found = await onsale.get(f"{path}/tickets", ann)
    return Gate(onsale, event_id, found.json()["data"])
