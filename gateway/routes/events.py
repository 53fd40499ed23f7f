"""Events: created, read, listed, amended, paused."""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
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
from engine.domain.ids import event_id as make_event_id
from engine.domain.ids import is_event_id
from engine.domain.outcomes import EventShown, Refusal
from engine.journal.catalogue import EventDocument
from engine.journal.contract import Unavailable
from engine.limits import AUDIT_SECONDS_MAX, LIST_MAX
from gateway.auth import Principal
from gateway.bodies import EventBody, EventPatch, invalid
from gateway.event_views import EventList, EventView, event_view
from gateway.idempotency import key_of
from gateway.new_events import event_of, name_once
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
from gateway.views import AuditView, maybe_unix_ms

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
    event = event_of(body, event_id, principal.sub)
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
    name_once("/ticket_types", body.ticket_types)
    name_once("/allotments", body.allotments)
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
