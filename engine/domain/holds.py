"""Rules of a hold: placed, released, expired."""

from engine.domain.booking import TRANSITIONS, Booking, Line, Move, Status
from engine.domain.commands import ExpireHold, Item, PlaceHold, ReleaseHold
from engine.domain.decision import Decision, existing_event, refused
from engine.domain.event import Event
from engine.domain.outcomes import DONE, Granted, Refusal, Refused, Shown
from engine.domain.payment import PAYABLE, PaymentState
from engine.domain.records import HoldExpired, HoldPlaced, HoldReleased, PaymentClosing, Record
from engine.domain.state import EventState, Offer, line_of
from engine.limits import PAYMENT_GRACE_MS

_CAN_STILL_BE_PAID = PAYABLE | {PaymentState.AUTHORISED}


def place(state: EventState, command: PlaceHold, now_ms: int) -> Decision:
    """Keep what is asked for, all or nothing, or say the first reason why not.

    The reasons are tried in the order in which `Refusal` lists them.
    """
    event = existing_event(state)
    booking_id = command.booking_id
    earlier = state.bookings.get(booking_id)
    if earlier is not None:
        return _repeat(earlier, command, event)
    offers = state.offers
    fits = state.opens_at_ms <= now_ms < state.closes_at_ms and not state.paused
    lines: tuple[Line, ...] = ()
    units = 0
    for item in command.items:
        quantity = item.quantity
        offer = offers.get(item.ticket_type)
        if offer is None:
            fits = False
            continue
        kind = offer.ticket_type
        if quantity > kind.max_per_booking or quantity > offer.stock.available:
            fits = False
        if item.seats or item.best_available:
            fits = False
        lines += offer.lines.get(quantity) or line_of(kind, quantity)
        units += quantity
    if not fits or len(lines) > 1 or event.max_per_customer is not None:
        refusal = _first_refusal(state, event, command, units, now_ms)
        if refusal is not None:
            return refusal, ()
    booking = Booking(
        booking_id,
        command.customer,
        lines,
        units,
        now_ms,
        now_ms + event.hold_ttl_ms,
        state.sequence + 1,
    )
    return Granted(booking, event.currency), (HoldPlaced(booking),)


def release(state: EventState, command: ReleaseHold, now_ms: int) -> Decision:
    """Give a hold back. Releasing twice is the same as once."""
    event = existing_event(state)
    booking = state.bookings.get(command.booking_id)
    if booking is None or booking.customer != command.caller.sub:
        return refused(Refusal.BOOKING_NOT_FOUND)
    status = TRANSITIONS.get((booking.status, Move.RELEASE))
    if status is None:
        if booking.status is Status.CANCELLED:
            return Shown(booking, event.currency), ()
        return refused(Refusal.NOT_RELEASABLE, booking.status)
    released = booking.moved(status, now_ms)
    return Shown(released, event.currency), release_records(booking, now_ms)


def release_records(booking: Booking, now_ms: int) -> tuple[Record, ...]:
    """Return the records that free a hold at once; money that still comes goes back."""
    released = HoldReleased(booking.booking_id, now_ms)
    payment = booking.payment
    if payment is None or payment.state not in _CAN_STILL_BE_PAID:
        return (released,)
    return released, PaymentClosing(booking.booking_id, booking.expires_at_ms)


def expire(state: EventState, command: ExpireHold, now_ms: int) -> Decision:
    """End a hold whose time is up."""
    booking = state.bookings.get(command.booking_id)
    if (
        booking is None
        or (booking.status, Move.EXPIRE) not in TRANSITIONS
        or booking.expires_at_ms > now_ms
    ):
        return refused(Refusal.BOOKING_NOT_FOUND)
    payment = booking.payment
    if payment is not None and payment.state in _CAN_STILL_BE_PAID:
        # Stripe is asked before the stock goes to somebody else, but not for ever.
        return DONE, (PaymentClosing(booking.booking_id, now_ms + PAYMENT_GRACE_MS),)
    return DONE, (HoldExpired(booking.booking_id, now_ms),)


def next_due(state: EventState, now_ms: int) -> ExpireHold | None:
    """Return the command that ends the hold whose time has been up the longest."""
    if state.expiries and state.expiries[0] <= now_ms:
        return ExpireHold(state.expiring_at[state.expiries[0]][-1])
    return None


def sale_refusal(state: EventState, now_ms: int) -> Refusal | None:
    """Return why the event takes no holds now, None when it does."""
    if state.paused and state.cancelled_at_ms is None:
        return Refusal.SALE_PAUSED
    if now_ms < state.opens_at_ms:
        return Refusal.SALE_NOT_OPEN
    if now_ms >= state.closes_at_ms:
        return Refusal.SALE_CLOSED
    return None


def _first_refusal(
    state: EventState, event: Event, command: PlaceHold, units: int, now_ms: int
) -> Refused | None:
    """Try the reasons against a hold in the order in which they win."""
    closed = sale_refusal(state, now_ms)
    if closed is not None:
        return Refused(closed)
    offers = state.offers
    for item in command.items:
        if item.ticket_type not in offers:
            return Refused(Refusal.UNKNOWN_TICKET_TYPE, item.ticket_type)
    for item in command.items:
        if item.seats or item.best_available:
            return Refused(Refusal.UNKNOWN_SEAT, item.seats[0] if item.seats else item.ticket_type)
    of_type: dict[str, int] = {}
    for item in command.items:
        of_type[item.ticket_type] = of_type.get(item.ticket_type, 0) + item.quantity
        limit = offers[item.ticket_type].ticket_type.max_per_booking
        if of_type[item.ticket_type] > limit:
            return Refused(Refusal.LIMIT_PER_BOOKING, item.ticket_type, limit)
    limit_per_customer = event.max_per_customer
    if (
        limit_per_customer is not None
        and state.units_of.get(command.customer, 0) + units > limit_per_customer
    ):
        return Refused(Refusal.LIMIT_PER_CUSTOMER, limit=limit_per_customer)
    return _stock_refusal(offers, command.items)


def _stock_refusal(offers: dict[str, Offer], items: tuple[Item, ...]) -> Refused | None:
    """Return why the stock does not suffice for all items together, None when it does.

    A stock with nothing free and nothing held is gone for good and wins over one that
    holds too little at the moment.
    """
    wanted: dict[str, int] = {}
    type_of: dict[str, str] = {}
    for item in items:
        allotment = offers[item.ticket_type].ticket_type.allotment
        type_of.setdefault(allotment, item.ticket_type)
        wanted[allotment] = wanted.get(allotment, 0) + item.quantity
    short: Refused | None = None
    for allotment, quantity in wanted.items():
        code = type_of[allotment]
        stock = offers[code].stock
        if quantity <= stock.available:
            continue
        if stock.available == 0 and stock.held == 0:
            return Refused(Refusal.SOLD_OUT, code)
        if short is None:
            short = Refused(Refusal.NOT_ENOUGH, code, available=stock.available, held=stock.held)
    return short


def _repeat(earlier: Booking, command: PlaceHold, event: Event) -> Decision:
    """Give a retry the first answer; refuse another request under the same key."""
    first = earlier.as_placed()
    asked = tuple((item.ticket_type, item.quantity, item.seats) for item in command.items)
    given = tuple((line.ticket_type, line.quantity, line.seats) for line in first.lines)
    if asked != given or command.customer != first.customer:
        return refused(Refusal.IDEMPOTENCY_KEY_REUSED)
    return Granted(first, event.currency, replayed=True), ()
