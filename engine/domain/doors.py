"""Rules of the doors: who is let in or out, in one order with sales and refunds."""

from msgspec.structs import replace

from engine.domain.admission import Admission, DoorReason, Scanned
from engine.domain.booking import TRANSITIONS, Booking, Move
from engine.domain.commands import CheckIn, NoteDelivery, UndoPassage
from engine.domain.decision import Decision, existing_event, may_manage, refused
from engine.domain.event import Event
from engine.domain.outcomes import DONE, Refusal, ScanShown
from engine.domain.records import PassageUndone, TicketScanned, TicketsDelivered
from engine.domain.state import EventState
from engine.domain.tickets import (
    Ticket,
    TicketStatus,
    booking_of_ticket,
    place_of_ticket,
    ticket_at,
)

#: `entry_policy` of an event whose tickets may go out and come back.
REENTRY = "reentry"


def check_in(state: EventState, command: CheckIn, now_ms: int) -> Decision:
    """Say whether the bearer of a ticket may pass; every scan is journalled, refused ones too."""
    event = existing_event(state)
    if not may_manage(event, command.caller):
        return refused(Refusal.EVENT_NOT_FOUND)
    booking, ticket, found = *_ticket(state, command.ticket_id), command.found
    if booking is not None and _is_anothers(event, booking, command):
        # Sealed by whoever has the key, but in other hands: no ticket of ours.
        booking, ticket, found = None, None, DoorReason.FORGED.value
    earlier = state.scans.get(command.scan_id) or _passed_before(booking, ticket, command.scan_id)
    if earlier is not None:
        return ScanShown(earlier, replayed=True), ()
    offline = command.seen_at_ms > 0
    at_ms = now_ms
    if offline:
        # Its clock may be wrong: nobody saw a ticket in the future, or before the event was
        # on record.
        at_ms = min(max(command.seen_at_ms, event.created_at_ms), now_ms)
    if booking is None or ticket is None:
        reason = found or _without_ticket(booking)
        scan = Scanned(command.scan_id, admitted=False, reason=reason, inside=state.inside)
    else:
        scan = _judge(state, event, command, booking, ticket, at_ms)
    record = TicketScanned(
        scan, command.entry, command.gate, command.caller.sub, at_ms, now_ms, offline
    )
    return ScanShown(scan), (record,)


def undo(state: EventState, command: UndoPassage, now_ms: int) -> Decision:
    """Take the last passage of a ticket back; a repeat takes back nothing more."""
    event = existing_event(state)
    if not may_manage(event, command.caller):
        return refused(Refusal.EVENT_NOT_FOUND)
    earlier = state.undos.get(command.undo_id)
    if earlier is not None:
        return ScanShown(earlier, replayed=True), ()
    booking, ticket = _ticket(state, command.ticket_id)
    if booking is None or ticket is None:
        return refused(Refusal.TICKET_NOT_FOUND)
    place = place_of_ticket(command.ticket_id)
    admission = booking.admission(place)
    if admission is None:
        return refused(Refusal.NOT_ADMITTED)
    undone = admission.passages[-1]
    inside = state.inside + (-1 if undone.entry else 1)
    after = _described(ticket, command.undo_id, inside)
    if len(admission.passages) == 1 and ticket.status is TicketStatus.USED:
        after = replace(after, status=TicketStatus.ACTIVE.value)
    said = after if command.undo_id else None
    record = PassageUndone(command.ticket_id, command.caller.sub, now_ms, said)
    return ScanShown(after), (record,)


def note_delivery(state: EventState, command: NoteDelivery, now_ms: int) -> Decision:
    """Note that tickets were sent; what was refunded meanwhile stays as it is."""
    booking = state.bookings.get(command.booking_id)
    if booking is None:
        return refused(Refusal.BOOKING_NOT_FOUND)
    if (booking.status, Move.DELIVER_TICKETS) not in TRANSITIONS:
        return DONE, ()
    return DONE, (TicketsDelivered(booking.booking_id, now_ms),)


def _passed_before(booking: Booking | None, ticket: Ticket | None, scan_id: str) -> Scanned | None:
    """Return what was said when a ticket passed by this very scan, None if it has not."""
    if booking is None or ticket is None:
        return None
    admission = booking.admission(place_of_ticket(ticket.ticket_id))
    for index, passage in enumerate(admission.passages if admission is not None else ()):
        if passage.scan_id == scan_id:
            status = TicketStatus.VOID if passage.void else TicketStatus.USED
            said = _described(ticket, scan_id, passage.inside)
            said = replace(said, admitted=True, status=status.value)
            return _first_used(said, admission if index else None)
    return None


def _judge(
    state: EventState, event: Event, command: CheckIn, booking: Booking, ticket: Ticket, at_ms: int
) -> Scanned:
    admission = booking.admission(place_of_ticket(ticket.ticket_id))
    said = _first_used(_described(ticket, command.scan_id, state.inside), admission)
    refusal = _refusal(event, ticket, admission, entry=command.entry, at_ms=at_ms)
    if refusal is not None:
        return replace(said, reason=refusal.value)
    inside = state.inside + (1 if command.entry else -1)
    # A ticket that was used up before it became void lets nobody in, but its holder out.
    status = said.status if ticket.status is TicketStatus.VOID else TicketStatus.USED.value
    return replace(said, admitted=True, status=status, inside=inside)


def _is_anothers(event: Event, booking: Booking, command: CheckIn) -> bool:
    """Tell whether a code was sealed for another customer than the booking's."""
    bearer = command.bearer
    return bearer is not None and not bearer.is_customer(event.event_id, booking.customer)


def _without_ticket(booking: Booking | None) -> str:
    """Return why a sealed code has no ticket behind it."""
    if booking is None:
        return DoorReason.VOID.value
    return DoorReason.UNPAID.value


def _refusal(
    event: Event, ticket: Ticket, admission: Admission | None, *, entry: bool, at_ms: int
) -> DoorReason | None:
    inside = admission is not None and admission.inside
    if not entry:
        # Whoever is in may leave, whatever has become of the ticket.
        return None if inside else DoorReason.NOT_INSIDE
    if ticket.status is TicketStatus.VOID:
        return DoorReason.VOID
    if event.doors_open_at_ms is not None and at_ms < event.doors_open_at_ms:
        return DoorReason.NOT_YET
    if inside or (admission is not None and event.entry_policy != REENTRY):
        return DoorReason.ALREADY_USED
    return None


def _ticket(state: EventState, ticket_id: str) -> tuple[Booking | None, Ticket | None]:
    """Return a ticket and its booking, None for what there is not."""
    if not ticket_id:
        return None, None
    booking = state.bookings.get(booking_of_ticket(ticket_id))
    if booking is None:
        return None, None
    cancelled = state.cancelled_at_ms is not None
    return booking, ticket_at(booking, place_of_ticket(ticket_id), cancelled=cancelled)


def _described(ticket: Ticket, scan_id: str, inside: int) -> Scanned:
    return Scanned(
        scan_id,
        admitted=False,
        ticket_id=ticket.ticket_id,
        ticket_type=ticket.ticket_type,
        seat=ticket.seat or "",
        status=ticket.status.value,
        inside=inside,
    )


def _first_used(said: Scanned, admission: Admission | None) -> Scanned:
    if admission is None:
        return said
    first = admission.passages[0]
    return replace(said, first_at_ms=first.at_ms, first_gate=first.gate)
