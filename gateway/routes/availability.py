"""Availability: the counts now, and as a stream of changes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from fastapi import APIRouter, Response
from starlette.responses import StreamingResponse

from engine.domain.views import Availability
from engine.limits import STREAM_CHANGES_PER_SECOND, STREAM_HEARTBEAT_SECONDS, STREAMS_MAX
from gateway import metrics
from gateway.batcher import Lane, Unanswered
from gateway.problems import Problem
from gateway.routes.common import (
    ASKING,
    NOT_CHANGED,
    EventId,
    IfNoneMatch,
    TheService,
    has_current,
    headers,
    problems,
)
from gateway.service import Service
from gateway.views import AvailabilityView, availability_view

router = APIRouter(prefix="/api/v1/events", tags=["availability"])


@router.get(
    "/{event_id}/availability",
    response_model=AvailabilityView,
    responses={
        200: {"headers": headers("ETag", "Cache-Control")},
        304: {"description": NOT_CHANGED, "headers": headers("ETag", "Cache-Control")},
        **problems(*ASKING),
    },
)
async def read_availability(
    event_id: EventId,
    service: TheService,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """Show what is free; at most 100 ms old."""
    counts = await _read(await service.lane(event_id))
    stamps = {"etag": _etag(counts), "cache-control": "max-age=1"}
    if has_current(if_none_match, stamps["etag"]):
        return Response(status_code=304, headers=stamps)
    response.headers.update(stamps)
    return availability_view(counts)


#: Form of each server-sent event.
_MESSAGE = {
    "type": "object",
    "required": ["event", "id", "data"],
    "properties": {
        "event": {"type": "string", "enum": ["snapshot", "change"]},
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/AvailabilityView"},
        },
    },
}


@router.get(
    "/{event_id}/availability/stream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: one `snapshot`, then `change`s with the ticket "
            "types that changed; `id` is the sequence",
            "content": {"text/event-stream": {"schema": _MESSAGE}},
        },
        **problems(*ASKING),
    },
)
async def stream_availability(event_id: EventId, service: TheService) -> StreamingResponse:
    """Stream what is free: a snapshot, then changes, at most four a second."""
    lane = await service.lane(event_id)
    first = await _read(lane)
    if service.streams >= STREAMS_MAX:
        raise Problem("overloaded", "Too many streams are open.")
    return StreamingResponse(
        _events(lane, first, service),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _read(lane: Lane) -> Availability:
    counts = await lane.read_availability()
    if isinstance(counts, Unanswered):
        raise Problem(counts.value)
    if counts is None:
        raise Problem("event_not_found")
    return counts


async def _events(lane: Lane, first: Availability, service: Service) -> AsyncIterator[bytes]:
    """Yield the snapshot, then changes; ends when the gateway stops."""
    service.streams += 1
    metrics.STREAMS.inc()
    try:
        view = availability_view(first)
        yield _message("snapshot", view)
        told, silent = first, 0.0
        pause = 1 / STREAM_CHANGES_PER_SECOND
        while not service.stopping.is_set():
            await asyncio.sleep(pause)
            now = await lane.read_availability()
            silent += pause
            if isinstance(now, Availability) and _etag(now) != _etag(told):
                yield _message("change", _difference(told, now))
                told, silent = now, 0.0
            elif silent >= STREAM_HEARTBEAT_SECONDS:
                yield b": still here\n\n"
                silent = 0.0
    finally:
        service.streams -= 1
        metrics.STREAMS.dec()


def _difference(told: Availability, now: Availability) -> AvailabilityView:
    before = set(told.ticket_types)
    view = availability_view(now)
    changed = {kind.code for kind in now.ticket_types if kind not in before}
    view["ticket_types"] = [kind for kind in view["ticket_types"] if kind["code"] in changed]
    return view


def _message(name: str, view: AvailabilityView) -> bytes:
    data = msgspec.json.encode(view)
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), view["sequence"], data)


def _etag(counts: Availability) -> str:
    # The sale opens and closes by time alone, without an entry in the journal.
    return f'W/"{counts.sequence}-{int(counts.on_sale)}"'
