"""A small history that keeps every promise, to be broken by hand."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from engine.domain.booking import Booking
from engine.domain.records import Record
from engine.journal.entry import Entry
from tests.calls import GRANTED, HOLD, READ, REFUSED, RELEASE, UNKNOWN, Call, Seen, Violation
from tests.history import Verdict, verify
from tests.samples import MINE
from tests.unit.engine.domain.given import (
    PAUSE,
    RESUME,
    Sale,
    booking_id,
    hold,
    release,
)
from tests.unit.engine.domain.given import Entry as Turn


def as_entry(turn: Turn) -> Entry:
    return Entry(1, turn.sequence, turn.at_ms, MINE, turn.records)


class Day:
    """A small history that keeps every promise: each step is a second, and one entry.

    1 created; 2 ann holds 6 of 8 and reads it; 3 bob holds 2, all is gone: cid and dan are
    refused; 4 ann releases; 5 eve is never answered, and held; 6 paused, fay is refused; 7.
    """

    def __init__(self) -> None:
        self.sale = Sale(capacities={"ga": 8})
        self.calls: list[Call] = []
        self.ann = self.holds("ann", ga=6)
        self.reads(self.ann)
        self.bob = self.holds("bob", ga=2)
        self.refused("cid", "not_enough", ga=1)
        self.refused("dan", "not_enough", ga=2)
        self.sale.ask(release("ann"))
        released = self.sale.booking("ann")
        self.say(RELEASE, "ann", GRANTED, booking=released)
        self.reads(released)
        self.eve = self.sale.placed("eve", ga=3)
        self.say(HOLD, "eve", UNKNOWN, ga=3)
        self.sale.ask(PAUSE)
        self.refused("fay", "sale_paused", ga=1)
        self.sale.ask(RESUME)
        self.entries = [
            Entry(1, 0, self.sale.now_ms, MINE),
            *(
                Entry(1, turn.sequence, turn.at_ms, MINE, turn.records)
                for turn in self.sale.entries
            ),
        ]

    def holds(self, customer: str, **quantities: int) -> Booking:
        booking = self.sale.placed(customer, **quantities)
        self.say(HOLD, customer, GRANTED, booking=booking, **quantities)
        return booking

    def reads(self, booking: Booking) -> None:
        self.say(READ, booking.customer, GRANTED, booking=booking)

    def refused(self, customer: str, code: str, **quantities: int) -> None:
        assert self.sale.refusal(hold(customer, **quantities)).code == code
        self.say(HOLD, customer, REFUSED, code=code, **quantities)

    def say(
        self,
        what: str,
        customer: str,
        outcome: str,
        *,
        booking: Booking | None = None,
        code: str | None = None,
        **quantities: int,
    ) -> None:
        at = float(len(self.calls))
        self.calls.append(
            Call(
                what,
                customer,
                at,
                at + 0.5,
                outcome,
                "1" if what == HOLD else "",
                tuple(quantities.items()),
                booking_id(customer),
                None if booking is None else Seen.of(booking),
                code,
                None if outcome == UNKNOWN else self.sale.state.sequence,
            )
        )

    def call(self, what: str, customer: str) -> int:
        return next(
            index
            for index, call in enumerate(self.calls)
            if (call.what, call.customer) == (what, customer)
        )

    def change(self, what: str, customer: str, /, **changes) -> None:
        """Have a client be told something else."""
        index = self.call(what, customer)
        self.calls[index] = replace(self.calls[index], **changes)

    def change_seen(self, what: str, customer: str, /, **changes) -> None:
        seen = self.calls[self.call(what, customer)].seen
        self.change(what, customer, seen=replace(seen, **changes))

    def write(self, index: int, *records: Record, **changes) -> None:
        """Have something else stand in the journal, counted from its claim."""
        entry = self.entries[index]
        self.entries[index] = msgspec.structs.replace(
            entry, records=records or entry.records, **changes
        )

    def verify(self, **options) -> Verdict:
        return verify(self.calls, self.entries, **options)


#: Has a day go wrong.
Break = Callable[[Day], object]


def broken(invariant: str, because: str, day: Day, **options) -> None:
    with pytest.raises(Violation, match=because) as violation:
        day.verify(**options)
    assert violation.value.invariant == invariant
    assert str(violation.value).startswith(f"{invariant}: ")
