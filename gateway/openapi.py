"""The OpenAPI document: FastAPI's own, and the hot route, which FastAPI does not see."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from engine.domain.outcomes import Refusal
from gateway.bodies import HoldBody
from gateway.holds import PREFIX, SUFFIX
from gateway.problems import KINDS
from gateway.routes.common import ASKING, KNOWING, problems
from gateway.views import BookingView

_DESCRIPTION = """\
Holds tickets for buyers, one decision after another, each durable before it is answered.

Every error is a problem document (RFC 9457) whose `type` leads to a page that explains it.
Times are RFC 3339 in UTC with milliseconds; money is in minor units.
"""

#: Refusals that a hold may meet, in the order in which they win.
HOLD_REFUSALS = (
    Refusal.IDEMPOTENCY_KEY_REUSED,
    Refusal.SALE_PAUSED,
    Refusal.SALE_NOT_OPEN,
    Refusal.SALE_CLOSED,
    Refusal.UNKNOWN_TICKET_TYPE,
    Refusal.UNKNOWN_SEAT,
    Refusal.LIMIT_PER_BOOKING,
    Refusal.LIMIT_PER_CUSTOMER,
    Refusal.SOLD_OUT,
    Refusal.NOT_ENOUGH,
    Refusal.SEAT_TAKEN,
)

_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "required": [
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "code",
        "request_id",
        "retryable",
    ],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "code": {"type": "string", "enum": sorted(KINDS)},
        "request_id": {"type": "string"},
        "retryable": {"type": "boolean", "description": "The same request may succeed later"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer to the field"},
                    "message": {"type": "string"},
                },
            },
        },
        "available": {"type": "integer"},
        "held": {"type": "integer"},
        "limit": {"type": "integer"},
        "seats": {"type": "array", "items": {"type": "string"}},
        "subject": {"type": "string", "description": "Ticket type, allotment or state in the way"},
        "sequence": {"type": "integer", "description": "Of the state that was refused from"},
    },
}


def install(app: FastAPI) -> None:
    """Have the application serve the complete document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _complete(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=_DESCRIPTION,
        routes=app.routes,
    )
    schemas = schema["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _PROBLEM
    template = "#/components/schemas/{model}"
    body = TypeAdapter(HoldBody).json_schema(ref_template=template)
    schemas.update(body.pop("$defs"))
    schemas["HoldBody"] = body
    booking = TypeAdapter(BookingView).json_schema(ref_template=template, mode="serialization")
    for name, part in booking.pop("$defs").items():
        schemas.setdefault(name, part)
    schemas.setdefault("BookingView", booking)
    schema["paths"][PREFIX + "{event_id}" + SUFFIX] = {"post": _place_hold()}
    for path in schema["paths"].values():
        for operation in path.values():
            _drop_default_validation(operation)
    return schema


def _place_hold() -> dict[str, Any]:
    granted = {
        "description": "Held until `expires_at`",
        "headers": {
            "Location": {"description": "Of the booking", "schema": {"type": "string"}},
            "Idempotent-Replayed": {
                "description": "`true`: an earlier request had already placed it",
                "schema": {"type": "string"},
            },
        },
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/BookingView"}}},
    }
    errors = problems(
        *KNOWING,
        *ASKING,
        "malformed_json",
        "invalid_request",
        "invalid_idempotency_key",
        "body_too_large",
        *HOLD_REFUSALS,
    )
    return {
        "tags": ["bookings"],
        "summary": "Place Hold",
        "description": "Hold tickets, all or nothing. Reasons to refuse win in the order in "
        f"which they stand here: {', '.join(f'`{code}`' for code in HOLD_REFUSALS)}.",
        "operationId": "place_hold",
        "security": [{"HTTPBearer": []}],
        "parameters": [
            {
                "name": "event_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "maxLength": 64},
            },
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "1 to 255 printable ASCII characters; the same key repeats a "
                "request and gets its first answer.",
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/HoldBody"}}},
        },
        "responses": {"201": granted, **{str(status): text for status, text in errors.items()}},
    }


def _drop_default_validation(operation: dict[str, Any]) -> None:
    """Replace FastAPI's own form of validation errors by a problem document."""
    answer = operation["responses"].get("422")
    if answer is not None and "application/json" in answer.get("content", {}):
        operation["responses"].pop("422")
        operation["responses"].update(
            {str(status): text for status, text in problems("invalid_request").items()}
        )
