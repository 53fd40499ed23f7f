"""An event that is called off: nothing is sold any more, everything held or sold goes back."""

import pytest

from engine.domain import cancellation
from engine.domain.booking import SHARE, Share, Status
from engine.domain.cancellation import call_off
from engine.domain.commands import Caller, CancelEvent
from engine.domain.event import RefundPolicy
from engine.domain.outcomes import EventShown, Refusal
from engine.domain.payment import PaymentState
from engine.domain.records import EventCancelled
from engine.domain.snapshot import capture, digest, encode_slices, restore
from tests.unit.engine.domain.given import (
    ADMIN,
    ORGANIZER,
    PAUSE,
    RESUME,
    RIVAL_ORGANIZER,
    a_type,
    amend,
    hold,
    replayed,
)
from tests.unit.engine.domain.given_payments import (
    CANCEL,
    PRICE_MINOR,
    SUCCEEDED,
    BoxOffice,
    pay,
    refund,
    refund_said,
    said,
)
from tests.unit.engine.domain.situations import (
    SITUATIONS,
    confirmed,
    opened,
    refund_asked,
    refund_of_a_part_asked,
)


@pytest.mark.parametrize("caller", [ORGANIZER, ADMIN])
def test_whoever_manages_the_event_calls_it_off_once(caller):
    sale = confirmed()
    sale.placed("bob", ga=1)

    first = sale.ask(CancelEvent(caller))
    sale.wait(1_000)
    again = sale.ask(CancelEvent(caller))

    assert isinstance(first, EventShown)
    assert sale.last() == (EventCancelled(sale.now_ms - 1_000, 2),)
    assert first.cancellation == again.cancellation
    assert (first.cancellation.at_ms, first.cancellation.bookings_left) == (sale.now_ms - 1_000, 2)


@pytest.mark.parametrize("caller", [Caller("ann"), RIVAL_ORGANIZER])
def test_nobody_else_does(caller):
    sale = confirmed()

    assert sale.refusal(CancelEvent(caller)).code is Refusal.EVENT_NOT_FOUND


def test_nothing_is_sold_of_it_any_more():
    sale = BoxOffice()
    sale.ask(CANCEL)

    assert sale.refusal(hold("ann", ga=1)).code is Refusal.SALE_CLOSED
    for command in (amend(name="Another"), amend(opens_at_ms=None), PAUSE, RESUME):
        assert sale.refusal(command).code is Refusal.EVENT_CANCELLED


def test_a_paused_event_that_is_called_off_does_not_ask_buyers_to_wait():
    sale = BoxOffice()
    sale.ask(PAUSE)
    sale.ask(CANCEL)

    assert sale.refusal(hold("ann", ga=1)).code is Refusal.SALE_CLOSED


def settle(sale: BoxOffice) -> None:
    """Have Stripe do whatever was asked of it."""
    for booking_id in list(sale.state.unsettled):
        while (payment := sale.state.bookings[booking_id].payment).refunding:
            refund_ = payment.refund
            sale.hear(refund_said("succeeded", refund_.amount_minor, refund_.number))
        if payment.state is not PaymentState.RETURNED:
            sale.hear(said("canceled"))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_whatever_a_booking_has_come_to_it_ends_without_units(situation):
    sale = SITUATIONS[situation]()

    sale.call_off()
    if situation in ("in_dispute", "cannot_be_returned", "refund_bounced_too_often"):
        return  # decided elsewhere
    settle(sale)

    booking = sale.booking("ann")
    assert SHARE[booking.status] is Share.NONE
    assert not sale.state.unsettled
    if booking.payment is not None:
        captured_minor, refunded_minor, _ = sale.money()
        assert captured_minor == refunded_minor
    assert sale.counts() == (10, 0, 0)


def test_a_buyer_gets_everything_whatever_the_policy_was():
    sale = BoxOffice(refund_policy=RefundPolicy(48, 10))
    sale.bought()

    sale.call_off()

    assert sale.payment().refund.amount_minor == PRICE_MINOR


def test_money_that_is_still_on_its_way_goes_back():
    sale = opened()
    sale.call_off()
    assert sale.status() is Status.CANCELLED

    sale.hear(SUCCEEDED)

    assert sale.payment().state is PaymentState.RETURNING


def test_money_that_comes_before_its_booking_was_seen_to_goes_back_then():
    sale = opened()
    sale.ask(CANCEL)
    sale.hear(SUCCEEDED)

    sale.call_off()

    assert sale.status() is Status.REFUND_REQUESTED
    assert sale.payment().refund.amount_minor == PRICE_MINOR


@pytest.mark.parametrize(("ending", "left_minor"), [("succeeded", 4_500), ("failed", 9_000)])
def test_a_refund_of_a_part_that_was_under_way_is_followed_by_the_rest(ending, left_minor):
    sale = refund_of_a_part_asked()
    sale.call_off()
    assert sale.payment().refund.number == 1

    sale.hear(refund_said(ending, 4_500))

    assert sale.status() is Status.REFUND_REQUESTED
    assert (sale.payment().refund.number, sale.payment().refund.amount_minor) == (2, left_minor)
    sale.hear(refund_said("succeeded", left_minor, 2))
    assert sale.status() is Status.REFUNDED


def test_a_rest_that_is_free_does_not_wait_for_stripe():
    sale = BoxOffice(a_type("ga"), a_type("kid", price_minor=0))
    sale.bought(ga=1, kid=1)
    sale.ask(refund(caller=ORGANIZER, ga=1))
    sale.call_off()

    sale.hear(refund_said("succeeded", 4_500))

    assert sale.status() is Status.REFUNDED
    assert not sale.state.unsettled


def test_a_refund_that_failed_is_left_to_the_organizer():
    sale = refund_asked()
    sale.call_off()

    sale.hear(refund_said("failed", refund_id=""))

    assert sale.status() is Status.REFUND_DENIED
    sale.ask(refund(caller=ORGANIZER))
    assert sale.status() is Status.REFUND_REQUESTED


# -- a few at a time -------------------------------------------------------------------


def crowd() -> BoxOffice:
    sale = BoxOffice(capacities={"ga": 100})
    for number in range(7):
        sale.placed(f"h{number}", ga=1)
        sale.bought(f"p{number}", ga=2)
        sale.opened(f"o{number}", ga=1)
    return sale


def test_bookings_are_seen_to_a_few_at_a_time_each_of_them_once(monkeypatch):
    monkeypatch.setattr(cancellation, "CALL_OFF_BOOKINGS_MAX", 4)
    sale = crowd()
    sale.ask(CANCEL)
    ended: list[str] = []

    left = []
    while sale.state.to_call_off:
        sale.take(*call_off(sale.state, sale.now_ms))
        left.append(sale.state.to_call_off)
        ended += [r.booking_id for r in sale.last() if hasattr(r, "booking_id")]

    assert left == [17, 13, 9, 5, 1, 0]
    assert {*ended} == set(sale.state.bookings)
    assert len(ended) == 7 + 7 + 2 * 7, "one record each, and one more for an open payment"
    assert sale.state.held_units == 0
    assert call_off(sale.state, sale.now_ms) == ()


@pytest.mark.parametrize("turns", range(6))
def test_an_owner_that_dies_goes_on_where_it_was(monkeypatch, turns):
    monkeypatch.setattr(cancellation, "CALL_OFF_BOOKINGS_MAX", 4)
    sale = crowd()
    sale.ask(CANCEL)
    for _ in range(turns):
        sale.take(*call_off(sale.state, sale.now_ms))
    restored = restore(encode_slices(capture(sale.state)))

    assert digest(replayed(sale.entries)) == digest(sale.state) == digest(restored)
    assert call_off(restored, sale.now_ms) == call_off(sale.state, sale.now_ms)
    assert restored.opens_at_ms == restored.closes_at_ms == 0


def test_whoever_is_on_time_while_the_event_is_called_off_is_told_so(monkeypatch):
    monkeypatch.setattr(cancellation, "CALL_OFF_BOOKINGS_MAX", 4)
    sale = crowd()
    sale.ask(CANCEL)
    sale.take(*call_off(sale.state, sale.now_ms))

    assert sale.refusal(pay("h0")).code is Refusal.EVENT_CANCELLED
    assert sale.status("h0") is Status.RESERVED, "its turn has not come yet"
