"""A history of every record about the doors that release 0.3 journals. Never changed again.

`journal-v1-doors.hex` holds its bytes as that release wrote them: the format is still that
of version 1, the records and the fields at the end of old ones are new.
"""

import hashlib
import json

from engine.domain.admission import Scanned
from engine.domain.booking import Booking, Line
from engine.domain.event import Allotment, Event, TicketType
from engine.domain.payment import Part, Refund
from engine.domain.records import (
    BookingConfirmed,
    EventCreated,
    HoldPlaced,
    IntentOpened,
    PassageUndone,
    PaymentStarted,
    RefundRequested,
    TicketScanned,
    TicketsDelivered,
)
from engine.domain.state import EventState
from engine.journal.contract import SnapshotRef
from engine.journal.entry import Entry, Position
from tests.golden.history_v1 import AT_MS, EVENT_ID, FIRST_OWNER, SECOND_OWNER
from tests.golden.history_v1_payments import facts as facts_of_0_2

_EVENT = Event(
    event_id=EVENT_ID,
    organizer="acme",
    name="Night",
    starts_at_ms=AT_MS + 86_400_000,
    currency="EUR",
    ticket_types=(
        TicketType("ga", "Stehplatz", 4_500, "floor", 6),
        TicketType("seat", "Parkett", 9_000, "seats", 6),
    ),
    allotments=(Allotment("floor", 100), Allotment("seats", 10)),
    hold_ttl_ms=600_000,
    created_at_ms=AT_MS,
    doors_open_at_ms=AT_MS + 3_000,
    entry_policy="reentry",
)
_PRICE_MINOR = 13_500


def _id(number: int) -> str:
    return f"bk_0123456789ab{number:016d}"


def _ticket(number: int, place: int) -> str:
    return f"tkt_0123456789ab{number:016d}0{place}"


def _booking(number: int) -> Booking:
    return Booking(
        booking_id=_id(number),
        customer=f"customer {number}",
        lines=(Line("ga", 1, 4_500), Line("seat", 1, 9_000, (f"P-A-{number}",))),
        units=2,
        held_at_ms=AT_MS + 1_000,
        expires_at_ms=AT_MS + 601_000,
        sequence=2,
    )


def _scan(
    name: str,
    at_ms: int,
    said: Scanned,
    *,
    entry: bool = True,
    gate: str = "North ★",
    noted_ms: int = 0,
) -> TicketScanned:
    offline = noted_ms > 0
    return TicketScanned(said, entry, gate, f"staff {name}", at_ms, noted_ms or at_ms, offline)


#: What becomes of each: see the entries below.
SENT, MISTAKEN, GIVEN_BACK = range(1, 4)
_ALL = (SENT, MISTAKEN, GIVEN_BACK)
_2_S, _3_S, _4_S, _5_S, _6_S = (AT_MS + seconds * 1_000 for seconds in range(2, 7))

HISTORY = (
    Entry(1, 0, AT_MS, FIRST_OWNER),
    Entry(1, 1, AT_MS, FIRST_OWNER, (EventCreated(_EVENT),)),
    Entry(1, 2, AT_MS + 1_000, FIRST_OWNER, tuple(HoldPlaced(_booking(n)) for n in _ALL)),
    Entry(
        1,
        3,
        _2_S,
        FIRST_OWNER,
        (
            *(PaymentStarted(_id(number), _PRICE_MINOR, _2_S) for number in _ALL),
            *(IntentOpened(_id(number), f"pi_{number}", AT_MS + 602_000) for number in _ALL),
            *(BookingConfirmed(_id(number), _PRICE_MINOR, _2_S) for number in _ALL),
            TicketsDelivered(_id(SENT), _2_S),
            _scan("a", _2_S, Scanned("a", False, "not_yet", _ticket(SENT, 0), "ga", "", "ACTIVE")),
        ),
    ),
    Entry(
        1,
        4,
        _3_S,
        FIRST_OWNER,
        (
            _scan("b", _3_S, Scanned("b", False, "forged")),
            _scan("b", _3_S, Scanned("c", False, "wrong_event")),
            _scan("b", _3_S, Scanned("d", True, "", _ticket(SENT, 0), "ga", "", "USED", inside=1)),
            _scan(
                "b",
                _3_S,
                Scanned("e", True, "", _ticket(MISTAKEN, 1), "seat", "P-A-2", "USED", inside=2),
            ),
            RefundRequested(_id(GIVEN_BACK), Refund(1, 4_500, (Part("ga", 1),)), _3_S),
        ),
    ),
    Entry(2, 0, _4_S, SECOND_OWNER),
    Entry(
        2,
        5,
        _4_S,
        SECOND_OWNER,
        (
            _scan(
                "a",
                _4_S,
                Scanned(
                    *("f", False, "already_used", _ticket(SENT, 0), "ga", "", "USED"),
                    *(_3_S, "North ★", 2),
                ),
            ),
            PassageUndone(_ticket(MISTAKEN, 1), "acme", _4_S),
            _scan(
                "a",
                _4_S,
                Scanned("g", False, "void", _ticket(GIVEN_BACK, 0), "ga", "", "VOID", inside=1),
            ),
            _scan(
                "a",
                _4_S,
                Scanned(
                    *("h", True, "", _ticket(SENT, 0), "ga", "", "USED"),
                    *(_3_S, "North ★", 0),
                ),
                entry=False,
                gate="Süd",
            ),
        ),
    ),
    Entry(
        2,
        6,
        _6_S,
        SECOND_OWNER,
        (
            _scan(
                "c",
                _5_S,
                Scanned(
                    *("i", True, "", _ticket(GIVEN_BACK, 1), "seat", "P-A-3", "USED"),
                    *(0, "", 1),
                ),
                noted_ms=_6_S,
            ),
            _scan("c", _5_S, Scanned("j", False, "unpaid", inside=1), noted_ms=_6_S),
            _scan(
                "c",
                _6_S,
                Scanned("k", False, "not_inside", _ticket(SENT, 1), "seat", "P-A-1", "ACTIVE"),
                entry=False,
            ),
        ),
    ),
)

#: The snapshot is of the state behind this entry; the rest of the history is its tail.
SNAPSHOT_AT = Position(1, 4)


def snapshot_ref(slices: int, digest: str) -> SnapshotRef:
    return SnapshotRef(*SNAPSHOT_AT, "{p00}:snapshot:of-the-release", slices, digest)


def facts(state: EventState) -> str:
    """Return the digest of all that release 0.3 knew of a state.

    Named one by one: what later releases add to a state leaves this digest as it is.
    """
    admissions = [
        [
            booking.booking_id,
            admission.place,
            [
                [
                    [passage.scan_id, passage.entry, passage.at_ms, passage.gate],
                    [passage.inside, passage.void],
                ]
                for passage in admission.passages
            ],
        ]
        for booking in state.bookings.values()
        for admission in booking.admissions
    ]
    scans = [
        [
            [scan.scan_id, scan.admitted, scan.reason, scan.inside],
            [scan.ticket_id, scan.ticket_type, scan.seat, scan.status],
            [scan.first_at_ms, scan.first_gate],
        ]
        for scan in state.scans.values()
    ]
    text = json.dumps([facts_of_0_2(state), admissions, scans, state.inside])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
