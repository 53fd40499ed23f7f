"""One sale as a random history: what a step may be, and what must hold after each of them."""

from collections import Counter
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from msgspec.structs import replace

from engine.domain.apply import apply, finish_entry
from engine.domain.booking import Booking
from engine.domain.commands import (
    AmendEvent,
    Caller,
    Changes,
    Command,
    CreateEvent,
    ExpireHold,
    Item,
    PauseSale,
    PlaceHold,
    ReadBooking,
    ReleaseHold,
    ResumeSale,
)
from engine.domain.decide import decide
from engine.domain.event import Event
from engine.domain.holds import next_due
from engine.domain.outcomes import (
    Done,
    EventShown,
    Granted,
    Outcome,
    PaymentShown,
    PaymentsShown,
    Refused,
    ScanShown,
    Shown,
)
from engine.domain.records import Record
from engine.domain.snapshot import capture, digest, encode_slices, restore
from engine.domain.state import EventState, check_fully, check_turn
from tests.unit.engine.domain.given import (
    ADMIN,
    EVENT_ID,
    NOW_MS,
    ORGANIZER,
    RIVAL_ORGANIZER,
    Entry,
    a_type,
    an_event,
    booking_id,
    everything,
    replayed,
)
from tests.unit.engine.domain.naive import Facts, NaiveSale

# Times are a few half seconds, so that histories meet their boundaries to the millisecond.
HALF_SECONDS = st.integers(0, 12).map(lambda halves: NOW_MS + halves * 500)
Items = tuple[Item, ...]
CODES = ("ga", "vip", "early", "late")
CUSTOMERS = st.sampled_from(("ann", "bob", "cid"))
KEYS = st.sampled_from("12345678")
CALLERS = st.sampled_from((ORGANIZER, ORGANIZER, ORGANIZER, ADMIN, RIVAL_ORGANIZER, Caller("ann")))
ITEMS = st.lists(
    st.builds(
        Item,
        st.sampled_from(CODES * 6 + ("nosuch",)),
        st.sampled_from((1, 1, 1, 2, 2, 3, 5)),
        seats=st.sampled_from([()] * 19 + [("A-1",)]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def small_event(limit_per_booking: int, capacities: dict[str, int], **changes) -> Event:
    return an_event(
        a_type("ga", max_per_booking=limit_per_booking),
        a_type("vip", price_minor=9_900),
        a_type("early", price_minor=3_000, draws_on="floor"),
        a_type("late", price_minor=3_500, draws_on="floor"),
        capacities=capacities,
        starts_at_ms=NOW_MS + 20_000,
        **changes,
    )


EVENTS = st.builds(
    small_event,
    limit_per_booking=st.integers(2, 4),
    capacities=st.fixed_dictionaries(dict.fromkeys(("ga", "vip", "floor"), st.integers(0, 5))),
    hold_ttl_ms=st.sampled_from((1_000, 2_000, 5_000)),
    max_per_customer=st.sampled_from((None, None, None, 3, 6)),
    opens_at_ms=st.sampled_from((None, None, NOW_MS + 500)),
    closes_at_ms=st.none() | HALF_SECONDS.map(lambda at_ms: at_ms + 3_000),
)
PRICES = st.dictionaries(
    st.sampled_from(CODES * 3 + ("nosuch",)), st.sampled_from((3_000, 5_000)), min_size=1
)
CAPACITIES = st.dictionaries(
    st.sampled_from(("ga", "vip", "floor") * 3 + ("nosuch",)),
    st.sampled_from((0, 0, 1, 2, 4, 6)),
    min_size=1,
)
OPENINGS = st.sampled_from((None, None, NOW_MS, NOW_MS + 1_000, NOW_MS + 20_000))
CLOSINGS = st.none() | HALF_SECONDS
CHANGES = st.one_of(
    st.builds(Changes, prices_minor=PRICES),
    st.builds(Changes, capacities=CAPACITIES),
    st.builds(Changes, opens_at_ms=OPENINGS),
    st.builds(Changes, closes_at_ms=CLOSINGS),
    st.builds(
        Changes,
        name=st.sampled_from(("Night of Strings", "Another")),
        opens_at_ms=OPENINGS,
        closes_at_ms=CLOSINGS,
        prices_minor=PRICES,
        capacities=CAPACITIES,
    ),
)


def facts(outcome: Outcome) -> Facts:
    """Return what an outcome says in the naive model's words."""
    match outcome:
        case Refused(code, subject, limit, available, held, seats):
            assert seats == ()
            return "refused", code, subject, limit, available, held
        case Granted(booking, currency, replayed):
            assert currency == "EUR"
            return "granted", facts_of(booking), replayed
        case Shown(booking, currency):
            assert currency == "EUR"
            return "booking", facts_of(booking)
        case EventShown(event, paused, replayed):
            prices = {kind.code: kind.price_minor for kind in event.ticket_types}
            capacities = {stock.code: stock.capacity for stock in event.allotments}
            window = event.name, event.opens_at_ms, event.closes_at_ms
            return "event", window, (prices, capacities), paused, replayed
        case PaymentShown(booking, payment, event):
            assert event.event_id == EVENT_ID
            return "payment", booking.booking_id, payment.amount_minor, payment.intent_id
        case PaymentsShown(payments, more):
            return "payments", sorted(one.booking_id for one in payments), more
        case ScanShown(scan, replayed):
            first = scan.first_at_ms, scan.first_gate
            ticket = scan.ticket_type, scan.status
            return "scan", (scan.admitted, scan.reason), ticket, first, scan.inside, replayed
    assert outcome == Done()
    return ("done",)


def facts_of(booking: Booking) -> Facts:
    lines = [(line.ticket_type, line.quantity, line.unit_price_minor) for line in booking.lines]
    history = [(moment.status, moment.at_ms) for moment in booking.history]
    return (
        (booking.booking_id, booking.customer, lines),
        (booking.expires_at_ms, booking.sequence, history),
    )


class SaleMachine(RuleBasedStateMachine):
    """One event on sale: turns of one or more commands, time passing between turns."""

    #: Every answer met by any history; read by the test that none is missing.
    met: ClassVar[Counter[str]] = Counter()

    placed = Bundle("placed")

    def __init__(self) -> None:
        super().__init__()
        self.state = EventState()
        self.naive = NaiveSale()
        self.now_ms = NOW_MS
        self.entries: list[Entry] = []
        self.turn: list[Record] = []
        self.snapshot = list(encode_slices(capture(self.state)))

    # -- commands ------------------------------------------------------------------

    def ask(self, command: Command) -> Outcome:
        before = digest(self.state)
        outcome, records = decide(self.state, command, self.now_ms)
        assert digest(self.state) == before, "deciding wrote"
        self.keep(records)
        # Whatever changes something is journalled, and nothing else is.
        assert (digest(self.state) != before) == bool(records)
        answer = facts(outcome)
        expected = self.naive.answer(command, self.now_ms, len(self.entries) + 1)
        assert answer == expected, f"the domain says {answer}, the model {expected}"
        self.met[answer[1] if answer[0] == "refused" else answer[0]] += 1
        self.met["replayed"] += getattr(outcome, "replayed", False)
        return outcome

    def keep(self, records: tuple[Record, ...]) -> None:
        for record in records:
            apply(self.state, record)
        self.turn += records

    @initialize(event=EVENTS)
    def create(self, event: Event) -> None:
        self.event = event
        self.ask(CreateEvent(event))

    @rule(target=placed, customer=CUSTOMERS, key=KEYS, items=ITEMS)
    def hold(self, customer: str, key: str, items: Items) -> MultipleResults[PlaceHold]:
        command = PlaceHold(booking_id(customer, key), customer, items)
        return multiple(command) if isinstance(self.ask(command), Granted) else multiple()

    @rule(target=placed, wanted=st.lists(st.tuples(CUSTOMERS, KEYS, ITEMS), min_size=2, max_size=5))
    def rush(self, wanted: list[tuple[str, str, Items]]) -> MultipleResults[PlaceHold]:
        commands = [PlaceHold(booking_id(name, key), name, items) for name, key, items in wanted]
        return multiple(*(c for c in commands if isinstance(self.ask(c), Granted)))

    @rule(command=placed, customer=CUSTOMERS, items=ITEMS)
    def repeat(self, command: PlaceHold, customer: str, items: Items) -> None:
        self.ask(command)
        self.ask(PlaceHold(command.booking_id, customer, items))

    @rule(command=placed)
    def release(self, command: PlaceHold) -> None:
        self.ask(ReleaseHold(command.booking_id, Caller(command.customer)))

    @rule(command=placed, caller=CALLERS)
    def read_and_release_for_another(self, command: PlaceHold, caller: Caller) -> None:
        self.ask(ReadBooking(command.booking_id, caller))
        self.ask(ReleaseHold(command.booking_id, caller))

    @rule(caller=CALLERS, changes=CHANGES)
    def amend(self, caller: Caller, changes: Changes) -> None:
        self.ask(AmendEvent(caller, changes))

    @rule(command=placed, units_below=st.sampled_from((0, 1)), repriced=st.booleans())
    def amend_what_is_held(self, command: PlaceHold, units_below: int, repriced: bool) -> None:
        ticket_type = command.items[0].ticket_type
        allotment = self.naive.allotment(ticket_type)
        capacity = max(0, self.naive.held(allotment) - units_below)
        prices = {ticket_type: 5_000} if repriced else {}
        self.ask(AmendEvent(ORGANIZER, Changes(prices_minor=prices)))
        self.ask(AmendEvent(ORGANIZER, Changes(capacities={allotment: capacity})))

    @rule(caller=CALLERS, paused=st.sampled_from((True, False, False)), changed=st.booleans())
    def pause_or_resume(self, caller: Caller, paused: bool, changed: bool) -> None:
        self.ask(PauseSale(caller) if paused else ResumeSale(caller))
        self.ask(CreateEvent(replace(self.event, category="other" if changed else None)))

    # -- the owner's own work --------------------------------------------------------

    def end_turn(self) -> None:
        if self.turn:
            finish_entry(self.state, self.state.sequence + 1, self.now_ms)
            self.entries.append(Entry(self.state.sequence, self.now_ms, tuple(self.turn)))
            self.turn = []

    @rule()
    def take_snapshot(self) -> None:
        self.end_turn()
        self.snapshot = list(encode_slices(capture(self.state)))

    @rule(ms=st.sampled_from((0, 1, 499, 500, 1_000)))
    def wait(self, ms: int) -> None:
        self.end_turn()
        self.now_ms += ms

    @rule(command=placed, early_ms=st.sampled_from((0, 1)))
    def wait_for_its_expiry(self, command: PlaceHold, early_ms: int) -> None:
        booking = self.state.bookings[command.booking_id]
        self.wait(max(0, booking.expires_at_ms - early_ms - self.now_ms))
        self.ask(ExpireHold(command.booking_id))

    @precondition(lambda self: self.naive.closes is not None)
    @rule(customer=CUSTOMERS, key=KEYS, items=ITEMS, early_ms=st.sampled_from((0, 1)))
    def hold_at_the_closing(self, customer: str, key: str, items: Items, early_ms: int) -> None:
        self.wait(max(0, self.naive.closes - early_ms - self.now_ms))
        self.ask(PlaceHold(booking_id(customer, key), customer, items))

    @rule()
    def expire_due(self) -> None:
        due = self.naive.due(self.now_ms)
        expired = []
        while (command := next_due(self.state, self.now_ms)) is not None:
            assert self.ask(command) == Done()
            expired.append(command.booking_id)
        # Those of one instant may come in any order, as long as it is the same in a replay.
        assert sorted(expired) == sorted(due)
        self.met["expired"] += len(expired)

    # -- after every step ------------------------------------------------------------

    @invariant()
    def counts_are_those_of_the_bookings(self) -> None:
        check_turn(self.state)
        check_fully(self.state)
        for code, stock in self.state.stocks.items():
            assert stock.available == self.naive.free(code)
            assert stock.held == self.naive.held(code)
            assert stock.sold == self.naive.sold(code)

    @invariant()
    def the_owner_wakes_for_the_next_hold_that_still_stands(self) -> None:
        expiries = [booking.expires_at for booking in self.naive.standing()]
        assert self.state.next_expiry_ms() == min(expiries, default=None)

    @invariant()
    def a_replay_gives_the_same_state(self) -> None:
        again = replayed(self.entries)
        self.apply_open_turn(again)
        assert everything(again) == everything(self.state)
        assert digest(again) == digest(self.state)

    @invariant()
    def the_last_snapshot_and_the_tail_give_the_same_state(self) -> None:
        restored = restore(self.snapshot)
        again = replayed(self.entries[restored.sequence :], restored)
        self.apply_open_turn(again)
        check_fully(again)
        assert digest(again) == digest(self.state)
        assert again.next_expiry_ms() == self.state.next_expiry_ms()

    def apply_open_turn(self, state: EventState) -> None:
        for record in self.turn:
            apply(state, record)
