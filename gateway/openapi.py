"""The OpenAPI document: FastAPI's own, and the hot route, which FastAPI does not see.

`make openapi` writes it to `docs/openapi.json`; a test says that it has been done.
"""

import json
import sys
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from engine.domain.outcomes import Refusal
from gateway import webhooks
from gateway.auth import BUYING_ROLES, DOOR_ROLES
from gateway.bodies import HoldBody
from gateway.door_bodies import ScanBody
from gateway.doors import SUFFIX as CHECK_INS_SUFFIX
from gateway.doors import ScanView
from gateway.edge import UNLIMITED
from gateway.holds import PREFIX, SUFFIX
from gateway.problems import KINDS
from gateway.rate_limits import POLICY
from gateway.routes.common import (
    ASKING,
    EVENT_ID_FORM,
    IDEMPOTENCY_KEY_TEXT,
    KNOWING,
    READING,
    headers,
    problems,
)

_DESCRIPTION = """\
Holds tickets for buyers, one decision after another, each durable before it is answered.

Every error is a problem document (RFC 9457) whose `type` leads to a page that explains it.
Times are RFC 3339 in UTC with milliseconds; money is in minor units. An `X-Request-Id` of the
client's is taken over, and every answer carries one; what we log of a
request names its `traceparent`. `RateLimit` headers say how many requests are left.
Roles that may use an operation stand in its security requirement.
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


#: What every answer carries.
_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "The client's own, or a new one: names the request in our logs",
        "schema": {"type": "string"},
    },
}
#: What answers carry where requests are counted, unless the operator has limits switched off.
_LIMIT_HEADERS: dict[str, Any] = {
    "RateLimit": {
        "description": "Which limit counts: `r` requests are left of it for `t` seconds more",
        "schema": {"type": "string"},
        "example": '"token";r=599;t=42',
    },
    "RateLimit-Policy": {
        "description": "Every limit: `q` requests in `w` seconds, for a token and for an address",
        "schema": {"type": "string"},
        "example": POLICY,
    },
}
#: What every request may carry.
_PARAMETERS: dict[str, Any] = {
    "X-Request-Id": {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "1 to 128 visible ASCII characters that name the request in our logs; "
        "what has another form is passed over, and the answer has a new one.",
        "schema": {"type": "string"},
    },
    "traceparent": {
        "name": "traceparent",
        "in": "header",
        "required": False,
        "description": "Of the client's trace (W3C Trace Context): what we log of the request "
        "names it. What has another form is passed over.",
        "schema": {"type": "string"},
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
    schemas |= _schemas(HoldBody, "validation")
    schemas |= _schemas(ScanBody, "validation")
    schemas |= _schemas(ScanView, "serialization")
    schema["components"]["headers"] = _HEADERS | _LIMIT_HEADERS
    schema["components"]["parameters"] = _PARAMETERS
    of_event = PREFIX + "{event_id}"
    schema["paths"][of_event + SUFFIX] = {"post": _place_hold()}
    schema["paths"].setdefault(of_event + CHECK_INS_SUFFIX, {})["post"] = _check_in()
    schema["paths"][webhooks.PATH] = {"post": _take_webhook()}
    for path, operations in schema["paths"].items():
        names = [*_HEADERS] if path in UNLIMITED else [*_HEADERS, *_LIMIT_HEADERS]
        for operation in operations.values():
            _complete_answers(operation["responses"], names)
            operation["parameters"] = [
                *operation.get("parameters", ()),
                *({"$ref": f"#/components/parameters/{name}"} for name in _PARAMETERS),
            ]
    return schema


def _schemas(model: type, mode: JsonSchemaMode) -> dict[str, Any]:
    """Return the schema of a model and of everything it is made of, by name."""
    template = "#/components/schemas/{model}"
    schema = TypeAdapter(model).json_schema(ref_template=template, mode=mode)
    return {**schema.pop("$defs", {}), model.__name__: schema}


_EVENT_ID = {
    "name": "event_id",
    "in": "path",
    "required": True,
    "description": "`evt_` and twelve characters",
    "schema": {"type": "string", "pattern": EVENT_ID_FORM},
}


def _place_hold() -> dict[str, Any]:
    granted = {
        "description": "Held until `expires_at`",
        "headers": headers("Location", "Idempotent-Replayed"),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/BookingView"}}},
    }
    errors = problems(
        *KNOWING,
        *ASKING,
        *READING,
        "invalid_idempotency_key",
        "sales_stopped",
        "throttled",
        *HOLD_REFUSALS,
    )
    return {
        "tags": ["bookings"],
        "summary": "Place Hold",
        "description": "Hold tickets, all or nothing. Reasons to refuse win in the order in "
        f"which they stand here: {', '.join(f'`{code}`' for code in HOLD_REFUSALS)}.",
        "operationId": "place_hold",
        "security": [{"HTTPBearer": list(BUYING_ROLES)}],
        "parameters": [
            _EVENT_ID,
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": IDEMPOTENCY_KEY_TEXT,
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/HoldBody"}}},
        },
        "responses": {"201": granted, **{str(status): text for status, text in errors.items()}},
    }


def _check_in() -> dict[str, Any]:
    decided = {
        "description": "Whether to let the bearer pass, else why not",
        "headers": headers("Idempotent-Replayed"),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ScanView"}}},
    }
    errors = problems(*KNOWING, *ASKING, *READING)
    return {
        "tags": ["doors"],
        "summary": "Check In",
        "description": "Decide about a scanned code, durable before it is answered. A refusal "
        "is an answer, not an error, and is kept in the log like an admission.",
        "operationId": "check_in",
        "security": [{"HTTPBearer": list(DOOR_ROLES)}],
        "parameters": [_EVENT_ID],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ScanBody"}}},
        },
        "responses": {"200": decided, **{str(status): text for status, text in errors.items()}},
    }


def _take_webhook() -> dict[str, Any]:
    kept = {
        "description": "The event is kept, or is none that we follow",
        "content": {"application/json": {"schema": _RECEIVED}},
    }
    errors = problems("bad_signature", "bad_webhook", "overloaded", "store_unavailable")
    return {
        "tags": ["payments"],
        "summary": "Take Webhook",
        "description": "For Stripe alone: its webhook endpoint. 200 means that the event is "
        "durable; anything else has Stripe send it again.",
        "operationId": "take_webhook",
        "security": [],
        "parameters": [
            {
                "name": "Stripe-Signature",
                "in": "header",
                "required": True,
                "description": "Of the raw body, at most five minutes old or ahead",
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _STRIPE_EVENT}},
        },
        "responses": {"200": kept, **{str(status): text for status, text in errors.items()}},
    }


#: As far as every kind of event is looked at; Stripe documents the rest.
_STRIPE_EVENT = {
    "type": "object",
    "required": ["id", "object", "type", "created", "data"],
    "properties": {
        "id": {"type": "string"},
        "object": {"type": "string", "const": "event"},
        "type": {"type": "string"},
        "created": {"type": "integer", "description": "Unix seconds"},
        "data": {
            "type": "object",
            "required": ["object"],
            "properties": {"object": {"type": "object"}},
        },
    },
    "examples": [
        {
            "id": "evt_1",
            "object": "event",
            "type": "customer.created",
            "created": 1_800_000_000,
            "data": {"object": {"id": "cus_1", "object": "customer"}},
        }
    ],
}
_RECEIVED = {
    "type": "object",
    "required": ["received"],
    "properties": {"received": {"type": "boolean"}},
}


def _complete_answers(responses: dict[str, Any], names: list[str]) -> None:
    """Leave out FastAPI's own form of validation errors; add headers that every answer carries."""
    if "application/json" in responses.get("422", {}).get("content", {}):
        del responses["422"]
    for response in responses.values():
        shared = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        response["headers"] = {**response.get("headers", {}), **shared}


def main() -> None:
    """Print the document."""
    from gateway.app import make_inner  # noqa: PLC0415 - the application imports this module

    json.dump(make_inner().openapi(), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
