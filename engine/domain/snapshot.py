"""A whole state as bytes, in slices; the digest of a state is the hash of those bytes.

A picture of the state is read a slice at a time while the turn loop goes on. Bookings are
immutable and keep their place, so it stays that of one sequence number if it is handed each
booking that is about to be replaced. The order is that of placement and thus the same after
every replay.
"""

import hashlib
import weakref
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from engine.domain.admission import Scanned
from engine.domain.apply import call_off, offer_event
from engine.domain.booking import EXPIRING, Booking
from engine.domain.event import Event
from engine.domain.moves import count, expire_at, note_unsettled
from engine.domain.state import EventState, check_turn
from engine.limits import SNAPSHOT_SLICE_BOOKINGS


class SnapshotCounts(Struct, frozen=True, array_like=True):
    """Counts of one allotment as they were kept, to be compared with what is restored."""

    code: str
    available: int
    held: int
    sold: int
    blocked: int


class SnapshotHead(Struct, frozen=True):
    """Everything of a state but its bookings."""

    event: Event | None
    created_as: Event | None
    paused: bool
    sequence: int
    now_ms: int
    booking_count: int
    stocks: tuple[SnapshotCounts, ...]
    cancelled_at_ms: int | None = None
    to_call_off: int = 0
    scans: tuple[Scanned, ...] = ()
    undos: tuple[Scanned, ...] = ()


class Capture:
    """A state at one sequence number, for as long as somebody keeps it.

    Taking it costs the same however many bookings there are.
    """

    def __init__(self, state: EventState, head: SnapshotHead) -> None:
        self.head = head
        self._state = state
        self._replaced: dict[str, Booking] = {}
        state.captures.append(weakref.ref(self, state.captures.remove))

    def keep(self, before: Booking) -> None:
        """Remember a booking that is about to be replaced, as it was at first."""
        self._replaced.setdefault(before.booking_id, before)

    def slices(self) -> Iterator[list[Booking]]:
        """Yield the bookings in the order of their placement, a slice at a time."""
        placed, current, replaced = self._state.placed, self._state.bookings, self._replaced
        count = self.head.booking_count
        for start in range(0, count, SNAPSHOT_SLICE_BOOKINGS):
            ids = placed[start : min(start + SNAPSHOT_SLICE_BOOKINGS, count)]
            yield [replaced.get(booking_id) or current[booking_id] for booking_id in ids]


class SnapshotUnusable(Exception):
    """These bytes do not give a state; the reason is the argument."""


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(SnapshotHead).decode
_decode_slice = msgspec.msgpack.Decoder(list[Booking]).decode


def capture(state: EventState) -> Capture:
    """Take a consistent picture of the state between two turns."""
    head = SnapshotHead(
        state.event,
        state.created_as,
        state.paused,
        state.sequence,
        state.now_ms,
        len(state.bookings),
        tuple(
            SnapshotCounts(code, stock.available, stock.held, stock.sold, stock.blocked)
            for code, stock in state.stocks.items()
        ),
        state.cancelled_at_ms,
        state.to_call_off,
        tuple(state.scans.values()),
        tuple(state.undos.values()),
    )
    return Capture(state, head)


def encode_slices(picture: Capture) -> Iterator[bytes]:
    """Yield the head, then the bookings, SNAPSHOT_SLICE_BOOKINGS at a time."""
    yield _encode(picture.head)
    for bookings in picture.slices():
        yield _encode(bookings)


def restore(slices: Iterable[bytes]) -> EventState:
    """Build the state that `encode_slices` was given.

    Raises:
        SnapshotUnusable: the bytes cannot be read or contradict themselves.
    """
    restoration = Restoration()
    for part in slices:
        restoration.feed(part)
    return restoration.finish()


class Restoration:
    """Builds a state from the slices of a snapshot, one at a time.

    Both methods raise SnapshotUnusable where bytes cannot be read or contradict
    themselves.
    """

    def __init__(self) -> None:
        self._state = EventState()
        self._head: SnapshotHead | None = None

    def feed(self, part: bytes) -> None:
        """Take the next slice; the first one is the head."""
        try:
            if self._head is None:
                self._head = _decode_head(part)
                _restore_head(self._state, self._head)
            else:
                for booking in _decode_slice(part):
                    _restore_booking(self._state, booking)
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, AssertionError) as error:
            raise SnapshotUnusable(f"{type(error).__name__}: {error}") from error

    def finish(self) -> EventState:
        """Return the state after the last slice."""
        if self._head is None:
            raise SnapshotUnusable("it has no slices")
        _compare(self._state, self._head)
        return self._state


def digest(state: EventState) -> str:
    """Return the hash of the whole state as 32 hexadecimal characters."""
    return digest_of(encode_slices(capture(state)))


def digest_of(slices: Iterable[bytes]) -> str:
    """Return the digest of a state that is already encoded."""
    running = hashlib.blake2b(digest_size=16)
    for part in slices:
        running.update(part)
    return running.hexdigest()


def _restore_head(state: EventState, head: SnapshotHead) -> None:
    state.created_as = head.created_as
    if head.event is not None:
        offer_event(state, head.event)
    for counts in head.stocks:
        stock = state.stocks[counts.code]
        stock.blocked = counts.blocked
        stock.available -= counts.blocked
    state.paused = head.paused
    state.sequence = head.sequence
    state.now_ms = head.now_ms
    if head.cancelled_at_ms is not None:
        call_off(state, head.cancelled_at_ms, head.to_call_off)
    state.scans = {scan.scan_id: scan for scan in head.scans}
    state.undos = {undo.scan_id: undo for undo in head.undos}


def _restore_booking(state: EventState, booking: Booking) -> None:
    state.bookings[booking.booking_id] = booking
    state.placed.append(booking.booking_id)
    if booking.status in EXPIRING:
        expire_at(state, booking.expires_at_ms, booking.booking_id)
    count(state, booking, +1)
    note_unsettled(state, booking)
    state.inside += sum(admission.inside for admission in booking.admissions)


def _compare(state: EventState, head: SnapshotHead) -> None:
    if len(state.bookings) != head.booking_count:
        raise SnapshotUnusable(f"{len(state.bookings)} bookings of {head.booking_count}")
    for counts in head.stocks:
        stock = state.stocks[counts.code]
        restored = SnapshotCounts(
            counts.code, stock.available, stock.held, stock.sold, stock.blocked
        )
        if restored != counts:
            raise SnapshotUnusable(f"allotment {counts.code} restores to {restored}")
    try:
        check_turn(state)
    except AssertionError as error:
        raise SnapshotUnusable(str(error)) from error
