"""What a client asked and was told: simple data, to be filled from outcomes or from HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.domain.booking import Booking

HOLD, RELEASE, READ = "hold", "release", "read"
GRANTED, REFUSED, UNKNOWN = "granted", "refused", "unknown"


class Violation(Exception):
    """A promise is broken. Arguments: the invariant (`I1` … `I9`), what was found."""

    @property
    def invariant(self) -> str:
        return self.args[0]

    def __str__(self) -> str:
        return ": ".join(self.args)


@dataclass(frozen=True, slots=True)
class Seen:
    """A booking as a client saw it.

    `items` are (ticket type, quantity, unit price in minor units, seats), `history` is
    (status, Unix milliseconds), oldest first; `sequence` is that of the hold's entry.
    """

    booking_id: str
    customer: str
    status: str
    items: tuple[tuple[str, int, int, tuple[str, ...]], ...]
    expires_at_ms: int
    sequence: int
    history: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, booking: Booking) -> "Seen":
        return cls(
            booking.booking_id,
            booking.customer,
            str(booking.status),
            tuple(
                (line.ticket_type, line.quantity, line.unit_price_minor, line.seats)
                for line in booking.lines
            ),
            booking.expires_at_ms,
            booking.sequence,
            tuple((str(moment.status), moment.at_ms) for moment in booking.history),
        )

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Seen":
        """Return the booking that an HTTP answer shows."""
        return cls(
            body["id"],
            body["customer"],
            body["status"],
            tuple(
                (item["ticket_type"], item["quantity"], item["unit_price"], tuple(item["seats"]))
                for item in body["items"]
            ),
            _unix_ms(body["expires_at"]),
            body["sequence"],
            tuple((moment["status"], _unix_ms(moment["at"])) for moment in body["history"]),
        )

    @property
    def wanted(self) -> tuple[tuple[str, int], ...]:
        return tuple((item[0], item[1]) for item in self.items)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, from being asked to being answered or given up.

    A retry is a call of its own, under the same key. Times are seconds of one monotonic
    clock for the whole history; `answered_at` of an unknown is when the client gave up.

    Args:
        what: HOLD, RELEASE or READ.
        outcome: GRANTED when a booking was answered, REFUSED with its `code`, else UNKNOWN.
        key: idempotency key of a hold.
        wanted: (ticket type, quantity) of a hold.
        booking_id: of the booking; None where the client does not know it.
        sequence: what the answer says the owner had decided up to, None where it does not.
    """

    what: str
    customer: str
    asked_at: float
    answered_at: float
    outcome: str
    key: str = ""
    wanted: tuple[tuple[str, int], ...] = ()
    booking_id: str | None = None
    seen: Seen | None = None
    code: str | None = None
    sequence: int | None = None
    replayed: bool = False


def told(call: Call) -> int:
    """Return the newest sequence that an answer speaks of, 0 where it speaks of none."""
    return max(call.sequence or 0, 0 if call.seen is None else call.seen.sequence)


def _unix_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000)
