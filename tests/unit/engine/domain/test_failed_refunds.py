"""A refund of ours that failed and Stripe's sums that still count it, whenever they are heard.

A charge's `amount_refunded` counts a refund from the moment it is made until it fails, and is
heard late: it must neither settle a refund of ours nor be taken for what others gave back.
"""

from collections.abc import Iterator
from itertools import product

import pytest

from engine.domain.apply import apply
from engine.domain.booking import Status
from engine.domain.payment import Payment, PaymentState, Refund, RefundState
from engine.domain.snapshot import capture, digest, encode_slices, restore
from engine.domain.state import EventState
from tests.unit.engine.domain.given import ORGANIZER, booking_id
from tests.unit.engine.domain.given_payments import (
    PRICE_MINOR,
    BoxOffice,
    charged,
    disputed,
    refund,
    refund_said,
)
from tests.unit.engine.domain.orders import endings
from tests.unit.engine.domain.situations import confirmed, paid_after_leaving, refund_asked

PART_MINOR = PRICE_MINOR // 2
BY_HAND = 500


def a_part_asked_after_everything_failed(status: str = "failed") -> BoxOffice:
    sale = refund_asked()
    sale.hear(refund_said(status))
    assert sale.status() is Status.REFUND_DENIED
    sale.ask(refund(caller=ORGANIZER, ga=1))
    return sale


def test_an_old_sum_does_not_give_back_what_a_part_is_under_way_of() -> None:
    sale = a_part_asked_after_everything_failed()

    sale.hear(refund_said("pending", PART_MINOR, 2), charged(PRICE_MINOR))

    assert sale.status() is Status.REFUND_REQUESTED
    sale.hear(refund_said("succeeded", PART_MINOR, 2), charged(PRICE_MINOR), charged(PART_MINOR))
    assert sale.status() is Status.CONFIRMED
    assert sale.money() == (PRICE_MINOR, PART_MINOR, 0)
    assert sale.counts() == (9, 0, 1)


OF_BOTH = {
    "first created": refund_said("pending"),
    "first failed": refund_said("failed"),
    "charge with the first": charged(PRICE_MINOR),
    "charge without it": charged(0),
    "second created": refund_said("pending", PART_MINOR, 2),
    "charge with the second": charged(PART_MINOR),
}


@pytest.mark.parametrize("status", ["failed", "canceled"])
@pytest.mark.parametrize(
    ("ending", "after", "gone_minor", "counts"),
    [
        ("pending", Status.REFUND_REQUESTED, 0, (8, 0, 2)),
        ("succeeded", Status.CONFIRMED, PART_MINOR, (9, 0, 1)),
        ("failed", Status.REFUND_DENIED, 0, (8, 0, 2)),
    ],
)
def test_a_part_after_everything_failed_ends_the_same_in_every_order(
    status, ending, after, gone_minor, counts
) -> None:
    last = f"second {ending}"
    news = OF_BOTH | {last: refund_said(ending, PART_MINOR, 2)}

    found = endings(lambda: a_part_asked_after_everything_failed(status), news, lambda _: True)

    assert len(found) >= 2 ** len(OF_BOTH), "hardly any order was tried"
    for heard in found:
        if last in heard:
            state = PaymentState.CAPTURED
            money = (PRICE_MINOR, gone_minor, 0)
            assert found[heard] == {(after, state, money, False, counts)}, sorted(heard)


def test_what_others_gave_back_besides_is_seen_in_every_order() -> None:
    news = OF_BOTH | {
        "second succeeded": refund_said("succeeded", PART_MINOR, 2),
        "with both": charged(PART_MINOR + BY_HAND),
    }

    found = endings(a_part_asked_after_everything_failed, news, lambda _: True)

    for heard in found:
        if heard >= {"second succeeded", "with both"}:
            (ending,) = found[heard]
            assert ending[0] is Status.CONFIRMED
            assert ending[2] == (PRICE_MINOR, PART_MINOR + BY_HAND, -BY_HAND), sorted(heard)


def test_late_money_that_could_not_be_returned_at_first_is_returned_once() -> None:
    sale = paid_after_leaving()
    sale.hear(refund_said("failed"), charged(PRICE_MINOR), refund_said("failed", number=2))
    assert sale.payment().refund.number == 3

    sale.hear(charged(PRICE_MINOR), refund_said("pending", number=3), charged(PRICE_MINOR))

    assert sale.payment().state is PaymentState.RETURNING
    sale.hear(refund_said("succeeded", number=3), charged(PRICE_MINOR))
    assert sale.payment().state is PaymentState.RETURNED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)


def test_a_refund_that_was_never_made_hides_nothing() -> None:
    sale = refund_asked()
    sale.hear(refund_said("failed", refund_id="", reason="charge_already_refunded"))
    sale.ask(refund(caller=ORGANIZER, ga=1))
    assert not sale.payment().doubtful

    sale.hear(refund_said("failed", PART_MINOR, 2, refund_id=""), charged(PRICE_MINOR))

    assert sale.status() is Status.REFUNDED


# -- every history of a few refunds ----------------------------------------------------


def histories(steps: int, units: int) -> Iterator[tuple[tuple[int, str], ...]]:
    """Give every row of refunds, each with its units and its end, and money given by hand."""
    one = [(0, "by hand")] + [(n, how) for n in (1, 2, 3) for how in ("succeeded", "failed")]
    for row in product(one, repeat=steps):
        if sum(n for n, how in row if how == "succeeded") < units:
            yield row


@pytest.mark.parametrize("asked", [False, True])
def test_no_sum_of_any_time_takes_more_than_others_gave_back(asked: bool) -> None:
    # Stripe's sums of all times so far are heard again after each step; asking it (`asked`)
    # then shows everything that others gave back.
    units, tried = 4, 0
    captured_minor = units * PART_MINOR
    for row in histories(3, units):
        sale = BoxOffice()
        sale.bought(ga=units)
        number = ours_minor = taken_minor = 0
        sums = [0]
        for wanted, how in row:
            if how == "by hand":
                if ours_minor + taken_minor + BY_HAND <= captured_minor:
                    taken_minor += BY_HAND
            else:
                left = sum(line.quantity for line in sale.booking("ann").lines)
                amount_minor = wanted * PART_MINOR
                room_minor = captured_minor - ours_minor - taken_minor
                if wanted > left or amount_minor > room_minor:
                    break
                sale.ask(refund(caller=ORGANIZER, ga=wanted))
                number += 1
                sums.append(ours_minor + amount_minor + taken_minor)
                hear_all(sale, sums, captured_minor)
                sale.hear(refund_said(how, amount_minor, number))
                ours_minor += amount_minor if how == "succeeded" else 0
            sums.append(ours_minor + taken_minor)
            hear_all(sale, sums, captured_minor)
            payment = sale.payment()
            assert payment.taken_minor <= taken_minor, (row, sums)
            assert payment.taken_minor == taken_minor or payment.doubtful, (row, sums)
            if asked:
                asked_for = charged(
                    sums[-1], captured_minor=captured_minor, taken_minor=taken_minor
                )
                sale.hear(asked_for)
                hear_all(sale, sums, captured_minor)
                assert sale.payment().taken_minor == taken_minor, (row, sums)
            assert sale.payment().ours_minor == ours_minor
            tried += 1
    assert tried > 500, "hardly any history was tried"


def hear_all(sale: BoxOffice, sums: list[int], captured_minor: int) -> None:
    for given_back_minor in sums:
        sale.hear(charged(given_back_minor, captured_minor=captured_minor))


# -- what asking Stripe shows ----------------------------------------------------------


@pytest.mark.parametrize("by_hand_minor", [BY_HAND, PART_MINOR, PRICE_MINOR])
def test_what_a_sum_does_not_show_the_refunds_do(by_hand_minor: int) -> None:
    sale = refund_asked()
    sale.hear(refund_said("failed"))
    assert sale.payment().doubtful

    sale.hear(charged(by_hand_minor, taken_minor=by_hand_minor))

    whole = by_hand_minor == PRICE_MINOR
    assert sale.status() is (Status.REFUNDED if whole else Status.REFUND_DENIED)
    assert sale.money()[:2] == (PRICE_MINOR, by_hand_minor)
    assert sale.payment().taken_minor == by_hand_minor


def test_nothing_is_in_doubt_while_no_refund_has_failed() -> None:
    for sale in (confirmed(), refund_asked()):
        assert not sale.payment().doubtful
    sale.hear(refund_said("succeeded"))
    assert not sale.payment().doubtful
    sale.hear(refund_said("failed"))
    assert sale.payment().doubtful, "the bank has sent it back"


def test_no_more_is_taken_than_there_was() -> None:
    sale = refund_asked()
    sale.hear(refund_said("succeeded"))

    # The bank has sent ours back, which is not heard yet, and others have given it back again.
    sale.hear(charged(PRICE_MINOR, taken_minor=PRICE_MINOR))
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    sale.hear(refund_said("failed"), charged(PRICE_MINOR, taken_minor=PRICE_MINOR))

    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert sale.payment().taken_minor == PRICE_MINOR


def test_a_lost_dispute_is_not_undone_by_a_look_at_the_refunds() -> None:
    sale = refund_asked()
    sale.hear(refund_said("failed"), disputed("lost"), charged(0, taken_minor=0))

    assert sale.status() is Status.REFUNDED
    assert sale.payment().taken_minor == PRICE_MINOR


# -- how it is kept --------------------------------------------------------------------


def test_what_has_failed_survives_a_snapshot_and_a_replay() -> None:
    sale = a_part_asked_after_everything_failed()
    assert sale.payment().counted == (PRICE_MINOR,)

    restored = restore(encode_slices(capture(sale.state)))

    replayed = EventState()
    for entry in sale.entries:
        for record in entry.records:
            apply(replayed, record)
    for state in (restored, replayed):
        payment = state.bookings[booking_id("ann")].payment
        assert payment == sale.payment()
    assert digest(restored) == digest(sale.state)


def test_of_a_snapshot_that_did_not_note_it_the_last_refund_tells() -> None:
    older = Refund(1, PRICE_MINOR, (), state=RefundState.FAILED, refund_id="re_1")
    payment = Payment(
        PaymentState.CAPTURED, PRICE_MINOR, 0, captured_minor=PRICE_MINOR, refund=older
    )

    after = payment.refunded_next(Refund(2, PART_MINOR, ()))

    assert payment.gone_minor(PRICE_MINOR) == after.gone_minor(PRICE_MINOR) == 0
    assert after.gone_minor(PART_MINOR + BY_HAND) == BY_HAND
