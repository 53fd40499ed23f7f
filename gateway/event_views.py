"""What clients see of events; see `gateway.views`."""

from typing import Literal

from typing_extensions import TypedDict

from engine.domain.event import Event, Venue
from engine.domain.outcomes import Cancellation
from gateway.views import maybe_rfc3339, rfc3339


class TicketTypeView(TypedDict):
    """A ticket type; `price` in minor units, `capacity` that of its allotment."""

    code: str
    name: str
    price: int
    capacity: int
    allotment: str | None
    max_per_booking: int


class SaleView(TypedDict):
    """When the sale opens and closes; null as in the request."""

    opens_at: str | None
    closes_at: str | None
    paused: bool


class AllotmentView(TypedDict):
    """A stock that several ticket types draw on."""

    code: str
    capacity: int


class VenueView(TypedDict):
    """Where the doors are."""

    name: str
    city: str | None
    country: str | None


class RefundPolicyView(TypedDict):
    """Until when a buyer may ask for money back, and how much of it."""

    until_hours_before: int
    percent: int


class CancellationView(TypedDict):
    """When the event was cancelled, and how many bookings have not been seen to yet."""

    at: str
    bookings_left: int


class EventView(TypedDict):
    """An event as its organizer has described it."""

    id: str
    organizer: str
    name: str
    starts_at: str
    ends_at: str | None
    doors_open_at: str | None
    timezone: str | None
    venue: VenueView | None
    category: str | None
    description: str | None
    currency: str
    entry_policy: str
    hold_ttl_seconds: int
    max_per_customer: int | None
    sale: SaleView
    cancellation: CancellationView | None
    capture_method: str
    payment_attempts_max: int
    refund_policy: RefundPolicyView | None
    ticket_types: list[TicketTypeView]
    allotments: list[AllotmentView]
    created_at: str


class EventList(TypedDict):
    """Events that have not started, soonest first."""

    object: Literal["list"]
    data: list[EventView]
    has_more: bool


def event_view(
    event: Event, *, paused: bool, cancellation: Cancellation | None = None
) -> EventView:
    """Return an event as anyone sees it."""
    capacities = {allotment.code: allotment.capacity for allotment in event.allotments}
    own = {kind.code for kind in event.ticket_types if kind.allotment == kind.code}
    venue = event.venue
    policy = event.refund_policy
    return {
        "id": event.event_id,
        "organizer": event.organizer,
        "name": event.name,
        "starts_at": rfc3339(event.starts_at_ms),
        "ends_at": maybe_rfc3339(event.ends_at_ms),
        "doors_open_at": maybe_rfc3339(event.doors_open_at_ms),
        "timezone": event.timezone,
        "venue": None if venue is None else _venue(venue),
        "category": event.category,
        "description": event.description,
        "currency": event.currency,
        "entry_policy": event.entry_policy,
        "hold_ttl_seconds": event.hold_ttl_ms // 1_000,
        "max_per_customer": event.max_per_customer,
        "sale": {
            "opens_at": maybe_rfc3339(event.opens_at_ms),
            "closes_at": maybe_rfc3339(event.closes_at_ms),
            "paused": paused,
        },
        "cancellation": None
        if cancellation is None
        else {"at": rfc3339(cancellation.at_ms), "bookings_left": cancellation.bookings_left},
        "capture_method": event.capture_method,
        "payment_attempts_max": event.payment_attempts_max,
        "refund_policy": None
        if policy is None
        else {"until_hours_before": policy.until_hours_before, "percent": policy.percent},
        "ticket_types": [
            {
                "code": kind.code,
                "name": kind.name,
                "price": kind.price_minor,
                "capacity": capacities[kind.allotment],
                "allotment": None if kind.code in own else kind.allotment,
                "max_per_booking": kind.max_per_booking,
            }
            for kind in event.ticket_types
        ],
        "allotments": [
            {"code": allotment.code, "capacity": allotment.capacity}
            for allotment in event.allotments
            if allotment.code not in own
        ],
        "created_at": rfc3339(event.created_at_ms),
    }


def _venue(venue: Venue) -> VenueView:
    return {"name": venue.name, "city": venue.city, "country": venue.country}
