"""The rules of the doors once more, as plainly as they can be said; see `naive.py`."""

from collections.abc import Iterator
from typing import NamedTuple

from engine.domain import commands as ask
from tests.unit.engine.domain.given import NOW_MS
from tests.unit.engine.domain.naive import SOLD, Facts, NaiveBooking, refused
from tests.unit.engine.domain.naive_payments import NaiveBoxOffice
from tests.unit.engine.domain.naive_refunds import NaiveRefund, Till

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


class Pass(NamedTuple):
    """One way through a door."""

    scan: str
    at: int
    gate: str


class NaiveDoors(NaiveBoxOffice):
    """A naive sale whose tickets are scanned: whoever passed an odd number of times is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.ways: dict[str, list[Pass]] = {}
        self.said: dict[str, Facts] = {}
        self.undone: dict[str, Facts] = {}

    def answer(self, command: ask.Command, now: int, sequence: int) -> Facts:
        match command:
            case ask.CheckIn():
                return self.scan(command, now)
            case ask.UndoPassage(ticket, caller, name):
                return self.undo(ticket, caller, name)
            case ask.NoteDelivery(booking_id):
                return self.deliver(booking_id, now)
        return super().answer(command, now, sequence)

    def deliver(self, booking_id: str, now: int) -> Facts:
        booking = self.find(booking_id)
        if booking is None:
            return refused("booking_not_found")
        if booking.status == "CONFIRMED":
            booking.history.append(("TICKETS_DELIVERED", now))
        return ("done",)

    # -- what there is -------------------------------------------------------------------

    @property
    def inside(self) -> int:
        return sum(len(ways) % 2 for ways in self.ways.values())

    def tickets(self, booking: NaiveBooking) -> dict[str, tuple[str, bool]]:
        """Return the type of each ticket, and whether it is worth anything."""
        if booking.status not in (*SOLD, "REFUNDED"):
            return {}
        good = self.good(booking)
        found: dict[str, tuple[str, bool]] = {}
        for kind in [code for code, units, _ in booking.rows_asked() for _ in range(units)]:
            place = len(found)
            name = f"tkt_{booking.id[3:]}{_DIGITS[place // 32]}{_DIGITS[place % 32]}"
            found[name] = kind, kind in good
            if kind in good:
                good.remove(kind)
        return found

    def good(self, booking: NaiveBooking) -> list[str]:
        """Return the types of the units that admit somebody."""
        till = self.tills.get(booking.id)
        if booking.status == "REFUNDED" or self.called_off:
            return []
        if till is not None and till.in_dispute:
            return []
        good = [code for code, units, _ in booking.rows for _ in range(units)]
        if booking.status == "REFUND_REQUESTED" and till is not None:
            for code, units in till.refunds[-1].rows:
                for _ in range(units):
                    good.remove(code)
        return good

    def find_ticket(self, name: str) -> tuple[str, bool] | None:
        found: dict[str, tuple[str, bool]] = {}
        for booking in self.bookings:
            found.update(self.tickets(booking))
        return found.get(name)

    # -- who may pass --------------------------------------------------------------------

    def scan(self, command: ask.CheckIn, now: int) -> Facts:
        if not self.managed_by(command.caller):
            return refused("event_not_found")
        if command.scan_id in self.said:
            return (*self.said[command.scan_id], True)
        seen = command.seen_at_ms
        at = min(max(seen, NOW_MS), now) if seen else now
        ticket = self.find_ticket(command.ticket_id)
        ways = self.ways.get(command.ticket_id, [])
        first = (ways[0].at, ways[0].gate) if ways else (0, "")
        reason = next(self.reasons_against_passing(command, ticket, ways, at), "")
        if not reason:
            self.ways[command.ticket_id] = [*ways, Pass(command.scan_id, at, command.gate)]
        kind, good = ticket or ("", False)
        used = "USED" if command.ticket_id in self.ways else "ACTIVE"
        worth = "" if ticket is None else used if good else "VOID"
        said = ("scan", (not reason, reason), (kind, worth), first, self.inside)
        self.said[command.scan_id] = said
        return (*said, False)

    def reasons_against_passing(
        self, command: ask.CheckIn, ticket: tuple[str, bool] | None, ways: list[Pass], at: int
    ) -> Iterator[str]:
        if command.found:
            yield command.found
        booking = self.find("bk_" + command.ticket_id[4:-2])
        if ticket is None:
            yield "void" if booking is None else "unpaid"
        is_in = len(ways) % 2 == 1
        if not command.entry:
            if not is_in:
                yield "not_inside"
            return
        if ticket is not None and not ticket[1]:
            yield "void"
        if self.first.doors_open_at_ms is not None and at < self.first.doors_open_at_ms:
            yield "not_yet"
        if is_in or (ways and self.first.entry_policy == "single"):
            yield "already_used"

    def undo(self, name: str, caller: ask.Caller, request: str) -> Facts:
        if not self.managed_by(caller):
            return refused("event_not_found")
        if request in self.undone:
            return (*self.undone[request], True)
        ticket = self.find_ticket(name)
        if ticket is None:
            return refused("ticket_not_found")
        if name not in self.ways:
            return refused("not_admitted")
        *ways, last = self.ways.pop(name)
        del self.said[last.scan]
        if ways:
            self.ways[name] = ways
        kind, good = ticket
        worth = ("USED" if ways else "ACTIVE") if good else "VOID"
        said = "scan", (False, ""), (kind, worth), (0, ""), self.inside
        if request:
            self.undone[request] = said
        return (*said, False)

    # -- money ---------------------------------------------------------------------------

    def reasons_against_refunding(
        self, booking: NaiveBooking, till: Till | None, rows: list, now: int, *, managed: bool
    ) -> Iterator[Facts]:
        yield from super().reasons_against_refunding(booking, till, rows, now, managed=managed)
        rows = rows or [(code, units) for code, units, _ in booking.rows]
        if self.takes_used_ticket(booking, rows):
            yield refused("refund_not_allowed", "used")

    def takes_used_ticket(self, booking: NaiveBooking, rows: list) -> bool:
        for code in {code for code, _ in rows}:
            units = sum(number for kind, number in rows if kind == code)
            good = [name for name, (kind, is_good) in self.tickets(booking).items()
                    if kind == code and is_good]  # fmt: skip
            if any(name in self.ways for name in good[-units:]):
                return True
        return False

    def had_been_made(
        self, booking: NaiveBooking, till: Till, refund: NaiveRefund, now: int
    ) -> None:
        if self.called_off or not self.takes_used_ticket(booking, refund.rows):
            super().had_been_made(booking, till, refund, now)
