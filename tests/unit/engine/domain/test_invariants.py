"""The checks notice damage. Each plants some, because a check that cannot fail proves nothing.

Here alone are fields poked: no history of commands leads to these states.
"""

import pytest
from msgspec.structs import replace

from engine.domain.booking import Status
from engine.domain.commands import Caller, OpenPayment
from engine.domain.payment import PaymentState
from engine.domain.state import EventState, check_fully, check_turn
from tests.unit.engine.domain.given import TTL_MS, Sale, a_type, booking_id, release


def a_busy_state() -> EventState:
    """Return a sound state with something held, sold, released and expired in two stocks."""
    sale = Sale(
        a_type("ga"),
        a_type("early", draws_on="floor"),
        a_type("late", draws_on="floor"),
        max_per_customer=6,
    )
    sale.placed("old", late=1)
    sale.wait(TTL_MS)
    sale.expire_due()
    sale.placed("ann", ga=2, early=1)
    sale.placed("bob", late=2)
    sale.placed("cid", ga=1, early=1)
    sale.placed("dan", ga=3)
    sale.ask(release("dan"))
    sale.paid(booking_id("bob"))
    sale.placed("eve", ga=1)
    sale.ask(OpenPayment(booking_id("eve"), Caller("eve")))
    return sale.state


def stock_oversold(state: EventState) -> None:
    stock = state.stocks["ga"]
    stock.held += stock.available + 1
    state.held_units += stock.available + 1
    stock.available = -1


def held_below_zero(state: EventState) -> None:
    state.stocks["ga"].available += state.stocks["ga"].held + 1
    state.stocks["ga"].held = -1


def sold_below_zero(state: EventState) -> None:
    state.stocks["ga"].available += 1
    state.stocks["ga"].sold = -1


def blocked_below_zero(state: EventState) -> None:
    state.stocks["ga"].available += 1
    state.stocks["ga"].blocked = -1


def unit_lost(state: EventState) -> None:
    state.stocks["ga"].available -= 1


def unit_invented(state: EventState) -> None:
    state.stocks["floor"].available += 1


def capacity_changed_alone(state: EventState) -> None:
    state.stocks["floor"].capacity += 1


def hold_without_booking(state: EventState) -> None:
    state.stocks["ga"].available -= 1
    state.stocks["ga"].held += 1


def sale_without_booking(state: EventState) -> None:
    state.stocks["ga"].available -= 1
    state.stocks["ga"].sold += 1


def hold_not_counted_in_stock(state: EventState) -> None:
    state.held_units += 1


def sale_not_counted_in_stock(state: EventState) -> None:
    state.sold_units += 1


NOTICED_EACH_TURN = [
    (stock_oversold, "oversold by 1"),
    (held_below_zero, "ga holds -1"),
    (sold_below_zero, "ga sold -1"),
    (blocked_below_zero, "ga blocks -1"),
    (unit_lost, "ga counts"),
    (unit_invented, "floor counts"),
    (capacity_changed_alone, "floor counts"),
    (hold_without_booking, "stocks hold"),
    (sale_without_booking, "stocks sold"),
    (hold_not_counted_in_stock, "stocks hold"),
    (sale_not_counted_in_stock, "stocks sold"),
]


def counted_in_the_wrong_stock(state: EventState) -> None:
    ga, floor = state.stocks["ga"], state.stocks["floor"]
    ga.held, ga.available = ga.held + 1, ga.available - 1
    floor.held, floor.available = floor.held - 1, floor.available + 1


def sold_in_the_wrong_stock(state: EventState) -> None:
    ga, floor = state.stocks["ga"], state.stocks["floor"]
    ga.sold, ga.available = ga.sold + 1, ga.available - 1
    floor.sold, floor.available = floor.sold - 1, floor.available + 1


def booking_lost(state: EventState) -> None:
    del state.bookings[booking_id("ann")]


def bookings_out_of_order(state: EventState) -> None:
    state.placed.reverse()


def booking_moved_without_its_units(state: EventState) -> None:
    booking = state.bookings[booking_id("ann")]
    state.bookings[booking.booking_id] = booking.moved(Status.CANCELLED, state.now_ms)


def booking_claims_other_units(state: EventState) -> None:
    booking = state.bookings[booking_id("ann")]
    state.bookings[booking.booking_id] = replace(booking, units=booking.units + 1)


def ended_booking_claims_other_units(state: EventState) -> None:
    booking = state.bookings[booking_id("dan")]
    state.bookings[booking.booking_id] = replace(booking, units=booking.units + 1)


def type_forgets_what_is_committed(state: EventState) -> None:
    state.offers["late"].committed = 0


def types_of_one_stock_mixed_up(state: EventState) -> None:
    state.offers["early"].committed += 1
    state.offers["late"].committed -= 1


def customer_forgotten(state: EventState) -> None:
    del state.units_of["ann"]


def customer_charged_for_what_was_given_back(state: EventState) -> None:
    state.units_of["dan"] = 3


def customers_mixed_up(state: EventState) -> None:
    state.units_of["ann"], state.units_of["cid"] = state.units_of["cid"], state.units_of["ann"]


def expiries_forgotten(state: EventState) -> None:
    state.expiring_at.clear()
    state.expiries.clear()


def with_payment(state: EventState, name: str, /, **changes) -> None:
    booking = state.bookings[booking_id(name)]
    payment = replace(booking.payment, **changes)
    state.bookings[booking.booking_id] = replace(booking, payment=payment)


def sold_without_a_payment(state: EventState) -> None:
    booking = state.bookings[booking_id("bob")]
    state.bookings[booking.booking_id] = replace(booking, payment=None)


def sold_for_too_little(state: EventState) -> None:
    with_payment(state, "bob", captured_minor=1)


def sold_and_closed(state: EventState) -> None:
    with_payment(state, "bob", state=PaymentState.CLOSED)


def sold_and_given_back(state: EventState) -> None:
    price_minor = state.bookings[booking_id("bob")].total_minor
    with_payment(state, "bob", refunded_minor=price_minor, kept_minor=-price_minor)


def gave_back_more_than_there_was(state: EventState) -> None:
    with_payment(state, "bob", refunded_minor=1_000_000, kept_minor=-1_000_000)


def held_and_captured(state: EventState) -> None:
    with_payment(state, "eve", captured_minor=4_500)


def captured_for_a_hold(state: EventState) -> None:
    with_payment(state, "eve", state=PaymentState.CAPTURED, captured_minor=4_500)
    state.unsettled.clear()


def goes_back_with_units(state: EventState) -> None:
    with_payment(state, "eve", state=PaymentState.RETURNING, captured_minor=4_500)


NOTICED_BY_RECOUNTING = [
    (sold_without_a_payment, "I7: .* is not paid"),
    (sold_for_too_little, "I7: .* has 1 for 9000"),
    (sold_and_closed, "I7: .* and sold"),
    (sold_and_given_back, "I7: .* for nothing"),
    (gave_back_more_than_there_was, "I7: .* 1000000 went back of 9000"),
    (held_and_captured, "I7: .* with 4500 captured"),
    (captured_for_a_hold, "I7: .* for no units"),
    (goes_back_with_units, "I7: .* and has units"),
    (counted_in_the_wrong_stock, "ga holds"),
    (sold_in_the_wrong_stock, "ga sold"),
    (booking_lost, "holds"),
    (bookings_out_of_order, "not in the order of placement"),
    (booking_moved_without_its_units, "holds"),
    (booking_claims_other_units, "claims 4 units"),
    (ended_booking_claims_other_units, "claims 4 units"),
    (type_forgets_what_is_committed, "late commits 0"),
    (types_of_one_stock_mixed_up, "early commits"),
    (customer_forgotten, "units of some customer"),
    (customer_charged_for_what_was_given_back, "units of some customer"),
    (customers_mixed_up, "units of some customer"),
    (expiries_forgotten, "never expire"),
]


def test_a_sound_state_passes_both_checks():
    state = a_busy_state()

    check_turn(state)
    check_fully(state)


def test_a_state_without_an_event_is_sound():
    check_fully(EventState())


@pytest.mark.parametrize(
    ("damage", "message"), NOTICED_EACH_TURN, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_check_of_each_turn_notices(damage, message):
    state = a_busy_state()
    damage(state)

    with pytest.raises(AssertionError, match=message):
        check_turn(state)
    # Whoever recounts everything notices no less.
    with pytest.raises(AssertionError, match=message):
        check_fully(state)


@pytest.mark.parametrize(
    ("damage", "message"), NOTICED_BY_RECOUNTING, ids=lambda value: getattr(value, "__name__", "")
)
def test_recounting_every_booking_notices(damage, message):
    state = a_busy_state()
    damage(state)

    # This is what the cheap check cannot see, and why there are two.
    check_turn(state)
    with pytest.raises(AssertionError, match=message):
        check_fully(state)


def test_units_of_customers_are_kept_only_where_the_event_limits_them():
    sale = Sale()
    sale.placed("ann", ga=1)
    assert sale.state.units_of == {}

    sale.state.units_of["ann"] = 1

    with pytest.raises(AssertionError, match="units of some customer"):
        check_fully(sale.state)
