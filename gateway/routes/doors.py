"""The doors, beside the plain route: what was scanned offline, mistakes, the log, the manifest."""

import asyncio
import hashlib
import re
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from engine.domain.commands import UndoPassage
from engine.domain.decision import may_manage
from engine.domain.event import Event
from engine.domain.ids import event_of_booking, is_event_id, request_id
from engine.domain.outcomes import Refusal, ScanShown
from engine.domain.tickets import booking_of_ticket, is_ticket_id
from engine.journal.contract import Unavailable
from engine.limits import LIST_MAX
from engine.store.contract import Scan
from gateway.auth import Principal
from gateway.bodies import invalid
from gateway.door_bodies import ManifestPage, OfflineScansBody, UndoBody
from gateway.doors import ScanView, judge, ticket_view, view
from gateway.idempotency import key_of
from gateway.problems import Problem
from gateway.routes.common import (
    ASKING,
    KNOWING,
    NOT_CHANGED,
    READING,
    DoorStaff,
    EventId,
    IdempotencyKey,
    IfNoneMatch,
    Organizer,
    TheService,
    has_current,
    headers,
    problems,
)
from gateway.service import Service
from gateway.views import TicketView, maybe_rfc3339, rfc3339

router = APIRouter(prefix="/api/v1", tags=["doors"])

#: Sequence and index as far as the database counts.
_SCAN_ID = re.compile(r"scn_([0-9]{1,18})_([0-9]{1,9})")
#: Stands between ticket id and sequence in the `next` of a manifest.
_AS_OF = "~"

#: Problems of looking at the books of an event.
_LOOKING = (
    Refusal.EVENT_NOT_FOUND,
    "invalid_request",
    "store_unavailable",
    "back_office_unavailable",
)


class OfflineScanView(ScanView):
    """What the owner says of a scan made offline; `nonce` is the scanner's own name for it.

    A `conflict` is a scan that would have been refused: somebody may be inside with a
    ticket that did not admit them.
    """

    nonce: str
    conflict: bool


class OfflineScansView(TypedDict):
    """What became of an upload, in its order."""

    object: Literal["list"]
    data: list[OfflineScanView]
    conflicts: int


class UndoneView(TypedDict):
    """The ticket as it is without its last passage, and how many people are inside."""

    ticket: TicketView
    inside: int


class LoggedScanView(TypedDict):
    """A scan as the log keeps it.

    `at` is when the scanner saw the code, `noted_at` when it was decided; `result` is
    `undone` where a passage was taken back. `flags` say what is suspicious: `two_gates`,
    `many_forgeries`, `offline_conflict`.
    """

    id: str
    result: str
    reason: str | None
    type: Literal["entry", "exit"]
    ticket_id: str | None
    gate: str
    operator: str
    at: str
    noted_at: str
    offline: bool
    flags: list[str]


class GateView(TypedDict):
    """Scans of one gate, without those that were undone."""

    gate: str
    entries: int
    exits: int
    refused: int


class ScanLog(TypedDict):
    """Scans of an event, newest first; `gates` and `inside` count all of them."""

    object: Literal["list"]
    data: list[LoggedScanView]
    has_more: bool
    gates: list[GateView]
    inside: int


class ListedTicketView(TypedDict):
    """A ticket as an offline scanner knows it.

    `codes` are SHA-256 hashes, in hexadecimal, of every payload that its code may have.
    """

    id: str
    number: str
    ticket_type: str
    seat: str | None
    status: Literal["ACTIVE", "USED", "VOID"]
    codes: list[str]


class ManifestView(TypedDict):
    """Tickets of an event for scanners without a connection, in order of their ids.

    `next` is the `starting_after` of the next page, null on the last one.
    """

    object: Literal["manifest"]
    event_id: str
    sequence: int
    entry_policy: str
    doors_open_at: str | None
    data: list[ListedTicketView]
    has_more: bool
    next: str | None


@router.post(
    "/events/{event_id}/check-ins/offline",
    response_model=OfflineScansView,
    responses=problems(*KNOWING, *READING, *ASKING),
)
async def upload_scans(
    event_id: EventId, principal: DoorStaff, service: TheService, body: OfflineScansBody
) -> Any:
    """Report scans that were made without a connection, oldest first, with their own times.

    Each is decided like any other scan, now: what contradicts what has happened meanwhile
    is refused, marked as a conflict and kept in the log. Repeating an upload is harmless.
    """
    lane = await service.lane(event_id)
    # Their order is kept: a lane decides in the order in which it was asked.
    shown = await asyncio.gather(*(judge(service, lane, principal, scan) for scan in body.scans))
    data = [
        {
            **view(service, lane, scan, said.scan),
            "nonce": scan.nonce,
            "conflict": not said.scan.admitted,
        }
        for scan, said in zip(body.scans, shown, strict=True)
    ]
    conflicts = sum(not said.scan.admitted for said in shown)
    return {"object": "list", "data": data, "conflicts": conflicts}


@router.post(
    "/events/{event_id}/check-ins/undo",
    response_model=UndoneView,
    responses={
        200: {"headers": headers("Idempotent-Replayed")},
        **problems(
            *KNOWING,
            *READING,
            *ASKING,
            Refusal.TICKET_NOT_FOUND,
            Refusal.NOT_ADMITTED,
            "invalid_idempotency_key",
        ),
    },
)
async def undo_passage(
    event_id: EventId,
    principal: Organizer,
    service: TheService,
    response: Response,
    body: UndoBody,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Take back the last passage of a ticket that was let through by mistake.

    A repeat under the same key takes back nothing more and gets the first answer. A key belongs
    to one ticket and one caller.
    """
    name = key_of(idempotency_key)
    if not is_ticket_of(event_id, body.ticket_id):
        raise Problem(Refusal.TICKET_NOT_FOUND)
    # Without a key of the client's, too: the gateway itself asks a restarted owner again.
    undo_id = request_id(service.id_key, body.ticket_id, principal.sub, name)
    command = UndoPassage(body.ticket_id, principal.caller, undo_id)
    outcome, _ = await service.ask(event_id, command)
    assert isinstance(outcome, ScanShown)
    if outcome.replayed and idempotency_key is not None:
        response.headers["idempotent-replayed"] = "true"
    scan = outcome.scan
    return {"ticket": ticket_view(service, event_id, scan, None), "inside": scan.inside}


# -- looking back and ahead --------------------------------------------------------


@router.get(
    "/events/{event_id}/check-ins",
    response_model=ScanLog,
    responses=problems(*KNOWING, *_LOOKING),
)
async def list_scans(
    event_id: EventId,
    principal: DoorStaff,
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = LIST_MAX,
    starting_after: Annotated[str | None, Query(max_length=64)] = None,
) -> Any:
    """List the scans of an event, newest first, refused ones too, and count them by gate.

    The log is a second or so behind the doors; the answers at the doors are not.
    """
    await _managed(service, event_id, principal)
    before = None if starting_after is None else _place(starting_after)
    with service.books.asking() as store:
        found = await store.scans(event_id, limit + 1, before)
        gates = await store.gates(event_id)
    return {
        "object": "list",
        "data": [_scan(scan) for scan in found[:limit]],
        "has_more": len(found) > limit,
        "gates": [
            {"gate": one.gate, "entries": one.entries, "exits": one.exits, "refused": one.refused}
            for one in gates
        ],
        "inside": sum(one.entries - one.exits for one in gates),
    }


@router.get(
    "/events/{event_id}/check-ins/manifest",
    response_model=ManifestView,
    responses={
        304: {"description": NOT_CHANGED, "headers": headers("ETag")},
        **problems(*KNOWING, *_LOOKING),
    },
)
async def read_manifest(
    event_id: EventId,
    principal: DoorStaff,
    service: TheService,
    response: Response,
    page: Annotated[ManifestPage, Query()],
    if_none_match: IfNoneMatch = None,
) -> Any:
    """List what an offline scanner needs: every ticket by the hash of its code, and its state.

    A later request with the last page's `sequence` as `since` lists what has changed; a few
    that have not may be among it. Pages behind the first are asked for with `next`, so that
    their `sequence` is that of the first: what has changed between two pages may stand on
    the one that was read before. Behind a mere ticket id that is not known, and `sequence`
    says again what `since` was.
    """
    event = await _managed(service, event_id, principal)
    after, sequence = _manifest_place(page)
    with service.books.asking() as store:
        if sequence is None:
            sequence = await store.entered(event_id)
        # Tickets of the very sequence that was told may have been entered since.
        found = await store.manifest(event_id, page.since - 1, after, page.limit + 1)
    listed = found[: page.limit]
    has_more = len(found) > page.limit
    seals = service.ticketing.seals
    # The keys stand for the codes, which take longer to make than all else.
    shown = msgspec.json.encode((event, listed, sequence, seals.edition))
    etag = f'"{hashlib.blake2b(shown, digest_size=15).hexdigest()}"'
    if has_current(if_none_match, etag):
        return Response(status_code=304, headers={"etag": etag})
    response.headers["etag"] = etag
    return {
        "object": "manifest",
        "event_id": event_id,
        "sequence": sequence,
        "entry_policy": event.entry_policy,
        "doors_open_at": maybe_rfc3339(event.doors_open_at_ms),
        "data": [
            {
                "id": one.ticket_id,
                "number": one.number,
                "ticket_type": one.ticket_type,
                "seat": one.seat,
                "status": one.status,
                "codes": [
                    hashlib.sha256(payload.encode()).hexdigest()
                    for payload in seals.payloads(one.ticket_id, one.customer)
                ],
            }
            for one in listed
        ],
        "has_more": has_more,
        "next": f"{listed[-1].ticket_id}{_AS_OF}{sequence}" if has_more else None,
    }


def is_ticket_of(event_id: str, ticket_id: str) -> bool:
    """Tell whether this is the id of a ticket of this event."""
    return is_ticket_id(ticket_id) and event_of_booking(booking_of_ticket(ticket_id)) == event_id


async def _managed(service: Service, event_id: str, principal: Principal) -> Event:
    """Return an event to those who act for its organizer.

    Raises:
        Problem: `event_not_found`, `store_unavailable`.
    """
    try:
        document = await service.catalogue.event(event_id) if is_event_id(event_id) else None
    except Unavailable as error:
        raise Problem("store_unavailable") from error
    if document is None or not may_manage(document.event, principal.caller):
        raise Problem(Refusal.EVENT_NOT_FOUND)
    return document.event


def _place(scan: str) -> tuple[int, int]:
    """Return the place in the journal that a scan's id names."""
    named = _SCAN_ID.fullmatch(scan)
    if named is None:
        raise invalid("/query/starting_after", "names no scan")
    return int(named[1]), int(named[2])


def _manifest_place(page: ManifestPage) -> tuple[str | None, int | None]:
    """Return behind which ticket a page begins, and the sequence that its first page told.

    None for the sequence on the first page itself.
    """
    if page.starting_after is None:
        return None, None
    ticket_id, with_sequence, sequence = page.starting_after.partition(_AS_OF)
    if not with_sequence:
        sequence = str(page.since)
    if not (is_ticket_id(ticket_id) and sequence.isascii() and sequence.isdecimal()):
        raise invalid("/query/starting_after", "is no `next` of a manifest")
    return ticket_id, int(sequence)


def _scan(scan: Scan) -> LoggedScanView:
    return {
        "id": f"scn_{scan.sequence}_{scan.index}",
        "result": scan.result,
        "reason": scan.reason,
        "type": "entry" if scan.entry else "exit",
        "ticket_id": scan.ticket_id,
        "gate": scan.gate,
        "operator": scan.operator,
        "at": rfc3339(scan.at_ms),
        "noted_at": rfc3339(scan.noted_ms),
        "offline": scan.offline,
        "flags": list(scan.flags),
    }
