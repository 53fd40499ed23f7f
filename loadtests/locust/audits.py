"""What an event's audit says of overselling."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Audited:
    """An event as its audit shows it, both sides taken together: the worse one counts.

    Attributes:
        event_id: of the event.
        oversold: units beyond the capacity, over all ticket types.
        agree: whether the live state is the journal's, and no rule is violated.
        committed: units held or sold, by the journal.
        capacity: units there are.
    """

    event_id: str
    oversold: int
    agree: bool
    committed: int
    capacity: int


def read_audit(document: dict[str, Any]) -> Audited:
    """Read an answer of `GET /events/{id}/audit`.

    Raises:
        KeyError, TypeError: it is none.
    """
    recomputed = document["recomputed"]["ticket_types"]
    live = document["live"]
    sides = [recomputed] if live is None else [recomputed, live["ticket_types"]]
    return Audited(
        event_id=document["event_id"],
        oversold=max(sum(_beyond(counts) for counts in side) for side in sides),
        agree=document["agree"] and not document["violations"],
        committed=sum(counts["held"] + counts["sold"] for counts in recomputed),
        capacity=sum(counts["capacity"] for counts in recomputed),
    )


def _beyond(counts: dict[str, int]) -> int:
    return max(0, counts["held"] + counts["sold"] + counts["blocked"] - counts["capacity"])
