"""Holds end once: given back by their buyer at any time, or by time and never before it."""

import pytest

from engine.domain.booking import Status
from engine.domain.commands import Caller
from engine.domain.holds import next_due
from engine.domain.outcomes import DONE, Granted, Refusal, Refused, Shown
from tests.unit.engine.domain.given import (
    ADMIN,
    NOW_MS,
    ORGANIZER,
    TTL_MS,
    Sale,
    booking_id,
    expire,
    hold,
    release,
)

# -- released ----------------------------------------------------------------------


def test_a_released_hold_is_free_for_others_at_once():
    sale = Sale(capacities={"ga": 2})
    sale.placed("ann", ga=2)

    outcome = sale.ask(release("ann"), hold("bob", ga=2))

    assert isinstance(outcome, Granted)
    assert sale.booking("ann").status is Status.CANCELLED
    assert sale.counts() == (0, 2, 0)


def test_releasing_twice_gives_the_stock_back_once():
    sale = Sale()
    sale.placed("ann", ga=2)
    first = sale.ask(release("ann"))
    sale.wait(1_000)
    entries_before = len(sale.entries)

    second = sale.ask(release("ann"))

    assert first == second == Shown(sale.booking("ann"), "EUR")
    assert len(sale.entries) == entries_before
    assert sale.counts() == (10, 0, 0)


@pytest.mark.parametrize("caller", [Caller("bob"), ORGANIZER, ADMIN])
def test_only_the_buyer_can_release_and_others_learn_nothing(caller):
    sale = Sale()
    sale.placed("ann", ga=2)

    foreign = sale.refusal(release("ann", caller=caller))
    missing = sale.refusal(release("ann", "no such key", caller=caller))

    assert foreign == missing == Refused(Refusal.BOOKING_NOT_FOUND)
    assert sale.counts() == (8, 2, 0)


def test_an_expired_hold_cannot_be_released_any_more():
    sale = Sale()
    sale.placed("ann", ga=2)
    sale.wait(TTL_MS)
    sale.expire_due()

    assert sale.refusal(release("ann")) == Refused(Refusal.NOT_RELEASABLE, "EXPIRED")
    assert sale.counts() == (10, 0, 0)


def test_holds_are_released_and_expire_while_the_sale_is_paused_or_closed():
    sale = Sale(closes_at_ms=NOW_MS + 1_000)
    sale.placed("ann", ga=1)
    sale.placed("bob", ga=1)
    sale.wait(TTL_MS)
    assert sale.refusal(hold("cid", ga=1)).code is Refusal.SALE_CLOSED

    sale.ask(release("ann"))
    sale.expire_due()

    assert sale.counts() == (10, 0, 0)


# -- expired -----------------------------------------------------------------------


def test_no_hold_expires_before_its_time_and_every_one_at_it():
    sale = Sale()
    booking = sale.placed("ann", ga=2)
    sale.wait(TTL_MS - 1)
    assert next_due(sale.state, sale.now_ms) is None
    assert sale.refusal(expire("ann")) == Refused(Refusal.BOOKING_NOT_FOUND)

    sale.wait(1)

    assert sale.now_ms == booking.expires_at_ms
    assert next_due(sale.state, sale.now_ms) == expire("ann")
    assert sale.ask(expire("ann")) == DONE
    assert sale.booking("ann").status is Status.EXPIRED
    assert sale.counts() == (10, 0, 0)


def test_a_hold_expires_once():
    sale = Sale()
    sale.placed("ann", ga=2)
    sale.wait(TTL_MS)
    assert sale.ask(expire("ann")) == DONE

    assert sale.refusal(expire("ann")) == Refused(Refusal.BOOKING_NOT_FOUND)
    assert next_due(sale.state, sale.now_ms) is None
    assert sale.counts() == (10, 0, 0)


def test_what_does_not_exist_does_not_expire():
    assert Sale().refusal(expire("ann")) == Refused(Refusal.BOOKING_NOT_FOUND)


def test_a_released_hold_does_not_expire():
    sale = Sale()
    sale.placed("ann", ga=2)
    sale.ask(release("ann"))
    sale.wait(TTL_MS)

    assert sale.expire_due() == []
    assert sale.booking("ann").status is Status.CANCELLED


def test_the_hold_whose_time_was_up_first_is_due_first():
    sale = Sale()
    for customer in ("ann", "bob", "cid"):
        sale.placed(customer, ga=1)
        sale.wait(1_000)
    sale.ask(release("bob"))
    sale.wait(TTL_MS)

    assert sale.expire_due() == [booking_id("ann"), booking_id("cid")]


def test_every_hold_of_one_instant_expires_although_some_were_released():
    sale = Sale()
    buyers = ["ann", "bob", "cid", "dan", "eve"]
    sale.ask(*(hold(buyer, ga=1) for buyer in buyers))
    # The first, the last and one between: each leaves its mark in the list of the instant.
    sale.ask(release("ann"), release("cid"), release("eve"))
    sale.wait(TTL_MS)

    assert sorted(sale.expire_due()) == sorted([booking_id("bob"), booking_id("dan")])
    assert sale.state.next_expiry_ms() is None
    assert sale.counts() == (10, 0, 0)


def test_the_next_expiry_is_always_that_of_a_hold_that_still_stands():
    sale = Sale()
    sale.placed("ann", ga=1)
    sale.wait(1_000)
    later = sale.placed("bob", ga=1)

    sale.ask(release("ann"))

    # An owner that slept until ann's time would only keep a process alive for nothing.
    assert sale.state.next_expiry_ms() == later.expires_at_ms
    sale.ask(release("bob"))
    assert sale.state.next_expiry_ms() is None


def test_an_expired_hold_is_free_for_the_next_buyer_in_the_same_turn():
    sale = Sale(capacities={"ga": 2})
    sale.placed("ann", ga=2)
    sale.wait(TTL_MS)

    outcome = sale.ask(expire("ann"), hold("bob", ga=2))

    assert isinstance(outcome, Granted)
    assert sale.counts() == (0, 2, 0)
