"""The event: what is on sale, when, at which price and from which stock."""

from msgspec import Struct

from engine.limits import PAYMENT_ATTEMPTS_MAX_DEFAULT


class TicketType(Struct, frozen=True, forbid_unknown_fields=True):
    """What a buyer picks.

    `allotment` names the stock that it draws on; a type with a stock of its own draws
    on the allotment of the same code.
    """

    code: str
    name: str
    price_minor: int
    allotment: str
    max_per_booking: int


class Allotment(Struct, frozen=True, forbid_unknown_fields=True):
    """A counted stock of `capacity` units, shared by the ticket types that name it."""

    code: str
    capacity: int


class Venue(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the doors are."""

    name: str
    city: str | None = None
    country: str | None = None


class RefundPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """Until when a buyer may ask for money back, and how much of it."""

    until_hours_before: int
    percent: int


class Event(Struct, frozen=True):
    """Everything an organizer decides about an event.

    Times are Unix milliseconds UTC, money is in minor units of `currency`.
    `opens_at_ms` None: on sale from creation. `closes_at_ms` None: until the start.
    `max_per_customer` None: no limit over all bookings of one customer.
    `capture_method` `manual` reserves the buyer's money first and takes it when the units
    are theirs; a payment is given up after `payment_attempts_max` failures.
    """

    event_id: str
    organizer: str
    name: str
    starts_at_ms: int
    currency: str
    ticket_types: tuple[TicketType, ...]
    allotments: tuple[Allotment, ...]
    hold_ttl_ms: int
    max_per_customer: int | None = None
    opens_at_ms: int | None = None
    closes_at_ms: int | None = None
    ends_at_ms: int | None = None
    doors_open_at_ms: int | None = None
    timezone: str | None = None
    venue: Venue | None = None
    category: str | None = None
    description: str | None = None
    entry_policy: str = "single"
    refund_policy: RefundPolicy | None = None
    created_at_ms: int = 0
    capture_method: str = "automatic"
    payment_attempts_max: int = PAYMENT_ATTEMPTS_MAX_DEFAULT

    @property
    def sale_ends_at_ms(self) -> int:
        """When the sale closes: as decided, else when the event starts."""
        return self.starts_at_ms if self.closes_at_ms is None else self.closes_at_ms
