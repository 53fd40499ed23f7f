"""A gateway asks again what an owner has left unanswered when it died: it must be done once."""

from collections.abc import Callable
from typing import get_args

import pytest

from engine.domain.booking import Status
from engine.domain.commands import (
    AmendEvent,
    CancelEvent,
    CheckIn,
    Command,
    CreateEvent,
    ExpireHold,
    NoteDelivery,
    ObserveCharge,
    ObserveDispute,
    ObservePayment,
    ObserveRefund,
    OpenPayment,
    PauseSale,
    PlaceHold,
    ReadAvailability,
    ReadBooking,
    ReadPayments,
    ReleaseHold,
    RequestRefund,
    ResumeSale,
    UndoPassage,
)
from engine.domain.outcomes import Refused
from engine.domain.state import EventState
from tests.unit.engine.domain.given import (
    ORGANIZER,
    PAUSE,
    RESUME,
    TTL_MS,
    a_type,
    amend,
    an_event,
    booking_id,
    expire,
    hold,
    release,
)
from tests.unit.engine.domain.given_doors import Doors, leave, open_doors, reentry, scan, undo
from tests.unit.engine.domain.given_payments import (
    CANCEL,
    charged,
    disputed,
    failed,
    pay,
    refund,
    refund_said,
)

#: An event and what is asked of it; doing that twice would be wrong.
Story = Callable[[], tuple[Doors, Command]]


def nothing_yet() -> tuple[Doors, Command]:
    sale = Doors()
    sale.state, sale.entries = EventState(), []
    return sale, CreateEvent(an_event())


def on_sale(command: Command) -> Story:
    return lambda: (Doors(), command)


def paused() -> tuple[Doors, Command]:
    sale = Doors()
    sale.ask(PAUSE)
    return sale, RESUME


def held(command: Command) -> Story:
    def story() -> tuple[Doors, Command]:
        sale = Doors()
        sale.placed("ann", ga=2)
        return sale, command

    return story


def time_up() -> tuple[Doors, Command]:
    sale = Doors()
    sale.placed("ann", ga=2)
    sale.wait(TTL_MS)
    return sale, expire("ann")


def card_fails() -> tuple[Doors, Command]:
    sale = Doors()
    sale.opened()
    return sale, failed("ch_1")


def sold(command: Command) -> Story:
    return lambda: (open_doors(), command)


def money_under_way() -> tuple[Doors, Command]:
    sale = open_doors()
    sale.ask(refund(caller=ORGANIZER, key="r1"))
    return sale, refund_said("succeeded")


def part_of_a_free_booking() -> tuple[Doors, Command]:
    sale = Doors(a_type(price_minor=0))
    sale.placed("ann", ga=3)
    sale.ask(pay())
    assert sale.status() is Status.CONFIRMED
    return sale, refund(caller=ORGANIZER, key="r1", ga=1)


def in_and_out() -> tuple[Doors, Command]:
    sale = reentry()
    sale.admitted(scan())
    sale.admitted(leave())
    return sale, undo()


READS = (ReadBooking, ReadAvailability, ReadPayments)
STORIES: dict[type[Command], Story] = {
    CreateEvent: nothing_yet,
    AmendEvent: on_sale(amend(name="Another", capacities={"ga": 9})),
    PauseSale: on_sale(PAUSE),
    ResumeSale: paused,
    CancelEvent: held(CANCEL),
    PlaceHold: on_sale(hold("ann", ga=2)),
    ReleaseHold: held(release("ann")),
    ExpireHold: time_up,
    ReadBooking: held(ReadBooking(booking_id("ann"), ORGANIZER)),
    ReadAvailability: on_sale(ReadAvailability()),
    ReadPayments: held(ReadPayments()),
    OpenPayment: held(pay()),
    ObservePayment: card_fails,
    ObserveCharge: sold(charged(500)),
    ObserveRefund: money_under_way,
    ObserveDispute: sold(disputed("lost")),
    RequestRefund: part_of_a_free_booking,
    CheckIn: sold(scan()),
    UndoPassage: in_and_out,
    NoteDelivery: sold(NoteDelivery(booking_id("ann"))),
}


@pytest.mark.parametrize("kind", STORIES, ids=lambda kind: kind.__name__)
def test_what_is_asked_again_is_not_done_again(kind: type[Command]):
    sale, command = STORIES[kind]()
    assert type(command) is kind
    before = len(sale.entries)

    first = sale.ask(command)

    assert not isinstance(first, Refused), first
    assert (len(sale.entries) > before) == (kind not in READS)
    done = len(sale.entries)
    for _ in range(2):
        sale.ask(command)
        assert len(sale.entries) == done, f"done again: {sale.last()}"


def test_no_command_is_missing():
    assert STORIES.keys() == set(get_args(Command))
