"""What the cold routes share: who asks, and how an answer is documented."""

from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from engine.domain.outcomes import Refusal
from gateway.auth import BUYING_ROLES, DOOR_ROLES, PARTY_ROLES, ROLES, Principal
from gateway.bodies import invalid
from gateway.problems import KINDS, MEDIA_TYPE, FieldError, Problem
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


def principal_of(
    request: Request,
    service: TheService,
    roles: SecurityScopes,
    _scheme: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """Return who asks.

    The roles that may are those that the route's documentation names.

    Raises:
        Problem: `unauthenticated`, `forbidden`.
    """
    principal = service.tokens.verify(request.headers.get("authorization"))
    if principal.role not in roles.scopes:
        raise Problem("forbidden", f"Only for the role {' or '.join(roles.scopes)}.")
    return principal


Known = Annotated[Principal, Security(principal_of, scopes=ROLES)]
Organizer = Annotated[Principal, Security(principal_of, scopes=("organizer", "admin"))]
DoorStaff = Annotated[Principal, Security(principal_of, scopes=DOOR_ROLES)]
#: A booking's buyer and its organizer, not those who act for the organizer at the doors.
Party = Annotated[Principal, Security(principal_of, scopes=PARTY_ROLES)]
Admin = Annotated[Principal, Security(principal_of, scopes=("admin",))]
Buyer = Annotated[Principal, Security(principal_of, scopes=BUYING_ROLES)]

#: Documented, not enforced: what does not look like an id names nothing, which is a 404.
EVENT_ID_FORM = "^evt_[0-9a-hjkmnp-tv-z]{12}$"
BOOKING_ID_FORM = "^bk_[0-9a-hjkmnp-tv-z]{28}$"
EventId = Annotated[
    str,
    Path(description="`evt_` and twelve characters", json_schema_extra={"pattern": EVENT_ID_FORM}),
]
BookingId = Annotated[
    str,
    Path(description="`bk_` and 28 characters", json_schema_extra={"pattern": BOOKING_ID_FORM}),
]

TICKET_ID_FORM = "^tkt_[0-9a-hjkmnp-tv-z]{30}$"
TicketId = Annotated[
    str,
    Path(description="`tkt_` and 30 characters", json_schema_extra={"pattern": TICKET_ID_FORM}),
]

IDEMPOTENCY_KEY_TEXT = (
    "1 to 255 printable ASCII characters, quoted or bare; the same key repeats a request and "
    "gets its first answer."
)
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description=IDEMPOTENCY_KEY_TEXT,
    ),
]


async def no_body(request: Request) -> None:
    """Return if a request says nothing in its body, where there is nothing to say.

    Whoever sends something means something by it, which would not happen.

    Raises:
        Problem: `invalid_request`, `malformed_json`.
    """
    body = await request.body()
    if not body:
        return
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed_json", str(error), (FieldError("", str(error)),)) from error
    if not isinstance(said, dict):
        raise invalid("", "The body must be empty, or an object without members")
    if said:
        pointer = "/" + next(iter(said)).replace("~", "~0").replace("/", "~1")
        raise invalid(pointer, "is not known: nothing can be said here")


#: For routes without a body; stands last, so that who may not ask hears that first.
NoBody = Annotated[None, Depends(no_body)]

IfNoneMatch = Annotated[
    str | None, Header(description="ETags that the client has; one that is current gets a 304.")
]


def has_current(if_none_match: str | None, etag: str) -> bool:
    """Tell whether a client has this version already, weakly compared (RFC 9110)."""
    if if_none_match is None:
        return False
    had = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in had or etag.removeprefix("W/") in had


#: What answers may carry beside their body.
_HEADERS = {
    "Content-Disposition": "Name for a file that is saved",
    "Cache-Control": "How long the answer may be kept",
    "ETag": "Version of what is shown, for If-None-Match",
    "Idempotent-Replayed": "`true`: an earlier request with this key had already done it",
    "Location": "Of what was created",
    "Retry-After": "Seconds to wait",
    "WWW-Authenticate": "How to authenticate",
}

NOT_CHANGED = "Not changed since the version in If-None-Match"


def headers(*names: str) -> dict[str, Any]:
    """Return the documentation of an answer's headers."""
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in names}


#: Problems of every route that asks an owner.
ASKING = ("event_not_found", "overloaded", "recovering", "event_halted", "store_unavailable")
#: Problems of every route that needs a token.
KNOWING = ("unauthenticated", "forbidden")
#: Problems of every route that shows something of a booking.
OF_BOOKING = (*KNOWING, Refusal.BOOKING_NOT_FOUND, *ASKING[1:])
#: Problems of every route that reads a body.
READING = ("malformed_json", "invalid_request")
#: Problems that any request may meet.
_EVERYWHERE = (
    "body_too_large",
    "rate_limited",
    "internal_error",
    "malformed_request",
    "request_timeout",
    "headers_too_large",
)
#: Headers that go with a status.
_HEADERS_OF = {
    401: headers("WWW-Authenticate"),
    429: headers("Retry-After"),
    503: headers("Retry-After"),
}


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
        if kind.status in _HEADERS_OF:
            entry["headers"] = _HEADERS_OF[kind.status]
    return by_status
