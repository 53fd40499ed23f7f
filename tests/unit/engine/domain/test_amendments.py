"""The event itself: created once, changed whole or not at all, paused and resumed."""

from itertools import combinations

import pytest
from msgspec.structs import replace

from engine.domain.booking import Status
from engine.domain.commands import AmendEvent, Caller, CreateEvent, PauseSale, ResumeSale
from engine.domain.outcomes import EventShown, Granted, Refusal, Refused
from engine.domain.records import EventAmended, SalePaused, SaleResumed
from tests.unit.engine.domain.given import (
    ADMIN,
    BUYER,
    NOW_MS,
    ORGANIZER,
    PAUSE,
    RESUME,
    RIVAL_ORGANIZER,
    STARTS_AT_MS,
    TTL_MS,
    Sale,
    a_type,
    amend,
    an_event,
    booking_id,
    hold,
    release,
)

# -- created -----------------------------------------------------------------------


def test_an_event_is_created_at_the_time_of_the_turn_whatever_the_request_says():
    sale = Sale(created_at_ms=1)

    assert sale.state.event == an_event(created_at_ms=NOW_MS)


def test_creating_twice_gives_the_first_answer():
    sale = Sale()
    sale.wait(1_000)

    outcome = sale.ask(CreateEvent(an_event()))

    assert outcome == EventShown(an_event(created_at_ms=NOW_MS), paused=False, replayed=True)
    assert len(sale.entries) == 1


def test_creating_twice_gives_the_first_answer_even_after_the_event_was_changed():
    sale = Sale()
    sale.ask(amend(name="Another", capacities={"ga": 3}), PAUSE)

    outcome = sale.ask(CreateEvent(an_event()))

    assert outcome == EventShown(an_event(created_at_ms=NOW_MS), paused=False, replayed=True)
    assert sale.state.event.name == "Another"


@pytest.mark.parametrize(
    "other",
    [
        an_event(name="Another"),
        an_event(organizer="rival"),
        an_event(capacities={"ga": 11}),
        an_event(a_type(price_minor=1)),
        an_event(max_per_customer=1),
    ],
)
def test_the_same_key_for_another_event_is_told_so(other):
    sale = Sale()

    assert sale.refusal(CreateEvent(other)) == Refused(Refusal.IDEMPOTENCY_KEY_REUSED)


# -- amended -----------------------------------------------------------------------


def test_an_amendment_changes_what_it_names_and_nothing_else():
    sale = Sale(a_type("ga"), a_type("vip"))
    before = sale.state.event
    sale.wait(1_000)

    outcome = sale.ask(
        amend(
            name="Another",
            opens_at_ms=NOW_MS + 5_000,
            closes_at_ms=NOW_MS + 9_000,
            prices_minor={"vip": 9_900},
            capacities={"ga": 12},
        )
    )

    expected = replace(
        an_event(a_type("ga"), a_type("vip", price_minor=9_900), capacities={"ga": 12}),
        name="Another",
        opens_at_ms=NOW_MS + 5_000,
        closes_at_ms=NOW_MS + 9_000,
        created_at_ms=before.created_at_ms,
    )
    assert outcome == EventShown(expected, paused=False)
    assert sale.state.event == expected
    assert sale.entries[-1].records == (EventAmended(expected, sale.now_ms),)


def test_a_window_can_be_taken_away_which_is_not_the_same_as_left_alone():
    sale = Sale(opens_at_ms=NOW_MS + 5_000, closes_at_ms=NOW_MS + 9_000)

    sale.ask(amend(name="Another"))
    assert sale.state.event.opens_at_ms == NOW_MS + 5_000
    assert sale.state.event.closes_at_ms == NOW_MS + 9_000

    sale.ask(amend(opens_at_ms=None, closes_at_ms=None))
    sale.placed("ann", ga=1)
    sale.wait(STARTS_AT_MS - NOW_MS - 1)
    sale.placed("bob", ga=1)


def test_an_amendment_that_changes_nothing_leaves_no_record():
    sale = Sale()

    outcome = sale.ask(amend(name=sale.state.event.name, capacities={"ga": 10}))

    assert outcome == EventShown(sale.state.event, paused=False)
    assert len(sale.entries) == 1


def test_an_amendment_of_a_paused_sale_says_that_it_is_paused():
    sale = Sale()

    assert sale.ask(PAUSE, amend(name="Another")).paused
    assert sale.ask(amend(name="Another")).paused


@pytest.mark.parametrize("caller", [ORGANIZER, ADMIN])
def test_the_organizer_and_an_admin_may_manage_the_event(caller):
    sale = Sale()

    assert sale.ask(AmendEvent(caller, amend(name="Another").changes)).event.name == "Another"
    assert sale.ask(PauseSale(caller)).paused
    assert not sale.ask(ResumeSale(caller)).paused


@pytest.mark.parametrize("caller", [BUYER, RIVAL_ORGANIZER, Caller("acme")])
@pytest.mark.parametrize(
    "command",
    [
        lambda caller: AmendEvent(caller, amend(name="Another").changes),
        lambda caller: AmendEvent(caller, amend(prices_minor={"nosuch": 1}).changes),
        PauseSale,
        ResumeSale,
    ],
    ids=["amend", "amend wrongly", "pause", "resume"],
)
def test_to_everybody_else_the_event_is_not_there(caller, command):
    # `Caller("acme")` is a buyer whose name happens to be that of the organizer.
    assert Sale().refusal(command(caller)) == Refused(Refusal.EVENT_NOT_FOUND)


# -- prices ------------------------------------------------------------------------


def test_a_price_changes_only_while_nothing_of_its_type_is_held_or_sold():
    sale = Sale(a_type("ga"), a_type("vip"))
    sale.placed("ann", ga=1)

    assert sale.refusal(amend(prices_minor={"ga": 1})) == Refused(Refusal.PRICE_COMMITTED, "ga")
    sale.paid(booking_id("ann"))
    assert sale.refusal(amend(prices_minor={"ga": 1})) == Refused(Refusal.PRICE_COMMITTED, "ga")
    # The other type is still free, also in the shop window of the same event.
    sale.ask(amend(prices_minor={"vip": 1, "ga": 4_500}))
    assert sale.placed("bob", vip=1).total_minor == 1


def test_a_price_is_free_again_when_the_last_hold_is_gone():
    sale = Sale()
    sale.placed("ann", ga=1)
    sale.placed("bob", ga=1)
    sale.ask(release("ann"))
    sale.refusal(amend(prices_minor={"ga": 1}))

    sale.wait(TTL_MS)
    sale.expire_due()

    sale.ask(amend(prices_minor={"ga": 1}))
    assert sale.placed("cid", ga=1).total_minor == 1


def test_a_hold_of_another_type_of_the_same_stock_does_not_fix_a_price():
    sale = Sale(a_type("early", draws_on="floor"), a_type("late", draws_on="floor"))
    sale.placed("ann", early=1)

    sale.ask(amend(prices_minor={"late": 1}))

    assert sale.placed("bob", late=1).total_minor == 1


# -- capacities --------------------------------------------------------------------


def test_raised_stock_can_be_held_at_once():
    sale = Sale(capacities={"ga": 1})
    sale.placed("ann", ga=1)
    sale.refusal(hold("bob", ga=2))

    outcome = sale.ask(amend(capacities={"ga": 3}), hold("bob", ga=2))

    assert isinstance(outcome, Granted)
    assert sale.counts() == (0, 3, 0)


def test_a_stock_can_be_lowered_to_what_is_committed_and_no_further():
    sale = Sale(a_type("early", draws_on="floor"), a_type("late", draws_on="floor"))
    sale.placed("ann", early=2)
    sale.placed("bob", late=3)
    sale.paid(booking_id("ann"))

    assert sale.refusal(amend(capacities={"floor": 4})) == Refused(
        Refusal.BELOW_COMMITTED, "floor", 5
    )
    sale.ask(amend(capacities={"floor": 5}))
    assert sale.counts("floor") == (0, 3, 2)


def test_stock_given_back_after_it_was_lowered_is_free_within_the_new_capacity():
    sale = Sale()
    sale.placed("ann", ga=4)
    sale.ask(amend(capacities={"ga": 5}))

    sale.ask(release("ann"))

    assert sale.counts() == (5, 0, 0)


# -- refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"prices_minor": {"nosuch": 1}}, Refused(Refusal.UNKNOWN_TICKET_TYPE, "nosuch")),
        ({"prices_minor": {"floor": 1}}, Refused(Refusal.UNKNOWN_TICKET_TYPE, "floor")),
        ({"capacities": {"nosuch": 1}}, Refused(Refusal.UNKNOWN_ALLOTMENT, "nosuch")),
        ({"capacities": {"late": 1}}, Refused(Refusal.UNKNOWN_ALLOTMENT, "late")),
        ({"opens_at_ms": STARTS_AT_MS}, Refused(Refusal.SALE_WINDOW_INVALID)),
        (
            {"opens_at_ms": NOW_MS + 1, "closes_at_ms": NOW_MS + 1},
            Refused(Refusal.SALE_WINDOW_INVALID),
        ),
    ],
)
def test_an_amendment_that_makes_no_sense_is_refused_with_its_own_code(changes, refusal):
    sale = Sale(a_type("ga"), a_type("late", draws_on="floor"))

    assert sale.refusal(amend(**changes)) == refusal


#: One change for each refusal, in the order in which they win.
SPOILED_BY: list[tuple[Refusal, dict]] = [
    (Refusal.UNKNOWN_TICKET_TYPE, {"prices_minor": {"nosuch": 1}}),
    (Refusal.UNKNOWN_ALLOTMENT, {"capacities": {"nosuch": 1}}),
    (Refusal.SALE_WINDOW_INVALID, {"opens_at_ms": STARTS_AT_MS}),
    (Refusal.PRICE_COMMITTED, {"prices_minor": {"ga": 1}}),
    (Refusal.BELOW_COMMITTED, {"capacities": {"ga": 1}}),
]


def spoiled_by_both(one: dict, other: dict) -> dict:
    """Ask for both changes, the one that wins last."""
    both = {**other, **one}
    for name in ("prices_minor", "capacities"):
        if name in one and name in other:
            both[name] = other[name] | one[name]
    return both


@pytest.mark.parametrize(("first", "second"), list(combinations(SPOILED_BY, 2)))
def test_of_two_reasons_against_an_amendment_the_first_wins(first, second):
    sale = Sale()
    sale.placed("ann", ga=2)

    refusal = sale.refusal(amend(**spoiled_by_both(first[1], second[1])))

    assert refusal.code is first[0]
    assert sale.refusal(amend(**second[1])).code is second[0]


def test_an_amendment_is_carried_out_whole_or_not_at_all():
    sale = Sale(a_type("ga"), a_type("vip"))
    sale.placed("ann", ga=2)
    before = sale.state.event

    sale.refusal(
        amend(name="Another", prices_minor={"vip": 1}, capacities={"vip": 20, "ga": 1}),
    )

    assert sale.state.event == before
    assert sale.counts("vip") == (10, 0, 0)


# -- paused ------------------------------------------------------------------------


def test_a_paused_sale_takes_no_new_holds_and_lets_the_old_ones_be():
    sale = Sale()
    sale.placed("ann", ga=2)

    shown = sale.ask(PAUSE)

    assert shown == EventShown(sale.state.event, paused=True)
    assert sale.refusal(hold("bob", ga=1)) == Refused(Refusal.SALE_PAUSED)
    assert sale.ask(hold("ann", ga=2)) == Granted(sale.booking("ann"), "EUR", replayed=True)
    assert sale.booking("ann").status is Status.RESERVED


def test_pausing_and_resuming_twice_is_the_same_as_once():
    sale = Sale()
    sale.ask(PAUSE)
    sale.wait(1_000)
    assert sale.ask(PAUSE) == EventShown(sale.state.event, paused=True)
    sale.ask(RESUME)
    sale.wait(1_000)
    assert sale.ask(RESUME) == EventShown(sale.state.event, paused=False)

    sale.placed("bob", ga=1)
    switched = [record for entry in sale.entries[1:-1] for record in entry.records]
    assert switched == [SalePaused(NOW_MS), SaleResumed(NOW_MS + 1_000)]
