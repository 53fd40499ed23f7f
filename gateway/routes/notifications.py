"""What buyers were told, and whether it has arrived."""

import re
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from actors.back_office.notices import confirmation, messages_of
from engine.domain.ids import event_of_booking, request_id
from engine.domain.tickets import WITH_TICKETS
from engine.limits import LIST_MAX, RESEND_SECONDS
from engine.store.contract import CARRIES_FILES, Message, MessageKind, MessageStatus, Writes
from gateway.bodies import invalid
from gateway.idempotency import key_of
from gateway.problems import Problem, jittered
from gateway.routes import bookings
from gateway.routes.common import (
    KNOWING,
    OF_BOOKING,
    READING,
    BookingId,
    IdempotencyKey,
    Known,
    NoBody,
    Organizer,
    Party,
    TheService,
    problems,
)
from gateway.views import maybe_rfc3339, rfc3339

router = APIRouter(prefix="/api/v1", tags=["notifications"])

#: By which messages that somebody asked for are told from others: part of their dedupe key.
_AGAIN = "again-"
_MESSAGE_ID = re.compile(r"ntf_([1-9][0-9]{0,17})")


class NotificationView(TypedDict):
    """A message about a booking: what it is about, and how far it is.

    `error` is what went wrong last, or why it is not needed; `next_attempt_at` when it is
    tried again, null if it is not.
    """

    id: str
    kind: MessageKind
    channel: str
    status: MessageStatus
    attempts: int
    created_at: str
    sent_at: str | None
    next_attempt_at: str | None
    error: str | None


class NotificationList(TypedDict):
    """Messages about a booking, oldest first."""

    object: Literal["list"]
    data: list[NotificationView]
    has_more: bool


class TallyView(TypedDict):
    """How many messages of one kind and channel are in which state.

    `not_needed`: nobody to send them to, or nothing left to say.
    """

    kind: MessageKind
    channel: str
    pending: int
    sent: int
    permanently_failed: int
    not_needed: int


class StatisticsView(TypedDict):
    """How many messages about an organizer's events are in which state."""

    object: Literal["notification_statistics"]
    data: list[TallyView]
    total: dict[str, int]


@router.get(
    "/bookings/{booking_id}/notifications",
    response_model=NotificationList,
    responses=problems(*OF_BOOKING, "invalid_request", "back_office_unavailable"),
)
async def list_notifications(
    booking_id: BookingId,
    principal: Known,
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = LIST_MAX,
    starting_after: Annotated[str | None, Query(max_length=64)] = None,
) -> Any:
    """List messages about a booking and their fate; none is sent without an address."""
    await bookings.read(service, booking_id, principal)
    after = 0
    if starting_after is not None:
        named = _MESSAGE_ID.fullmatch(starting_after)
        if named is None:
            raise _no_message()
        after = int(named[1])
    with service.books.asking() as store:
        # The one that is named comes first: so we know that it is of this booking.
        found = await store.messages(booking_id, from_id=after, limit=limit + 1 + (after > 0))
    if after:
        if not found or found[0].message_id != after:
            raise _no_message()
        found = found[1:]
    data = [_view(one) for one in found[:limit]]
    return {"object": "list", "data": data, "has_more": len(found) > limit}


def _no_message() -> Problem:
    return invalid("/query/starting_after", "names no message about this booking")


@router.post(
    "/bookings/{booking_id}/notifications/resend",
    status_code=202,
    response_model=NotificationList,
    responses=problems(
        *OF_BOOKING,
        "not_issued",
        "no_contact",
        "invalid_idempotency_key",
        *READING,
        "back_office_unavailable",
    ),
)
async def resend_tickets(
    booking_id: BookingId,
    principal: Party,
    service: TheService,
    _nothing: NoBody,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Send the tickets of a booking again, to the address that was given with it.

    Once a minute for each booking.
    """
    shown = await bookings.read(service, booking_id, principal)
    if shown.booking.status not in WITH_TICKETS:
        raise Problem("not_issued")
    if not await service.books.has_contact(booking_id):
        raise Problem("no_contact")
    key = request_id(service.id_key, booking_id, principal.sub, key_of(idempotency_key))
    now_ms = time.time_ns() // 1_000_000
    messages = messages_of(
        (MessageKind.CONFIRMATION, confirmation(shown.booking)),
        event_of_booking(booking_id),
        [booking_id],
        [CARRIES_FILES],
        f"{_AGAIN}{key}",
        now_ms,
    )
    wanted = {message.dedupe_key for message in messages}
    with service.books.only_one(booking_id), service.books.asking() as store:
        stored = await store.messages(booking_id)
        if not any(one.dedupe_key in wanted for one in stored):
            _check_pause(stored, now_ms)
            await store.write(Writes(messages=messages))
            stored = await store.messages(booking_id)
    data = [_view(one) for one in stored if one.dedupe_key in wanted]
    return {"object": "list", "data": data, "has_more": False}


def _check_pause(stored: Sequence[Message], now_ms: int) -> None:
    """Return if tickets may be sent again. Raises Problem `rate_limited`: they just were."""
    asked_for = [one.created_ms for one in stored if f":{_AGAIN}" in one.dedupe_key]
    left = RESEND_SECONDS - (now_ms - max(asked_for, default=0)) / 1_000
    if left > 0:
        raise Problem(
            "rate_limited",
            f"The tickets are sent again once in {RESEND_SECONDS} seconds at most.",
            retry_after=jittered(min(left, RESEND_SECONDS)),
        )


@router.get(
    "/notifications/statistics",
    response_model=StatisticsView,
    responses=problems(*KNOWING, "back_office_unavailable"),
)
async def read_statistics(principal: Organizer, service: TheService) -> Any:
    """Count the messages about an organizer's events; an admin's answer counts all."""
    organizer = None if principal.role == "admin" else principal.organizer
    with service.books.asking() as store:
        tallies = await store.statistics(organizer)
    rows: dict[tuple[MessageKind, str], TallyView] = {}
    total = dict.fromkeys(("pending", "sent", "permanently_failed", "not_needed"), 0)
    for tally in tallies:
        row = rows.setdefault(
            (tally.kind, tally.channel),
            {
                "kind": tally.kind,
                "channel": tally.channel,
                "pending": 0,
                "sent": 0,
                "permanently_failed": 0,
                "not_needed": 0,
            },
        )
        if tally.status is MessageStatus.PENDING:
            row["pending"] = tally.count
        elif tally.status is MessageStatus.SENT:
            row["sent"] = tally.count
        elif tally.status is MessageStatus.NOT_NEEDED:
            row["not_needed"] = tally.count
        else:
            row["permanently_failed"] = tally.count
        total[tally.status.value.lower()] += tally.count
    return {"object": "notification_statistics", "data": list(rows.values()), "total": total}


def _view(message: Message) -> NotificationView:
    pending = message.status is MessageStatus.PENDING
    return {
        "id": f"ntf_{message.message_id}",
        "kind": message.kind,
        "channel": message.channel,
        "status": message.status,
        "attempts": message.attempts,
        "created_at": rfc3339(message.created_ms),
        "sent_at": maybe_rfc3339(message.sent_ms),
        "next_attempt_at": rfc3339(message.next_attempt_ms) if pending else None,
        "error": message.error,
    }
