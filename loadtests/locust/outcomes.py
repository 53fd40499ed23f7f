"""What an answer means: an outcome of the sale, a visitor turned away, or a failure."""

import json
from dataclasses import dataclass
from enum import Enum

#: Answers that are as good as a grant: the sale works, this buyer gets nothing.
REFUSALS = frozenset(
    {"sold_out", "not_enough", "seat_taken", "limit_per_booking", "limit_per_customer"}
)
#: Name of the requests that ask for tickets, and of those that were granted.
HOLD, GRANTED = "hold", "granted"
#: What the event's owner says to a hold once it has looked at its stock.
DECIDED = frozenset({GRANTED, "sold_out", "not_enough", "seat_taken"})
#: Doors that do their work.
DOOR_REFUSALS = frozenset({"already_used"})


class Kind(Enum):
    """What an answer counts as."""

    OUTCOME = "outcome"
    TURNED_AWAY = "turned away"
    FAILURE = "failure"


@dataclass(frozen=True)
class Answer:
    """What was answered: its kind and its name."""

    kind: Kind
    name: str

    @property
    def failed(self) -> bool:
        """Whether it should not have come."""
        return self.kind is Kind.FAILURE

    @property
    def shown(self) -> str:
        """What it is counted as."""
        return self.name if self.kind is Kind.OUTCOME else f"{self.kind.value} ({self.name})"


def judge(status: int, body: bytes, retry_after: str | None, done: str) -> Answer:
    """Return what an answer means.

    Args:
        status: of HTTP; 0 if there was no answer.
        body: a problem document, unless it was done.
        retry_after: that header.
        done: what it is called if the service did what it was asked for.
    """
    if 200 <= status < 300:
        return Answer(Kind.OUTCOME, done)
    if status == 304:
        return Answer(Kind.OUTCOME, "not changed")
    if status == 0:
        return Answer(Kind.FAILURE, "no answer")
    code = problem_code(body)
    if status in (429, 503) and retry_after is not None:
        return Answer(Kind.TURNED_AWAY, code or str(status))
    if status in (409, 422) and code in REFUSALS:
        return Answer(Kind.OUTCOME, code)
    return Answer(Kind.FAILURE, f"{status} {code}".rstrip())


def judge_scan(body: bytes) -> Answer:
    """Return what the doors' 200 means for a ticket that is good, or was."""
    scan = _document(body)
    if scan.get("result") == "admitted":
        return Answer(Kind.OUTCOME, "admitted")
    reason = str(scan.get("reason"))
    kind = Kind.OUTCOME if reason in DOOR_REFUSALS else Kind.FAILURE
    return Answer(kind, reason)


def problem_code(body: bytes) -> str:
    """Return the code of a problem document; empty if it is none."""
    code = _document(body).get("code", "")
    return code if isinstance(code, str) else ""


def _document(body: bytes) -> dict[str, object]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
