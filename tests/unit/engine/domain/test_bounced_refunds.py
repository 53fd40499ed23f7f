"""Refunds that were made and came back from the bank: their money is owed, and sent once more."""

import pytest

from engine.domain.apply import apply
from engine.domain.booking import Status
from engine.domain.books import check_money, count_money, not_sent_back
from engine.domain.commands import Caller
from engine.domain.event import RefundPolicy
from engine.domain.outcomes import Refusal, Shown
from engine.domain.payment import PaymentState, RefundState
from engine.domain.records import PaymentReturning, RefundFailed, RefundRequested
from engine.domain.snapshot import capture, digest, encode_slices, restore
from engine.domain.tickets import TicketStatus, tickets_of
from engine.limits import RETURN_ATTEMPTS_MAX
from tests.unit.engine.domain.given import ORGANIZER, booking_id, replayed
from tests.unit.engine.domain.given_payments import (
    PRICE_MINOR,
    BoxOffice,
    charged,
    disputed,
    refund,
    refund_said,
)
from tests.unit.engine.domain.situations import (
    cannot_be_returned,
    part_bounced,
    part_bounced_too_often,
    refund_asked,
    refund_bounced,
    refund_bounced_before_it_was_made,
    refund_bounced_too_often,
    refunded,
    refunded_in_part,
    return_bounced,
    returned,
)

HALF_MINOR = PRICE_MINOR // 2


def stuck(sale: BoxOffice) -> list[str]:
    return not_sent_back(sale.state.bookings.values())


# -- all of it -------------------------------------------------------------------------


def test_what_a_bank_sends_back_is_owed_and_sent_under_the_next_number():
    sale = refunded()

    sale.hear(refund_said("failed", reason="expired_or_canceled_card"))

    failed, again = sale.last()
    assert failed == RefundFailed(
        booking_id("ann"), "re_1", "expired_or_canceled_card", sale.now_ms, PRICE_MINOR
    )
    assert isinstance(again, RefundRequested)
    assert (again.refund.number, again.refund.amount_minor, again.refund.parts) == (
        2,
        PRICE_MINOR,
        (),
    )
    assert sale.status() is Status.REFUNDED, "its units may have been sold again"
    assert sale.counts() == (10, 0, 0)
    assert sale.money() == (PRICE_MINOR, 0, 0)
    assert sale.payment().owed_minor == PRICE_MINOR
    assert sale.payment().unsettled
    assert count_money(sale.state.bookings.values()).returning_minor == PRICE_MINOR
    assert stuck(sale) == []


def test_it_is_over_once_that_is_made():
    sale = refund_bounced()

    sale.hear(refund_said("succeeded", number=2), charged(PRICE_MINOR))

    assert sale.status() is Status.REFUNDED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert sale.payment().owed_minor == 0
    assert not sale.payment().unsettled


def test_what_the_policy_keeps_stays_kept():
    sale = BoxOffice(refund_policy=RefundPolicy(48, 80))
    sale.bought()
    sale.ask(refund())
    sale.hear(refund_said("succeeded", 7_200), refund_said("failed", 7_200))

    assert sale.money() == (PRICE_MINOR, 0, 1_800)
    assert sale.payment().owed_minor == 7_200
    sale.hear(refund_said("succeeded", 7_200, 2))
    assert sale.money() == (PRICE_MINOR, 7_200, 1_800)


@pytest.mark.parametrize("bounces", [True, False])
def test_it_is_sent_a_few_times_and_then_looked_at(bounces):
    sale = refund_bounced()
    for number in range(2, RETURN_ATTEMPTS_MAX + 1):
        assert sale.payment().refund.number == number
        assert stuck(sale) == []
        if bounces:
            sale.hear(refund_said("succeeded", number=number))
        sale.hear(refund_said("failed", number=number))

    assert sale.payment().refund.state is RefundState.FAILED
    assert sale.payment().owed_minor == PRICE_MINOR
    assert not sale.payment().unsettled
    assert stuck(sale) == [f"I7: {booking_id('ann')} is REFUNDED, 9000 could not be sent back"]


def test_then_the_organizer_may_ask_for_it_again():
    sale = refund_bounced_too_often()

    shown = sale.ask(refund(caller=ORGANIZER, key="k1"))

    assert shown == Shown(sale.booking("ann"), "EUR")
    assert sale.payment().refund.number == RETURN_ATTEMPTS_MAX + 1
    assert sale.ask(refund(caller=ORGANIZER, key="k1")).replayed
    assert sale.ask(refund(caller=ORGANIZER, key="k2")) == shown, "it is under way"
    sale.hear(refund_said("failed", number=RETURN_ATTEMPTS_MAX + 1))
    assert sale.payment().refund.number == RETURN_ATTEMPTS_MAX + 2, "with attempts of its own"
    sale.hear(refund_said("succeeded", number=RETURN_ATTEMPTS_MAX + 2))
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert stuck(sale) == []


def test_a_buyer_who_asks_again_is_shown_the_booking_only():
    sale = refund_bounced_too_often()
    entries = len(sale.entries)

    assert sale.ask(refund()) == Shown(sale.booking("ann"), "EUR")
    assert sale.refusal(refund(caller=ORGANIZER, ga=1)).code is Refusal.REFUND_NOT_ALLOWED

    assert len(sale.entries) == entries


# -- a part of it ----------------------------------------------------------------------


def test_a_part_that_comes_back_leaves_what_is_sold_alone():
    sale = part_bounced()

    assert sale.status() is Status.REFUND_REQUESTED
    assert sale.counts() == (9, 0, 1)
    tickets = [ticket.status for ticket in tickets_of(sale.booking("ann"))]
    assert tickets == [TicketStatus.ACTIVE, TicketStatus.VOID]
    sale.hear(refund_said("succeeded", HALF_MINOR, 2))
    assert sale.status() is Status.CONFIRMED
    assert sale.counts() == (9, 0, 1)
    assert sale.money() == (PRICE_MINOR, HALF_MINOR, 0)


def test_a_part_that_is_owed_goes_with_the_next_refund():
    sale = part_bounced_too_often()
    assert sale.status() is Status.REFUND_DENIED
    assert stuck(sale) == [f"I7: {booking_id('ann')} is REFUND_DENIED, 4500 could not be sent back"]

    sale.ask(refund(caller=ORGANIZER))

    asked = sale.payment().refund
    assert (asked.amount_minor, asked.owed_minor, asked.kept_minor) == (PRICE_MINOR, HALF_MINOR, 0)
    sale.hear(refund_said("succeeded", PRICE_MINOR, asked.number))
    assert sale.status() is Status.REFUNDED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert stuck(sale) == []


def test_a_part_that_is_owed_may_be_given_back_by_hand():
    sale = part_bounced_too_often()

    sale.hear(charged(HALF_MINOR, taken_minor=HALF_MINOR))

    assert sale.money() == (PRICE_MINOR, HALF_MINOR, 0)
    assert stuck(sale) == []
    assert sale.counts() == (9, 0, 1)


def test_of_an_event_that_is_called_off_what_is_owed_goes_back_with_the_rest():
    sale = part_bounced_too_often()

    sale.call_off()

    assert sale.payment().refund.amount_minor == PRICE_MINOR


# -- where its success is heard of last ------------------------------------------------


def test_a_refund_that_failed_after_it_was_made_is_asked_for_again_by_itself():
    sale = refund_bounced_before_it_was_made()
    assert sale.status() is Status.REFUND_DENIED

    sale.hear(refund_said("succeeded"), refund_said("succeeded"))

    assert sale.status() is Status.REFUND_REQUESTED
    asked = sale.payment().refund
    assert (asked.number, asked.amount_minor, asked.attempt) == (2, PRICE_MINOR, 2)
    sale.hear(refund_said("succeeded", number=2))
    assert sale.status() is Status.REFUNDED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)


def test_that_is_done_a_few_times_only():
    sale = refund_asked()
    for number in range(1, RETURN_ATTEMPTS_MAX + 1):
        assert sale.payment().refund.number == number
        sale.hear(refund_said("failed", number=number), refund_said("succeeded", number=number))

    assert sale.status() is Status.REFUND_DENIED
    assert sale.payment().refund.number == RETURN_ATTEMPTS_MAX


def test_a_refund_that_was_never_made_is_not_repeated():
    sale = refund_asked()
    sale.hear(refund_said("failed", refund_id=""))

    sale.hear(refund_said("succeeded"))

    assert sale.status() is Status.REFUND_DENIED


# -- money that came too late ----------------------------------------------------------


def test_late_money_that_a_bank_sends_back_is_sent_again():
    sale = return_bounced()

    _, again = sale.last()
    assert isinstance(again, PaymentReturning)
    assert (again.refund.number, again.refund.amount_minor) == (2, PRICE_MINOR)
    assert sale.payment().state is PaymentState.RETURNING
    sale.hear(refund_said("succeeded", number=2))
    assert sale.payment().state is PaymentState.RETURNED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)


def test_late_money_of_which_others_gave_a_part_back_goes_as_far_as_it_is_here():
    sale = returned()
    sale.hear(refund_said("failed"), charged(500, taken_minor=500))
    sale.hear(refund_said("failed", number=2, refund_id=""))

    assert sale.payment().refund.amount_minor == PRICE_MINOR - 500
    sale.hear(refund_said("succeeded", PRICE_MINOR - 500, 3))
    sale.hear(refund_said("failed", PRICE_MINOR - 500, 3))

    assert sale.money() == (PRICE_MINOR, 500, -500)
    assert stuck(sale) == [f"I7: {booking_id('ann')} is CANCELLED, 8500 could not be sent back"]
    sale.ask(refund(caller=ORGANIZER))
    sale.hear(refund_said("succeeded", PRICE_MINOR - 500, 4))
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert sale.payment().state is PaymentState.RETURNED


def test_late_money_that_no_attempt_returned_is_sent_again_when_the_organizer_asks():
    sale = cannot_be_returned()
    refused = sale.refusal(refund())
    assert refused.code is Refusal.REFUND_NOT_ALLOWED
    assert sale.refusal(refund(caller=Caller("bob"))).code is Refusal.BOOKING_NOT_FOUND

    shown = sale.ask(refund(caller=ORGANIZER))

    assert shown == Shown(sale.booking("ann"), "EUR")
    assert sale.status() is Status.CANCELLED
    assert sale.payment().refunding
    sale.hear(refund_said("succeeded", number=RETURN_ATTEMPTS_MAX + 1))
    assert sale.payment().state is PaymentState.RETURNED


# -- disputes --------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [refunded, refunded_in_part])
def test_while_a_dispute_is_open_what_came_back_waits(begin):
    sale = begin()
    amount_minor = sale.payment().refund.amount_minor
    sale.hear(disputed(), refund_said("failed", amount_minor))
    assert not sale.payment().refunding
    assert stuck(sale) == [], "the bank decides about it"

    sale.hear(disputed("won"))

    assert sale.payment().refund.number == 2
    sale.hear(refund_said("succeeded", amount_minor, 2))
    assert sale.money() == (PRICE_MINOR, amount_minor, 0)


def test_what_a_lost_dispute_has_taken_is_not_owed_when_a_refund_comes_back():
    sale = refunded_in_part()
    sale.hear(disputed("lost", amount_minor=PRICE_MINOR))
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)

    sale.hear(refund_said("failed", HALF_MINOR))

    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert sale.payment().taken_minor == PRICE_MINOR
    assert sale.payment().owed_minor == 0
    assert not sale.payment().unsettled


# -- how it is kept --------------------------------------------------------------------


@pytest.mark.parametrize("begin", [refund_bounced_too_often, part_bounced, return_bounced])
def test_what_is_owed_survives_a_snapshot_and_a_replay(begin):
    sale = begin()

    restored = restore(encode_slices(capture(sale.state)))

    assert digest(restored) == digest(sale.state) == digest(replayed(sale.entries))


@pytest.mark.parametrize(
    ("begin", "state"), [(refunded, PaymentState.CAPTURED), (returned, PaymentState.RETURNED)]
)
def test_a_journal_that_noted_no_debt_is_replayed_as_it_was_written(begin, state):
    sale = begin()

    apply(sale.state, RefundFailed(booking_id("ann"), "re_1", "closed", sale.now_ms))

    check_money(sale.state.bookings.values())
    assert sale.payment().state is state
    assert sale.money() == (PRICE_MINOR, 0, PRICE_MINOR)
    assert (sale.payment().owed_minor, sale.payment().refunding) == (0, False)
