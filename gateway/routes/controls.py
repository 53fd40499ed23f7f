"""What operators may do to sales as a whole: stop them, slow them down, and see who did."""

from collections.abc import Awaitable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from typing_extensions import TypedDict

from engine.journal.contract import Unavailable
from engine.limits import (
    CONTROLS_REASON_LENGTH_MAX,
    HOLDS_PER_SECOND_MAX,
    HOLDS_PER_SECOND_MIN,
    LIST_MAX,
)
from gateway.auth import Principal
from gateway.bodies import LINES, as_sent
from gateway.problems import Problem
from gateway.routes.common import EVENT_ID_FORM, KNOWING, READING, Admin, TheService, problems
from gateway.service import Service
from gateway.views import rfc3339

router = APIRouter(prefix="/api/v1/controls", tags=["operations"])

_CHANGE_ID_FORM = "^(0|[1-9][0-9]{0,14})-(0|[1-9][0-9]{0,14})$"
#: One line or more; it is kept, so it names no buyer.
Reason = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=CONTROLS_REASON_LENGTH_MAX,
        strip_whitespace=True,
        pattern=LINES,
    ),
    as_sent(LINES),
]


class ReasonBody(BaseModel):
    """Why something is done."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "Incident 112"}]}
    )

    reason: Reason


class PauseBody(BaseModel):
    """Why an event is paused or resumed; its organizer need not say."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "Incident 112"}]}
    )

    reason: Reason | None = None


class ThrottleBody(BaseModel):
    """A pace of new holds, of one event or of all together; null: no pace."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "Incident 112", "holds_per_second": 500}]},
    )

    reason: Reason
    holds_per_second: Annotated[
        float | None, Field(strict=True, ge=HOLDS_PER_SECOND_MIN, le=HOLDS_PER_SECOND_MAX)
    ]
    event_id: Annotated[str | None, Field(pattern=EVENT_ID_FORM)] = None


class EventPaceView(TypedDict):
    """The pace of one event's new holds."""

    event_id: str
    holds_per_second: float


class ControlsView(TypedDict):
    """What is set; `holds_per_second` null: no pace."""

    stopped: bool
    holds_per_second: float | None
    events: list[EventPaceView]


class ChangeView(TypedDict):
    """One change: when, who, what and why. `event_id` null is for all events."""

    id: str
    at: str
    who: str
    action: str
    event_id: str | None
    holds_per_second: float | None
    reason: str


class ChangeList(TypedDict):
    """Changes, newest first."""

    object: Literal["list"]
    data: list[ChangeView]
    has_more: bool


_CHANGING = problems(*KNOWING, *READING, "store_unavailable")


@router.get("", response_model=ControlsView, responses=problems(*KNOWING, "store_unavailable"))
async def show_controls(principal: Admin, service: TheService) -> Any:
    """Show what is set for all gateways."""
    del principal
    return await _shown(service)


@router.post("/stop", response_model=ControlsView, responses=_CHANGING)
async def stop_sales(principal: Admin, service: TheService, body: ReasonBody) -> Any:
    """Stop new holds of all events, in every gateway within a second.

    What is held can still be paid, and doors stay open.
    """
    return await _changed(service, service.gatekeeper.controls.stop(principal.sub, body.reason))


@router.post("/go", response_model=ControlsView, responses=_CHANGING)
async def go_on(principal: Admin, service: TheService, body: ReasonBody) -> Any:
    """Take new holds again. Events that are paused stay so."""
    return await _changed(service, service.gatekeeper.controls.go(principal.sub, body.reason))


@router.post("/throttle", response_model=ControlsView, responses=_CHANGING)
async def throttle_sales(principal: Admin, service: TheService, body: ThrottleBody) -> Any:
    """Set how many new holds a second are passed on, of one event or of all together.

    Gateways share the pace evenly.
    """
    controls = service.gatekeeper.controls
    event_id = body.event_id or ""
    return await _changed(
        service, controls.throttle(principal.sub, body.reason, body.holds_per_second, event_id)
    )


@router.get(
    "/changes",
    response_model=ChangeList,
    responses=problems(*KNOWING, "invalid_request", "store_unavailable"),
)
async def list_changes(
    principal: Admin,
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 20,
    starting_after: Annotated[str | None, Query(pattern=_CHANGE_ID_FORM)] = None,
) -> Any:
    """List who has stopped, paused or slowed down sales, newest first."""
    del principal
    try:
        found = await service.gatekeeper.controls.changes(limit + 1, starting_after)
    except Unavailable as error:
        raise Problem("store_unavailable") from error
    data = [
        {
            "id": change.change_id,
            "at": rfc3339(change.at_ms),
            "who": change.who,
            "action": change.action,
            "event_id": change.event_id or None,
            "holds_per_second": change.holds_per_second,
            "reason": change.reason,
        }
        for change in found[:limit]
    ]
    return {"object": "list", "data": data, "has_more": len(found) > limit}


async def note_pause(
    service: Service, principal: Principal, action: str, event_id: str, body: PauseBody | None
) -> None:
    """Log that somebody wants to pause or resume an event, or that it failed.

    Raises:
        Problem: `store_unavailable`; it may stand in the log nevertheless.
    """
    reason = (body and body.reason) or ""
    try:
        await service.gatekeeper.controls.note(principal.sub, reason, action, event_id)
    except Unavailable as error:
        raise Problem("store_unavailable") from error


async def _changed(service: Service, change: Awaitable[None]) -> Any:
    try:
        await change
    except Unavailable as error:
        raise Problem("store_unavailable") from error
    return await _shown(service)


async def _shown(service: Service) -> Any:
    try:
        controlled = await service.gatekeeper.look()
    except Unavailable as error:
        raise Problem("store_unavailable") from error
    return {
        "stopped": controlled.stopped,
        "holds_per_second": controlled.holds_per_second,
        "events": [
            {"event_id": event_id, "holds_per_second": pace}
            for event_id, pace in controlled.events.items()
        ],
    }
