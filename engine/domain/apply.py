"""The only writer of the state. `apply` never refuses: a record is a fact.

Live traffic, recovery, audit and simulation all go through here.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from engine.domain.booking import EXPIRING, SHARE, Booking, Share, Status
from engine.domain.event import Event
from engine.domain.records import (
    EventAmended,
    EventCreated,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    Record,
    SalePaused,
    SaleResumed,
)
from engine.domain.state import EventState, Offer, Stock


def apply(state: EventState, record: Record) -> None:
    """Write one fact into the state."""
    _APPLY[type(record)](state, record)


def finish_entry(state: EventState, sequence: int, at_ms: int) -> None:
    """Note that the state now includes the journal entry `sequence`, decided at `at_ms`."""
    state.sequence = sequence
    state.now_ms = at_ms


def _event_created(state: EventState, record: EventCreated) -> None:
    state.created_as = record.event
    offer_event(state, record.event)


def _event_amended(state: EventState, record: EventAmended) -> None:
    offer_event(state, record.event)


def offer_event(state: EventState, event: Event) -> None:
    """Make the event's ticket types and allotments what is on offer from now on."""
    state.event = event
    state.opens_at_ms = event.opens_at_ms or 0
    state.closes_at_ms = event.sale_ends_at_ms
    for allotment in event.allotments:
        stock = state.stocks.get(allotment.code)
        if stock is None:
            state.stocks[allotment.code] = Stock(allotment.capacity, allotment.capacity)
        else:
            stock.available += allotment.capacity - stock.capacity
            stock.capacity = allotment.capacity
    for ticket_type in event.ticket_types:
        offer = state.offers.get(ticket_type.code)
        if offer is None:
            stock = state.stocks[ticket_type.allotment]
            state.offers[ticket_type.code] = Offer(ticket_type, stock)
        else:
            offer.ticket_type = ticket_type


def _sale_paused(state: EventState, _record: SalePaused) -> None:
    state.paused = True


def _sale_resumed(state: EventState, _record: SaleResumed) -> None:
    state.paused = False


def _hold_placed(state: EventState, record: HoldPlaced) -> None:
    booking = record.booking
    booking_id = booking.booking_id
    units = booking.units
    offers = state.offers
    for line in booking.lines:
        offer = offers[line.ticket_type]
        stock = offer.stock
        quantity = line.quantity
        stock.available -= quantity
        stock.held += quantity
        offer.committed += quantity
    state.bookings[booking_id] = booking
    state.held_units += units
    expire_at(state, booking.expires_at_ms, booking_id)
    count_for_customer(state, booking.customer, units)


def expire_at(state: EventState, instant_ms: int, booking_id: str) -> None:
    """Note when a booking expires."""
    same_instant = state.expiring_at.get(instant_ms)
    if same_instant is None:
        state.expiring_at[instant_ms] = [booking_id]
        heappush(state.expiries, instant_ms)
    else:
        same_instant.append(booking_id)


def count_for_customer(state: EventState, customer: str, change: int) -> None:
    """Add to the units of a customer, where the event limits them."""
    assert state.event is not None, "a booking was journalled before its event"
    if state.event.max_per_customer is not None:
        units = state.units_of.get(customer, 0) + change
        if units:
            state.units_of[customer] = units
        else:
            del state.units_of[customer]


def _hold_released(state: EventState, record: HoldReleased) -> None:
    _move(state, record.booking_id, Status.CANCELLED, record.at_ms)


def _hold_expired(state: EventState, record: HoldExpired) -> None:
    _move(state, record.booking_id, Status.EXPIRED, record.at_ms)


def _move(state: EventState, booking_id: str, status: Status, at_ms: int) -> None:
    before = state.bookings[booking_id]
    after = before.moved(status, at_ms)
    state.bookings[booking_id] = after
    source, target = SHARE[before.status], SHARE[status]
    if source is not target:
        _count(state, after, source, -1)
        _count(state, after, target, +1)
    _drop_stale_expiries(state)


def _count(state: EventState, booking: Booking, share: Share, sign: int) -> None:
    """Add or take a booking's units where `share` says; NONE is what is available."""
    for line in booking.lines:
        offer = state.offers[line.ticket_type]
        change = sign * line.quantity
        if share is Share.NONE:
            offer.stock.available += change
            offer.committed -= change
        elif share is Share.HELD:
            offer.stock.held += change
        else:
            offer.stock.sold += change
    change = sign * booking.units
    if share is Share.NONE:
        count_for_customer(state, booking.customer, -change)
    elif share is Share.HELD:
        state.held_units += change
    else:
        state.sold_units += change


def _drop_stale_expiries(state: EventState) -> None:
    """Keep the last booking of the first instant one that still expires then."""
    expiries, bookings = state.expiries, state.bookings
    while expiries:
        instant_ms = expiries[0]
        same_instant = state.expiring_at[instant_ms]
        while same_instant:
            booking = bookings[same_instant[-1]]
            if booking.status in EXPIRING and booking.expires_at_ms == instant_ms:
                return
            same_instant.pop()
        del state.expiring_at[heappop(expiries)]


_APPLY: dict[type[Record], Callable[[EventState, Any], None]] = {
    EventCreated: _event_created,
    EventAmended: _event_amended,
    SalePaused: _sale_paused,
    SaleResumed: _sale_resumed,
    HoldPlaced: _hold_placed,
    HoldReleased: _hold_released,
    HoldExpired: _hold_expired,
}
