"""Errors on their way to a client: problem documents (RFC 9457)."""

import math
import random
import re
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from engine.domain.outcomes import TRANSIENT, Refused
from gateway.problem_kinds import KINDS, Kind

MEDIA_TYPE = "application/problem+json"
#: Paths that are written as they are.
_LITERAL = re.compile(r"[A-Za-z0-9_/-]*")


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
            "detail": self.detail or self.kind.advice,
            "instance": instance if _LITERAL.fullmatch(instance) else quote(instance),
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
    detail = "" if KINDS[refused.code].status == 404 else _detail(refused)
    return Problem(refused.code.value, detail, (), facts)


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


__all__ = ["KINDS", "MEDIA_TYPE", "FieldError", "Kind", "Problem", "jittered", "of_refusal"]
