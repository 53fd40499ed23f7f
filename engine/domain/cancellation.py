"""Rules of an event that is called off: nothing is sold any more, everything goes back.

The owner sees to a few hundred bookings a turn and journals how far it is, so that it goes
on where it was after a crash and other requests are answered meanwhile.
"""

from engine.domain.booking import TRANSITIONS, Booking, Move
from engine.domain.commands import CancelEvent
from engine.domain.decision import Decision, existing_event, may_manage, refused
from engine.domain.holds import release_records
from engine.domain.outcomes import Cancellation, EventShown, Refusal
from engine.domain.records import CallingOff, EventCancelled, Record
from engine.domain.refunds import refund_records
from engine.domain.state import EventState
from engine.limits import CALL_OFF_BOOKINGS_MAX


def cancel(state: EventState, command: CancelEvent, now_ms: int) -> Decision:
    """Call the event off. Doing so twice is the same as once."""
    event = existing_event(state)
    if not may_manage(event, command.caller):
        return refused(Refusal.EVENT_NOT_FOUND)
    if state.cancelled_at_ms is not None:
        return EventShown(event, state.paused, cancellation=progress(state)), ()
    left = len(state.bookings)
    begun = Cancellation(now_ms, left)
    return EventShown(event, state.paused, cancellation=begun), (EventCancelled(now_ms, left),)


def progress(state: EventState) -> Cancellation | None:
    """Return how far the cancellation is, None if there is none."""
    if state.cancelled_at_ms is None:
        return None
    return Cancellation(state.cancelled_at_ms, state.to_call_off)


def call_off(state: EventState, now_ms: int) -> tuple[Record, ...]:
    """Return the records that see to the next bookings of a cancelled event, newest first."""
    cancelled_at_ms = state.cancelled_at_ms
    if cancelled_at_ms is None or not state.to_call_off:
        return ()
    records: list[Record] = []
    seen_to = min(CALL_OFF_BOOKINGS_MAX, state.to_call_off)
    left = state.to_call_off - seen_to
    for booking_id in reversed(state.placed[left : state.to_call_off]):
        records.extend(_ending(state.bookings[booking_id], now_ms))
    return (*records, CallingOff(cancelled_at_ms, left))


def _ending(booking: Booking, now_ms: int) -> tuple[Record, ...]:
    if (booking.status, Move.RELEASE) in TRANSITIONS:
        return release_records(booking, now_ms)
    disputed = booking.payment is not None and booking.payment.disputed
    if (booking.status, Move.REQUEST_REFUND) in TRANSITIONS and not disputed:
        return refund_records(booking, (), 100, now_ms)
    return ()
