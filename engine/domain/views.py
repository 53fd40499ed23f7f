"""What may be seen: bookings by those they belong to, counts by everyone."""

from msgspec import Struct

from engine.domain.booking import Booking
from engine.domain.commands import Caller, Item, ReadAvailability, ReadBooking
from engine.domain.decision import Decision, existing_event, may_manage, refused
from engine.domain.event import Event
from engine.domain.holds import sale_refusal
from engine.domain.outcomes import DONE, Refusal, Refused, Shown
from engine.domain.state import EventState


class TypeCounts(Struct, frozen=True, array_like=True, gc=False):
    """Counts of the allotment that a ticket type draws on, and the type's own limit."""

    code: str
    capacity: int
    available: int
    held: int
    sold: int
    blocked: int
    max_per_booking: int


class Availability(Struct, frozen=True, array_like=True):
    """What is free at one sequence number.

    `limited` says that some refusal depends on the customer, so that a sold-out event
    cannot be refused without asking its owner.
    """

    event_id: str
    sequence: int
    as_of_ms: int
    on_sale: bool
    limited: bool
    ticket_types: tuple[TypeCounts, ...]

    def refusal(self, items: tuple[Item, ...]) -> Refused | None:
        """Return the refusal that the owner would give, None when only the owner can tell.

        Only an exhausted stock is refused from here. Everything that would win over
        that refusal makes this None.
        """
        if self.limited or not self.on_sale:
            return None
        counts = {counts.code: counts for counts in self.ticket_types}
        exhausted: Refused | None = None
        for item in items:
            # Taken out, because a type that is asked for twice is limited by its sum.
            kind = counts.pop(item.ticket_type, None)
            if kind is None or item.seats or item.best_available:
                return None
            if item.quantity > kind.max_per_booking or kind.available:
                return None
            if kind.held == 0 and (exhausted is None or exhausted.code is not Refusal.SOLD_OUT):
                exhausted = Refused(Refusal.SOLD_OUT, item.ticket_type)
            elif exhausted is None:
                exhausted = Refused(
                    Refusal.NOT_ENOUGH, item.ticket_type, available=0, held=kind.held
                )
        return exhausted


def availability(state: EventState, now_ms: int) -> Availability | None:
    """Return the counts of every ticket type, None while there is no event."""
    event = state.event
    if event is None:
        return None
    return Availability(
        event.event_id,
        state.sequence,
        now_ms,
        sale_refusal(state, now_ms) is None,
        event.max_per_customer is not None,
        tuple(
            TypeCounts(
                kind.code,
                stock.capacity,
                stock.available,
                stock.held,
                stock.sold,
                stock.blocked,
                kind.max_per_booking,
            )
            for kind in event.ticket_types
            for stock in (state.stocks[kind.allotment],)
        ),
    )


def may_see(event: Event, booking: Booking, caller: Caller) -> bool:
    """Tell whether the booking is the caller's own or of an event they manage."""
    return booking.customer == caller.sub or may_manage(event, caller)


def read_booking(state: EventState, command: ReadBooking, _now_ms: int) -> Decision:
    """Show a booking; a foreign one is as absent as a missing one."""
    event = existing_event(state)
    booking = state.bookings.get(command.booking_id)
    if booking is None or not may_see(event, booking, command.caller):
        return refused(Refusal.BOOKING_NOT_FOUND)
    return Shown(booking, event.currency), ()


def read_availability(_state: EventState, _command: ReadAvailability, _now_ms: int) -> Decision:
    """Say nothing of its own: every answer of an owner carries the availability."""
    return DONE, ()
