"""Rules of the event itself: created, amended, paused, resumed."""

from msgspec import UNSET
from msgspec.structs import replace

from engine.domain.commands import AmendEvent, Changes, CreateEvent, PauseSale, ResumeSale
from engine.domain.decision import Decision, existing_event, may_manage, refused
from engine.domain.event import Event
from engine.domain.outcomes import EventShown, Refusal, Refused
from engine.domain.records import EventAmended, EventCreated, SalePaused, SaleResumed
from engine.domain.state import EventState


def create(state: EventState, command: CreateEvent, now_ms: int) -> Decision:
    """Create the event; the same request again gets the first answer."""
    wanted = command.event
    if state.created_as is not None:
        if replace(wanted, created_at_ms=state.created_as.created_at_ms) != state.created_as:
            return refused(Refusal.IDEMPOTENCY_KEY_REUSED)
        return EventShown(state.created_as, paused=False, replayed=True), ()
    event = replace(wanted, created_at_ms=now_ms)
    return EventShown(event, paused=False), (EventCreated(event),)


def amend(state: EventState, command: AmendEvent, now_ms: int) -> Decision:
    """Change the event, all that is asked or nothing of it."""
    event = existing_event(state)
    if not may_manage(event, command.caller):
        return refused(Refusal.EVENT_NOT_FOUND)
    for code in command.changes.prices_minor:
        if code not in state.offers:
            return refused(Refusal.UNKNOWN_TICKET_TYPE, code)
    for code in command.changes.capacities:
        if code not in state.stocks:
            return refused(Refusal.UNKNOWN_ALLOTMENT, code)
    amended = _amended(event, command.changes)
    refusal = _amendment_refusal(state, event, amended)
    if refusal is not None:
        return refusal, ()
    if state.cancelled_at_ms is not None:
        return refused(Refusal.EVENT_CANCELLED)
    if amended == event:
        return EventShown(event, state.paused), ()
    return EventShown(amended, state.paused), (EventAmended(amended, now_ms),)


def _amended(event: Event, changes: Changes) -> Event:
    """Return the event with the changes in it."""
    prices, capacities = changes.prices_minor, changes.capacities
    return replace(
        event,
        name=event.name if changes.name is UNSET else changes.name,
        opens_at_ms=event.opens_at_ms if changes.opens_at_ms is UNSET else changes.opens_at_ms,
        closes_at_ms=event.closes_at_ms if changes.closes_at_ms is UNSET else changes.closes_at_ms,
        ticket_types=tuple(
            replace(kind, price_minor=prices.get(kind.code, kind.price_minor))
            for kind in event.ticket_types
        ),
        allotments=tuple(
            replace(stock, capacity=capacities.get(stock.code, stock.capacity))
            for stock in event.allotments
        ),
    )


def _amendment_refusal(state: EventState, event: Event, amended: Event) -> Refused | None:
    """Return why the event cannot become what is asked, None if it can."""
    if amended.opens_at_ms is not None and amended.opens_at_ms >= amended.sale_ends_at_ms:
        return Refused(Refusal.SALE_WINDOW_INVALID)
    for before, after in zip(event.ticket_types, amended.ticket_types, strict=True):
        if after.price_minor != before.price_minor and state.offers[after.code].committed:
            return Refused(Refusal.PRICE_COMMITTED, after.code)
    for allotment in amended.allotments:
        committed = state.stocks[allotment.code].committed
        if allotment.capacity < committed:
            return Refused(Refusal.BELOW_COMMITTED, allotment.code, committed)
    return None


def pause(state: EventState, command: PauseSale, now_ms: int) -> Decision:
    """Stop new holds. Pausing twice is the same as once."""
    event = existing_event(state)
    if not may_manage(event, command.caller):
        return refused(Refusal.EVENT_NOT_FOUND)
    if state.cancelled_at_ms is not None:
        return refused(Refusal.EVENT_CANCELLED)
    return EventShown(event, paused=True), () if state.paused else (SalePaused(now_ms),)


def resume(state: EventState, command: ResumeSale, now_ms: int) -> Decision:
    """Take new holds again. Resuming twice is the same as once."""
    event = existing_event(state)
    if not may_manage(event, command.caller):
        return refused(Refusal.EVENT_NOT_FOUND)
    if state.cancelled_at_ms is not None:
        return refused(Refusal.EVENT_CANCELLED)
    return EventShown(event, paused=False), (SaleResumed(now_ms),) if state.paused else ()
