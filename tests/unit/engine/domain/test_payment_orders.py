"""FAULTS 7: whatever Stripe says of one payment, in any order and repeated, ends the same."""

import pytest

from engine.domain.booking import Status
from engine.domain.payment import PaymentState
from tests.unit.engine.domain.given_payments import (
    AUTHORISED,
    CANCELED,
    OPENED,
    PRICE_MINOR,
    SUCCEEDED,
    BoxOffice,
    charged,
    disputed,
    failed,
    refund_said,
    said,
)
from tests.unit.engine.domain.orders import Ending, Heard, endings
from tests.unit.engine.domain.situations import (
    card_failed,
    expired,
    given_up,
    opened,
    opening,
    paid_after_leaving,
    refund_asked,
    refund_of_a_part_asked,
    released,
    time_up,
    time_up_after_a_failure,
    time_up_before_its_intent_was_known,
)

IN_PART = 1_000

#: Where the payment is when the news begins.
BEGINNINGS = [
    opening,
    opened,
    card_failed,
    time_up,
    time_up_before_its_intent_was_known,
    time_up_after_a_failure,
    expired,
    released,
    given_up,
]

# -- what Stripe may say of it ---------------------------------------------------------

OF_A_PAYMENT = {
    "opened": OPENED,
    "processing": said("processing"),
    "requires_action": said("requires_action"),
    "failed 1": failed("ch_1"),
    "failed 2": failed("ch_2"),
    "failed 3": failed("ch_3"),
    "succeeded": SUCCEEDED,
    "canceled": CANCELED,
    "refunded in part": charged(IN_PART),
    "refunded": charged(PRICE_MINOR),
    # A dispute is told behind what its payment says: see `actors.payments.inbox`.
    "disputed": (SUCCEEDED, disputed()),
    "dispute lost": (SUCCEEDED, disputed("lost")),
    "dispute won": (SUCCEEDED, disputed("won")),
}
PAID = {"succeeded", "refunded in part", "refunded", "disputed", "dispute lost", "dispute won"}


def possible(heard: Heard) -> bool:
    """Tell whether one payment can have come to all of this."""
    if "canceled" in heard and heard & PAID:
        return False
    return not {"dispute lost", "dispute won"} <= heard


def gone_by_itself(heard: Heard) -> int:
    """Return what of the money has gone back by the doing of others."""
    if heard & {"refunded", "dispute lost"}:
        return PRICE_MINOR
    return IN_PART if "refunded in part" in heard else 0


def send_back(sale: BoxOffice, heard: Heard) -> None:
    """Do what a refund that is under way asks for, as Stripe does it and as we then look."""
    gone_minor = gone_by_itself(heard)
    while sale.payment().refunding:
        refund = sale.payment().refund
        amount_minor, number = refund.amount_minor, refund.number
        if amount_minor > PRICE_MINOR - gone_minor:
            sale.hear(refund_said("failed", amount_minor, number, refund_id=""))
        else:
            sale.hear(refund_said("succeeded", amount_minor, number))
            gone_minor += amount_minor
        sale.hear(charged(gone_minor))


def the_ending(found: dict[Heard, set[Ending]], heard: Heard) -> Ending:
    assert len(found[heard]) == 1, f"{sorted(heard)} may end as any of {found[heard]}"
    return next(iter(found[heard]))


@pytest.mark.parametrize("begin", BEGINNINGS, ids=lambda begin: begin.__name__)
def test_news_of_a_payment_ends_the_same_in_every_order(begin) -> None:
    found = endings(begin, OF_A_PAYMENT, possible, send_back)

    assert len(found) > 2_500, "hardly any order was tried"
    for heard in found:
        status, payment, money, is_disputed, counts = the_ending(found, heard)
        gone_minor = gone_by_itself(heard)
        if heard & PAID and begin is released:
            assert (status, payment) == (Status.CANCELLED, PaymentState.RETURNED)
            assert money == (PRICE_MINOR, PRICE_MINOR, 0)
        elif gone_minor == PRICE_MINOR:
            assert (status, payment) == (Status.REFUNDED, PaymentState.CAPTURED)
            assert money == (PRICE_MINOR, PRICE_MINOR, 0)
        elif heard & PAID:
            assert (status, payment) == (Status.CONFIRMED, PaymentState.CAPTURED)
            assert money == (PRICE_MINOR, gone_minor, -gone_minor)
            assert counts == (8, 0, 2)
        if "canceled" in heard:
            assert payment is PaymentState.CLOSED
            assert money == (0, 0, 0)
            assert counts == (10, 0, 0)
        assert is_disputed == ("disputed" in heard and not heard & {"dispute lost", "dispute won"})


@pytest.mark.parametrize("begin", BEGINNINGS, ids=lambda begin: begin.__name__)
def test_an_authorised_payment_that_is_over_ends_the_same_in_every_order(begin) -> None:
    # Before that it depends on which of two wishes of ours Stripe hears first: to capture
    # the payment, or to cancel it for its failures.
    wanted = ("failed 1", "failed 2", "failed 3", "succeeded", "canceled", "requires_action")
    news = {name: OF_A_PAYMENT[name] for name in wanted} | {"authorised": AUTHORISED}

    found = endings(begin, news, possible)

    for heard in found:
        if heard & {"succeeded", "canceled"}:
            the_ending(found, heard)


# -- refunds ---------------------------------------------------------------------------


UNDER_WAY = [
    (refund_asked, PRICE_MINOR, "REFUNDED", "REFUND_DENIED"),
    (refund_of_a_part_asked, PRICE_MINOR // 2, "CONFIRMED", "REFUND_DENIED"),
    (paid_after_leaving, PRICE_MINOR, "CANCELLED", "CANCELLED"),
]


@pytest.mark.parametrize(("begin", "amount_minor", "after", "_denied"), UNDER_WAY)
def test_news_of_a_refund_ends_the_same_in_every_order(begin, amount_minor, after, _denied):
    news = {
        "created": refund_said("pending", amount_minor),
        "waiting": refund_said("requires_action", amount_minor),
        "succeeded": refund_said("succeeded", amount_minor),
        "charge": charged(amount_minor),
        "payment": SUCCEEDED,
        "failed card": failed("ch_9"),
    }

    found = endings(begin, news, lambda _: True)

    for heard in found:
        ending = the_ending(found, heard)
        if "succeeded" in heard:
            assert ending[0] == after
            assert ending[2] == (PRICE_MINOR, amount_minor, 0)


@pytest.mark.parametrize(("begin", "amount_minor", "_after", "denied"), UNDER_WAY)
def test_old_news_of_a_refund_that_failed_takes_nothing(begin, amount_minor, _after, denied):
    # Stripe counts a refund as given back from the moment it is made until it fails.
    news = {
        "created": refund_said("pending", amount_minor),
        "failed": refund_said("failed", amount_minor, reason="lost_or_stolen_card"),
        "charge": charged(amount_minor),
    }

    found = endings(begin, news, lambda _: True)

    for heard in found:
        ending = the_ending(found, heard)
        if "failed" in heard:
            assert ending[0] == denied
            assert ending[2] == (PRICE_MINOR, 0, 0)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_a_refund_of_ours_and_one_made_at_stripe_are_both_counted_once(first):
    ours_minor = PRICE_MINOR // 2
    news = {
        "succeeded": refund_said("succeeded", ours_minor),
        "first": charged(ours_minor if first == "ours" else IN_PART),
        "both": charged(ours_minor + IN_PART),
    }

    found = endings(refund_of_a_part_asked, news, lambda _: True)

    for heard in found:
        if heard >= {"succeeded", "both"}:
            ending = the_ending(found, heard)
            assert ending[0] == Status.CONFIRMED
            assert ending[2] == (PRICE_MINOR, ours_minor + IN_PART, -IN_PART)
            assert ending[4] == (9, 0, 1)


def test_a_refund_of_ours_and_the_rest_given_back_at_stripe_end_the_booking():
    news = {
        "succeeded": refund_said("succeeded", PRICE_MINOR // 2),
        "ours": charged(PRICE_MINOR // 2),
        "both": charged(PRICE_MINOR),
    }

    found = endings(refund_of_a_part_asked, news, lambda _: True)

    for heard in found:
        if heard >= {"succeeded", "both"}:
            ending = the_ending(found, heard)
            assert ending[0] == Status.REFUNDED, "a unit is not sold for nothing"
            assert ending[2] == (PRICE_MINOR, PRICE_MINOR, 0)


# -- refunds that a bank sends back ----------------------------------------------------


def sent_again(sale: BoxOffice, heard: Heard) -> None:
    """Have whatever is under way be made at last."""
    refund = sale.payment().refund
    if "bounced" in heard and sale.payment().refunding:
        sale.hear(refund_said("succeeded", refund.amount_minor, refund.number))


@pytest.mark.parametrize(("begin", "amount_minor", "after", "denied"), UNDER_WAY)
def test_a_refund_that_a_bank_sends_back_ends_the_same_in_every_order(
    begin, amount_minor, after, denied
):
    news = {
        "created": refund_said("pending", amount_minor),
        "made": refund_said("succeeded", amount_minor),
        "bounced": refund_said("failed", amount_minor, reason="expired_or_canceled_card"),
        "charge with it": charged(amount_minor),
        "charge without it": charged(0),
        "payment": SUCCEEDED,
    }

    found = endings(begin, news, lambda _: True, sent_again)

    for heard in found:
        ending = the_ending(found, heard)
        if "made" in heard:
            assert ending[0] == after
            assert ending[2] == (PRICE_MINOR, amount_minor, 0)
        elif "bounced" in heard and begin is not paid_after_leaving:
            assert ending[0] == denied, "nobody knows that it was made"


@pytest.mark.parametrize(("begin", "amount_minor", "after", "_denied"), UNDER_WAY)
@pytest.mark.parametrize("by_hand", [charged(500), charged(500, taken_minor=500)])
def test_what_others_give_back_while_it_is_sent_again_is_counted_once(
    begin, amount_minor, after, _denied, by_hand
):
    sale = begin()
    sale.hear(refund_said("succeeded", amount_minor), refund_said("failed", amount_minor))

    sale.hear(by_hand, by_hand)
    again = sale.payment().refund
    sale.hear(refund_said("failed", again.amount_minor, again.number))
    again = sale.payment().refund
    sale.hear(refund_said("succeeded", again.amount_minor, again.number))

    assert (again.number, again.amount_minor) == (3, amount_minor - 500)
    assert sale.status() == after
    assert sale.money() == (PRICE_MINOR, amount_minor, 0)
