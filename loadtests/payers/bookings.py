"""A booking as its buyer sees it, as far as payers look at it."""

from datetime import datetime

import msgspec
from msgspec import Struct

from loadtests.payers.line import Client

CONFIRMED = "CONFIRMED"
#: What becomes of a booking that was paid for, or was not.
_PAID_OR_NOT = frozenset({CONFIRMED, "TICKETS_DELIVERED", "CANCELLED", "EXPIRED"})
#: What becomes of a refund.
_REFUNDED_OR_NOT = frozenset({"REFUNDED", "REFUND_DENIED", "CANCELLED"})


class Moment(Struct):
    """When a booking came into a state."""

    status: str
    at: datetime


class Booking(Struct):
    """Its state, and how it came into it."""

    id: str
    status: str
    history: list[Moment]

    @property
    def decided(self) -> bool:
        """Whether it is known what came of its payment."""
        return self.status in _PAID_OR_NOT

    @property
    def refund_decided(self) -> bool:
        """Whether it is known what came of its refund."""
        return self.status in _REFUNDED_OR_NOT

    def confirmed_ns(self) -> int | None:
        """Return the time at which it was confirmed, None if it was not.

        Nanoseconds since 1970, of which the last six digits are 0.
        """
        for moment in self.history:
            if moment.status == CONFIRMED:
                return round(moment.at.timestamp() * 1_000) * 1_000_000
        return None


async def read(buyer: Client, booking_id: str) -> Booking:
    """Return a booking as it is now. Raises LoadFailed."""
    answer = await buyer.ask("GET", f"/api/v1/bookings/{booking_id}")
    return msgspec.convert(answer, Booking)
