"""What the tests of the doors begin with: who is let in, in few words.

Unless told otherwise it is about the first of ann's tickets, and every scan is a new one.
"""

from itertools import count

from engine.domain.admission import DoorReason, Scanned
from engine.domain.commands import Caller, CheckIn, UndoPassage
from engine.domain.event import TicketType
from engine.domain.outcomes import ScanShown
from engine.domain.tickets import TicketStatus, ticket_id, tickets_of
from tests.unit.engine.domain.given import booking_id
from tests.unit.engine.domain.given_payments import BoxOffice

STAFF = Caller("tom", organizer="acme")
_SCANS = count(1)
_UNDOS = count(1)


def scan(
    customer: str = "ann",
    place: int = 0,
    *,
    scan_id: str | None = None,
    entry: bool = True,
    gate: str = "North",
    seen_at_ms: int = 0,
    caller: Caller = STAFF,
    key: str = "1",
) -> CheckIn:
    """Return the scan of one ticket of a booking; under an id of its own unless told."""
    return CheckIn(
        scan_id or f"scan {next(_SCANS)}",
        ticket_id(booking_id(customer, key), place),
        caller,
        gate,
        entry,
        seen_at_ms,
    )


def leave(customer: str = "ann", place: int = 0, **more) -> CheckIn:
    return scan(customer, place, entry=False, **more)


def undo(
    customer: str = "ann", place: int = 0, caller: Caller = STAFF, undo_id: str | None = None
) -> UndoPassage:
    """Return the request to take back a passage; under an id of its own unless told."""
    named = f"undo {next(_UNDOS)}" if undo_id is None else undo_id
    return UndoPassage(ticket_id(booking_id(customer), place), caller, named)


class Doors(BoxOffice):
    """A sale whose tickets are scanned; every turn leaves a count of the people inside."""

    def __init__(self, *types: TicketType, **changes) -> None:
        super().__init__(*types, **changes)
        self.said: list[Scanned] = []

    def scanned(self, command: CheckIn) -> Scanned:
        """Scan a ticket, and return what was said; it must be news."""
        outcome = self.ask(command)
        assert isinstance(outcome, ScanShown), outcome
        assert not outcome.replayed
        self.said.append(outcome.scan)
        return outcome.scan

    def admitted(self, command: CheckIn | None = None) -> Scanned:
        """Let somebody pass whom the test needs to."""
        said = self.scanned(command or scan())
        assert said.admitted, said
        assert said.reason == ""
        return said

    def turned_away(self, command: CheckIn | None = None) -> DoorReason:
        """Scan a ticket that the test needs to be refused; return why."""
        inside = self.state.inside
        said = self.scanned(command or scan())
        assert not said.admitted, said
        assert said.inside == self.state.inside == inside
        return DoorReason(said.reason)

    def undone(self, command: UndoPassage | None = None) -> Scanned:
        """Take a passage back, and return what was said; it must be news."""
        outcome = self.ask(command or undo())
        assert isinstance(outcome, ScanShown), outcome
        assert not outcome.replayed
        return outcome.scan

    def again(self, command: CheckIn | UndoPassage) -> Scanned:
        """Repeat a scan, or what took one back: nothing of it may be journalled."""
        entries_before = len(self.entries)
        outcome = self.ask(command)
        assert isinstance(outcome, ScanShown), outcome
        assert outcome.replayed
        assert len(self.entries) == entries_before, "a repeat left records"
        return outcome.scan

    def tickets(self, customer: str = "ann") -> list[TicketStatus]:
        """Return what the tickets of a customer are worth."""
        cancelled = self.state.cancelled_at_ms is not None
        found = tickets_of(self.booking(customer), cancelled=cancelled)
        return [ticket.status for ticket in found]


def open_doors(**changes) -> Doors:
    """Return doors before which ann stands with two tickets."""
    sale = Doors(**changes)
    sale.bought("ann", ga=2)
    return sale


def reentry(**changes) -> Doors:
    return open_doors(entry_policy="reentry", **changes)
