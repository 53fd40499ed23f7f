"""The audit trail of tickets against the journal: the same however late effects are handled.

In every test the owner has gone on to the end before the clerk handles anything.
"""

from collections.abc import Callable, Sequence

import pytest

from engine.domain.records import DOOR_EFFECTS
from engine.domain.tickets import tickets_of
from engine.journal.projection import decode_record
from engine.journal.streams import Delivery
from engine.limits import RETURN_ATTEMPTS_MAX
from engine.store.trails import steps
from tests.unit.actors.back_office.clerking import Desk
from tests.unit.engine.domain.given import EVENT_ID, ORGANIZER, booking_id, replayed
from tests.unit.engine.domain.given_doors import leave, scan, undo
from tests.unit.engine.domain.given_payments import (
    charged,
    disputed,
    refund,
    refund_said,
)

ANN = booking_id("ann")


def bought_and_went_in(desk: Desk) -> None:
    desk.sale.admitted(scan("ann", 1))


def went_in_by_mistake(desk: Desk) -> None:
    desk.sale.admitted(scan("ann"))
    desk.sale.ask(undo("ann"))
    desk.sale.admitted(scan("ann", 1))


def went_out_for_a_smoke(desk: Desk) -> None:
    desk.sale.admitted(scan("ann"))
    desk.sale.admitted(leave("ann"))
    desk.sale.ask(undo("ann"))
    desk.sale.ask(undo("ann"))


def gave_one_back_and_then_another(desk: Desk) -> None:
    desk.sale.admitted(scan("ann"))
    for number in (1, 2):
        desk.sale.ask(refund("ann", ORGANIZER, ga=1))
        desk.sale.hear(refund_said("succeeded", 4_500, number=number))


def was_refused_a_refund_and_got_it_then(desk: Desk) -> None:
    desk.sale.ask(refund("ann", ORGANIZER, ga=1))
    desk.sale.hear(refund_said("failed", 4_500, reason="lost_or_stolen_card"))
    desk.sale.admitted(scan("ann", 3))
    desk.sale.ask(undo("ann", 3))
    desk.sale.ask(refund("ann", ORGANIZER))
    desk.sale.hear(refund_said("succeeded", 4 * 4_500, number=2))


def won_a_dispute_after_giving_one_back(desk: Desk) -> None:
    desk.sale.ask(refund("ann", ORGANIZER, ga=1))
    desk.sale.hear(refund_said("succeeded", 4_500))
    desk.sale.admitted(scan("ann"))
    desk.sale.hear(disputed("needs_response"))
    desk.sale.hear(disputed("won"))


def lost_a_dispute_over_a_part(desk: Desk) -> None:
    desk.sale.hear(disputed("needs_response"))
    desk.sale.hear(disputed("lost", amount_minor=1_000))
    desk.sale.admitted(scan("ann"))
    desk.sale.hear(disputed("needs_response", "dp_2"))
    desk.sale.hear(disputed("won", "dp_2"))


def lost_a_dispute_over_everything(desk: Desk) -> None:
    desk.sale.hear(disputed("needs_response"))
    desk.sale.hear(disputed("lost"))


def never_got_the_money_for_one(desk: Desk) -> None:
    desk.sale.ask(refund("ann", ORGANIZER, ga=1))
    desk.sale.hear(refund_said("succeeded", 4_500))
    for number in range(1, RETURN_ATTEMPTS_MAX + 1):
        desk.sale.hear(refund_said("failed", 4_500, number))


def others_took_everything_back(desk: Desk) -> None:
    desk.sale.admitted(scan("ann"))
    desk.sale.hear(charged(4 * 4_500, captured_minor=4 * 4_500))


def others_took_something_back(desk: Desk) -> None:
    desk.sale.hear(charged(1_000, captured_minor=4 * 4_500))
    desk.sale.admitted(scan("ann"))


def was_called_off(desk: Desk) -> None:
    desk.sale.admitted(scan("ann"))
    desk.sale.call_off()
    desk.sale.ask(undo("ann"))
    desk.sale.hear(refund_said("succeeded", 4 * 4_500))


def _in_one_batch(effects: Sequence[Delivery]) -> list[list[Delivery]]:
    return [list(effects)]


def _one_by_one(effects: Sequence[Delivery]) -> list[list[Delivery]]:
    return [[one] for one in effects]


def _of_the_doors(delivery: Delivery) -> bool:
    return type(decode_record(delivery.message.record)) in DOOR_EFFECTS


def _doors_first(effects: Sequence[Delivery]) -> list[list[Delivery]]:
    """Return them as two groups of consumers may handle them."""
    doors = [one for one in effects if _of_the_doors(one)]
    others = [[one] for one in effects if not _of_the_doors(one)]
    return [doors, *others] if doors else others


def _doors_last(effects: Sequence[Delivery]) -> list[list[Delivery]]:
    doors, *others = _doors_first(effects)
    return [*others, doors]


@pytest.mark.parametrize(
    "come", [_in_one_batch, _one_by_one, _doors_first, _doors_last], ids=lambda one: one.__name__
)
@pytest.mark.parametrize(
    "happens",
    [
        bought_and_went_in,
        went_in_by_mistake,
        went_out_for_a_smoke,
        gave_one_back_and_then_another,
        was_refused_a_refund_and_got_it_then,
        won_a_dispute_after_giving_one_back,
        lost_a_dispute_over_a_part,
        lost_a_dispute_over_everything,
        never_got_the_money_for_one,
        others_took_everything_back,
        others_took_something_back,
        was_called_off,
    ],
    ids=lambda one: one.__name__,
)
async def test_each_line_has_the_record_that_made_it_so_and_its_moment(
    happens: Callable[[Desk], None],
    come: Callable[[Sequence[Delivery]], list[list[Delivery]]],
):
    desk = Desk(entry_policy="reentry")
    desk.sale.bought("ann", ga=4)
    happens(desk)
    for batch in come(desk.effects()):
        await desk.handle(batch)
    void = desk.books.voids[0][1:] if desk.books.voids else None
    lines = steps(desk.books.ticket_changes.values(), void)
    found = sorted((line.ticket_id, line.sequence, line.status, line.at_ms) for line in lines)
    assert found == _journalled(desk)


def _journalled(desk: Desk) -> list[tuple[str, int, str, int]]:
    """Return what each ticket became, at which entry and when, by the journal alone."""
    status: dict[str, str] = {}
    became = []
    for count, entry in enumerate(desk.sale.entries, start=1):
        state = replayed(desk.sale.entries[:count])
        booking = state.bookings.get(ANN)
        cancelled = state.cancelled_at_ms is not None
        for ticket in tickets_of(booking, cancelled=cancelled) if booking else ():
            if status.get(ticket.ticket_id) != ticket.status:
                status[ticket.ticket_id] = ticket.status.value
                line = (ticket.ticket_id, entry.sequence, ticket.status.value, entry.at_ms)
                became.append(line)
    assert became, EVENT_ID
    return sorted(became)
