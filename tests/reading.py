"""A journal read entry by entry, with what must hold at each of them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from engine.domain.apply import apply, finish_entry
from engine.domain.booking import Booking, Status
from engine.domain.records import HoldPlaced
from engine.domain.snapshot import digest
from engine.domain.state import EventState, check_fully, check_turn
from engine.journal.entry import Entry
from tests.calls import Call, Violation


class Reading:
    """Replays entry by entry and checks what must hold at each of them."""

    def __init__(
        self,
        base: EventState,
        stamped: Mapping[int, list[Call]],
        digests: Mapping[int, list[str]],
    ) -> None:
        self.state = base
        self.entries = 0
        self.shortages_checked = 0
        self.placed = dict.fromkeys(base.bookings)
        #: Every state that a booking with a payment has been in: more than its status moves.
        self.versions: dict[str, list[Booking]] = defaultdict(list)
        self._stamped = stamped
        self._digests = digests
        self.first = base.sequence
        self._epoch = 0
        self._writers: dict[int, bytes] = {}
        self._disagreement: Violation | None = None
        self._check_here()

    def take(self, entry: Entry) -> None:
        self._check_place(entry)
        if entry.sequence == 0:
            return
        self.entries += 1
        for record in entry.records:
            if isinstance(record, HoldPlaced):
                self._check_new(record.booking, entry)
            try:
                apply(self.state, record)
            except KeyError as error:
                raise Violation("I3", f"{entry.position} is about {error}, never held") from error
            self._note_version(getattr(record, "booking_id", ""))
        finish_entry(self.state, entry.sequence, entry.at_ms)
        _as_violation(check_turn, self.state)
        self._check_here()

    def finish(self, settled_at_ms: int | None) -> None:
        _as_violation(check_fully, self.state)
        if self._disagreement is not None:
            raise self._disagreement  # last, because whatever causes it says more
        for booking in self.state.bookings.values():
            if settled_at_ms is None or booking.status is not Status.RESERVED:
                continue
            if booking.expires_at_ms <= settled_at_ms:
                raise Violation("I9", f"{booking.booking_id} is held for ever")

    def _note_version(self, booking_id: str) -> None:
        booking = self.state.bookings.get(booking_id)
        if booking is not None and booking.payment is not None:
            self.versions[booking_id].append(booking)

    def _check_place(self, entry: Entry) -> None:
        position = entry.position
        if entry.epoch < self._epoch:
            raise Violation("I5", f"{position} stands behind the claim of epoch {self._epoch}")
        if entry.sequence == 0 and entry.epoch == self._epoch:
            raise Violation("I5", f"epoch {entry.epoch} is claimed twice")
        self._epoch = entry.epoch
        if self._writers.setdefault(entry.epoch, entry.nonce) != entry.nonce:
            raise Violation("I5", f"{position} is not by the owner that claimed the epoch")
        if entry.sequence == 0:
            return
        if entry.sequence != self.state.sequence + 1:
            raise Violation("I5", f"{position} follows entry {self.state.sequence}")
        if entry.at_ms < self.state.now_ms:
            raise Violation("I5", f"{position} is older than the entry before it")

    def _check_new(self, booking: Booking, entry: Entry) -> None:
        if booking.booking_id in self.placed:
            raise Violation("I6", f"{entry.position} holds {booking.booking_id} again")
        if booking.sequence != entry.sequence or booking != booking.as_placed():
            raise Violation("I3", f"{entry.position} holds a booking of another entry: {booking}")
        self.placed[booking.booking_id] = None

    def _check_here(self) -> None:
        """Check whatever was said about the state at this sequence."""
        sequence = self.state.sequence
        for found in self._digests.get(sequence, ()):
            if found != digest(self.state) and self._disagreement is None:
                what = f"at {sequence} a live state or a snapshot was {found}"
                self._disagreement = Violation("I4", what)
        for call in self._stamped.get(sequence, ()):
            self._check_refusal(call)

    def _check_refusal(self, call: Call) -> None:
        state = self.state
        if call.code == "sale_paused" and not state.paused:
            raise Violation("I2", f"the sale was not paused at {call.sequence}: {call}")
        if call.code not in {"sold_out", "not_enough"}:
            return
        self.shortages_checked += 1
        wanted: Counter[str] = Counter()
        for code, quantity in call.wanted:
            if code not in state.offers:
                raise Violation("I2", f"there is no {code}: {call}")
            wanted[state.offers[code].ticket_type.allotment] += quantity
        stocks = [(state.stocks[code], quantity) for code, quantity in wanted.items()]
        gone = any(stock.available == stock.held == 0 for stock, _ in stocks)
        short = any(quantity > stock.available for stock, quantity in stocks)
        if not (gone if call.code == "sold_out" else short):
            raise Violation("I2", f"there was stock at {call.sequence}: {call}, {state.stocks}")


def _as_violation(check: Callable[[EventState], None], state: EventState) -> None:
    try:
        check(state)
    except AssertionError as error:
        invariant, _, what = str(error).partition(": ")
        raise Violation(invariant, f"after entry {state.sequence}, {what}") from error
