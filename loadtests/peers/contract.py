"""What every peer does: sell units of one ticket type, durably, never more than there are."""

from datetime import datetime
from typing import Protocol

from msgspec import Struct


class Order(Struct, frozen=True):
    """A hold that a buyer asks for.

    `booking_id` was never used before. Ids grow with time, so that an index over them
    grows at its end.
    """

    booking_id: str
    event_id: str
    customer: str
    ticket_type: str
    quantity: int
    unit_price_minor: int
    expires_at: datetime


class Tally(Struct, frozen=True):
    """What is stored of one event: units never sold, bookings, units in them."""

    available: int
    bookings: int
    units: int


class Way(Protocol):
    """One way to a durable hold.

    What `place` returns of and what `read` and `tally` show survives a power cut: it was
    forced to disk before.
    """

    async def put_on_sale(self, event_id: str, ticket_type: str, capacity: int) -> None:
        """Make an event with these units to sell."""

    async def place(self, order: Order) -> int | None:
        """Keep a booking and return its number in the event, None if too few are left."""

    async def read(self, event_id: str, booking_id: str) -> Order | None:
        """Return what is stored of a booking, None if there is none."""

    async def tally(self, event_id: str) -> Tally:
        """Count what is stored of an event."""
