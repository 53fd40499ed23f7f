"""Events: created, read, listed, amended, paused."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query, Response
from msgspec import UNSET, UnsetType

from actors.contract import OwnerGone
from engine.domain.commands import (
    AmendEvent,
    CancelEvent,
    Changes,
    Command,
    CreateEvent,
    PauseSale,
    ResumeSale,
)
from engine.domain.decision import may_manage
from engine.domain.event import Allotment, Event, RefundPolicy, TicketType, Venue
from engine.domain.ids import event_id as make_event_id
from engine.domain.ids import is_event_id
from engine.domain.outcomes import EventShown, Refusal
from engine.journal.catalogue import EventDocument
from engine.journal.contract import Unavailable
from engine.limits import AUDIT_SECONDS_MAX, LIST_MAX
from gateway.auth import Principal
from gateway.bodies import (
    AllotmentBody,
    EventBody,
    EventPatch,
    TicketTypeBody,
    TicketTypePatch,
    invalid,
)
from gateway.event_views import EventList, EventView, event_view
from gateway.idempotency import key_of
from gateway.pointers import of_patch, pointed
from gateway.problems import Problem
from gateway.routes.common import (
    ASKING,
    KNOWING,
    NOT_CHANGED,
    READING,
    EventId,
    IdempotencyKey,
    IfNoneMatch,
    NoBody,
    Organizer,
    TheService,
    has_current,
    headers,
    problems,
)
from gateway.routes.controls import PauseBody, note_pause
from gateway.service import Service, outcome_of
from gateway.views import AuditView, maybe_unix_ms, unix_ms

router = APIRouter(prefix="/api/v1/events", tags=["events"])

#: Documentation of an answer with an ETag.
_VERSIONED: dict[int | str, dict[str, Any]] = {
    200: {"headers": headers("ETag")},
    304: {"description": NOT_CHANGED, "headers": headers("ETag")},
}
_SALE_PROBLEMS = problems(*KNOWING, *READING, *ASKING, Refusal.EVENT_CANCELLED)


@router.post(
    "",
    status_code=201,
    response_model=EventView,
    responses={
        201: {"headers": headers("Location", "Idempotent-Replayed")},
        **problems(
            *KNOWING,
            *ASKING[1:],
            *READING,
            "invalid_idempotency_key",
            Refusal.IDEMPOTENCY_KEY_REUSED,
        ),
    },
)
async def create_event(
    body: EventBody,
    principal: Organizer,
    service: TheService,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Create an event and put it on sale, now or when its sale opens."""
    event_id = make_event_id(service.id_key, principal.sub, key_of(idempotency_key))
    event = _event_of(body, event_id, principal.sub)
    answer = await service.batcher.lane(event_id).ask(CreateEvent(event))
    outcome, _ = outcome_of(answer)
    assert isinstance(outcome, EventShown)
    response.headers["location"] = f"/api/v1/events/{event_id}"
    if outcome.replayed:
        response.headers["idempotent-replayed"] = "true"
    return event_view(outcome.event, paused=outcome.paused)


@router.get(
    "",
    response_model=EventList,
    responses={**_VERSIONED, **problems("invalid_request", "store_unavailable")},
)
async def list_events(
    service: TheService,
    response: Response,
    limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 20,
    starting_after: Annotated[str | None, Query(max_length=64)] = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """List events that have not started, soonest first. Its ETag changes with any of them."""
    try:
        after = None
        if starting_after is not None:
            if is_event_id(starting_after):
                after = await service.catalogue.event(starting_after)
            if after is None:
                raise invalid("/query/starting_after", "names no event")
        now_ms = time.time_ns() // 1_000_000
        found = await service.catalogue.upcoming(now_ms, limit + 1, after)
    except Unavailable as error:
        raise Problem("store_unavailable") from error
    etag = _version(found, limit)
    if has_current(if_none_match, etag):
        return Response(status_code=304, headers={"etag": etag})
    response.headers["etag"] = etag
    data = [_view(document) for document in found[:limit]]
    return {"object": "list", "data": data, "has_more": len(found) > limit}


@router.get(
    "/{event_id}",
    response_model=EventView,
    responses={**_VERSIONED, **problems(Refusal.EVENT_NOT_FOUND, "store_unavailable")},
)
async def read_event(
    event_id: EventId,
    service: TheService,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Show one event. Its ETag changes with every amendment."""
    document = await _document(service, event_id)
    etag = f'"{document.sequence}"'
    if has_current(if_none_match, etag):
        return Response(status_code=304, headers={"etag": etag})
    response.headers["etag"] = etag
    return _view(document)


@router.patch(
    "/{event_id}",
    response_model=EventView,
    responses=problems(
        *KNOWING,
        *ASKING,
        *READING,
        Refusal.UNKNOWN_TICKET_TYPE,
        Refusal.UNKNOWN_ALLOTMENT,
        Refusal.SALE_WINDOW_INVALID,
        Refusal.PRICE_COMMITTED,
        Refusal.BELOW_COMMITTED,
        Refusal.EVENT_CANCELLED,
    ),
)
async def amend_event(
    event_id: EventId,
    body: Annotated[EventPatch, Body()],
    principal: Organizer,
    service: TheService,
) -> Any:
    """Change the name, the sale window, prices of unsold types, or a stock."""
    opens_at_ms: int | UnsetType | None = UNSET
    closes_at_ms: int | UnsetType | None = UNSET
    if body.sale is not None and "opens_at" in body.sale.model_fields_set:
        opens_at_ms = maybe_unix_ms(body.sale.opens_at)
    if body.sale is not None and "closes_at" in body.sale.model_fields_set:
        closes_at_ms = maybe_unix_ms(body.sale.closes_at)
    _name_once("/ticket_types", body.ticket_types)
    _name_once("/allotments", body.allotments)
    capacities = {
        kind.code: kind.capacity for kind in body.ticket_types if kind.capacity is not None
    }
    for index, allotment in enumerate(body.allotments):
        if allotment.code in capacities:
            raise invalid(f"/allotments/{index}/code", "has a capacity as a ticket type already")
        capacities[allotment.code] = allotment.capacity
    changes = Changes(
        UNSET if body.name is None else body.name,
        opens_at_ms,
        closes_at_ms,
        {kind.code: kind.price for kind in body.ticket_types if kind.price is not None},
        capacities,
    )
    command = AmendEvent(principal.caller, changes)
    try:
        return await _manage(service, event_id, command)
    except Problem as problem:
        raise pointed(problem, of_patch(body)) from problem


@router.post("/{event_id}/pause", response_model=EventView, responses=_SALE_PROBLEMS)
async def pause_sale(
    event_id: EventId,
    principal: Organizer,
    service: TheService,
    body: Annotated[PauseBody | None, Body()] = None,
) -> Any:
    """Stop new holds; what is held can still be paid."""
    return await _set_pause(
        service, principal, "pause", PauseSale(principal.caller), event_id, body
    )


@router.post("/{event_id}/resume", response_model=EventView, responses=_SALE_PROBLEMS)
async def resume_sale(
    event_id: EventId,
    principal: Organizer,
    service: TheService,
    body: Annotated[PauseBody | None, Body()] = None,
) -> Any:
    """Take new holds again."""
    return await _set_pause(
        service, principal, "resume", ResumeSale(principal.caller), event_id, body
    )


@router.post(
    "/{event_id}/cancel",
    status_code=202,
    response_model=EventView,
    responses=problems(*KNOWING, *ASKING, *READING),
)
async def cancel_event(
    event_id: EventId, principal: Organizer, service: TheService, _nothing: NoBody
) -> Any:
    """Call the event off: what is held is released, what is sold is refunded.

    The event's `cancellation` says how many bookings have not been seen to, its
    availability how many units are still sold: those wait for their refund. Doing so twice
    is the same as once.
    """
    return await _manage(service, event_id, CancelEvent(principal.caller))


@router.get(
    "/{event_id}/audit",
    response_model=AuditView,
    response_description="Live counts, the same recomputed, and whether they agree",
    responses=problems(*KNOWING, *ASKING),
)
async def audit_event(event_id: EventId, principal: Organizer, service: TheService) -> Any:
    """Recompute the event from its journal and compare it with the live state."""
    document = await _document(service, event_id)
    if principal.role != "admin" and document.event.organizer != principal.sub:
        raise Problem(Refusal.EVENT_NOT_FOUND)
    try:
        return await asyncio.wait_for(service.owners.audit(event_id), AUDIT_SECONDS_MAX)
    except (OwnerGone, TimeoutError) as error:
        raise Problem("recovering", "The audit could not be carried out now.") from error


async def _document(service: Service, event_id: str) -> EventDocument:
    try:
        document = await service.catalogue.event(event_id) if is_event_id(event_id) else None
    except Unavailable as error:
        raise Problem("store_unavailable") from error
    if document is None:
        raise Problem(Refusal.EVENT_NOT_FOUND)
    return document


async def _set_pause(
    service: Service,
    principal: Principal,
    action: str,
    command: Command,
    event_id: str,
    body: PauseBody | None,
) -> Any:
    """Pause or resume an event, and say who wants it before it is done.

    Whoever cannot be named changes nothing; a line of something that then failed is followed
    by one that says so, if the store can still be reached.
    """
    document = await _document(service, event_id)
    if not may_manage(document.event, principal.caller):
        raise Problem(Refusal.EVENT_NOT_FOUND)
    await note_pause(service, principal, action, event_id, body)
    try:
        return await _manage(service, event_id, command)
    except Problem:
        with suppress(Problem):
            await note_pause(service, principal, f"{action}_failed", event_id, body)
        raise


def _version(found: Sequence[EventDocument], limit: int) -> str:
    """Return the ETag of a page of events: which they are, how they stand, and if others follow."""
    versions = [(document.event.event_id, document.sequence) for document in found[:limit]]
    content = msgspec.json.encode((versions, len(found) > limit))
    return f'"{hashlib.blake2b(content, digest_size=15).hexdigest()}"'


async def _manage(service: Service, event_id: str, command: Command) -> Any:
    outcome, _ = await service.ask(event_id, command)
    assert isinstance(outcome, EventShown)
    return event_view(outcome.event, paused=outcome.paused, cancellation=outcome.cancellation)


def _view(document: EventDocument) -> EventView:
    return event_view(document.event, paused=document.paused, cancellation=document.cancellation)


def _name_once(
    pointer: str, parts: Sequence[TicketTypeBody | TicketTypePatch | AllotmentBody]
) -> None:
    """Raise Problem `invalid_request` where a code stands a second time."""
    seen: set[str] = set()
    for index, part in enumerate(parts):
        if part.code in seen:
            raise invalid(f"{pointer}/{index}/code", f"names {part.code} for the second time")
        seen.add(part.code)


def _event_of(body: EventBody, event_id: str, organizer: str) -> Event:
    """Return the event that a body describes.

    Raises:
        Problem: `invalid_request`, where fields contradict each other.
    """
    _check_times(body)
    ticket_types, allotments = _stock_of(body)
    policy, venue = body.refund_policy, body.venue
    return Event(
        event_id=event_id,
        organizer=organizer,
        name=body.name,
        starts_at_ms=unix_ms(body.starts_at),
        currency=str(body.currency),
        ticket_types=ticket_types,
        allotments=allotments,
        hold_ttl_ms=body.hold_ttl_seconds * 1_000,
        max_per_customer=body.max_per_customer,
        opens_at_ms=maybe_unix_ms(body.sale.opens_at),
        closes_at_ms=maybe_unix_ms(body.sale.closes_at),
        ends_at_ms=maybe_unix_ms(body.ends_at),
        doors_open_at_ms=maybe_unix_ms(body.doors_open_at),
        timezone=None if body.timezone is None else str(body.timezone),
        venue=None
        if venue is None
        else Venue(venue.name, venue.city, venue.country and str(venue.country)),
        category=body.category,
        description=body.description,
        entry_policy=body.entry_policy,
        refund_policy=None if policy is None else RefundPolicy(**policy.model_dump()),
        capture_method=body.capture_method,
        payment_attempts_max=body.payment_attempts_max,
    )


def _check_times(body: EventBody) -> None:
    if body.ends_at is not None and body.ends_at <= body.starts_at:
        raise invalid("/ends_at", "must be after starts_at")
    if body.doors_open_at is not None and body.doors_open_at > body.starts_at:
        raise invalid("/doors_open_at", "must not be after starts_at")
    closes_at = body.sale.closes_at
    if closes_at is not None and closes_at <= datetime.now(UTC):
        raise invalid("/sale/closes_at", "must be in the future")
    opens_at = body.sale.opens_at
    if opens_at is not None and opens_at >= (closes_at or body.starts_at):
        raise invalid("/sale/opens_at", "must be before the sale closes")


def _stock_of(body: EventBody) -> tuple[tuple[TicketType, ...], tuple[Allotment, ...]]:
    _name_once("/ticket_types", body.ticket_types)
    _name_once("/allotments", body.allotments)
    stocks = {allotment.code: allotment.capacity for allotment in body.allotments}
    shared = frozenset(stocks)
    kinds = []
    for index, kind in enumerate(body.ticket_types):
        _check_kind(kind, f"/ticket_types/{index}", shared)
        if kind.capacity is not None:
            stocks[kind.code] = kind.capacity
        allotment = kind.allotment or kind.code
        kinds.append(TicketType(kind.code, kind.name, kind.price, allotment, kind.max_per_booking))
    unused = shared - {kind.allotment for kind in kinds}
    if unused:
        raise invalid("/allotments", f"has {min(unused)}, which no ticket type draws on")
    return tuple(kinds), tuple(Allotment(code, stocks[code]) for code in stocks)


def _check_kind(kind: TicketTypeBody, pointer: str, shared: frozenset[str]) -> None:
    if kind.seats is not None:
        raise invalid(f"{pointer}/seats", "are not offered yet: give a capacity")
    if (kind.capacity is None) == (kind.allotment is None):
        raise invalid(f"{pointer}/capacity", "or an allotment is needed, and not both")
    if kind.allotment is not None and kind.allotment not in shared:
        raise invalid(f"{pointer}/allotment", "is not among /allotments")
    if kind.code in shared:
        raise invalid(f"{pointer}/code", "is the code of a shared allotment")
