"""Holds: granted whole or refused, repeated without being placed again, within limits and times."""

import pytest

from engine.domain.booking import Line, Status
from engine.domain.commands import Item
from engine.domain.outcomes import Granted, Refusal, Refused
from tests.unit.engine.domain.given import (
    NOW_MS,
    STARTS_AT_MS,
    TTL_MS,
    Sale,
    a_type,
    amend,
    booking_id,
    hold,
    release,
)

# -- placed ------------------------------------------------------------------------


def test_a_hold_says_what_is_kept_at_which_price_and_until_when():
    sale = Sale(a_type("ga", price_minor=4_500), a_type("vip", price_minor=9_900))

    outcome = sale.ask(hold("ann", ga=2, vip=1))

    booking = sale.booking("ann")
    assert outcome == Granted(booking, "EUR", replayed=False)
    assert booking.customer == "ann"
    assert booking.lines == (Line("ga", 2, 4_500), Line("vip", 1, 9_900))
    assert booking.units == 3
    assert booking.status is Status.RESERVED
    assert booking.held_at_ms == NOW_MS
    assert booking.expires_at_ms == NOW_MS + TTL_MS
    assert booking.sequence == sale.state.sequence
    assert sale.counts("ga") == (8, 2, 0)
    assert sale.counts("vip") == (9, 1, 0)


def test_holds_of_as_much_share_their_lines():
    sale = Sale(a_type("ga", price_minor=4_500), capacities={"ga": 100})

    first, second = sale.placed("ann", ga=2), sale.placed("bob", ga=2)

    assert first.lines is second.lines
    assert first.lines == (Line("ga", 2, 4_500),)
    assert sale.placed("cyd", ga=3).lines == (Line("ga", 3, 4_500),)


def test_a_hold_of_more_than_most_ask_for_says_the_same():
    sale = Sale(a_type("ga", price_minor=4_500, max_per_booking=100), capacities={"ga": 1_000})

    for quantity in (1, 10, 11, 100):
        booking = sale.placed(f"buyer-{quantity}", ga=quantity)
        assert booking.lines == (Line("ga", quantity, 4_500),)
        assert booking.units == quantity


def test_the_last_ticket_goes_to_the_first_who_asks_even_in_one_turn():
    sale = Sale(capacities={"ga": 1})

    outcome = sale.ask(hold("ann", ga=1), hold("bob", ga=1))

    assert outcome == Refused(Refusal.NOT_ENOUGH, "ga", available=0, held=1)
    assert sale.booking("ann").status is Status.RESERVED
    assert booking_id("bob") not in sale.state.bookings


def test_a_price_stays_what_it_was_when_the_hold_was_placed():
    sale = Sale(a_type("ga", price_minor=4_500), a_type("vip", price_minor=9_900))
    sale.placed("ann", vip=1)
    sale.ask(release("ann"))
    sale.ask(amend(prices_minor={"vip": 12_000}))

    # A retry too is answered with the price of the first answer.
    repeated = sale.ask(hold("ann", vip=1))
    later = sale.placed("bob", vip=1)

    assert repeated.booking.lines == (Line("vip", 1, 9_900),)
    assert sale.booking("ann").total_minor == 9_900
    assert later.total_minor == 12_000


def test_ticket_types_that_share_an_allotment_share_its_stock():
    floor = {"floor": 5}
    sale = Sale(
        a_type("early", draws_on="floor"), a_type("late", draws_on="floor"), capacities=floor
    )

    sale.placed("ann", early=4)

    assert sale.counts("floor") == (1, 4, 0)
    assert sale.refusal(hold("bob", late=2)) == Refused(
        Refusal.NOT_ENOUGH, "late", available=1, held=4
    )
    # Together they are too many, although each alone would fit.
    assert sale.refusal(hold("bob", late=1, early=1)) == Refused(
        Refusal.NOT_ENOUGH, "late", available=1, held=4
    )
    sale.placed("bob", late=1)


@pytest.mark.parametrize("short_first", [True, False])
def test_all_items_are_kept_or_none_of_them(short_first):
    sale = Sale(a_type("ga"), a_type("vip"), capacities={"vip": 1})
    items = [Item("vip", 2), Item("ga", 2)]

    sale.refusal(hold("ann", *items if short_first else reversed(items)))

    assert sale.counts("ga") == (10, 0, 0)
    assert sale.counts("vip") == (1, 0, 0)
    assert sale.state.bookings == {}


def test_a_refusal_is_not_remembered():
    sale = Sale(capacities={"ga": 2})
    sale.placed("ann", ga=2)
    sale.refusal(hold("bob", ga=2))

    sale.ask(release("ann"))

    assert sale.placed("bob", ga=2).status is Status.RESERVED


# -- repeated ----------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["still held", "released", "expired", "sold"])
def test_a_repeat_gets_the_first_answer_whatever_became_of_the_hold(ending):
    sale = Sale()
    first = sale.ask(hold("ann", ga=2))
    sale.wait(TTL_MS // 2)
    if ending == "released":
        sale.ask(release("ann"))
    elif ending == "expired":
        sale.wait(TTL_MS)
        sale.expire_due()
    elif ending == "sold":
        sale.paid(booking_id("ann"))
    before = sale.counts()

    again = sale.ask(hold("ann", ga=2))

    assert again == Granted(first.booking, "EUR", replayed=True)
    assert sale.counts() == before, "the first answer is repeated, the hold is not"


def test_a_repeat_in_the_same_turn_gets_the_first_answer():
    sale = Sale()

    again = sale.ask(hold("ann", ga=2), hold("ann", ga=2))

    assert again == Granted(sale.booking("ann"), "EUR", replayed=True)
    assert sale.counts() == (8, 2, 0)


@pytest.mark.parametrize(
    "items",
    [
        pytest.param((Item("ga", 3),), id="another quantity"),
        pytest.param((Item("vip", 2),), id="another type"),
        pytest.param((Item("ga", 2), Item("vip", 1)), id="one item more"),
        pytest.param((Item("ga", 1), Item("ga", 1)), id="the same units in other items"),
        pytest.param((Item("ga", 2, seats=("A-1", "A-2")),), id="named seats"),
        pytest.param((Item("nosuch", 2),), id="an unknown type"),
        pytest.param((), id="nothing"),
    ],
)
def test_the_same_key_with_another_body_is_told_so(items):
    sale = Sale(a_type("ga"), a_type("vip"))
    sale.placed("ann", ga=2)

    assert sale.refusal(hold("ann", *items)) == Refused(Refusal.IDEMPOTENCY_KEY_REUSED)


def test_a_booking_id_of_somebody_else_gives_nothing_away():
    # The id is a hash of the customer, so this takes a stolen id and a forged command.
    sale = Sale()
    annas = sale.placed("ann", ga=2)
    stolen = type(hold("bob", ga=2))(annas.booking_id, "bob", (Item("ga", 2),))

    assert sale.refusal(stolen) == Refused(Refusal.IDEMPOTENCY_KEY_REUSED)


def test_the_same_body_under_another_key_is_another_hold():
    sale = Sale()
    sale.placed("ann", ga=2, key="1")
    sale.placed("ann", ga=2, key="2")

    assert sale.counts() == (6, 4, 0)


# -- limits ------------------------------------------------------------------------


def test_as_many_as_the_limit_per_booking_fit_and_one_more_does_not():
    sale = Sale(a_type(max_per_booking=4))

    assert sale.refusal(hold("ann", ga=5)) == Refused(Refusal.LIMIT_PER_BOOKING, "ga", 4)
    sale.placed("ann", ga=4)


def test_the_limit_per_booking_cannot_be_passed_in_small_steps():
    sale = Sale(a_type(max_per_booking=4))

    assert sale.refusal(hold("ann", Item("ga", 3), Item("ga", 2))) == Refused(
        Refusal.LIMIT_PER_BOOKING, "ga", 4
    )
    assert sale.placed("ann", Item("ga", 3), Item("ga", 1)).units == 4


def test_the_limit_per_booking_is_each_types_own():
    sale = Sale(a_type("ga", max_per_booking=4), a_type("vip", max_per_booking=1))

    assert sale.refusal(hold("ann", ga=1, vip=2)) == Refused(Refusal.LIMIT_PER_BOOKING, "vip", 1)
    sale.placed("ann", ga=4, vip=1)


def test_the_limit_per_customer_counts_held_and_sold_over_all_bookings_and_types():
    sale = Sale(a_type("ga"), a_type("vip"), max_per_customer=5)
    sale.placed("ann", ga=2, key="1")
    sale.paid(booking_id("ann", "1"))
    sale.placed("ann", vip=2, key="2")

    assert sale.refusal(hold("ann", ga=1, vip=1, key="3")) == Refused(
        Refusal.LIMIT_PER_CUSTOMER, limit=5
    )
    sale.placed("ann", vip=1, key="4")
    # The limit is each customer's own.
    sale.placed("bob", ga=5)


@pytest.mark.parametrize("ending", ["released", "expired"])
def test_what_is_given_back_no_longer_counts_for_the_customer(ending):
    sale = Sale(max_per_customer=3)
    sale.placed("ann", ga=3, key="1")
    if ending == "released":
        sale.ask(release("ann", "1"))
    else:
        sale.wait(TTL_MS)
        sale.expire_due()

    sale.placed("ann", ga=3, key="2")
    assert sale.refusal(hold("ann", ga=1, key="3")).code is Refusal.LIMIT_PER_CUSTOMER


def test_a_repeat_does_not_count_twice_for_the_customer():
    sale = Sale(max_per_customer=3)
    sale.placed("ann", ga=2)
    sale.ask(hold("ann", ga=2))

    sale.placed("ann", ga=1, key="2")


# -- the sale's own times ----------------------------------------------------------


def test_the_sale_opens_at_its_opening_and_not_a_millisecond_before():
    sale = Sale(opens_at_ms=NOW_MS + 1_000)
    sale.wait(999)
    assert sale.refusal(hold("ann", ga=1)) == Refused(Refusal.SALE_NOT_OPEN)

    sale.wait(1)
    sale.placed("ann", ga=1)


@pytest.mark.parametrize("closes_at_ms", [NOW_MS + 1_000, None])
def test_the_sale_closes_at_its_closing_or_else_when_the_event_starts(closes_at_ms):
    sale = Sale(closes_at_ms=closes_at_ms)
    sale.wait((closes_at_ms or STARTS_AT_MS) - NOW_MS - 1)
    sale.placed("ann", ga=1)

    sale.wait(1)
    assert sale.refusal(hold("bob", ga=1)) == Refused(Refusal.SALE_CLOSED)
