"""The one table of moves, compared with the picture in DESIGN.md, section 5."""

import pytest

from engine.domain.booking import (
    EXPIRING,
    SHARE,
    TRANSITIONS,
    Booking,
    Line,
    Moment,
    Move,
    Share,
    Status,
)
from engine.domain.decide import decide
from engine.domain.outcomes import DONE, Refusal, Refused, Shown
from tests.unit.engine.domain.given import TTL_MS, Sale, expire, release

#: Every arrow of the picture, written down from it and not from the code; the last ones
#: are not drawn, each group for the reason that is given with TRANSITIONS.
PICTURE = """
RESERVED          -> start_payment         -> PAYMENT_PENDING
RESERVED          -> confirm               -> CONFIRMED
RESERVED          -> release               -> CANCELLED
RESERVED          -> expire                -> EXPIRED
PAYMENT_PENDING   -> confirm               -> CONFIRMED
PAYMENT_PENDING   -> fail_payment          -> PAYMENT_FAILED
PAYMENT_PENDING   -> expire                -> EXPIRED
PAYMENT_FAILED    -> start_payment         -> PAYMENT_PENDING
PAYMENT_FAILED    -> give_up               -> CANCELLED
PAYMENT_FAILED    -> expire                -> EXPIRED
EXPIRED           -> reinstate             -> CONFIRMED
CONFIRMED         -> deliver_tickets       -> TICKETS_DELIVERED
CONFIRMED         -> request_refund        -> REFUND_REQUESTED
TICKETS_DELIVERED -> request_refund        -> REFUND_REQUESTED
REFUND_REQUESTED  -> refund                -> REFUNDED
REFUND_REQUESTED  -> deny_refund           -> REFUND_DENIED
REFUND_DENIED     -> request_refund        -> REFUND_REQUESTED
"""
#: A card tried again on the same intent; a second failure; one failure that is too many;
#: a buyer who leaves; money that comes after that; units given back in part; money that
#: went back without our asking.
BESIDE_IT = """
PAYMENT_FAILED    -> confirm               -> CONFIRMED
PAYMENT_FAILED    -> fail_payment          -> PAYMENT_FAILED
PAYMENT_PENDING   -> give_up               -> CANCELLED
PAYMENT_PENDING   -> release               -> CANCELLED
PAYMENT_FAILED    -> release               -> CANCELLED
CANCELLED         -> reinstate             -> CONFIRMED
REFUND_REQUESTED  -> refund_part           -> CONFIRMED
REFUND_REQUESTED  -> refund_delivered_part -> TICKETS_DELIVERED
CONFIRMED         -> take_back             -> REFUNDED
TICKETS_DELIVERED -> take_back             -> REFUNDED
REFUND_REQUESTED  -> take_back             -> REFUNDED
REFUND_DENIED     -> take_back             -> REFUNDED
"""
ARROWS = {
    (before, move): after
    for before, move, after in (
        [word.strip() for word in line.split("->")]
        for line in (PICTURE + BESIDE_IT).split("\n")
        if line
    )
}

BOOKING = Booking(
    "bk_1", "ann", (Line("ga", 2, 4_500), Line("vip", 1, 9_900)), 3, 1_000, 1_000 + TTL_MS, 7
)


def in_status(status: Status) -> Sale:
    """Return a sale in which ann's two units are in `status`."""
    sale = Sale()
    booking = sale.placed("ann", ga=2)
    sale.brought_into(status, booking.booking_id)
    return sale


@pytest.mark.parametrize("status", Status)
def test_each_state_allows_the_moves_that_are_listed_and_no_others(status):
    allowed = {move: TRANSITIONS.get((status, move)) for move in Move}
    drawn = {move: ARROWS.get((status.value, move.value)) for move in Move}

    assert allowed == drawn


def test_the_table_has_nothing_that_is_not_listed():
    assert len(TRANSITIONS) == len(ARROWS) == 29


def test_every_state_can_be_reached_from_a_hold():
    reached, new = set(), {Status.RESERVED}
    while new:
        reached |= new
        new = {after for (before, _), after in TRANSITIONS.items() if before in new} - reached

    assert reached == set(Status)


def test_a_booking_that_is_over_stays_over():
    endings = {
        status for status in Status if not any(before is status for before, _ in TRANSITIONS)
    }

    # Money that comes too late may still buy what has expired or was cancelled.
    assert endings == {Status.REFUNDED}


def test_every_state_says_where_its_units_count():
    assert SHARE == {
        Status.RESERVED: Share.HELD,
        Status.PAYMENT_PENDING: Share.HELD,
        Status.PAYMENT_FAILED: Share.HELD,
        Status.CONFIRMED: Share.SOLD,
        Status.TICKETS_DELIVERED: Share.SOLD,
        Status.REFUND_REQUESTED: Share.SOLD,
        Status.REFUND_DENIED: Share.SOLD,
        Status.REFUNDED: Share.NONE,
        Status.EXPIRED: Share.NONE,
        Status.CANCELLED: Share.NONE,
    }
    assert set(SHARE) == set(Status)


def test_exactly_what_is_held_expires():
    # A held booking that never expired would keep its stock for ever; a sold one that did
    # would take a paid ticket away.
    assert {status for status in Status if SHARE[status] is Share.HELD} == EXPIRING


@pytest.mark.parametrize("status", Status)
def test_a_buyer_may_release_what_is_held_and_nothing_else(status):
    sale = in_status(status)

    outcome, records = decide(sale.state, release("ann"), sale.now_ms)

    if (status.value, "release") in ARROWS:
        assert isinstance(outcome, Shown)
        assert outcome.booking.status is Status.CANCELLED
        assert len(records) == 1
    elif status is Status.CANCELLED:
        assert isinstance(outcome, Shown), "releasing twice is the same as once"
        assert records == ()
    else:
        assert (outcome, records) == (Refused(Refusal.NOT_RELEASABLE, status), ())


@pytest.mark.parametrize("status", Status)
def test_time_ends_a_booking_in_the_states_of_the_picture_only(status):
    sale = in_status(status)
    sale.wait(TTL_MS)

    outcome, records = decide(sale.state, expire("ann"), sale.now_ms)

    may_expire = (status.value, "expire") in ARROWS
    assert outcome == (DONE if may_expire else Refused(Refusal.BOOKING_NOT_FOUND))
    assert len(records) == may_expire
    assert (sale.state.next_expiry_ms() is not None) == may_expire


def test_a_move_keeps_all_but_the_state_and_remembers_the_way():
    pending = BOOKING.moved(Status.PAYMENT_PENDING, 2_000)
    confirmed = pending.moved(Status.CONFIRMED, 3_000)

    assert confirmed.history == (
        Moment(Status.RESERVED, 1_000),
        Moment(Status.PAYMENT_PENDING, 2_000),
        Moment(Status.CONFIRMED, 3_000),
    )
    assert confirmed.status is Status.CONFIRMED
    assert confirmed.as_placed() == BOOKING
    assert BOOKING.status is Status.RESERVED, "the one before is untouched"


def test_the_total_is_the_sum_of_all_lines_at_their_frozen_prices():
    assert BOOKING.total_minor == 2 * 4_500 + 1 * 9_900
