"""What is written beside an entry, in the same atomic step: effects and read models.

Pure: the journals of this package turn the same projection into their own writes.
"""

import msgspec
from msgspec import Struct

from engine.domain.event import Event
from engine.domain.outcomes import Cancellation
from engine.domain.records import (
    DOOR_EFFECTS,
    EFFECTS,
    CallingOff,
    EventAmended,
    EventCancelled,
    EventCreated,
    HoldPlaced,
    Record,
    SalePaused,
    SaleResumed,
)
from engine.journal.entry import Entry

encode_record = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(Record).decode
encode_event = msgspec.msgpack.Encoder().encode
encode_cancellation = msgspec.msgpack.Encoder().encode
decode_cancellation = msgspec.msgpack.Decoder(Cancellation).decode
decode_event = msgspec.msgpack.Decoder(Event).decode


class Projection(Struct):
    """Writes that accompany one entry.

    `effects` and `scans` are (index of the record in its entry, record): entry id and index
    together name an effect for ever. `bookings` are (customer, member of that customer's index).
    """

    effects: list[tuple[int, Record]]
    scans: list[tuple[int, Record]]
    bookings: list[tuple[str, str]]
    event: Event | None = None
    paused: bool | None = None
    cancellation: Cancellation | None = None


def project(entry: Entry) -> Projection:
    """Return what has to be written beside this entry."""
    projection = Projection([], [], [])
    for index, record in enumerate(entry.records):
        kind = type(record)
        if kind is HoldPlaced:
            booking = record.booking  # type: ignore[union-attr]
            member = booking_member(booking.held_at_ms, booking.booking_id)
            projection.bookings.append((booking.customer, member))
        elif isinstance(record, EventCreated | EventAmended):
            projection.event = record.event
        elif kind is SalePaused:
            projection.paused = True
        elif kind is SaleResumed:
            projection.paused = False
        elif isinstance(record, EventCancelled | CallingOff):
            projection.cancellation = Cancellation(record.at_ms, record.left)
        if kind in EFFECTS:
            projection.effects.append((index, record))
        elif kind in DOOR_EFFECTS:
            projection.scans.append((index, record))
    return projection


def booking_member(held_at_ms: int, booking_id: str) -> str:
    """Return a booking's place in its customer's index: text order is time order."""
    return f"{held_at_ms:015d}{booking_id}"


def booking_of_member(member: str) -> str:
    """Return the booking id of an index member."""
    return member[15:]


def event_member(starts_at_ms: int, event_id: str) -> str:
    """Return an event's place in the list of events: text order is order of start."""
    return f"{starts_at_ms:015d}{event_id}"


def event_of_member(member: str) -> str:
    """Return the event id of a list member."""
    return member[15:]
