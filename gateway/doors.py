"""Scans at the doors: `POST /api/v1/events/{id}/check-ins` as a plain callable.

The gateway opens the seal of a code, the event's owner decides: in one order with sales and
refunds, so that a ticket is never refunded and admitted at once. Scans travel in batches
like holds. `gateway.openapi` documents the route.
"""

from typing import Literal

import msgspec
from prometheus_client import Counter
from typing_extensions import TypedDict

from engine.domain.admission import DoorReason, Scanned
from engine.domain.commands import CheckIn
from engine.domain.ids import scan_id
from engine.domain.outcomes import ScanShown
from engine.domain.tickets import TicketStatus, booking_of_ticket
from engine.tickets.seal import Forged
from gateway import metrics
from gateway.auth import DOOR_ROLES, Principal
from gateway.batcher import Lane
from gateway.door_bodies import ScanBody, parse_scan
from gateway.exchange import Exchange
from gateway.idempotency import key_of
from gateway.problems import Problem
from gateway.service import Service, outcome_of
from gateway.views import TicketView, rfc3339, unix_ms

PREFIX = "/api/v1/events/"
SUFFIX = "/check-ins"

_encode = msgspec.json.Encoder().encode
_REPLAYED = [(b"idempotent-replayed", b"true")]
#: Counters by result: finding one by its label takes a lock.
_counters: dict[str, Counter] = {}


def _count(result: str) -> None:
    counter = _counters.get(result)
    if counter is None:
        counter = _counters[result] = metrics.SCANS.labels(result)
    counter.inc()


class FirstUseView(TypedDict):
    """When and at which gate a ticket was used first."""

    at: str
    gate: str


class ScanView(TypedDict):
    """What a scanner shows: whether to let the bearer pass, else why not.

    `ticket` is null where the code names none of this event; `inside` counts the people
    inside after this scan.
    """

    result: Literal["admitted", "refused"]
    reason: DoorReason | None
    ticket: TicketView | None
    first_used: FirstUseView | None
    inside: int


class CheckInRoute:
    """Lets people in and out."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request.

        Raises:
            Problem: whatever is wrong; nobody was admitted.
        """
        principal = self._service.tokens.verify(exchange.header(b"authorization"))
        if principal.role not in DOOR_ROLES:
            raise Problem("forbidden", "Only staff and organizers let people in.")
        lane = await self._service.lane(exchange.path[len(PREFIX) : -len(SUFFIX)])
        body = parse_scan(await exchange.body())
        shown = await judge(self._service, lane, principal, body)
        headers = _REPLAYED if shown.replayed else []
        await exchange.answer(200, _encode(view(self._service, lane, body, shown.scan)), headers)


async def judge(service: Service, lane: Lane, principal: Principal, body: ScanBody) -> ScanShown:
    """Have the event's owner decide about a scan.

    Raises:
        Problem: the event is not the caller's, or there was no answer in time.
    """
    event_id = lane.event_id
    opened = service.ticketing.seals.open(body.qr)
    ticket_id = found = ""
    bearer = None
    if isinstance(opened, Forged):
        found = DoorReason.FORGED.value
    elif opened.event_id != event_id:
        found = DoorReason.WRONG_EVENT.value
    else:
        ticket_id, bearer = opened.ticket_id, opened.bearer
    # Without a nonce, a name that nobody can repeat; with one, it names this very scan.
    name = key_of(None) if body.nonce is None else f"n:{body.nonce}"
    scan = scan_id(service.id_key, event_id, principal.sub, f"{name} {body.type} {body.qr}")
    command = CheckIn(
        scan,
        ticket_id,
        principal.caller,
        body.gate,
        body.type == "entry",
        0 if body.at is None else unix_ms(body.at),
        found,
        bearer,
    )
    outcome, _ = outcome_of(await lane.ask(command))
    assert isinstance(outcome, ScanShown), f"a scan was answered with {outcome!r}"
    _count(outcome.scan.reason or "admitted")
    return outcome


def view(service: Service, lane: Lane, body: ScanBody, scan: Scanned) -> ScanView:
    """Return what a scanner shows."""
    return {
        "result": "admitted" if scan.admitted else "refused",
        "reason": DoorReason(scan.reason) if scan.reason else None,
        "ticket": ticket_view(service, lane.event_id, scan, body.qr) if scan.ticket_id else None,
        "first_used": {"at": rfc3339(scan.first_at_ms), "gate": scan.first_gate}
        if scan.first_at_ms
        else None,
        "inside": scan.inside,
    }


def ticket_view(service: Service, event_id: str, scan: Scanned, payload: str | None) -> TicketView:
    """Return the ticket that a scan was about; `payload` is its code, None if unknown."""
    return {
        "id": scan.ticket_id,
        "number": service.ticketing.number(scan.ticket_id),
        "booking_id": booking_of_ticket(scan.ticket_id),
        "event_id": event_id,
        "ticket_type": scan.ticket_type,
        "seat": scan.seat or None,
        "status": TicketStatus(scan.status).value,
        "qr": None if scan.status == TicketStatus.VOID else payload,
    }
