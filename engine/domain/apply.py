"""The only writer of the state. `apply` never refuses: a record is a fact.

Live traffic, recovery, audit and simulation all go through here.
"""

from collections.abc import Callable
from typing import Any

from engine.domain.admission import Passage
from engine.domain.apply_payments import APPLY_PAYMENTS
from engine.domain.booking import Status
from engine.domain.event import Event
from engine.domain.moves import count_for_customer, expire_at, move, put
from engine.domain.records import (
    CallingOff,
    EventAmended,
    EventCancelled,
    EventCreated,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    PassageUndone,
    Record,
    SalePaused,
    SaleResumed,
    TicketScanned,
    TicketsDelivered,
)
from engine.domain.state import EventState, Offer, Stock
from engine.domain.tickets import TicketStatus, booking_of_ticket, place_of_ticket
from engine.limits import SCANS_REMEMBERED_MAX, UNDOS_REMEMBERED_MAX


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
            offer = Offer(ticket_type, state.stocks[ticket_type.allotment])
            state.offers[ticket_type.code] = offer
        offer.sell(ticket_type)


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
    state.placed.append(booking_id)
    state.held_units += units
    expire_at(state, booking.expires_at_ms, booking_id)
    count_for_customer(state, booking.customer, units)


def _hold_released(state: EventState, record: HoldReleased) -> None:
    move(state, record.booking_id, Status.CANCELLED, record.at_ms)


def _hold_expired(state: EventState, record: HoldExpired) -> None:
    move(state, record.booking_id, Status.EXPIRED, record.at_ms)


def _event_cancelled(state: EventState, record: EventCancelled) -> None:
    call_off(state, record.at_ms, record.left)


def call_off(state: EventState, at_ms: int, bookings_left: int) -> None:
    """Close the sale for good; `bookings_left` of the oldest bookings are to be seen to."""
    state.cancelled_at_ms = at_ms
    state.opens_at_ms = state.closes_at_ms = 0
    state.to_call_off = bookings_left


def _calling_off(state: EventState, record: CallingOff) -> None:
    state.to_call_off = record.left


def _tickets_delivered(state: EventState, record: TicketsDelivered) -> None:
    move(state, record.booking_id, Status.TICKETS_DELIVERED, record.at_ms)


def _ticket_scanned(state: EventState, record: TicketScanned) -> None:
    scan = record.scan
    state.scans[scan.scan_id] = scan
    if len(state.scans) > SCANS_REMEMBERED_MAX:
        del state.scans[next(iter(state.scans))]
    if not scan.admitted:
        return
    state.inside = scan.inside
    booking = state.bookings[booking_of_ticket(scan.ticket_id)]
    void = scan.status == TicketStatus.VOID
    passage = Passage(scan.scan_id, record.entry, record.at_ms, record.gate, scan.inside, void)
    put(state, booking.passed(place_of_ticket(scan.ticket_id), passage))


def _passage_undone(state: EventState, record: PassageUndone) -> None:
    booking = state.bookings[booking_of_ticket(record.ticket_id)]
    place = place_of_ticket(record.ticket_id)
    admission = booking.admission(place)
    assert admission is not None, f"{record.ticket_id} was let back out before it came in"
    undone = admission.passages[-1]
    state.inside += -1 if undone.entry else 1
    # The scan can be made again, and counts then.
    state.scans.pop(undone.scan_id, None)
    if record.said is not None:
        state.undos[record.said.scan_id] = record.said
        if len(state.undos) > UNDOS_REMEMBERED_MAX:
            del state.undos[next(iter(state.undos))]
    put(state, booking.not_passed(place))


_APPLY: dict[type[Record], Callable[[EventState, Any], None]] = {
    **APPLY_PAYMENTS,
    EventCancelled: _event_cancelled,
    CallingOff: _calling_off,
    EventCreated: _event_created,
    EventAmended: _event_amended,
    SalePaused: _sale_paused,
    SaleResumed: _sale_resumed,
    HoldPlaced: _hold_placed,
    HoldReleased: _hold_released,
    HoldExpired: _hold_expired,
    TicketsDelivered: _tickets_delivered,
    TicketScanned: _ticket_scanned,
    PassageUndone: _passage_undone,
}
