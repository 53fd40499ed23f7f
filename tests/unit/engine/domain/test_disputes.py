"""Disputes: open ones stop refunds, lost ones take the money, and late news changes neither."""

import pytest
from msgspec.structs import replace

from engine.domain.booking import Status
from engine.domain.outcomes import Refusal
from engine.domain.payment import DISPUTE_WON, PaymentState
from engine.domain.records import DisputeNoted, MoneyTakenBack
from engine.domain.tickets import TicketStatus, tickets_of
from tests.unit.engine.domain.given import ORGANIZER, booking_id
from tests.unit.engine.domain.given_payments import (
    PRICE_MINOR,
    SUCCEEDED,
    BoxOffice,
    charged,
    disputed,
    refund,
    refund_said,
    said,
)
from tests.unit.engine.domain.orders import endings
from tests.unit.engine.domain.situations import (
    confirmed,
    expired,
    expired_and_sold_out,
    opened,
    opening,
    paid_after_leaving,
    refund_asked,
    refund_of_a_part_asked,
    refunded_in_part,
    released,
    time_up,
)

OPEN = (
    "needs_response",
    "under_review",
    "warning_needs_response",
    "warning_under_review",
    "what Stripe may think of next",
)


@pytest.mark.parametrize("status", OPEN)
def test_no_money_goes_back_while_its_dispute_is_open(status):
    sale = confirmed()

    sale.hear(disputed(status))

    assert sale.payment().disputed
    assert sale.status() is Status.CONFIRMED
    refused = sale.refusal(refund(caller=ORGANIZER))
    assert (refused.code, refused.subject) == (Refusal.REFUND_NOT_ALLOWED, "disputed")


@pytest.mark.parametrize("status", sorted(DISPUTE_WON))
def test_a_dispute_that_is_won_leaves_everything_as_it_was(status):
    sale = confirmed()

    sale.hear(disputed(), disputed(status))

    assert not sale.payment().disputed
    assert sale.money() == (PRICE_MINOR, 0, 0)
    sale.ask(refund(caller=ORGANIZER))
    assert sale.status() is Status.REFUND_REQUESTED


def test_a_dispute_that_is_lost_takes_the_money_and_frees_the_units():
    sale = confirmed()
    sale.hear(disputed())

    sale.hear(disputed("lost"))

    assert sale.last() == (
        DisputeNoted(booking_id("ann"), "dp_1", "lost", sale.now_ms, PRICE_MINOR),
        MoneyTakenBack(booking_id("ann"), PRICE_MINOR, sale.now_ms),
    )
    assert sale.status() is Status.REFUNDED
    assert sale.counts() == (10, 0, 0)
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)


@pytest.mark.parametrize("ending", ["lost", "won"])
@pytest.mark.parametrize("late", [*OPEN, "lost", "won"])
def test_a_dispute_that_is_over_stays_over(ending, late):
    sale = confirmed()
    sale.hear(disputed(ending))
    entries = len(sale.entries)

    sale.hear(disputed(late))

    assert len(sale.entries) == entries
    assert sale.payment().dispute("dp_1") == ending


def test_each_dispute_is_its_own():
    sale = confirmed()

    sale.hear(disputed("needs_response", "dp_1"), disputed("needs_response", "dp_2"))
    sale.hear(disputed("won", "dp_1"))

    assert sale.payment().disputed
    sale.hear(disputed("lost", "dp_2"))
    assert sale.status() is Status.REFUNDED


@pytest.mark.parametrize("begin", [opening, opened, time_up, expired, released])
@pytest.mark.parametrize("status", ["needs_response", "won", "lost"])
def test_a_dispute_alone_is_no_money(begin, status):
    sale = begin()
    before = sale.booking("ann")

    refused = sale.refusal(disputed(status))

    assert (refused.code, refused.subject) == (Refusal.PAYMENT_MISMATCH, "captured")
    assert sale.booking("ann") == before
    sale.hear(SUCCEEDED, disputed(status))
    assert sale.payment().dispute("dp_1") == status


def test_a_dispute_over_a_payment_of_another_sum_confirms_nothing():
    sale = opened()

    assert sale.refusal(said("succeeded", received_minor=1)).subject == "received"
    assert sale.refusal(disputed()).subject == "captured"

    assert sale.status() is Status.PAYMENT_PENDING
    assert sale.counts() == (8, 2, 0)


def test_money_that_came_too_late_and_is_disputed_is_not_sent_back_twice():
    sale = expired_and_sold_out()
    sale.hear(SUCCEEDED, disputed(), disputed("lost"))

    assert sale.payment().state is PaymentState.RETURNED
    sale.hear(refund_said("failed", refund_id="", reason="charge_disputed"))

    assert sale.payment().state is PaymentState.RETURNED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert not sale.payment().unsettled


@pytest.mark.parametrize("begin", [refund_asked, paid_after_leaving])
def test_a_dispute_that_is_lost_ends_the_refund_that_is_under_way(begin):
    sale = begin()

    sale.hear(disputed(), disputed("lost"), refund_said("succeeded"), charged(PRICE_MINOR))

    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert not sale.payment().unsettled


@pytest.mark.parametrize(
    "lost",
    [
        disputed("lost", amount_minor=PRICE_MINOR),
        disputed("lost", amount_minor=PRICE_MINOR + 1),
        disputed("lost", amount_minor=1_000, currency="USD"),
        disputed("lost"),
    ],
    ids=["whole", "more", "other money", "not noted"],
)
def test_a_lost_dispute_takes_everything_if_it_is_over_that_or_nobody_knows(lost):
    sale = confirmed()

    sale.hear(disputed(), lost)

    assert sale.status() is Status.REFUNDED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)


def test_a_lost_dispute_of_a_part_takes_that_and_what_is_sold_stays_sold():
    sale = confirmed()
    sale.hear(disputed(amount_minor=1_000))
    assert sale.payment().disputed

    sale.hear(disputed("lost", amount_minor=1_000))

    assert sale.status() is Status.CONFIRMED
    assert sale.money() == (PRICE_MINOR, 1_000, -1_000)
    assert sale.counts() == (8, 0, 2)
    assert [ticket.status for ticket in tickets_of(sale.booking("ann"))] == [
        TicketStatus.ACTIVE
    ] * 2
    sale.ask(refund(caller=ORGANIZER))
    assert sale.payment().refund.amount_minor == PRICE_MINOR - 1_000


def test_two_disputes_take_what_each_is_over():
    sale = confirmed()

    sale.hear(disputed("lost", "dp_1", amount_minor=1_000))
    sale.hear(disputed("lost", "dp_2", amount_minor=500), disputed("lost", amount_minor=1_000))

    assert sale.money() == (PRICE_MINOR, 1_500, -1_500)
    sale.hear(disputed("lost", "dp_3", amount_minor=PRICE_MINOR))
    assert sale.status() is Status.REFUNDED


def test_a_part_lost_by_dispute_and_what_others_did_are_both_counted_in_every_order():
    half_minor = PRICE_MINOR // 2
    news = {
        "asked": refund_said("pending", half_minor),
        "made": refund_said("succeeded", half_minor),
        "lost": disputed("lost", amount_minor=1_000),
        "by hand": charged(500),
        "both": charged(half_minor + 500),
    }

    found = endings(refund_of_a_part_asked, news, lambda _: True)

    gone_minor = half_minor + 1_500
    for heard in found:
        if heard >= {"made", "lost", "both"}:
            (ending,) = found[heard]
            assert ending[0] is Status.CONFIRMED
            assert ending[2] == (PRICE_MINOR, gone_minor, half_minor - gone_minor), sorted(heard)


def test_a_look_at_the_refunds_does_not_undo_a_part_that_was_lost():
    sale = refund_asked()
    sale.hear(refund_said("failed"), disputed("lost", amount_minor=1_000))

    sale.hear(charged(500, taken_minor=500), charged(500, taken_minor=500))

    assert sale.money() == (PRICE_MINOR, 1_500, -1_500)


def test_a_part_lost_after_the_event_was_called_off_lets_the_rest_go_back():
    sale = confirmed()
    sale.hear(disputed(amount_minor=1_000))
    sale.call_off()

    sale.hear(disputed("lost", amount_minor=1_000))

    assert sale.status() is Status.REFUND_REQUESTED
    assert sale.payment().refund.amount_minor == PRICE_MINOR - 1_000


def test_a_dispute_over_what_is_left_takes_the_rest():
    sale = refunded_in_part()
    assert sale.counts() == (9, 0, 1)

    sale.hear(disputed(), disputed("lost"))

    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert sale.counts() == (10, 0, 0)


def test_a_dispute_of_another_payment_is_not_believed():
    sale = confirmed()

    refused = sale.refusal(replace(disputed("lost"), intent_id="pi_2"))

    assert (refused.code, refused.subject) == (Refusal.PAYMENT_MISMATCH, "intent")
    assert sale.refusal(disputed(customer="nobody")).code is Refusal.BOOKING_NOT_FOUND


def test_a_dispute_won_after_the_event_was_called_off_gives_the_money_back_at_last():
    sale = confirmed()
    sale.hear(disputed())
    sale.call_off()
    assert sale.status() is Status.CONFIRMED, "Stripe refunds nothing that is in dispute"

    sale.hear(disputed("won"))

    assert sale.status() is Status.REFUND_REQUESTED
    assert sale.payment().refund.amount_minor == PRICE_MINOR


def test_a_dispute_won_while_the_event_takes_place_gives_nothing_back():
    sale = BoxOffice()
    sale.bought()

    sale.hear(disputed(), disputed("won"))

    assert sale.status() is Status.CONFIRMED
