"""One turn: what comes first, what is too late, and what must never be journalled."""

import asyncio

import pytest

from actors import turn as turn_module
from actors.intake import Waiting
from actors.turn import Turn
from actors.wire import Answers
from engine.domain.booking import Status
from engine.domain.commands import Caller, ReadAvailability, ReadBooking
from engine.domain.outcomes import Granted, Refusal, Refused, Shown
from engine.domain.records import HoldExpired, HoldPlaced, HoldReleased, SalePaused
from engine.domain.snapshot import digest
from engine.domain.state import EventState, check_fully
from tests.unit.actors.given import read, waiting
from tests.unit.engine.domain.given import PAUSE, TTL_MS, Sale, a_type, amend, hold, release


def taken(sale: Sale, *batches: Waiting) -> Turn:
    """Take a turn of these batches at the time of the sale."""
    turn = Turn(list(batches), sale.now_ms)
    turn.run(sale.state)
    return turn


def answers(turn: Turn, state: EventState, batch: Waiting) -> Answers:
    turn.answer(state)
    reply = batch.reply
    assert isinstance(reply, Answers)
    return reply


# -- order -----------------------------------------------------------------------------


async def test_holds_are_placed_after_everything_else_whatever_batch_they_came_in() -> None:
    sale = Sale(capacities={"ga": 2})
    sale.placed("ann", ga=2)
    first, second = waiting(hold("bob", ga=2)), waiting(release("ann"))
    turn = taken(sale, first, second)
    assert [type(record) for record in turn.records] == [HoldReleased, HoldPlaced]
    (granted,) = answers(turn, sale.state, first).outcomes
    assert isinstance(granted, Granted)


async def test_holds_are_placed_in_order_of_arrival() -> None:
    sale = Sale(capacities={"ga": 2})
    first = waiting(hold("ann", ga=1), hold("bob", ga=1))
    second = waiting(hold("cid", ga=1))
    turn = taken(sale, first, second)
    assert [record.booking.customer for record in turn.records] == ["ann", "bob"]
    (refused,) = answers(turn, sale.state, second).outcomes
    assert isinstance(refused, Refused)


async def test_due_holds_expire_before_anything_is_asked() -> None:
    sale = Sale(capacities={"ga": 2})
    expired = sale.placed("ann", ga=2)
    sale.wait(TTL_MS)
    batch = waiting(release("ann"), hold("bob", ga=2))
    turn = taken(sale, batch)
    assert turn.records[0] == HoldExpired(expired.booking_id, sale.now_ms)
    late_release, granted = answers(turn, sale.state, batch).outcomes
    assert late_release == Refused(Refusal.NOT_RELEASABLE, Status.EXPIRED)
    assert isinstance(granted, Granted)


async def test_a_hold_lives_until_the_millisecond_it_was_promised() -> None:
    sale = Sale()
    sale.placed("ann", ga=2)
    sale.wait(TTL_MS - 1)
    assert taken(sale).records == []
    sale.wait(1)
    assert len(taken(sale).records) == 1


async def test_a_mass_expiry_is_spread_over_turns(monkeypatch) -> None:
    monkeypatch.setattr(turn_module, "TURN_EXPIRIES_MAX", 3)
    sale = Sale()
    for number in range(7):
        sale.placed("ann", key=str(number), ga=1)
    sale.wait(TTL_MS)
    assert [len(taken(sale).records) for _ in range(4)] == [3, 3, 1, 0]
    assert sale.counts() == (10, 0, 0)
    check_fully(sale.state)


async def test_pausing_wins_over_the_holds_of_its_turn() -> None:
    sale = Sale()
    batch = waiting(hold("ann", ga=1), PAUSE)
    turn = taken(sale, batch)
    refused, _ = answers(turn, sale.state, batch).outcomes
    assert refused == Refused(Refusal.SALE_PAUSED)
    assert [type(record) for record in turn.records] == [SalePaused]


async def test_a_repeat_within_one_turn_gets_the_first_answer() -> None:
    sale = Sale()
    batch = waiting(hold("ann", ga=2), hold("ann", ga=2))
    turn = taken(sale, batch)
    first, second = answers(turn, sale.state, batch).outcomes
    assert (first.replayed, second.replayed) == (False, True)
    assert first.booking == second.booking
    assert len(turn.records) == 1


# -- answers ---------------------------------------------------------------------------


async def test_every_batch_gets_its_own_outcomes_in_the_order_it_asked() -> None:
    sale = Sale()
    sale.placed("ann", ga=1)
    first = waiting(hold("bob", ga=1), read("ann"), hold("cid", ga=99))
    second = waiting(ReadAvailability(), read("nobody"))
    turn = taken(sale, first, second)
    turn.answer(sale.state)
    granted, shown, refused = first.reply.outcomes
    assert granted.booking.customer == "bob"
    assert shown == Shown(sale.booking("ann"), "EUR")
    assert refused.code is Refusal.LIMIT_PER_BOOKING
    _, absent = second.reply.outcomes
    assert absent == Refused(Refusal.BOOKING_NOT_FOUND)


async def test_nobody_is_answered_before_the_turn_says_so() -> None:
    sale = Sale()
    batch = waiting(hold("ann", ga=1), read("bob"))
    taken(sale, batch)
    assert not batch.told


async def test_the_answers_carry_the_counts_after_the_turn_and_its_sequence() -> None:
    sale = Sale(capacities={"ga": 5})
    batch = waiting(hold("ann", ga=2))
    reply = answers(taken(sale, batch), sale.state, batch)
    assert reply.availability.sequence == sale.state.sequence == 2
    assert reply.availability.ticket_types[0].available == 3
    assert reply.outcomes[0].booking.sequence == 2


async def test_an_event_that_does_not_exist_has_no_counts() -> None:
    batch = waiting(hold("ann", ga=1))
    state = EventState()
    turn = Turn([batch], 1)
    turn.run(state)
    assert answers(turn, state, batch) == Answers([Refused(Refusal.EVENT_NOT_FOUND)], None)


async def test_a_turn_without_records_leaves_the_sequence_as_it_was() -> None:
    sale = Sale()
    before = digest(sale.state)
    turn = taken(sale, waiting(hold("ann", ga=99), read("ann"), release("bob")))
    assert turn.records == []
    assert digest(sale.state) == before


async def test_at_the_sequence_stamped_on_a_shortage_the_stock_really_is_gone() -> None:
    sale = Sale(a_type("ga"), a_type("vip"), capacities={"ga": 4, "vip": 1})
    sale.placed("ann", ga=4)
    batch = waiting(
        hold("bob", ga=3), hold("cid", ga=2), hold("dan", ga=1), release("ann"), hold("eve", vip=1)
    )
    reply = answers(taken(sale, batch), sale.state, batch)
    first, second, third, _, other = reply.outcomes
    assert isinstance(first, Granted)
    assert second == Refused(Refusal.NOT_ENOUGH, "ga", available=1, held=3)
    assert isinstance(third, Granted)
    assert isinstance(other, Granted)
    assert [(kind.code, kind.available) for kind in reply.availability.ticket_types] == [
        ("ga", 0),
        ("vip", 0),
    ]


async def test_at_the_sequence_stamped_on_a_sold_out_nothing_is_free_and_nothing_is_held() -> None:
    sale = Sale(capacities={"ga": 2})
    sale.paid(sale.placed("ann", ga=2).booking_id)
    batch = waiting(hold("bob", ga=1))
    reply = answers(taken(sale, batch), sale.state, batch)
    assert reply.outcomes == [Refused(Refusal.SOLD_OUT, "ga")]
    assert (reply.availability.ticket_types[0].available, sale.counts()) == (0, (0, 0, 2))


async def test_stock_that_is_raised_in_a_turn_is_there_for_its_holds() -> None:
    sale = Sale(capacities={"ga": 1})
    sale.paid(sale.placed("ann", ga=1).booking_id)
    batch = waiting(hold("bob", ga=2), amend(capacities={"ga": 3}))
    granted, _ = answers(taken(sale, batch), sale.state, batch).outcomes
    assert isinstance(granted, Granted)


# -- late commands ---------------------------------------------------------------------


async def test_a_command_whose_budget_ran_out_gets_none_and_changes_nothing() -> None:
    sale = Sale()
    sale.placed("ann", ga=1)
    before = digest(sale.state)
    batch = waiting(hold("bob", ga=1), release("ann"), PAUSE, read("ann"), budget_ms=400)
    await asyncio.sleep(0.5)
    turn = taken(sale, batch)
    assert answers(turn, sale.state, batch).outcomes == [None] * 4
    assert turn.records == []
    assert digest(sale.state) == before


async def test_a_command_within_its_budget_is_decided_beside_one_that_is_late() -> None:
    sale = Sale()
    late = waiting(hold("ann", ga=1), budget_ms=400)
    await asyncio.sleep(0.5)
    prompt = waiting(hold("bob", ga=1), budget_ms=400)
    turn = taken(sale, late, prompt)
    turn.answer(sale.state)
    assert late.reply.outcomes == [None]
    assert isinstance(prompt.reply.outcomes[0], Granted)


async def test_a_command_whose_budget_is_just_used_up_is_in_time() -> None:
    sale = Sale()
    batch = waiting(hold("ann", ga=1), budget_ms=500)
    await asyncio.sleep(0.5)
    (granted,) = answers(taken(sale, batch), sale.state, batch).outcomes
    assert isinstance(granted, Granted)


async def test_a_client_that_no_longer_waits_at_all_is_late() -> None:
    sale = Sale()
    batch = waiting(hold("ann", ga=1), budget_ms=-1)
    assert answers(taken(sale, batch), sale.state, batch).outcomes == [None]


# -- broken invariants -----------------------------------------------------------------


async def test_a_turn_that_breaks_an_invariant_raises_and_has_told_nobody() -> None:
    sale = Sale()
    sale.state.stocks["ga"].available += 1
    batch = waiting(hold("ann", ga=1))
    sequence = sale.state.sequence
    with pytest.raises(AssertionError, match="I1: allotment ga"):
        taken(sale, batch)
    assert not batch.told
    assert sale.state.sequence == sequence, "the entry that must not be written has a number"


async def test_even_a_turn_of_reads_notices_a_broken_invariant() -> None:
    sale = Sale()
    sale.state.held_units += 1
    with pytest.raises(AssertionError, match="I3"):
        taken(sale, waiting(ReadBooking("bk_none", Caller("ann"))))
