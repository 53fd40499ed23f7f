"""One sale as a random history whose tickets are scanned while money comes and goes."""

from collections import Counter
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, initialize, invariant, rule
from msgspec.structs import replace

from engine.domain.admission import DoorReason
from engine.domain.commands import Caller, CheckIn, NoteDelivery, PlaceHold, UndoPassage
from engine.domain.event import Event, RefundPolicy
from engine.domain.outcomes import Outcome, ScanShown
from engine.domain.tickets import TicketStatus, ticket_id, tickets_of
from tests.unit.engine.domain.given import ADMIN, NOW_MS, ORGANIZER, RIVAL_ORGANIZER, booking_id
from tests.unit.engine.domain.naive_doors import NaiveDoors
from tests.unit.engine.domain.payment_machine import ON_SALE, PaymentMachine
from tests.unit.engine.domain.sale_machine import SaleMachine

STAFF = Caller("tom", organizer="acme")
CALLERS = st.sampled_from((STAFF,) * 8 + (ORGANIZER, ADMIN, RIVAL_ORGANIZER, Caller("ann")))
PLACES = st.sampled_from((0, 0, 0, 1, 1, 2, 31))
#: Few, so that scans are repeated; an entry and an exit never have the same.
NAMES = st.sampled_from("abcdefgh")
#: Those of gateways that gave none are all the same one.
UNDOS = st.sampled_from(("", *"abcdefgh"))
GATES = st.sampled_from(("North", "South"))
OFFLINE = st.sampled_from((0, 0, 0, 1, NOW_MS + 500, NOW_MS + 1_500, NOW_MS + 90_000))
FOUND = st.sampled_from((DoorReason.FORGED, DoorReason.WRONG_EVENT))
DOORS = st.sampled_from((None, None, NOW_MS + 1_000, NOW_MS + 2_000))


class DoorMachine(PaymentMachine):
    """Doors, buyers, organizers and Stripe, all at once."""

    met: ClassVar[Counter[str]] = Counter()

    # What the machine of payments does often enough would only crowd these out.
    pay_for_another = try_cards = authorise = come_too_late = look = None

    def __init__(self) -> None:
        super().__init__()
        self.naive = NaiveDoors()

    @initialize(
        target=SaleMachine.placed,
        event=ON_SALE,
        policy=st.sampled_from((None, RefundPolicy(0, 100))),
        doors_open_at_ms=DOORS,
        entry_policy=st.sampled_from(("single", "reentry")),
    )
    def create(
        self,
        event: Event,
        policy: RefundPolicy | None,
        doors_open_at_ms: int | None,
        entry_policy: str,
    ) -> MultipleResults[PlaceHold]:
        event = replace(event, doors_open_at_ms=doors_open_at_ms, entry_policy=entry_policy)
        return super().create(event, 3, policy)

    def ask(self, command) -> Outcome:
        outcome = super().ask(command)
        if isinstance(outcome, ScanShown) and isinstance(command, CheckIn):
            self.met[outcome.scan.reason or "admitted"] += 1
        return outcome

    # -- at the doors --------------------------------------------------------------------

    @rule(
        command=SaleMachine.placed,
        place=PLACES,
        name=NAMES,
        gate=GATES,
        entry=st.sampled_from((True, True, False)),
        caller=CALLERS,
        seen_at_ms=OFFLINE,
    )
    def scan(
        self,
        command: PlaceHold,
        place: int,
        name: str,
        gate: str,
        entry: bool,
        caller: Caller,
        seen_at_ms: int,
    ) -> None:
        ticket = ticket_id(command.booking_id, place)
        scan_id = f"{name} {'in' if entry else 'out'} {ticket}"
        self.ask(CheckIn(scan_id, ticket, caller, gate, entry, seen_at_ms))

    @rule(
        command=SaleMachine.placed,
        place=PLACES,
        times=st.integers(1, 4),
        gate=GATES,
        seen_at_ms=OFFLINE,
    )
    def come_and_go(
        self, command: PlaceHold, place: int, times: int, gate: str, seen_at_ms: int
    ) -> None:
        self.buy(command, [])
        for number in range(times):
            self.scan(command, place, f"{number}", gate, number % 2 == 0, STAFF, seen_at_ms)

    @rule(command=SaleMachine.placed, place=PLACES, quantities=st.lists(st.just(1), max_size=2))
    def go_in_and_want_the_money_back(
        self, command: PlaceHold, place: int, quantities: list[int]
    ) -> None:
        self.come_and_go(command, place, 1, "North", 0)
        self.refund(command, ORGANIZER, quantities, 0)
        self.come_and_go(command, place, 2, "South", 0)

    @rule(name=NAMES, found=FOUND, gate=GATES)
    def scan_something_else(self, name: str, found: DoorReason, gate: str) -> None:
        self.ask(CheckIn(f"{name} {found}", "", STAFF, gate, found=found))
        nowhere = ticket_id(booking_id("nobody"), 0)
        self.ask(CheckIn(f"{name} {gate}", nowhere, STAFF, gate))

    @rule(
        command=SaleMachine.placed,
        place=PLACES,
        caller=CALLERS,
        name=st.none() | NAMES,
        request=UNDOS,
        again=st.booleans(),
    )
    def undo(
        self,
        command: PlaceHold,
        place: int,
        caller: Caller,
        name: str | None,
        request: str,
        again: bool,
    ) -> None:
        if name is not None:
            self.buy(command, [])
            self.scan(command, place, name, "North", True, STAFF, 0)
        ticket = ticket_id(command.booking_id, place)
        undo = UndoPassage(ticket, caller, request and f"{request} {ticket}")
        self.ask(undo)
        if name is not None:
            self.scan(command, place, name, "North", True, STAFF, 0)
        if again:
            self.ask(undo)

    @rule(command=SaleMachine.placed)
    def deliver(self, command: PlaceHold) -> None:
        self.ask(NoteDelivery(command.booking_id))
        self.ask(NoteDelivery(booking_id("nobody")))

    # -- after every step ------------------------------------------------------------------

    @invariant()
    def as_many_are_inside_as_the_tickets_say(self) -> None:
        assert self.state.inside == self.naive.inside

    @invariant()
    def nobody_has_the_money_and_was_let_in(self) -> None:
        """Unless the event was called off, or the money was taken without our doing."""
        if self.naive.called_off:
            return
        for booking in self.state.bookings.values():
            till = self.naive.tills.get(booking.booking_id)
            if till is not None and (till.by_others or till.disputes):
                continue
            used = {admission.place for admission in booking.admissions}
            for place, ticket in enumerate(tickets_of(booking)):
                assert place not in used or ticket.status is TicketStatus.USED, booking

    @invariant()
    def no_more_were_let_in_than_units_were_sold(self) -> None:
        for booking in self.state.bookings.values():
            units = sum(line.quantity for line in booking.placed or booking.lines)
            assert len(booking.admissions) <= units
            assert all(admission.place < units for admission in booking.admissions)
