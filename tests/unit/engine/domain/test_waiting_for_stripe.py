"""Waiting for Stripe to open a payment costs its buyer no time, gives none, and has an end."""

import pytest

from engine.domain.booking import Status
from engine.domain.outcomes import PaymentShown, Refusal
from engine.domain.payment import PaymentState
from engine.domain.records import HoldExpired, PaymentClosing, PaymentStarted
from engine.domain.snapshot import capture, digest, encode_slices, restore
from engine.limits import PAYMENT_DEADLINE_MS, PAYMENT_GRACE_MS, PAYMENT_OPENING_MS
from tests.unit.engine.domain.given import NOW_MS, TTL_MS, booking_id, hold, replayed
from tests.unit.engine.domain.given_payments import (
    OPENED,
    PRICE_MINOR,
    SUCCEEDED,
    BoxOffice,
    charged,
    failed,
    pay,
    said,
)
from tests.unit.engine.domain.situations import reserved

#: When ann's hold ends by its own time.
END_MS = NOW_MS + TTL_MS


def begun(before_end_ms: int) -> BoxOffice:
    """Have ann ask to pay so long before her hold ends."""
    sale = reserved()
    sale.wait(TTL_MS - before_end_ms)
    assert isinstance(sale.ask(pay()), PaymentShown)
    return sale


def ends_at_ms(sale: BoxOffice) -> int:
    return sale.booking("ann").expires_at_ms


# -- it costs nothing ------------------------------------------------------------------


def test_whoever_asks_to_pay_in_the_last_second_still_has_it_when_stripe_has_answered():
    sale = begun(before_end_ms=1_000)
    sale.wait(10_000)
    assert sale.expire_due() == []
    sale.hear(OPENED)

    assert isinstance(sale.ask(pay()), PaymentShown)
    assert ends_at_ms(sale) == END_MS + 10_000
    sale.wait(999)
    assert sale.expire_due() == []
    sale.hear(SUCCEEDED)

    assert sale.status() is Status.CONFIRMED
    assert sale.state.next_expiry_ms() is None


@pytest.mark.parametrize("before_end_ms", [1, 1_000, PAYMENT_OPENING_MS, TTL_MS])
@pytest.mark.parametrize("waited_ms", [0, 1, 300, PAYMENT_DEADLINE_MS, PAYMENT_OPENING_MS - 1])
def test_what_stripe_took_is_added_to_the_own_time_of_the_hold_and_nothing_else(
    before_end_ms: int, waited_ms: int
):
    sale = begun(before_end_ms)
    sale.wait(waited_ms)
    assert sale.expire_due() == []

    sale.hear(OPENED)

    assert ends_at_ms(sale) == END_MS + waited_ms
    assert sale.state.next_expiry_ms() == END_MS + waited_ms
    assert sale.booking("ann").as_placed().expires_at_ms == END_MS


def test_a_buyer_who_has_asked_waits_no_longer_than_the_hold():
    """The owner's clock has started before the gateway's, and the news has to come back."""
    sale = begun(before_end_ms=1)
    sale.wait(PAYMENT_DEADLINE_MS + 5_000)

    assert sale.expire_due() == []


# -- it gives nothing ------------------------------------------------------------------


def test_the_time_granted_for_waiting_is_over_once_stripe_has_answered():
    sale = begun(before_end_ms=1_000)
    assert ends_at_ms(sale) == sale.now_ms + PAYMENT_OPENING_MS
    sale.wait(300)
    sale.hear(OPENED)

    sale.wait(1_000)

    assert sale.expire_due() == [booking_id("ann")]
    assert sale.payment().state is PaymentState.CLOSING


def test_a_hold_with_time_enough_is_not_prolonged_by_asking():
    sale = begun(before_end_ms=PAYMENT_OPENING_MS)

    assert ends_at_ms(sale) == END_MS


def test_asking_again_and_again_prolongs_nothing():
    sale = begun(before_end_ms=1)
    until_ms, entries = ends_at_ms(sale), len(sale.entries)
    while sale.now_ms < until_ms - 1_000:
        sale.wait(1_000)
        assert sale.expire_due() == []
        assert isinstance(sale.ask(pay()), PaymentShown)
    assert (ends_at_ms(sale), len(sale.entries)) == (until_ms, entries)

    sale.wait(until_ms - sale.now_ms)
    sale.expire_due()

    assert sale.refusal(pay()).code is Refusal.NOT_PAYABLE


def test_another_card_prolongs_nothing():
    sale = begun(before_end_ms=10_000)
    sale.wait(2_000)
    sale.hear(OPENED)
    for charge in ("ch_1", "ch_2"):
        sale.wait(3_000)
        sale.hear(failed(charge))
        assert isinstance(sale.ask(pay()), PaymentShown)
        assert sale.status() is Status.PAYMENT_PENDING

    assert ends_at_ms(sale) == END_MS + 2_000


def test_an_answer_that_comes_when_the_payment_is_being_closed_prolongs_nothing():
    sale = begun(before_end_ms=1)
    sale.wait(PAYMENT_OPENING_MS)
    sale.expire_due()
    until_ms = ends_at_ms(sale)
    sale.wait(1_000)

    sale.hear(OPENED)

    assert ends_at_ms(sale) == until_ms == sale.now_ms - 1_000 + PAYMENT_GRACE_MS


# -- it has an end ---------------------------------------------------------------------


def test_if_stripe_never_answers_the_units_are_free_again():
    sale = begun(before_end_ms=1_000)
    sale.wait(PAYMENT_OPENING_MS - 1)
    assert sale.expire_due() == []
    sale.wait(1)

    assert sale.expire_due() == [booking_id("ann")]
    assert sale.last() == (PaymentClosing(booking_id("ann"), sale.now_ms + PAYMENT_GRACE_MS),)
    assert sale.counts() == (8, 2, 0)
    sale.wait(PAYMENT_GRACE_MS)
    sale.expire_due()

    assert sale.last() == (HoldExpired(booking_id("ann"), sale.now_ms),)
    assert sale.counts() == (10, 0, 0)
    assert sale.state.next_expiry_ms() is None


def test_nobody_else_is_kept_waiting():
    sale = reserved()
    sale.placed("bob", ga=2)
    sale.wait(1_000)
    sale.placed("cid", ga=2)
    sale.wait(TTL_MS - 2_000)
    sale.ask(pay())
    assert sale.counts() == (4, 6, 0)
    assert sale.state.next_expiry_ms() == END_MS

    sale.wait(1_000)
    assert sale.expire_due() == [booking_id("bob")]
    sale.wait(1_000)
    assert sale.expire_due() == [booking_id("cid")]

    assert sale.counts() == (8, 2, 0)
    assert sale.state.next_expiry_ms() == ends_at_ms(sale)


def test_a_hold_that_goes_back_to_its_own_end_ends_once():
    """Stripe has answered in the same millisecond: the instant is noted a second time."""
    sale = reserved()
    sale.ask(hold("bob", ga=1))
    sale.wait(TTL_MS - 1)
    sale.ask(pay())
    sale.hear(OPENED)
    assert ends_at_ms(sale) == END_MS
    sale.wait(1)

    assert sorted(sale.expire_due()) == sorted([booking_id("ann"), booking_id("bob")])
    assert sale.state.next_expiry_ms() == END_MS + PAYMENT_GRACE_MS


def test_a_success_or_a_refund_heard_of_first_confirms_a_hold_past_its_own_end():
    for news in (SUCCEEDED, charged(PRICE_MINOR - 1)):
        sale = begun(before_end_ms=1)
        sale.wait(PAYMENT_OPENING_MS - 1)
        assert sale.expire_due() == []

        sale.hear(news)

        assert sale.status() is Status.CONFIRMED
        assert sale.state.next_expiry_ms() is None


# -- journals and snapshots ------------------------------------------------------------


def test_a_payment_journalled_before_holds_waited_replays_as_it_was():
    sale = reserved()
    sale.wait(TTL_MS - 5_000)
    sale.take(PaymentStarted(booking_id("ann"), PRICE_MINOR, sale.now_ms))
    assert ends_at_ms(sale) == END_MS
    assert sale.booking("ann").held_until_ms == 0

    sale.wait(3_000)
    sale.hear(OPENED)

    assert ends_at_ms(sale) == END_MS + 3_000


def test_whoever_takes_over_while_stripe_is_asked_knows_the_own_end_of_the_hold():
    sale = begun(before_end_ms=1_000)
    assert digest(replayed(sale.entries)) == digest(sale.state)
    sale.state = restore(encode_slices(capture(sale.state)))
    assert sale.state.next_expiry_ms() == sale.now_ms + PAYMENT_OPENING_MS
    sale.wait(10_000)

    sale.hear(said("processing"))

    assert ends_at_ms(sale) == END_MS + 10_000
