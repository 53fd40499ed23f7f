"""The form of a decision, shared by the modules that make them."""

from engine.domain.commands import Caller
from engine.domain.event import Event
from engine.domain.outcomes import Outcome, Refusal, Refused
from engine.domain.records import Record
from engine.domain.state import EventState

#: The answer, and the facts to journal before it may be given.
Decision = tuple[Outcome, tuple[Record, ...]]


def refused(code: Refusal, subject: str | None = None, limit: int | None = None) -> Decision:
    """Return a decision that changes nothing."""
    return Refused(code, subject, limit), ()


def existing_event(state: EventState) -> Event:
    """Return the event; `decide` has already refused what needs one that is not there."""
    assert state.event is not None, "a command reached a rule before its event was created"
    return state.event


def may_manage(event: Event, caller: Caller) -> bool:
    """Tell whether the caller acts for the event's organizer."""
    return caller.admin or caller.organizer == event.organizer
