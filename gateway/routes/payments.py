"""Payments: begun by a booking's buyer, given back to them."""

import asyncio
import time
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Query, Response
from starlette.responses import JSONResponse

from actors.payments.contract import Declined, DeskGone, NotNow, Opened
from engine.domain.booking import EXPIRING
from engine.domain.commands import OpenPayment, RequestRefund
from engine.domain.ids import request_id
from engine.domain.outcomes import PaymentShown, Refusal, Shown, UnsettledPayment
from engine.domain.payment import Part
from engine.limits import PAYMENT_DEADLINE_MS
from engine.store.contract import Contact
from gateway.auth import Principal
from gateway.bodies import PaymentBody, RefundBody, invalid
from gateway.idempotency import key_of
from gateway.pointers import of_refund, pointed
from gateway.problems import Problem, jittered
from gateway.routes.bookings import ask_about, read, view_of
from gateway.routes.common import (
    ASKING,
    KNOWING,
    READING,
    Admin,
    BookingId,
    Buyer,
    IdempotencyKey,
    NoBody,
    Party,
    TheService,
    headers,
    problems,
)
from gateway.service import Service
from gateway.views import BookingView, PaymentIntentView, ReconciliationView, rfc3339

#: Stripe lists events of the last thirty days.
MAX_HOURS = 720

router = APIRouter(prefix="/api/v1", tags=["payments"])


@router.post(
    "/bookings/{booking_id}/payment-intent",
    status_code=201,
    response_model=PaymentIntentView,
    responses={
        200: {"model": BookingView, "description": "It needs no payment: the booking as it is"},
        **problems(
            *KNOWING,
            *READING,
            Refusal.BOOKING_NOT_FOUND,
            Refusal.NOT_PAYABLE,
            "invalid_idempotency_key",
            "payment_refused",
            "payments_unavailable",
            *ASKING[1:],
        ),
    },
)
async def open_payment(
    booking_id: BookingId,
    principal: Buyer,
    service: TheService,
    body: Annotated[PaymentBody | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Begin to pay for a hold, or go on: there is one payment for each booking.

    What Stripe takes to answer is added to the hold's own time, also if that is up by then: a
    hold lives at least 30 s from the first request. A free booking is confirmed at once.
    """
    key_of(idempotency_key)  # nothing depends on it, but it has to be one
    await _keep_contact(booking_id, principal, service, body or PaymentBody())
    command = OpenPayment(booking_id, principal.caller)
    outcome, _ = await ask_about(booking_id, service, command)
    if isinstance(outcome, Shown):
        return JSONResponse(view_of(outcome))
    assert isinstance(outcome, PaymentShown)
    unsettled = UnsettledPayment(booking_id, outcome.booking.customer, outcome.payment)
    opened = await _open_at_stripe(unsettled, service)
    # What Stripe said may have ended it: it is paid already, or the last card has failed.
    outcome, _ = await ask_about(booking_id, service, command)
    if isinstance(outcome, Shown):
        return JSONResponse(view_of(outcome))
    assert isinstance(outcome, PaymentShown)
    return {
        "payment_intent_id": opened.intent_id,
        "client_secret": opened.client_secret,
        "publishable_key": service.paying.publishable_key,
        "amount": outcome.payment.amount_minor,
        "currency": outcome.event.currency,
        "expires_at": rfc3339(outcome.booking.expires_at_ms),
    }


async def _keep_contact(
    booking_id: str, principal: Principal, service: Service, body: PaymentBody
) -> None:
    """Keep where the buyer is reached, before anything happens that they have to hear of.

    Raises:
        Problem: it says something that cannot be so; nothing was kept.
    """
    given = body.contact
    email = principal.email if given is None else given.email
    if email is None:
        if body.holders:
            raise invalid("/contact", "is needed where holders are named: no address is known")
        return
    shown = await read(service, booking_id, principal)
    booking = shown.booking
    if booking.customer != principal.sub or booking.status not in EXPIRING:
        return  # whatever is asked, it will be refused or change nothing
    if len(body.holders) > booking.units:
        raise invalid("/holders", f"names more people than there are tickets: {booking.units}")
    contact = Contact(
        email,
        (given and given.name) or principal.name,
        (given and given.locale) or principal.locale,
        tuple(body.holders),
    )
    await service.books.keep_contact(booking_id, contact)


async def _open_at_stripe(unsettled: UnsettledPayment, service: Service) -> Opened:
    try:
        async with asyncio.timeout(PAYMENT_DEADLINE_MS / 1_000):
            opened = await service.paying.payments.open(unsettled)
    except TimeoutError as error:
        raise Problem("payments_unavailable") from error
    if isinstance(opened, NotNow):
        raise Problem("payments_unavailable", retry_after=jittered(opened.retry_after_seconds))
    if isinstance(opened, Declined):
        raise Problem("payment_refused", f"Stripe says: {opened.code}.")
    return opened


@router.post(
    "/bookings/{booking_id}/refund",
    status_code=202,
    response_model=BookingView,
    responses={
        202: {"headers": headers("Idempotent-Replayed")},
        **problems(
            *KNOWING,
            *READING,
            Refusal.BOOKING_NOT_FOUND,
            Refusal.UNKNOWN_TICKET_TYPE,
            Refusal.REFUND_NOT_ALLOWED,
            Refusal.IDEMPOTENCY_KEY_REUSED,
            "invalid_idempotency_key",
            *ASKING[1:],
        ),
    },
)
async def refund_booking(
    booking_id: BookingId,
    principal: Party,
    service: TheService,
    response: Response,
    body: Annotated[RefundBody | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Ask for the money of a booking, or of some of its tickets.

    A buyer may within the event's refund policy, its organizer at any time and in full. The
    stock is on sale again once Stripe has sent the money. A repeat under the same key gives
    nothing back once more, however late it comes: it shows the booking as it stands.
    """
    parts: list[Part] = []
    for index, item in enumerate([] if body is None else body.items):
        if any(part.ticket_type == item.ticket_type for part in parts):
            raise invalid(f"/items/{index}/ticket_type", "names a ticket type for the second time")
        parts.append(Part(item.ticket_type, item.quantity))
    # Without a key of the client's, too: the gateway itself asks a restarted owner again.
    key = request_id(service.id_key, booking_id, principal.sub, key_of(idempotency_key))
    command = RequestRefund(booking_id, principal.caller, tuple(parts), key)
    try:
        outcome, _ = await ask_about(booking_id, service, command)
    except Problem as problem:
        raise pointed(problem, of_refund([] if body is None else body.items)) from problem
    assert isinstance(outcome, Shown)
    if outcome.replayed and idempotency_key is not None:
        response.headers["idempotent-replayed"] = "true"
    return view_of(outcome)


@router.post(
    "/payments/reconcile",
    response_model=ReconciliationView,
    responses=problems(*KNOWING, *READING, "payments_unavailable"),
)
async def reconcile(
    principal: Admin,
    service: TheService,
    _nothing: NoBody,
    since_hours: Annotated[int, Query(ge=0, le=MAX_HOURS)] = 72,
) -> Any:
    """Compare every payment that is open, or was opened lately, with Stripe, and repair.

    It runs by itself every minute; this is for operators who do not want to wait.
    """
    del principal
    since = int(time.time()) - since_hours * 3_600
    try:
        report = await service.paying.payments.reconcile(since)
    except DeskGone as error:
        raise Problem("payments_unavailable", str(error)) from error
    return msgspec.to_builtins(report)
