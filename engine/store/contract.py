"""What the back office keeps, and what may be asked of it.

It is filled from effects and never decides: whatever stands here follows from the journals,
but for personal data and the fate of messages, which stand nowhere else. Nothing on the way
of a sale or at a door waits for it. Times are Unix milliseconds.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from engine.domain.event import Event

#: Names of the channels, as rows of messages have them.
EMAIL = "email"
PUSH = "push"
#: The channel that carries files: tickets reach their buyer by no other.
CARRIES_FILES = EMAIL
#: `Scan.result`: let through, not let through, and a passage that was taken back.
ADMITTED = "admitted"
REFUSED = "refused"
UNDONE = "undone"


class StoreAway(Exception):
    """The database did not answer; the same call again is safe. Argument: what happened."""


class Contact(Struct, frozen=True):
    """Where a buyer is reached, and whom their tickets are for; personal data.

    `holders` are in the order of the booking's tickets, as many as were named.
    """

    email: str
    name: str | None = None
    locale: str | None = None
    holders: tuple[str, ...] = ()

    def holder(self, place: int) -> str | None:
        """Return whom the ticket at a place of the booking is for: the buyer, if nobody else."""
        return self.holders[place] if place < len(self.holders) else self.name


class StoredTicket(Struct, frozen=True):
    """A ticket as its booking stood at `sequence` of its event's journal."""

    ticket_id: str
    booking_id: str
    event_id: str
    customer: str
    number: str
    ticket_type: str
    seat: str | None
    status: str
    sequence: int
    at_ms: int


class TicketChange(Struct, frozen=True):
    """What a record, the `cause`, has made of a ticket; or a line of its audit trail.

    As a change it says only what its record says: whether the ticket was worth something, or
    that somebody passed a door with it. A line of the trail says what the ticket was then.
    """

    ticket_id: str
    status: str
    cause: str
    sequence: int
    at_ms: int


class MessageKind(StrEnum):
    """What a message is about."""

    CONFIRMATION = "order_confirmation"
    PAYMENT_FAILED = "payment_failed"
    EXPIRED = "booking_expired"
    REFUNDED = "refund"
    LATE_PAYMENT = "late_payment_refunded"
    EVENT_CHANGED = "event_changed"
    EVENT_CANCELLED = "event_cancelled"


class MessageStatus(StrEnum):
    """How far a message is.

    NOT_NEEDED: there is nobody to send it to, or nothing left to say; no failure.
    """

    PENDING = "PENDING"
    SENT = "SENT"
    PERMANENTLY_FAILED = "PERMANENTLY_FAILED"
    NOT_NEEDED = "NOT_NEEDED"


class NewMessage(Struct, frozen=True):
    """A message that is to be sent; there is never a second one of the same dedupe key.

    `facts` are what its template says beside what the store and the catalogue know: amounts,
    reasons; JSON, and no personal data.
    """

    dedupe_key: str
    kind: MessageKind
    channel: str
    event_id: str
    booking_id: str
    created_ms: int
    facts: bytes = b"{}"


class Message(Struct, frozen=True):
    """A message and its fate; `provider` is who took it, `error` what went wrong last.

    `told` says that the owner of its event knows that the tickets have been handed over.
    """

    message_id: int
    dedupe_key: str
    kind: MessageKind
    channel: str
    event_id: str
    booking_id: str
    created_ms: int
    facts: bytes
    status: MessageStatus
    attempts: int
    next_attempt_ms: int
    provider: str | None
    error: str | None
    sent_ms: int | None
    told: bool

    @property
    def brings_tickets(self) -> bool:
        """Whether its buyer has the tickets with it: a confirmation that carries files."""
        return self.kind is MessageKind.CONFIRMATION and self.channel == CARRIES_FILES


class Tally(Struct, frozen=True):
    """How many messages of one kind and channel are in one state."""

    kind: MessageKind
    channel: str
    status: MessageStatus
    count: int


class Scan(Struct, frozen=True):
    """One scan at a door as the owner journalled it; `sequence` and `index` name it for ever.

    `at_ms` is when the scanner saw the ticket, `noted_ms` when the owner decided: far apart
    for a scan that was made offline. `flags` say what is suspicious about it.
    """

    event_id: str
    sequence: int
    index: int
    scan_id: str
    ticket_id: str | None
    entry: bool
    result: str
    reason: str | None
    gate: str
    operator: str
    at_ms: int
    noted_ms: int
    offline: bool = False
    flags: tuple[str, ...] = ()


class GateCount(Struct, frozen=True):
    """Scans of one gate."""

    gate: str
    entries: int
    exits: int
    refused: int


class Writes(Struct):
    """What one handled batch of effects leaves, all in one transaction.

    A ticket or an event is only written over what is of an earlier sequence, a contact only
    over one that was sealed earlier and over none that was forgotten; messages, changes and
    scans that are there already stay as they are.
    """

    events: list[tuple[Event, int]] = []
    contacts: list[tuple[str, bytes]] = []
    tickets: list[StoredTicket] = []
    changes: list[TicketChange] = []
    messages: list[NewMessage] = []
    scans: list[Scan] = []
    #: Events all of whose tickets are void from a sequence on, and the moment of that. It is
    #: one row, however many they are.
    void_events: list[tuple[str, int, int]] = []


class BackOffice(Protocol):
    """The relational store, as one process reads and writes it.

    Every method raises `StoreAway` when the database did not answer.
    """

    async def migrate(self) -> None:
        """Bring the schema up to date; harmless if it is, or if others do it meanwhile."""
        ...

    async def write(self, writes: Writes) -> None:
        """Write all of it, or nothing; writing the same again changes nothing."""
        ...

    # -- people and tickets --------------------------------------------------------

    async def contact(self, booking_id: str) -> Contact | None:
        """Return where the buyer of a booking is reached."""
        ...

    async def contacts(self, booking_ids: Sequence[str]) -> dict[str, Contact]:
        """Return the contacts of those of these bookings that have one."""
        ...

    async def reachable(self, booking_ids: Sequence[str]) -> set[str]:
        """Return those of these bookings that have a contact; none is opened for that."""
        ...

    async def bookings_of(self, email: str) -> list[str]:
        """Return the bookings of an address, newest first, whatever its capitals."""
        ...

    async def forget(self, booking_id: str) -> bool:
        """Erase the personal data of a booking for good; tell whether there was any."""
        ...

    async def event(self, event_id: str) -> Event | None:
        """Return an event as its holders were last told of it."""
        ...

    async def tickets(self, booking_id: str) -> list[StoredTicket]:
        """Return the tickets of a booking in their order."""
        ...

    async def changes(self, booking_ids: Sequence[str]) -> list[TicketChange]:
        """Return what records have made of the tickets of these bookings, in their order."""
        ...

    async def trail(self, booking_id: str) -> list[TicketChange]:
        """Return the audit trail of a booking's tickets: what they became, oldest first."""
        ...

    async def manifest(
        self, event_id: str, since: int, after: str | None, limit: int
    ) -> list[StoredTicket]:
        """Return tickets that changed after sequence `since`, in order of id, behind `after`."""
        ...

    async def entered(self, event_id: str) -> int:
        """Return the sequence up to which the tickets of an event are here; 0: none are."""
        ...

    async def holders(self, event_id: str, after: str | None, limit: int) -> list[str]:
        """Return bookings, in order of id, that have tickets of an event, void ones too.

        Only those whose buyer can be written to, as far as that shows without opening
        what is sealed; behind `after`, at most `limit`.
        """
        ...

    # -- messages ------------------------------------------------------------------

    async def last_named(self, begin: str, end: str) -> str | None:
        """Return the booking of the last message, in order of their dedupe keys, named so.

        Args:
            begin: of the dedupe key, not empty.
            end: of it.
        """
        ...

    async def due(
        self, worker: str, now_ms: int, lease_ms: int, at_most: Mapping[str, int]
    ) -> list[Message]:
        """Take pending messages whose time has come, for `lease_ms`; the oldest of each channel.

        Nobody else is given them meanwhile; the same worker is.

        Args:
            worker: who takes them.
            now_ms: the time.
            lease_ms: for how long.
            at_most: how many of each channel; of others, none are taken.
        """
        ...

    async def pending_channels(self) -> list[str]:
        """Return the channels by which messages are still to go."""
        ...

    async def sent(self, message_ids: Sequence[int], provider: str, at_ms: int) -> None:
        """Note that messages were handed over."""
        ...

    async def failed(self, message_id: int, error: str, retry_ms: int | None) -> None:
        """Note a failed attempt, and when the next one is; None: there is none."""
        ...

    async def not_needed(self, message_id: int, reason: str) -> None:
        """Note that a pending message is to be sent no more, and why; it is no failure."""
        ...

    async def untold(self, limit: int) -> list[Message]:
        """Return messages that have brought tickets, which the owner does not know."""
        ...

    async def told(self, message_ids: Sequence[int]) -> None:
        """Note that the owner knows."""
        ...

    async def messages(
        self, booking_id: str, *, from_id: int = 0, limit: int | None = None
    ) -> list[Message]:
        """Return messages about a booking, oldest first.

        Args:
            booking_id: of the booking.
            from_id: the smallest id that is returned.
            limit: length of the answer at most; None for all.
        """
        ...

    async def statistics(self, organizer: str | None) -> list[Tally]:
        """Return how many messages are in which state; of one organizer's events, or of all."""
        ...

    # -- doors ---------------------------------------------------------------------

    async def scans(
        self, event_id: str, limit: int, before: tuple[int, int] | None = None
    ) -> list[Scan]:
        """Return scans of an event, newest first, before a (sequence, index)."""
        ...

    async def passages(self, ticket_ids: Sequence[str], since_ms: int) -> list[Scan]:
        """Return what let the holders of these tickets through since a moment, and undid it.

        In the order of the journal.
        """
        ...

    async def forgeries(self, event_id: str, operator: str, gate: str, since_ms: int) -> int:
        """Return how many forged codes an operator has scanned at a gate since a moment."""
        ...

    async def gates(self, event_id: str) -> list[GateCount]:
        """Return the scans of an event by gate."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...
