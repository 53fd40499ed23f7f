"""A sale, its owner, and the clerk who enters what the owner has decided."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from actors.back_office.clerk import Clerk, Sources
from actors.contract import OwnerGone
from actors.telling import Telling
from actors.wire import Answers, decode_batch, encode_reply
from engine.domain.commands import NoteDelivery, ReadAvailability, ReadBooking
from engine.domain.event import TicketType
from engine.domain.ids import event_of_booking
from engine.domain.outcomes import Cancellation
from engine.domain.records import DOOR_EFFECTS, EFFECTS, EventAmended, Record
from engine.domain.views import availability
from engine.journal.catalogue import EventDocument
from engine.journal.contract import Unavailable
from engine.journal.entry import Position
from engine.journal.projection import encode_record
from engine.journal.streams import Delivery, Effect, StreamKind
from tests.unit.actors.back_office.fake_ledger import FakeLedger
from tests.unit.engine.domain.given import EVENT_ID
from tests.unit.engine.domain.given_doors import Doors


class Contacts:
    """Contacts on their way; everybody has one but for those in `nameless`."""

    def __init__(self) -> None:
        self.nameless: set[str] = set()
        self.away = False

    async def of(self, booking_ids: Sequence[str]) -> dict[str, bytes]:
        if self.away:
            raise Unavailable("the test took it away")
        assert all(event_of_booking(one) == EVENT_ID for one in booking_ids)
        return {one: f"sealed {one}".encode() for one in booking_ids if one not in self.nameless}


class Desk:
    """One event and its clerk. What the owner has decided is handed on by the test.

    `behind` is what its owner decides once, in the turn in which it shows bookings and behind
    that; `lost`: its owner is gone; `away`: the catalogue does not answer; `unknown`: it has no
    such event.
    """

    def __init__(
        self, *types: TicketType, channels: Sequence[str] = ("email",), **event: Any
    ) -> None:
        self.sale = Doors(*types, **event)
        self.books = FakeLedger()
        self.contacts = Contacts()
        self.lost = self.away = self.unknown = False
        self.behind: Callable[[], object] | None = None
        self.pokes = 0
        self._seen = 0
        sources = Sources(Telling(self), self, self.contacts, lambda ticket: f"No. {ticket[-2:]}")
        self.channels = list(channels)
        self._clerk = Clerk(self.books, self.books, sources, self.channels, self._poke)

    def _poke(self) -> None:
        self.pokes += 1

    def effects(self) -> list[Delivery]:
        """Return the effects of what has been decided since the last time."""
        entries, self._seen = self.sale.entries[self._seen :], len(self.sale.entries)
        return [
            effect(record, entry.sequence, index)
            for entry in entries
            for index, record in enumerate(entry.records)
            if type(record) in EFFECTS | DOOR_EFFECTS
        ]

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Have the clerk handle these together, and once more: that may change nothing."""
        await self._clerk.handle(deliveries)
        before = self._written()
        await self._clerk.handle(deliveries)
        assert self._written() == before, "the second time has changed the books"

    async def once(self, deliveries: Sequence[Delivery]) -> None:
        """Have the clerk handle these, who may fail at it."""
        await self._clerk.handle(deliveries)

    async def catch_up(self) -> None:
        """Have the clerk handle all that is left, in one batch."""
        if deliveries := self.effects():
            await self.handle(deliveries)

    def _written(self) -> list[object]:
        books = self.books
        # Where the clerk has told the owner something, its bookings are a little older.
        rows = {ticket_id: replace(row, sequence=0) for ticket_id, row in books.rows.items()}
        found = (books.events, rows, books.ticket_changes, books.letters, books.scans)
        return [dict(one) for one in (*found, books.announced, books.sealed)]

    # -- keeps Owners, as far as the clerk speaks to them --------------------------

    async def submit(self, event_id: str, batch: bytes) -> bytes:
        if self.lost:
            raise OwnerGone("the test took it away")
        assert event_id == EVENT_ID
        commands = [envelope.command for envelope in decode_batch(batch)]
        assert {type(one) for one in commands} <= {ReadAvailability, ReadBooking, NoteDelivery}
        outcomes = [self.sale.ask(one) for one in commands]
        if self.behind is not None and isinstance(commands[0], ReadBooking):
            self.behind()
            self.behind = None
        counts = availability(self.sale.state, self.sale.now_ms)
        return encode_reply(Answers(outcomes, counts))

    # -- keeps Catalogue, as far as the clerk reads it -----------------------------

    async def event(self, event_id: str) -> EventDocument | None:
        if self.away:
            raise Unavailable("the test took it away")
        state = self.sale.state
        if self.unknown or event_id != EVENT_ID:
            return None
        assert state.event is not None
        changed = [
            entry.sequence
            for entry in self.sale.entries
            if any(isinstance(record, EventAmended) for record in entry.records)
        ]
        called_off_at_ms = state.cancelled_at_ms
        off = None if called_off_at_ms is None else Cancellation(called_off_at_ms, 0)
        return EventDocument(state.event, False, changed[-1] if changed else 1, off)


def effect(record: Record | bytes, sequence: int, index: int = 0) -> Delivery:
    """Return a record, or what stands in its place, as it comes from the stream."""
    encoded = record if isinstance(record, bytes) else encode_record(record)
    message = Effect(EVENT_ID, Position(1, sequence), index, encoded)
    return Delivery(StreamKind.EFFECTS, 0, f"{sequence}-{index}", message)
