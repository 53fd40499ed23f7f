"""Bookings: read, listed, released. Placing one is `gateway.holds`."""

import asyncio
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query

from engine.domain.commands import Command, ReadBooking, ReleaseHold
from engine.domain.ids import event_of_booking, is_booking_id
from engine.domain.outcomes import Outcome, Refusal, Shown
from engine.journal.contract import Unavailable
from engine.journal.projection import booking_member
from engine.limits import LIST_DEADLINE_MS, LIST_MAX, REQUEST_DEADLINE_MS
from gateway.auth import Principal
from gateway.bodies import invalid
from gateway.problems import Problem
from gateway.routes.common import ASKING, KNOWING, BookingId, Buyer, Known, TheService, problems
from gateway.service import Service
from gateway.views import BookingList, BookingView, booking_view

router = APIRouter(prefix="/api/v1/bookings", tags=["bookings"])

#: What keeps one event's bookings from being read, and no other's.
_AWAY = frozenset({"event_halted", "recovering", "overloaded"})

_PROBLEMS = problems(*KNOWING, Refusal.BOOKING_NOT_FOUND, *ASKING[1:])


@router.get("/{booking_id}", response_model=BookingView, responses=_PROBLEMS)
async def read_booking(booking_id: BookingId, principal: Known, service: TheService) -> Any:
    """Show a booking to its buyer or its organizer."""
    shown = await read(service, booking_id, principal)
    return view_of(shown)


@router.get(
    "", response_model=BookingList, responses=problems(*KNOWING, "invalid_request", *ASKING[1:])
)
async def list_bookings(
    principal: Buyer,
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 20,
    starting_after: Annotated[str | None, Query(max_length=64)] = None,
) -> Any:
    """List the buyer's own bookings over all events, newest first.

    Bookings of an event that cannot be asked now are named in `unavailable`.
    """
    try:
        before = None
        if starting_after is not None:
            before = await _place_of(starting_after, principal, service)
        found = await service.catalogue.bookings_of(principal.sub, limit + 1, before)
    except Unavailable as error:
        raise Problem("store_unavailable") from error
    page = found[:limit]
    # At once: the bookings of one event travel in one batch.
    shown = await asyncio.gather(*(_read_if_any(service, one, principal) for one in page))
    return {
        "object": "list",
        "data": [view_of(booking) for booking in shown if booking is not None],
        "has_more": len(found) > limit,
        "unavailable": [one for one, booking in zip(page, shown, strict=True) if booking is None],
    }


async def _read_if_any(service: Service, booking_id: str, principal: Principal) -> Shown | None:
    """Return a booking, None where its event cannot be asked now."""
    try:
        return await read(service, booking_id, principal, LIST_DEADLINE_MS)
    except Problem as problem:
        if problem.code in _AWAY:
            return None
        raise


async def _place_of(booking_id: str, principal: Principal, service: Service) -> str:
    """Return where a booking stands among those of its buyer.

    Raises:
        Problem: it is none of theirs.
        Unavailable: the store did not answer.
    """
    nobodys = invalid("/query/starting_after", "names no booking of yours")
    try:
        last = await _read_if_any(service, booking_id, principal)
    except Problem as problem:
        if problem.code == Refusal.BOOKING_NOT_FOUND:
            raise nobodys from problem
        raise
    if last is not None:
        return booking_member(last.booking.held_at_ms, booking_id)
    # Its owner cannot say: whoever pages goes on behind it all the same.
    place = await service.catalogue.place_of(principal.sub, booking_id)
    if place is None:
        raise nobodys
    return place


@router.delete(
    "/{booking_id}",
    response_model=BookingView,
    responses={**_PROBLEMS, **problems(Refusal.NOT_RELEASABLE)},
)
async def release_hold(booking_id: BookingId, principal: Buyer, service: TheService) -> Any:
    """Give a hold back; its stock is free at once. Doing so twice is the same as once."""
    command = ReleaseHold(booking_id, principal.caller)
    outcome, _ = await ask_about(booking_id, service, command)
    assert isinstance(outcome, Shown)
    return view_of(outcome)


async def read(
    service: Service,
    booking_id: str,
    principal: Principal,
    budget_ms: int = REQUEST_DEADLINE_MS,
) -> Shown:
    """Return a booking as somebody who may see it does.

    Raises:
        Problem: `booking_not_found` if they may not, or no answer in time.
    """
    command = ReadBooking(booking_id, principal.caller)
    outcome, _ = await ask_about(booking_id, service, command, budget_ms)
    assert isinstance(outcome, Shown)
    return outcome


async def ask_about(
    booking_id: str, service: Service, command: Command, budget_ms: int = REQUEST_DEADLINE_MS
) -> tuple[Outcome, int]:
    """Ask the owner of a booking's event; an event that is not there has no bookings.

    Raises:
        Problem: a refusal, or no answer in time.
    """
    try:
        return await service.ask(route_of(booking_id), command, budget_ms)
    except Problem as problem:
        if problem.code == Refusal.EVENT_NOT_FOUND:
            raise Problem(Refusal.BOOKING_NOT_FOUND) from problem
        raise


def route_of(booking_id: str) -> str:
    """Return the event that a booking id names. Raises Problem `booking_not_found`."""
    if not is_booking_id(booking_id):
        raise Problem(Refusal.BOOKING_NOT_FOUND)
    return event_of_booking(booking_id)


def view_of(shown: Shown) -> BookingView:
    """Return a booking as it is seen now."""
    booking = shown.booking
    event_id = event_of_booking(booking.booking_id)
    return booking_view(booking, event_id, shown.currency, time.time_ns() // 1_000_000)
