"""Money and the end of a hold: which comes first, and what becomes of money that comes too late."""

import pytest

from engine.domain.booking import Status
from engine.domain.payment import PaymentState
from engine.domain.records import (
    BookingConfirmed,
    HoldExpired,
    IntentOpened,
    PaymentClosed,
    PaymentClosing,
    PaymentReturning,
)
from engine.limits import PAYMENT_GRACE_MS
from tests.unit.engine.domain.given import (
    TTL_MS,
    booking_id,
    expire,
    release,
)
from tests.unit.engine.domain.given_payments import (
    AUTHORISED,
    CANCELED,
    PRICE_MINOR,
    SUCCEEDED,
    BoxOffice,
    pay,
)
from tests.unit.engine.domain.situations import opened, reserved, time_up


def test_a_hold_whose_time_is_up_waits_for_stripe_but_not_for_ever():
    sale = opened()
    sale.wait(TTL_MS - 1)
    assert sale.expire_due() == []
    sale.wait(1)

    assert sale.expire_due() == [booking_id("ann")]
    assert sale.last() == (PaymentClosing(booking_id("ann"), sale.now_ms + PAYMENT_GRACE_MS),)
    assert sale.counts() == (8, 2, 0)
    sale.wait(PAYMENT_GRACE_MS - 1)
    assert sale.expire_due() == []
    sale.wait(1)
    sale.expire_due()

    assert sale.last() == (HoldExpired(booking_id("ann"), sale.now_ms),)
    assert sale.counts() == (10, 0, 0)
    assert sale.payment().unsettled, "it is still asked about"


def test_stock_comes_back_as_soon_as_stripe_has_closed_the_payment():
    sale = time_up()

    sale.hear(CANCELED)

    closed, over = sale.last()
    assert (type(closed), type(over)) == (PaymentClosed, HoldExpired)
    assert sale.counts() == (10, 0, 0)
    assert not sale.payment().unsettled


def test_money_that_was_faster_than_the_close_buys_the_hold():
    sale = time_up()
    sale.wait(PAYMENT_GRACE_MS - 1)

    sale.hear(SUCCEEDED)

    assert sale.status() is Status.CONFIRMED
    assert sale.state.next_expiry_ms() is None


@pytest.mark.parametrize("first", ["expiry", "money"])
def test_in_one_millisecond_both_orders_confirm(first):
    sale = opened()
    sale.wait(TTL_MS)
    both = [expire("ann"), SUCCEEDED]

    for command in both if first == "expiry" else reversed(both):
        sale.ask(command)

    assert sale.status() is Status.CONFIRMED
    assert sale.counts() == (8, 0, 2)


def test_late_money_gets_its_units_while_they_are_there():
    sale = opened()
    sale.expired()
    sale.placed("bob", ga=6)
    sale.placed("cid", ga=2)

    sale.hear(SUCCEEDED)

    assert sale.last() == (BookingConfirmed(booking_id("ann"), PRICE_MINOR, sale.now_ms),)
    assert sale.counts() == (0, 8, 2)


def sold_to_others(sale: BoxOffice) -> None:
    sale.placed("bob", ga=6)
    sale.placed("cid", ga=3)


def bought_by_herself(sale: BoxOffice) -> None:
    sale.placed("ann", key="2", ga=3)


def called_off(sale: BoxOffice) -> None:
    sale.call_off()


@pytest.mark.parametrize("meanwhile", [sold_to_others, bought_by_herself, called_off])
def test_late_money_goes_back_where_its_units_are_not_to_be_had(meanwhile):
    sale = BoxOffice(max_per_customer=6 if meanwhile is sold_to_others else 4)
    sale.opened()
    sale.expired()
    meanwhile(sale)
    counts = sale.counts()

    sale.hear(SUCCEEDED)

    (returning,) = sale.last()
    assert isinstance(returning, PaymentReturning)
    assert (returning.refund.number, returning.refund.amount_minor) == (1, PRICE_MINOR)
    assert sale.status() is Status.EXPIRED
    assert sale.counts() == counts, "whoever has the units now keeps them"


@pytest.mark.parametrize("closing", ["open", "authorised"])
def test_a_buyer_who_leaves_gets_the_money_back_that_still_comes(closing):
    sale = opened()
    if closing == "authorised":
        sale.hear(AUTHORISED)

    sale.ask(release("ann"))

    assert [type(record).__name__ for record in sale.last()] == ["HoldReleased", "PaymentClosing"]
    assert sale.counts() == (10, 0, 0)
    sale.hear(SUCCEEDED)
    assert sale.payment().state is PaymentState.RETURNING
    assert sale.counts() == (10, 0, 0), "nobody wants these units"


def test_what_is_authorised_is_captured_and_then_sold():
    sale = opened()

    sale.hear(AUTHORISED)
    assert sale.payment().state is PaymentState.AUTHORISED
    assert sale.counts() == (8, 2, 0)
    sale.hear(SUCCEEDED)

    assert sale.status() is Status.CONFIRMED


def test_an_intent_that_stripe_tells_of_first_when_it_is_paid_is_noted():
    sale = reserved()
    sale.ask(pay())

    sale.hear(SUCCEEDED)

    noted, confirmed = sale.last()
    assert (type(noted), type(confirmed)) == (IntentOpened, BookingConfirmed)
    assert sale.payment().intent_id == "pi_1"
