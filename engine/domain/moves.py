"""A booking put in the place of another, and everything that is counted by it."""

from heapq import heappop, heappush

from engine.domain.booking import EXPIRING, SHARE, Booking, Share, Status
from engine.domain.state import EventState


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


def move(state: EventState, booking_id: str, status: Status, at_ms: int) -> None:
    """Put a booking into another state."""
    put(state, state.bookings[booking_id].moved(status, at_ms))


def put(state: EventState, after: Booking) -> None:
    """Put a booking in the place of the one that had its id, and count anew what changed."""
    before = state.bookings[after.booking_id]
    for capture in state.captures:
        kept = capture()
        if kept is not None:
            kept.keep(before)
    state.bookings[after.booking_id] = after
    if SHARE[before.status] is not SHARE[after.status] or before.lines is not after.lines:
        count(state, before, -1)
        count(state, after, +1)
    if after.status in EXPIRING and after.expires_at_ms != before.expires_at_ms:
        expire_at(state, after.expires_at_ms, after.booking_id)
    if after.payment is not before.payment:
        note_unsettled(state, after)
    drop_stale_expiries(state)


def note_unsettled(state: EventState, booking: Booking) -> None:
    """Keep in mind whether Stripe has something to say about a booking."""
    if booking.payment is not None and booking.payment.unsettled:
        state.unsettled.setdefault(booking.booking_id)
    else:
        state.unsettled.pop(booking.booking_id, None)


def count(state: EventState, booking: Booking, sign: int) -> None:
    """Take a booking's units out of what is available (+1), or give them back (-1)."""
    share = SHARE[booking.status]
    if share is Share.NONE:
        return
    held = share is Share.HELD
    for line in booking.lines:
        offer = state.offers[line.ticket_type]
        change = sign * line.quantity
        offer.committed += change
        offer.stock.available -= change
        if held:
            offer.stock.held += change
        else:
            offer.stock.sold += change
    change = sign * booking.units
    if held:
        state.held_units += change
    else:
        state.sold_units += change
    count_for_customer(state, booking.customer, change)


def drop_stale_expiries(state: EventState) -> None:
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
