"""Payments: begun by a buyer, failed, authorised, closed, late; and asked about by the product."""

import pytest
from msgspec.structs import replace

from engine.domain import payments
from engine.domain.booking import Status
from engine.domain.commands import Caller, OpenPayment, ReadPayments
from engine.domain.outcomes import PaymentShown, PaymentsShown, Refusal, Shown
from engine.domain.payment import PaymentState
from engine.domain.records import HoldExpired, PaymentClosed, PaymentGivenUp
from tests.unit.engine.domain.given import (
    ADMIN,
    NOW_MS,
    ORGANIZER,
    TTL_MS,
    a_type,
    booking_id,
    hold,
)
from tests.unit.engine.domain.given_payments import (
    CANCEL,
    CANCELED,
    OPENED,
    PRICE_MINOR,
    SUCCEEDED,
    BoxOffice,
    failed,
    pay,
    said,
)
from tests.unit.engine.domain.situations import opened, reserved

# -- begun -----------------------------------------------------------------------------


def test_a_payment_is_begun_for_the_price_of_the_hold():
    sale = BoxOffice(a_type("ga"), a_type("vip", price_minor=9_900))
    sale.placed("ann", ga=2, vip=1)

    shown = sale.ask(pay())

    assert isinstance(shown, PaymentShown)
    assert shown.payment.amount_minor == 2 * 4_500 + 9_900
    assert shown.payment == sale.payment()
    assert sale.status() is Status.PAYMENT_PENDING
    assert sale.counts() == (8, 2, 0), "it is still a hold"


def test_beginning_again_shows_the_same_payment():
    sale = opened()
    entries = len(sale.entries)

    shown = sale.ask(pay())

    assert shown.payment == sale.payment()
    assert len(sale.entries) == entries


@pytest.mark.parametrize("caller", [Caller("bob"), ORGANIZER, ADMIN])
def test_nobody_begins_to_pay_for_another(caller):
    sale = reserved()

    command = OpenPayment(booking_id("ann"), caller)

    assert sale.refusal(command).code is Refusal.BOOKING_NOT_FOUND
    assert sale.refusal(pay("nobody")).code is Refusal.BOOKING_NOT_FOUND


def test_what_is_free_is_confirmed_without_a_payment():
    sale = BoxOffice(a_type(price_minor=0))
    sale.placed("ann", ga=2)

    shown = sale.ask(pay())

    assert shown == Shown(sale.booking("ann"), "EUR")
    assert sale.status() is Status.CONFIRMED
    assert sale.booking("ann").payment is None
    assert sale.counts() == (8, 0, 2)


def test_no_payment_is_begun_for_an_event_that_was_cancelled():
    sale = reserved()
    sale.ask(CANCEL)

    assert sale.refusal(pay()).code is Refusal.EVENT_CANCELLED


def test_a_buyer_does_not_pay_for_the_time_that_stripe_takes():
    sale = reserved()
    until_ms = sale.booking("ann").expires_at_ms
    sale.ask(pay())
    sale.wait(7_000)
    sale.hear(OPENED)
    assert sale.booking("ann").expires_at_ms == until_ms + 7_000

    sale.wait(1_000)
    sale.hear(OPENED, said("processing"), failed())

    assert sale.booking("ann").expires_at_ms == until_ms + 7_000, "once, and no more"
    assert sale.booking("ann").as_placed().expires_at_ms == until_ms


def test_the_answer_to_the_hold_stays_the_first_one():
    sale = BoxOffice()
    command = hold("ann", ga=2)
    first = sale.ask(command).booking
    sale.ask(pay())
    sale.wait(1_000)
    sale.hear(OPENED, SUCCEEDED)

    again = sale.ask(command)

    assert (again.booking, again.replayed) == (first, True)


# -- not believed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "changes"),
    [
        ("intent", {"intent_id": "pi_2"}),
        ("customer", {"payer": "bob"}),
        ("currency", {"currency": "USD"}),
        ("amount", {"amount_minor": PRICE_MINOR - 1}),
        ("amount", {"amount_minor": PRICE_MINOR + 1}),
        ("received", {"received_minor": PRICE_MINOR - 1}),
        ("received", {"received_minor": 0}),
    ],
)
def test_a_success_that_does_not_fit_its_booking_confirms_nothing(subject, changes):
    sale = opened()

    refused = sale.refusal(said("succeeded", **changes))

    assert (refused.code, refused.subject) == (Refusal.PAYMENT_MISMATCH, subject)
    assert sale.status() is Status.PAYMENT_PENDING


def test_the_money_of_one_booking_does_not_pay_for_another():
    sale = opened()
    sale.opened("bob", ga=2)

    stolen = replace(SUCCEEDED, booking_id=booking_id("bob"))

    assert sale.refusal(stolen).code is Refusal.PAYMENT_MISMATCH
    assert sale.refusal(said("succeeded", "nobody")).code is Refusal.BOOKING_NOT_FOUND


# -- failed ----------------------------------------------------------------------------


def test_a_failure_counts_once_however_often_it_is_heard():
    sale = opened()

    sale.hear(*[failed("ch_1")] * 100)

    assert sale.payment().failures == ("ch_1",)
    assert sale.status() is Status.PAYMENT_FAILED


@pytest.mark.parametrize("attempts_max", [1, 2, 3, 10])
def test_too_many_failures_free_the_stock_and_have_the_intent_closed(attempts_max):
    sale = BoxOffice(payment_attempts_max=attempts_max)
    sale.opened()
    sale.hear(*(failed(f"ch_{number}") for number in range(attempts_max - 1)))
    assert sale.counts() == (8, 2, 0)

    sale.hear(failed("the last"))

    assert sale.last() == (PaymentGivenUp(booking_id("ann"), "the last", sale.now_ms),)
    assert sale.counts() == (10, 0, 0)
    assert sale.payment().state is PaymentState.CLOSING


def test_a_card_is_tried_again_on_the_same_intent():
    sale = opened()
    sale.hear(failed("ch_1"))

    sale.ask(pay())
    assert sale.status() is Status.PAYMENT_PENDING
    sale.hear(failed("ch_1"))
    assert sale.status() is Status.PAYMENT_PENDING, "old news"
    sale.hear(SUCCEEDED)

    assert sale.status() is Status.CONFIRMED


# -- never opened ----------------------------------------------------------------------

NEVER_OPENED = replace(CANCELED, intent_id="")


def test_a_payment_that_stripe_will_never_open_is_closed_with_its_hold():
    sale = reserved()
    sale.ask(pay())
    sale.wait(2 * TTL_MS)
    sale.expire_due()
    assert sale.payment().state is PaymentState.CLOSING

    sale.hear(NEVER_OPENED, NEVER_OPENED)

    ann = booking_id("ann")
    assert sale.last() == (PaymentClosed(ann), HoldExpired(ann, sale.now_ms))
    assert (sale.payment().state, sale.payment().intent_id) == (PaymentState.CLOSED, "")
    assert unsettled(sale) == ([], False)
    assert sale.counts() == (10, 0, 0)


def test_a_payment_that_stripe_will_never_open_is_closed_after_its_grace_too():
    sale = reserved()
    sale.ask(pay())
    sale.expired()
    assert unsettled(sale) == ([booking_id("ann")], False)

    sale.hear(NEVER_OPENED)

    assert sale.last() == (PaymentClosed(booking_id("ann")),)
    assert unsettled(sale) == ([], False)


def test_one_that_was_opened_after_all_is_not_closed_by_the_refusal_of_another_attempt():
    sale = opened()

    sale.hear(NEVER_OPENED)
    assert sale.payment().state is PaymentState.OPEN
    sale.released()
    sale.hear(NEVER_OPENED)

    assert sale.payment().state is PaymentState.CLOSING, "its intent has yet to be closed"


def test_money_of_one_that_was_said_never_to_open_is_not_lost():
    sale = reserved()
    sale.ask(pay())
    sale.released()
    sale.hear(NEVER_OPENED)

    sale.hear(SUCCEEDED)

    assert sale.payment().state is PaymentState.RETURNING
    assert sale.payment().intent_id == SUCCEEDED.intent_id


# -- asked about -----------------------------------------------------------------------


def unsettled(sale: BoxOffice, after: str = "") -> tuple[list[str], bool]:
    shown = sale.ask(ReadPayments(after))
    assert isinstance(shown, PaymentsShown)
    return [one.booking_id for one in shown.payments], shown.more


def test_payments_that_wait_are_shown_a_page_at_a_time(monkeypatch):
    monkeypatch.setattr(payments, "UNSETTLED_PAGE", 2)
    sale = BoxOffice()
    ids = [sale.opened(f"c{number}", ga=1).booking_id for number in range(5)]
    sale.placed("not paying", ga=1)
    sale.bought("paid", ga=1)

    assert unsettled(sale) == (ids[:2], True)
    assert unsettled(sale, ids[1]) == (ids[2:4], True)
    assert unsettled(sale, ids[3]) == (ids[4:], False)
    assert unsettled(sale, ids[4]) == ([], False)


def test_a_page_behind_a_payment_that_is_settled_by_now_begins_anew():
    sale = BoxOffice()
    ids = [sale.opened(f"c{number}", ga=1).booking_id for number in range(3)]
    sale.hear(said("succeeded", "c1", amount_minor=4_500))

    assert unsettled(sale, ids[1]) == ([ids[0], ids[2]], False), "twice is better than never"


def test_a_payment_begun_is_oldest_first():
    sale = opened()
    sale.wait(1)
    sale.opened("bob", ga=1)

    assert unsettled(sale)[0] == [booking_id("ann"), booking_id("bob")]
    assert sale.payment().opened_at_ms == NOW_MS
