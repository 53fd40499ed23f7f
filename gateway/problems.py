"""Every error a client can get: one table from code to status, and its document (RFC 9457)."""

import math
import random
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from engine.domain.outcomes import TRANSIENT, Refusal, Refused

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """What is the same for every occurrence of a problem."""

    status: int
    title: str
    retryable: bool = False
    advice: str = ""


#: Codes of refusals are those of the rules; a test says that none is missing.
KINDS: dict[str, Kind] = {
    Refusal.EVENT_NOT_FOUND: Kind(404, "No such event"),
    Refusal.BOOKING_NOT_FOUND: Kind(404, "No such booking"),
    Refusal.IDEMPOTENCY_KEY_REUSED: Kind(
        422,
        "This idempotency key was used for another request",
        advice="Use a new key for every new request, the same key only to repeat one.",
    ),
    Refusal.SALE_PAUSED: Kind(409, "The sale is paused"),
    Refusal.SALE_NOT_OPEN: Kind(409, "The sale has not opened yet"),
    Refusal.SALE_CLOSED: Kind(409, "The sale is over"),
    Refusal.UNKNOWN_TICKET_TYPE: Kind(422, "The event has no such ticket type"),
    Refusal.UNKNOWN_SEAT: Kind(422, "The event has no such seat"),
    Refusal.LIMIT_PER_BOOKING: Kind(409, "More than one booking may have"),
    Refusal.LIMIT_PER_CUSTOMER: Kind(409, "More than one customer may have"),
    Refusal.SOLD_OUT: Kind(
        409,
        "Sold out",
        advice="Nothing is free and nothing is held: it will not come back soon.",
    ),
    Refusal.NOT_ENOUGH: Kind(
        409,
        "Not enough left",
        advice="Holds may expire: it may come back.",
    ),
    Refusal.SEAT_TAKEN: Kind(409, "A seat is taken"),
    Refusal.EVENT_CANCELLED: Kind(409, "The event is cancelled"),
    Refusal.NOT_PAYABLE: Kind(409, "The booking cannot be paid any more"),
    Refusal.PAYMENT_MISMATCH: Kind(409, "The payment does not belong to the booking"),
    Refusal.REFUND_NOT_ALLOWED: Kind(409, "The booking cannot be refunded now"),
    Refusal.NOT_RELEASABLE: Kind(409, "Only an unpaid hold can be released"),
    Refusal.UNKNOWN_ALLOTMENT: Kind(422, "The event has no such allotment"),
    Refusal.SALE_WINDOW_INVALID: Kind(422, "The sale would close before it opens"),
    Refusal.PRICE_COMMITTED: Kind(409, "The price of a type that was held or sold is fixed"),
    Refusal.BELOW_COMMITTED: Kind(409, "The capacity would be below what is held and sold"),
    "ticket_not_found": Kind(404, "No such ticket"),
    "ticket_void": Kind(
        409,
        "The ticket is void",
        advice="It was given back or taken back, or the event is cancelled: it admits nobody.",
    ),
    "too_many_tickets": Kind(
        409,
        "Too many tickets for one document",
        advice="Ask for the tickets one by one.",
    ),
    "not_issued": Kind(
        409,
        "The booking has no tickets yet",
        advice="Tickets are issued when the booking is confirmed.",
    ),
    "overloaded": Kind(
        503,
        "Too much at once",
        retryable=True,
        advice="Nothing was decided. Try again shortly.",
    ),
    "recovering": Kind(
        503,
        "The event's owner is restarting",
        retryable=True,
        advice="Repeat the request with the same idempotency key: it is carried out once.",
    ),
    "event_halted": Kind(
        503,
        "The event is halted until an operator has looked at it",
        advice="See the runbook of the operator: the event's journal is damaged.",
    ),
    "payments_unavailable": Kind(
        503,
        "The payment service does not answer",
        retryable=True,
        advice="The hold stays. Repeat the request: there is one payment for each booking.",
    ),
    "payment_refused": Kind(409, "The payment service refuses this payment"),
    "bad_signature": Kind(400, "The webhook's signature is not valid"),
    "bad_webhook": Kind(400, "The webhook cannot be read"),
    "store_unavailable": Kind(503, "The store does not answer", retryable=True),
    "not_ready": Kind(503, "Not ready", retryable=True),
    "rate_limited": Kind(429, "Too many requests", retryable=True),
    "unauthenticated": Kind(401, "Authentication is needed"),
    "forbidden": Kind(403, "Not with this role"),
    "not_found": Kind(404, "Nothing here"),
    "method_not_allowed": Kind(405, "Not with this method"),
    "invalid_request": Kind(422, "The request is not valid"),
    "malformed_json": Kind(400, "The body is not JSON"),
    "invalid_idempotency_key": Kind(
        400,
        "The idempotency key is not usable",
        advice="1 to 255 printable ASCII characters, quoted or bare.",
    ),
    "body_too_large": Kind(413, "The body is too large"),
    "internal_error": Kind(500, "An error of ours"),
}


class FieldError(NamedTuple):
    """What is wrong with one field, by JSON pointer."""

    pointer: str
    message: str


class Problem(Exception):
    """An error on its way to the client.

    Args:
        code: key of KINDS.
        detail: what is wrong in this occurrence; never secret or personal.
        errors: the fields that are wrong.
        facts: further members of the document.
        retry_after: seconds until it is worth trying again, where that is known.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        errors: tuple[FieldError, ...] = (),
        facts: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(code, detail, errors, facts, retry_after)
        self.code = code
        self.kind = KINDS[code]
        self.detail = detail
        self.errors = errors
        self.facts = facts or {}
        self.retry_after = retry_after

    def document(self, instance: str, request_id: str) -> dict[str, Any]:
        """Return the members of the problem document."""
        members: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail or self.kind.advice or f"{self.kind.title}.",
            "instance": quote(instance),
            "code": self.code,
            "request_id": request_id,
            "retryable": self.kind.retryable or self.code in TRANSIENT,
        }
        if self.errors:
            members["errors"] = [error._asdict() for error in self.errors]
        members.update(self.facts)
        return members

    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        if self.kind.status in (429, 503):
            return {"retry-after": str(self.retry_after or jittered(1.0))}
        if self.kind.status == 401:
            return {"www-authenticate": 'Bearer realm="onsale"'}
        return {}

    def body(self, instance: str, request_id: str) -> bytes:
        """Return the document as it is sent."""
        return msgspec.json.encode(self.document(instance, request_id))


def jittered(seconds: float) -> int:
    """Return up to 2 seconds more: who was turned away together does not come back together."""
    return max(1, math.ceil(seconds)) + random.randint(0, 2)  # noqa: S311 - guards nothing


def of_refusal(refused: Refused, sequence: int | None = None) -> Problem:
    """Return the problem that tells a client of a refusal."""
    facts: dict[str, Any] = {}
    if refused.available is not None:
        facts["available"] = refused.available
        facts["held"] = refused.held
    if refused.limit is not None:
        facts["limit"] = refused.limit
    if refused.seats:
        facts["seats"] = list(refused.seats)
    if refused.subject is not None:
        facts["subject"] = refused.subject
    # What is foreign must look like what is missing, which no owner has decided about.
    if sequence is not None and KINDS[refused.code].status != 404:
        facts["sequence"] = sequence
    return Problem(refused.code.value, _detail(refused), (), facts)


def _detail(refused: Refused) -> str:
    kind = KINDS[refused.code]
    parts = [kind.title]
    if refused.subject is not None:
        parts.append(refused.subject)
    if refused.limit is not None:
        parts.append(f"limit {refused.limit}")
    if refused.available is not None:
        parts.append(f"{refused.available} free, {refused.held} held")
    return ": ".join(parts[:2]) + ("; " + ", ".join(parts[2:]) if parts[2:] else "") + "."
