"""Facts as they are journalled, in the past tense. `apply` turns them into state.

A record says everything that `apply` needs, so that replaying it years later gives the
same state whatever has become of the rules since. Fields are only ever added, at the end
and with a default.
"""

from msgspec import Struct

from engine.domain.booking import Booking
from engine.domain.event import Event


class EventCreated(Struct, frozen=True, array_like=True, tag="created"):
    """The event exists from now on."""

    event: Event


class EventAmended(Struct, frozen=True, array_like=True, tag="amended"):
    """The event as it is from now on."""

    event: Event
    at_ms: int


class SalePaused(Struct, frozen=True, array_like=True, tag="paused"):
    """New holds are refused from now on."""

    at_ms: int


class SaleResumed(Struct, frozen=True, array_like=True, tag="resumed"):
    """New holds are taken again."""

    at_ms: int


class HoldPlaced(Struct, frozen=True, array_like=True, gc=False, tag="held"):
    """Inventory is kept for a buyer, as the booking says."""

    booking: Booking


class HoldReleased(Struct, frozen=True, array_like=True, gc=False, tag="released"):
    """The buyer gave a hold back."""

    booking_id: str
    at_ms: int


class HoldExpired(Struct, frozen=True, array_like=True, gc=False, tag="expired"):
    """The time of a hold was up."""

    booking_id: str
    at_ms: int


Record = (
    EventCreated | EventAmended | SalePaused | SaleResumed | HoldPlaced | HoldReleased | HoldExpired
)

#: Records that somebody outside the owner must act on (tell the buyer, tell the holders).
EFFECTS: frozenset[type[Record]] = frozenset({EventAmended, HoldExpired})
