"""The state of one event: everything that a decision may depend on.

Plain data. `decide` reads it, `apply` alone writes it. Counts are kept, never recounted,
so that no step costs more with a million bookings than with ten.
"""

from typing import Any, Protocol
from weakref import ReferenceType

from msgspec import Struct

from engine.domain.admission import Scanned
from engine.domain.booking import SHARE, Booking, Line, Share
from engine.domain.books import check_money
from engine.domain.event import Event, TicketType

#: Quantities up to this one share their lines; few bookings have more units of a type.
_LINES_SHARED = 10


def line_of(ticket_type: TicketType, quantity: int) -> tuple[Line]:
    """Return what a booking of that many units says, at the price of now."""
    return (Line(ticket_type.code, quantity, ticket_type.price_minor),)


class Stock(Struct):
    """Counts of one allotment; `capacity == available + held + sold + blocked`."""

    capacity: int
    available: int
    held: int = 0
    sold: int = 0
    blocked: int = 0

    @property
    def committed(self) -> int:
        """Units that cannot be taken away: a capacity below this is refused."""
        return self.held + self.sold + self.blocked


class Offer(Struct):
    """A ticket type, the stock it draws on, and how many of its units are held or sold.

    `lines` are those of new bookings by quantity, made once and shared by all that ask for
    as much: its own would be a quarter of the memory that a booking takes.
    """

    ticket_type: TicketType
    stock: Stock
    committed: int = 0
    lines: dict[int, tuple[Line]] = {}

    def sell(self, ticket_type: TicketType) -> None:
        """Let bookings have the ticket type as it is from now on."""
        self.ticket_type = ticket_type
        most = min(ticket_type.max_per_booking, _LINES_SHARED)
        self.lines = {quantity: line_of(ticket_type, quantity) for quantity in range(1, most + 1)}


class Keeper(Protocol):
    """Whoever wants to know a booking before another takes its place."""

    def keep(self, before: Booking, /) -> None:
        """Remember a booking as it was."""


def _large_dict() -> dict[str, Booking]:
    """Return an empty dict that stays fast with a million keys.

    CPython keeps no hashes in a dict whose keys were strings from the start: each probe
    then reads a key from far-off memory. Once it has held another kind of key it keeps
    them (measured for a million: 350 ns a look-up instead of 560).
    """
    large: dict[Any, Booking] = {0: None}  # type: ignore[dict-item]
    del large[0]
    return large


class EventState:
    """State of one event after the journal entry `sequence`, decided at `now_ms`.

    `event` is None until the event was created; it takes holds from `opens_at_ms` until
    before `closes_at_ms`, unless `paused`. `placed` are the ids of all `bookings` in the
    order of their placement, and `captures` want each booking that is about to be replaced.
    `expiries` is a heap of instants and `expiring_at` the bookings of each, because the holds
    of one turn expire at one instant. The last booking of the first instant always still
    expires; elsewhere there may be some that no longer do. `units_of` says how many units
    each customer holds or has bought, and is kept only where the event limits it.
    `held_units` and `sold_units` are counted by booking, so that they check the stocks,
    which are counted by line. `unsettled` are the bookings whose payment waits for Stripe;
    of an event that was cancelled, the `to_call_off` oldest bookings have not been seen to.
    `scans` are the last SCANS_REMEMBERED_MAX at the doors, oldest first, by id, and `undos`
    the last UNDOS_REMEMBERED_MAX requests that took a passage back; `inside` counts whose
    ticket has gone in and not out.
    """

    __slots__ = (
        "bookings",
        "cancelled_at_ms",
        "captures",
        "closes_at_ms",
        "created_as",
        "event",
        "expiries",
        "expiring_at",
        "held_units",
        "inside",
        "now_ms",
        "offers",
        "opens_at_ms",
        "paused",
        "placed",
        "scans",
        "sequence",
        "sold_units",
        "stocks",
        "to_call_off",
        "undos",
        "units_of",
        "unsettled",
    )

    def __init__(self) -> None:
        self.event: Event | None = None
        self.created_as: Event | None = None
        self.paused = False
        self.opens_at_ms = 0
        self.closes_at_ms = 0
        self.sequence = 0
        self.now_ms = 0
        self.stocks: dict[str, Stock] = {}
        self.offers: dict[str, Offer] = {}
        self.bookings: dict[str, Booking] = _large_dict()
        self.placed: list[str] = []
        self.captures: list[ReferenceType[Keeper]] = []
        self.expiries: list[int] = []
        self.expiring_at: dict[int, list[str]] = {}
        self.units_of: dict[str, int] = {}
        self.held_units = 0
        self.sold_units = 0
        self.unsettled: dict[str, None] = {}
        self.cancelled_at_ms: int | None = None
        self.to_call_off = 0
        self.scans: dict[str, Scanned] = {}
        self.undos: dict[str, Scanned] = {}
        self.inside = 0

    def next_expiry_ms(self) -> int | None:
        """When the next hold expires, None when none does."""
        return self.expiries[0] if self.expiries else None


def fetch_ahead(state: EventState, booking_ids: set[str]) -> None:
    """Look up the ids of a turn all at once, for nothing but what the processor then has at hand.

    In a large table each look-up waits for memory two or three times. Between other work
    the waits add up, in one go they overlap (measured among a million bookings: 350 ns an
    id one by one, 160 ns together). A set has hashed its ids already: in a list, hashing would
    come in between.
    """
    state.bookings.keys().isdisjoint(booking_ids)


def check_turn(state: EventState) -> None:
    """Assert I1 and the count side of I3; costs one step for each allotment.

    Raises:
        AssertionError: the state is wrong. Nothing decided since the last good turn may
            be journalled or answered.
    """
    held = sold = 0
    for code, stock in state.stocks.items():
        assert stock.available >= 0, f"I1: allotment {code} oversold by {-stock.available}"
        assert stock.held >= 0, f"I1: allotment {code} holds {stock.held}"
        assert stock.sold >= 0, f"I1: allotment {code} sold {stock.sold}"
        assert stock.blocked >= 0, f"I1: allotment {code} blocks {stock.blocked}"
        assert stock.available + stock.committed == stock.capacity, (
            f"I1: allotment {code} counts {stock.available} + {stock.committed}, "
            f"its capacity is {stock.capacity}"
        )
        held += stock.held
        sold += stock.sold
    assert held == state.held_units, f"I3: stocks hold {held}, bookings {state.held_units}"
    assert sold == state.sold_units, f"I3: stocks sold {sold}, bookings {state.sold_units}"


def check_fully(state: EventState) -> None:
    """Assert I1, I3 and I7 by counting every booking again; costs a step for each of them.

    Raises:
        AssertionError: a kept count differs from what the bookings say, or their books are wrong.
    """
    check_turn(state)
    check_money(state.bookings.values())
    counts = {code: {Share.HELD: 0, Share.SOLD: 0} for code in state.stocks}
    committed = dict.fromkeys(state.offers, 0)
    units_of: dict[str, int] = {}
    expiring = 0
    for booking in state.bookings.values():
        share = SHARE[booking.status]
        assert booking.units == sum(line.quantity for line in booking.lines), (
            f"I3: booking {booking.booking_id} claims {booking.units} units"
        )
        if share is Share.NONE:
            continue
        expiring += share is Share.HELD
        units_of[booking.customer] = units_of.get(booking.customer, 0) + booking.units
        for line in booking.lines:
            counts[state.offers[line.ticket_type].ticket_type.allotment][share] += line.quantity
            committed[line.ticket_type] += line.quantity
    for code, stock in state.stocks.items():
        counted = counts[code]
        assert stock.held == counted[Share.HELD], f"I3: allotment {code} holds {stock.held}"
        assert stock.sold == counted[Share.SOLD], f"I3: allotment {code} sold {stock.sold}"
    for code, offer in state.offers.items():
        assert offer.committed == committed[code], f"I3: type {code} commits {offer.committed}"
    limited = state.event is not None and state.event.max_per_customer is not None
    assert state.units_of == (units_of if limited else {}), (
        "I3: units of some customer differ from their bookings"
    )
    assert state.placed == list(state.bookings), "I3: bookings are not in the order of placement"
    inside = sum(one.inside for booking in state.bookings.values() for one in booking.admissions)
    assert state.inside == inside, f"doors count {state.inside} inside, tickets {inside}"
    unsettled = {
        booking.booking_id
        for booking in state.bookings.values()
        if booking.payment is not None and booking.payment.unsettled
    }
    assert set(state.unsettled) == unsettled, "I3: some payment is not waited for"
    assert sum(map(len, state.expiring_at.values())) >= expiring, "I3: some hold would never expire"
