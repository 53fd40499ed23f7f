"""Decisions: what a command means for the state as it is. Reads only, never writes.

`decide` gives the answer and the facts to be journalled. The owner applies the facts,
makes them durable, and only then gives the answer.
"""

from collections.abc import Callable
from typing import Any

from engine.domain import amendments, cancellation, doors, holds, payments, refunds, views
from engine.domain.commands import (
    AmendEvent,
    CancelEvent,
    CheckIn,
    Command,
    CreateEvent,
    ExpireHold,
    NoteDelivery,
    ObserveCharge,
    ObserveDispute,
    ObservePayment,
    ObserveRefund,
    OpenPayment,
    PauseSale,
    PlaceHold,
    ReadAvailability,
    ReadBooking,
    ReadPayments,
    ReleaseHold,
    RequestRefund,
    ResumeSale,
    UndoPassage,
)
from engine.domain.decision import Decision, refused
from engine.domain.outcomes import Refusal
from engine.domain.state import EventState


def decide(state: EventState, command: Command, now_ms: int) -> Decision:
    """Answer one command.

    Args:
        state: of the event; read, not written.
        command: what is asked.
        now_ms: time of the turn, Unix milliseconds; never less than `state.now_ms`.

    Returns:
        The outcome, and the records that make it true (none for a refusal or a read).
    """
    if state.event is None and type(command) is not CreateEvent:
        return refused(Refusal.EVENT_NOT_FOUND)
    return _DECIDE[type(command)](state, command, now_ms)


_DECIDE: dict[type[Command], Callable[[EventState, Any, int], Decision]] = {
    PlaceHold: holds.place,
    ReleaseHold: holds.release,
    ExpireHold: holds.expire,
    ReadBooking: views.read_booking,
    ReadAvailability: views.read_availability,
    CreateEvent: amendments.create,
    AmendEvent: amendments.amend,
    PauseSale: amendments.pause,
    ResumeSale: amendments.resume,
    CancelEvent: cancellation.cancel,
    OpenPayment: payments.open_payment,
    ObservePayment: payments.observe,
    ReadPayments: payments.read_unsettled,
    RequestRefund: refunds.request,
    ObserveRefund: refunds.observe_refund,
    ObserveCharge: refunds.observe_charge,
    ObserveDispute: refunds.observe_dispute,
    CheckIn: doors.check_in,
    UndoPassage: doors.undo,
    NoteDelivery: doors.note_delivery,
}
