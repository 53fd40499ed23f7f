"""What may be seen, by whom, and when a refusal may be given without asking the owner."""

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from engine.domain.booking import Status
from engine.domain.commands import Caller, Item, PlaceHold, ReadAvailability, ReadBooking
from engine.domain.decide import decide
from engine.domain.outcomes import DONE, Granted, Refusal, Refused, Shown
from engine.domain.state import EventState
from engine.domain.views import Availability, TypeCounts, availability
from tests.unit.engine.domain.given import (
    ADMIN,
    BUYER,
    EVENT_ID,
    NOW_MS,
    ORGANIZER,
    PAUSE,
    RIVAL_ORGANIZER,
    Sale,
    a_type,
    booking_id,
    hold,
    release,
)

# -- availability ------------------------------------------------------------------


def seen(sale: Sale) -> Availability:
    view = availability(sale.state, sale.now_ms)
    assert view is not None
    return view


def test_there_is_no_availability_before_there_is_an_event():
    assert availability(EventState(), NOW_MS) is None


def test_availability_shows_the_counts_of_each_types_stock_at_one_sequence():
    sale = Sale(
        a_type("ga", max_per_booking=4),
        a_type("early", draws_on="floor"),
        a_type("late", draws_on="floor"),
        capacities={"ga": 5, "floor": 8},
    )
    sale.placed("ann", ga=2)
    sale.placed("bob", early=1, late=2)
    sale.paid(booking_id("ann"))
    sale.wait(1_000)

    assert seen(sale) == Availability(
        EVENT_ID,
        sale.state.sequence,
        sale.now_ms,
        on_sale=True,
        limited=False,
        ticket_types=(
            TypeCounts("ga", 5, available=3, held=0, sold=2, blocked=0, max_per_booking=4),
            TypeCounts("early", 8, available=5, held=3, sold=0, blocked=0, max_per_booking=6),
            TypeCounts("late", 8, available=5, held=3, sold=0, blocked=0, max_per_booking=6),
        ),
    )


def test_an_event_is_on_sale_exactly_when_it_takes_holds():
    sale = Sale(opens_at_ms=NOW_MS + 1_000, closes_at_ms=NOW_MS + 3_000)
    on_sale = []
    for buyer in ("ann", "bob", "cid", "dan"):
        granted = isinstance(sale.ask(hold(buyer, ga=1)), Granted)
        on_sale.append(seen(sale).on_sale)
        assert granted == on_sale[-1]
        sale.wait(1_000)
    assert on_sale == [False, True, True, False]


def test_a_paused_event_is_not_on_sale():
    sale = Sale()
    sale.ask(PAUSE)

    assert not seen(sale).on_sale


def test_reading_the_availability_leaves_no_record():
    assert decide(Sale().state, ReadAvailability(), NOW_MS) == (DONE, ())


# -- refused without asking the owner ----------------------------------------------


def exhausted_sale() -> Sale:
    """Return a sale with `ga` held to the last unit and `gone` sold to the last one."""
    sale = Sale(a_type("ga"), a_type("gone"), a_type("free"), capacities={"ga": 2, "gone": 1})
    sale.placed("ann", ga=2)
    sale.placed("bob", gone=1)
    sale.paid(booking_id("bob"))
    return sale


@pytest.mark.parametrize(
    ("items", "refusal"),
    [
        ([Item("gone", 1)], Refused(Refusal.SOLD_OUT, "gone")),
        ([Item("ga", 1)], Refused(Refusal.NOT_ENOUGH, "ga", available=0, held=2)),
        ([Item("ga", 1), Item("gone", 1)], Refused(Refusal.SOLD_OUT, "gone")),
        ([Item("gone", 1), Item("ga", 1)], Refused(Refusal.SOLD_OUT, "gone")),
    ],
)
def test_an_exhausted_stock_is_refused_in_the_owners_words_without_asking_it(items, refusal):
    sale = exhausted_sale()

    assert seen(sale).refusal(tuple(items)) == refusal
    assert sale.refusal(hold("cid", *items)) == refusal


@pytest.mark.parametrize(
    "items",
    [
        pytest.param([Item("free", 1)], id="free"),
        pytest.param([Item("free", 1), Item("gone", 1)], id="partly free"),
        pytest.param([Item("nosuch", 1), Item("gone", 1)], id="unknown type"),
        pytest.param([Item("gone", 7)], id="more than one booking may have"),
        pytest.param([Item("gone", 5), Item("gone", 2)], id="the same in two steps"),
        pytest.param([Item("gone", 1, seats=("A-1",))], id="named seat"),
        pytest.param([Item("gone", 1, best_available=True)], id="best seats"),
        pytest.param([], id="nothing"),
    ],
)
def test_whatever_only_the_owner_can_tell_is_left_to_it(items):
    assert seen(exhausted_sale()).refusal(tuple(items)) is None


def test_nothing_is_refused_for_the_owner_when_another_refusal_could_win():
    paused, limited = exhausted_sale(), Sale(max_per_customer=1, capacities={"ga": 0})
    paused.ask(PAUSE)

    assert seen(paused).refusal((Item("gone", 1),)) is None
    assert seen(limited).refusal((Item("ga", 1),)) is None


CODES = ("ga", "early", "late")
#: Mostly plain requests: what is left to the owner anyway must stay the exception.
ITEMS = st.builds(
    Item,
    st.sampled_from(CODES * 5 + ("nosuch",)),
    st.sampled_from((1, 1, 1, 2, 2, 4)),
    seats=st.sampled_from([()] * 15 + [("A-1",)]),
    best_available=st.sampled_from([False] * 15 + [True]),
)


@st.composite
def sales(draw: st.DrawFn) -> Sale:
    """Return a small sale with a past: most stocks are wholly exhausted."""
    sale = Sale(
        a_type("ga", max_per_booking=3),
        a_type("early", draws_on="floor", max_per_booking=2),
        a_type("late", draws_on="floor", max_per_booking=3),
        capacities={"ga": draw(st.integers(0, 2)), "floor": draw(st.integers(0, 2))},
        max_per_customer=draw(st.sampled_from([None] * 9 + [2])),
    )
    for number in range(6):
        customer = f"early bird {number}"
        held = sale.ask(hold(customer, Item(CODES[number % 3], 1)))
        fate = draw(st.sampled_from(["stays", "stays", "is paid", "is paid", "is released"]))
        if isinstance(held, Granted) and fate == "is paid":
            sale.paid(booking_id(customer))
        elif fate == "is released":
            sale.ask(release(customer))
    if draw(st.sampled_from([False] * 9 + [True])):
        sale.ask(PAUSE)
    return sale


@given(sales(), st.lists(ITEMS, min_size=1, max_size=3))
def test_a_refusal_given_for_the_owner_is_always_the_owners_own(sale, items):
    said = seen(sale).refusal(tuple(items))
    outcome, records = decide(sale.state, hold("late comer", *items), sale.now_ms)

    event(said.code if said else "left to the owner")
    assert said is None or (outcome, records) == (said, ())


# -- one booking -------------------------------------------------------------------


@pytest.mark.parametrize("caller", [BUYER, ORGANIZER, ADMIN])
def test_a_booking_is_shown_to_its_buyer_and_to_who_manages_the_event(caller):
    sale = Sale()
    sale.placed("ann", ga=2)
    sale.paid(booking_id("ann"))

    outcome = sale.ask(ReadBooking(booking_id("ann"), caller))

    assert outcome == Shown(sale.booking("ann"), "EUR")
    assert outcome.booking.status is Status.CONFIRMED


@pytest.mark.parametrize("caller", [Caller("bob"), RIVAL_ORGANIZER, Caller("", organizer="")])
def test_to_others_a_foreign_booking_is_as_absent_as_a_missing_one(caller):
    sale = Sale()
    sale.placed("ann", ga=2)

    foreign = sale.refusal(ReadBooking(booking_id("ann"), caller))
    missing = sale.refusal(ReadBooking(booking_id("nobody"), caller))

    assert foreign == missing == Refused(Refusal.BOOKING_NOT_FOUND)


def test_a_refused_hold_leaves_nothing_to_be_shown():
    sale = Sale(capacities={"ga": 1})
    request: PlaceHold = hold("ann", ga=2)
    sale.refusal(request)

    assert sale.refusal(ReadBooking(request.booking_id, BUYER)).code is Refusal.BOOKING_NOT_FOUND
