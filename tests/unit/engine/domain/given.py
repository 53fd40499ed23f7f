"""What the tests of the domain begin with, in so few words that a test reads as its story.

A `Sale` is one event's history of commands, taken turn by turn as its owner takes them.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from engine.domain import ids
from engine.domain.apply import apply, finish_entry
from engine.domain.booking import SHARE, Booking, Share, Status
from engine.domain.commands import (
    AmendEvent,
    Caller,
    Changes,
    Command,
    CreateEvent,
    ExpireHold,
    Item,
    ObservePayment,
    OpenPayment,
    PauseSale,
    PlaceHold,
    ReleaseHold,
    ResumeSale,
)
from engine.domain.decide import decide
from engine.domain.event import Allotment, Event, TicketType
from engine.domain.holds import next_due
from engine.domain.outcomes import DONE, Granted, Outcome, Refused
from engine.domain.records import Record
from engine.domain.snapshot import SnapshotCounts, capture, encode_slices, restore
from engine.domain.state import EventState, check_turn

KEY = b"the key of these tests"
NOW_MS = 1_800_000_000_000
TTL_MS = 600_000
STARTS_AT_MS = NOW_MS + 30 * 86_400_000

ORGANIZER = Caller("otto", organizer="acme")
ADMIN = Caller("root", admin=True)
#: Neither may manage the event of these tests.
RIVAL_ORGANIZER = Caller("rita", organizer="rival")
BUYER = Caller("ann")


def a_type(
    code: str = "ga",
    *,
    price_minor: int = 4_500,
    draws_on: str | None = None,
    max_per_booking: int = 6,
) -> TicketType:
    return TicketType(code, code.upper(), price_minor, draws_on or code, max_per_booking)


def an_event(*types: TicketType, capacities: dict[str, int] | None = None, **changes) -> Event:
    """Return an event on sale now; every allotment without a capacity of its own has 10."""
    types = types or (a_type(),)
    wanted = dict.fromkeys((kind.allotment for kind in types), 10) | (capacities or {})
    event = Event(
        ids.event_id(KEY, "acme", "first"),
        "acme",
        "Night of Strings",
        STARTS_AT_MS,
        "EUR",
        types,
        tuple(Allotment(code, capacity) for code, capacity in wanted.items()),
        TTL_MS,
    )
    return msgspec.structs.replace(event, **changes)


EVENT_ID = an_event().event_id


def booking_id(customer: str, key: str = "1") -> str:
    return ids.booking_id(KEY, EVENT_ID, customer, key)


def hold(customer: str, *items: Item, key: str = "1", **quantities: int) -> PlaceHold:
    """Return the command `hold("ann", ga=2)`; items that say more than a number come first."""
    counted = tuple(Item(code, quantity) for code, quantity in quantities.items())
    return PlaceHold(booking_id(customer, key), customer, items + counted)


def release(customer: str, key: str = "1", caller: Caller | None = None) -> ReleaseHold:
    return ReleaseHold(booking_id(customer, key), caller or Caller(customer))


def expire(customer: str, key: str = "1") -> ExpireHold:
    return ExpireHold(booking_id(customer, key))


def amend(caller: Caller = ORGANIZER, **changes) -> AmendEvent:
    return AmendEvent(caller, Changes(**changes))


PAUSE = PauseSale(ORGANIZER)
RESUME = ResumeSale(ORGANIZER)


class Entry(NamedTuple):
    """One turn as it would be journalled."""

    sequence: int
    at_ms: int
    records: tuple[Record, ...]


class Sale:
    """One event's state together with the commands' records that led to it."""

    def __init__(self, *types: TicketType, **changes) -> None:
        self.state = EventState()
        self.entries: list[Entry] = []
        self.now_ms = NOW_MS
        self.ask(CreateEvent(an_event(*types, **changes)))

    def ask(self, *commands: Command) -> Outcome:
        """Take one turn of these commands and return the last outcome."""
        kept: list[Record] = []
        for command in commands:
            outcome, records = decide(self.state, command, self.now_ms)
            for record in records:
                apply(self.state, record)
            kept += records
        self._end_turn(kept)
        return outcome

    def take(self, *records: Record) -> None:
        """Take one turn of these records, which the owner has decided by itself."""
        for record in records:
            apply(self.state, record)
        self._end_turn(records)

    def _end_turn(self, records: Sequence[Record]) -> None:
        check_turn(self.state)
        if records:
            finish_entry(self.state, self.state.sequence + 1, self.now_ms)
            self.entries.append(Entry(self.state.sequence, self.now_ms, tuple(records)))

    def placed(self, customer: str, *items: Item, key: str = "1", **quantities: int) -> Booking:
        """Place a hold that the test needs to be granted."""
        outcome = self.ask(hold(customer, *items, key=key, **quantities))
        assert isinstance(outcome, Granted), f"the test wanted this hold, but: {outcome}"
        return outcome.booking

    def refusal(self, command: Command) -> Refused:
        """Ask for what the test needs to be refused; nothing of it may be journalled."""
        entries_before = len(self.entries)
        outcome = self.ask(command)
        assert isinstance(outcome, Refused), f"the test wanted a refusal, but: {outcome}"
        assert len(self.entries) == entries_before, "a refusal left records"
        return outcome

    def wait(self, ms: int) -> None:
        self.now_ms += ms

    def expire_due(self) -> list[str]:
        """Expire whatever is due, as every turn of an owner does first."""
        expired = []
        while (command := next_due(self.state, self.now_ms)) is not None:
            # What is due but refused would be due for ever.
            assert self.ask(command) == DONE
            expired.append(command.booking_id)
        return expired

    def booking(self, customer: str, key: str = "1") -> Booking:
        return self.state.bookings[booking_id(customer, key)]

    def counts(self, allotment: str = "ga") -> tuple[int, int, int]:
        """Return what is available, held and sold of an allotment."""
        stock = self.state.stocks[allotment]
        return stock.available, stock.held, stock.sold

    def brought_into(self, status: Status, *booking_ids: str) -> None:
        """Go on from a snapshot in which these bookings are in `status`.

        No command leads to some of them yet. A snapshot is the way in that checks
        the counts; what comes after it cannot be replayed from `entries` alone, and there is
        no payment behind it.
        """
        bookings = [
            booking.moved(status, self.now_ms) if booking.booking_id in booking_ids else booking
            for booking in self.state.bookings.values()
        ]
        stocks = []
        for code, stock in self.state.stocks.items():
            held = self._counted(bookings, code, Share.HELD)
            sold = self._counted(bookings, code, Share.SOLD)
            available = stock.capacity - stock.blocked - held - sold
            stocks.append(SnapshotCounts(code, available, held, sold, stock.blocked))
        picture = capture(self.state)
        picture.head = msgspec.structs.replace(picture.head, stocks=tuple(stocks))
        for booking in bookings:
            picture.keep(booking)
        self.state = restore(encode_slices(picture))

    def paid(self, *booking_ids: str) -> None:
        """Have these bookings paid, each in one turn."""
        for paid_id in booking_ids:
            booking = self.state.bookings[paid_id]
            customer, price_minor = booking.customer, booking.total_minor
            self.ask(
                OpenPayment(paid_id, Caller(customer)),
                ObservePayment(
                    paid_id, "pi", "succeeded", price_minor, price_minor, "EUR", customer
                ),
            )

    def _counted(self, bookings: Iterable[Booking], allotment: str, share: Share) -> int:
        return sum(
            line.quantity
            for booking in bookings
            for line in booking.lines
            if SHARE[booking.status] is share
            and self.state.offers[line.ticket_type].ticket_type.allotment == allotment
        )


def replayed(entries: Iterable[Entry], state: EventState | None = None) -> EventState:
    """Return the state after these entries, beginning with a new one unless told."""
    state = EventState() if state is None else state
    for entry in entries:
        for record in entry.records:
            apply(state, record)
        finish_entry(state, entry.sequence, entry.at_ms)
    return state


def everything(state: EventState) -> dict[str, str]:
    """Return every field of the state in print: what the digest covers and what it does not."""
    return {name: repr(getattr(state, name)) for name in EventState.__slots__}
