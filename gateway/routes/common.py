"""What the cold routes share: who asks, and how an answer is documented."""

from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from engine.domain.outcomes import Refusal
from gateway.auth import Principal
from gateway.problems import KINDS, MEDIA_TYPE, Problem
from gateway.service import Service

_bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    description="`onsale token --role buyer --sub S` makes one.",
)


def service_of(request: Request) -> Service:
    """Return the parts of this gateway."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


def anyone_known(
    request: Request,
    service: TheService,
    _scheme: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Return who asks. Raises Problem `unauthenticated`."""
    return service.tokens.verify(request.headers.get("authorization"))


Known = Annotated[Principal, Depends(anyone_known)]


def _organizer(principal: Known) -> Principal:
    if principal.role not in ("organizer", "admin"):
        raise Problem("forbidden", "Only an organizer can do this.")
    return principal


def _buyer(principal: Known) -> Principal:
    if principal.role not in ("buyer", "admin"):
        raise Problem("forbidden", "Only a buyer can do this.")
    return principal


Organizer = Annotated[Principal, Depends(_organizer)]
Buyer = Annotated[Principal, Depends(_buyer)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable ASCII characters; the same key repeats a request.",
    ),
]

#: Problems that any request may meet.
_EVERYWHERE = ("rate_limited", "internal_error")


def problems(*codes: str | Refusal) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of error answers, by status."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in (*codes, *_EVERYWHERE):
        kind = KINDS[code]
        entry = by_status.setdefault(
            kind.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )
        entry["description"] += ("; " if entry["description"] else "") + f"`{code}`: {kind.title}"
        if kind.status in (429, 503):
            entry["headers"] = {
                "Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}
            }
    return by_status


#: Problems of every route that asks an owner.
ASKING = ("event_not_found", "overloaded", "recovering", "event_halted", "store_unavailable")
#: Problems of every route that needs a token.
KNOWING = ("unauthenticated", "forbidden")
