"""What an organizer asks for becomes an event, or is refused where it contradicts itself."""

from collections.abc import Sequence
from datetime import UTC, datetime

from engine.domain.event import Allotment, Event, RefundPolicy, TicketType, Venue
from gateway.bodies import AllotmentBody, EventBody, TicketTypeBody, TicketTypePatch, invalid
from gateway.views import maybe_unix_ms, unix_ms


def name_once(
    pointer: str, parts: Sequence[TicketTypeBody | TicketTypePatch | AllotmentBody]
) -> None:
    """Raise Problem `invalid_request` where a code stands a second time."""
    seen: set[str] = set()
    for index, part in enumerate(parts):
        if part.code in seen:
            raise invalid(f"{pointer}/{index}/code", f"names {part.code} for the second time")
        seen.add(part.code)


def event_of(body: EventBody, event_id: str, organizer: str) -> Event:
    """Return the event that a body describes.

    Raises:
        Problem: `invalid_request`, where fields contradict each other.
    """
    _check_times(body)
    ticket_types, allotments = _stock_of(body)
    policy, venue = body.refund_policy, body.venue
    return Event(
        event_id=event_id,
        organizer=organizer,
        name=body.name,
        starts_at_ms=unix_ms(body.starts_at),
        currency=str(body.currency),
        ticket_types=ticket_types,
        allotments=allotments,
        hold_ttl_ms=body.hold_ttl_seconds * 1_000,
        max_per_customer=body.max_per_customer,
        opens_at_ms=maybe_unix_ms(body.sale.opens_at),
        closes_at_ms=maybe_unix_ms(body.sale.closes_at),
        ends_at_ms=maybe_unix_ms(body.ends_at),
        doors_open_at_ms=maybe_unix_ms(body.doors_open_at),
        timezone=None if body.timezone is None else str(body.timezone),
        venue=None
        if venue is None
        else Venue(venue.name, venue.city, venue.country and str(venue.country)),
        category=body.category,
        description=body.description,
        entry_policy=body.entry_policy,
        refund_policy=None if policy is None else RefundPolicy(**policy.model_dump()),
        capture_method=body.capture_method,
        payment_attempts_max=body.payment_attempts_max,
    )


def _check_times(body: EventBody) -> None:
    if body.ends_at is not None and body.ends_at <= body.starts_at:
        raise invalid("/ends_at", "must be after starts_at")
    if body.doors_open_at is not None and body.doors_open_at > body.starts_at:
        raise invalid("/doors_open_at", "must not be after starts_at")
    closes_at = body.sale.closes_at
    if closes_at is not None and closes_at <= datetime.now(UTC):
        raise invalid("/sale/closes_at", "must be in the future")
    opens_at = body.sale.opens_at
    if opens_at is not None and opens_at >= (closes_at or body.starts_at):
        raise invalid("/sale/opens_at", "must be before the sale closes")


def _stock_of(body: EventBody) -> tuple[tuple[TicketType, ...], tuple[Allotment, ...]]:
    name_once("/ticket_types", body.ticket_types)
    name_once("/allotments", body.allotments)
    stocks = {allotment.code: allotment.capacity for allotment in body.allotments}
    shared = frozenset(stocks)
    kinds = []
    for index, kind in enumerate(body.ticket_types):
        _check_kind(kind, f"/ticket_types/{index}", shared)
        if kind.capacity is not None:
            stocks[kind.code] = kind.capacity
        allotment = kind.allotment or kind.code
        kinds.append(TicketType(kind.code, kind.name, kind.price, allotment, kind.max_per_booking))
    unused = shared - {kind.allotment for kind in kinds}
    if unused:
        raise invalid("/allotments", f"has {min(unused)}, which no ticket type draws on")
    return tuple(kinds), tuple(Allotment(code, stocks[code]) for code in stocks)


def _check_kind(kind: TicketTypeBody, pointer: str, shared: frozenset[str]) -> None:
    if kind.seats is not None:
        raise invalid(f"{pointer}/seats", "are not offered yet: give a capacity")
    if (kind.capacity is None) == (kind.allotment is None):
        raise invalid(f"{pointer}/capacity", "or an allotment is needed, and not both")
    if kind.allotment is not None and kind.allotment not in shared:
        raise invalid(f"{pointer}/allotment", "is not among /allotments")
    if kind.code in shared:
        raise invalid(f"{pointer}/code", "is the code of a shared allotment")
