"""The checker of I7: Stripe's own books against the journal, booking by booking.

The sandbox keeps its books without knowing the product. Every intent of the event has its
booking, and every booking that has cost money has one intent that took it, once.
"""

import asyncio
import time
from collections import Counter, defaultdict
from typing import Any

from engine.domain.booking import SHARE, Booking, Share
from engine.domain.books import count_money
from engine.domain.payment import Payment, PaymentState
from engine.domain.records import (
    MoneyTakenBack,
    PaymentReturning,
    RefundFailed,
    RefundRequested,
)
from engine.domain.state import EventState
from engine.journal.entry import Entry
from tests.calls import Violation
from tests.end_to_end.till import Till
from tests.end_to_end.verify import verify
from tests.unit.engine.domain.given import replayed

_POLL_SECONDS = 0.1
_NOTHING = Payment(PaymentState.CLOSED, 0, 0)


async def settled(till: Till, seconds: float = 30.0, *, holds: int = 0) -> EventState:
    """Wait until nothing waits for Stripe, check everything, and return the state.

    Args:
        holds: bookings that may still be held: nobody pays for them.

    Raises:
        AssertionError: it does not settle (I9), or the audit does not agree.
        Violation: a promise to a client is broken, or the books do not agree (I7).
    """
    deadline = time.monotonic() + seconds
    while True:
        state = await till.state()
        held = sum(SHARE[one.status] is Share.HELD for one in state.bookings.values())
        behind = await till.shop.behind(till.event_id)
        if not (state.unsettled or held > holds or state.to_call_off or behind):
            break
        assert time.monotonic() < deadline, (
            f"I9: {len(state.unsettled)} unsettled, {held} held, {behind} messages, "
            f"{_first(state)}\n{till.shop.service.log()[-2_000:]}"
        )
        await asyncio.sleep(_POLL_SECONDS)
    await verify(till.buyers)
    report = await till.buyers.audit()
    entries = await till.entries()
    compare(entries, till.accounts(), report["money"])
    return replayed(entry for entry in entries if entry.sequence)


def _first(state: EventState) -> str:
    return next((repr(state.bookings[one]) for one in state.unsettled), "")


def compare(
    entries: list[Entry], accounts: list[dict[str, Any]], audited: dict[str, int] | None = None
) -> None:
    """Check that a journal in which nothing is under way agrees with Stripe's books.

    Args:
        entries: the event's whole journal.
        accounts: of its intents, as the sandbox has them.
        audited: the money that the service's own audit has found.

    Raises:
        Violation: I7.
    """
    bookings = replayed(entry for entry in entries if entry.sequence).bookings
    of_booking: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for account in accounts:
        _same("the booking of an intent", account["metadata"]["booking"] in bookings, True)
        of_booking[account["metadata"]["booking"]].append(account)
    refunds = _refunds_made(entries)
    for booking_id, booking in bookings.items():
        _compare_booking(booking, of_booking[booking_id], refunds[booking_id])
    money = count_money(bookings.values())
    _same("all that was captured", money.captured_minor, _sum(accounts, "captured"))
    _same("all that went back", money.refunded_minor, _sum(accounts, "refunded"))
    left_minor = money.captured_minor - money.refunded_minor
    _same("what is left", left_minor, money.sold_minor + money.kept_minor)
    if audited is not None:
        _same("the audit's captured", audited["captured"], money.captured_minor)
        _same("the audit's refunded", audited["refunded"], money.refunded_minor)
        _same("the audit's sold", audited["sold"] + audited["kept"], left_minor)


def _compare_booking(booking: Booking, accounts: list[dict[str, Any]], refunds: int) -> None:
    what = f"{booking.booking_id} ({booking.status})"
    payment = booking.payment or _NOTHING
    taken = [one for one in accounts if one["captured"]]
    if len(taken) > 1:
        raise Violation("I7", f"{what} was paid {len(taken)} times: {taken}")
    for account in accounts:
        open_ = account["status"] not in ("succeeded", "canceled")
        if open_ and SHARE[booking.status] is not Share.HELD:
            raise Violation("I7", f"{what} can still be paid: {account}")
    if SHARE[booking.status] is Share.SOLD and booking.total_minor and not taken:
        raise Violation("I7", f"{what} was never paid")
    if taken:
        _same(f"the intent of {what}", payment.intent_id, taken[0]["id"])
    captured_minor, refunded_minor = _sum(taken, "captured"), _sum(taken, "refunded")
    _same(f"{what}, captured", payment.captured_minor, captured_minor)
    _same(f"{what}, refunded", payment.refunded_minor, refunded_minor)
    _same(f"{what}, number of refunds", refunds, _sum(taken, "refunds"))
    price_minor = booking.total_minor if SHARE[booking.status] is Share.SOLD else 0
    left_minor = captured_minor - refunded_minor - payment.kept_minor
    _same(f"{what}, left of the money", price_minor, left_minor)


def _refunds_made(entries: list[Entry]) -> Counter[str]:
    """Return how many refunds of each booking Stripe has made: at our wish, or at another's."""
    made: Counter[str] = Counter()
    for entry in entries:
        for record in entry.records:
            if isinstance(record, RefundRequested | PaymentReturning):
                made[record.booking_id] += record.refund.amount_minor > 0
            elif isinstance(record, MoneyTakenBack):
                made[record.booking_id] += 1
            elif isinstance(record, RefundFailed) and not record.refund_id:
                made[record.booking_id] -= 1
    return made


def _sum(accounts: list[dict[str, Any]], name: str) -> int:
    return sum(account[name] for account in accounts)


def _same(what: str, ours: object, stripes: object) -> None:
    if ours != stripes:
        raise Violation("I7", f"{what}: {ours} here, {stripes} at Stripe")
