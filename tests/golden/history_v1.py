"""A history of every record that release 0.1 journals, as objects. Never changed again.

`journal-v1.hex` holds its bytes as that release wrote them.
"""

import hashlib
import json

from engine.domain.booking import Booking, Line
from engine.domain.event import Allotment, Event, RefundPolicy, TicketType, Venue
from engine.domain.records import (
    EventAmended,
    EventCreated,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    SalePaused,
    SaleResumed,
)
from engine.domain.state import EventState
from engine.journal.contract import SnapshotRef
from engine.journal.entry import Entry, Position

EVENT_ID = "evt_0123456789ab"
FIRST_OWNER, SECOND_OWNER = bytes(range(16)), bytes(range(240, 256))
AT_MS = 1_800_000_000_000


def _event(name: str, price_minor: int, capacity: int) -> Event:
    return Event(
        event_id=EVENT_ID,
        organizer="acme",
        name=name,
        starts_at_ms=AT_MS + 86_400_000,
        currency="EUR",
        ticket_types=(
            TicketType("ga", "Stehplatz", price_minor, "floor", 6),
            TicketType("kid", "Kind", 0, "floor", 4),
            TicketType("vip", "Loge ★", 19_900, "vip", 2),
        ),
        allotments=(Allotment("floor", capacity), Allotment("vip", 10)),
        hold_ttl_ms=600_000,
        max_per_customer=8,
        opens_at_ms=AT_MS - 1,
        closes_at_ms=AT_MS + 80_000_000,
        ends_at_ms=AT_MS + 90_000_000,
        doors_open_at_ms=AT_MS + 85_000_000,
        timezone="Europe/Berlin",
        venue=Venue("Grünspan", "Hamburg", "DE"),
        category="concert",
        description="Two lines\nof text",
        entry_policy="multiple",
        refund_policy=RefundPolicy(48, 80),
        created_at_ms=AT_MS,
    )


def _booking(number: int, customer: str, *lines: Line) -> Booking:
    return Booking(
        booking_id=f"bk_0123456789ab{number:016d}",
        customer=customer,
        lines=lines,
        units=sum(line.quantity for line in lines),
        held_at_ms=AT_MS + 1_000,
        expires_at_ms=AT_MS + 601_000,
        sequence=2,
    )


ANN = _booking(1, "ann", Line("ga", 2, 4_500), Line("vip", 1, 19_900, ("B-7",)))
BOB = _booking(2, "auth0|bob", Line("kid", 3, 0))
CEM = _booking(3, "cem", Line("vip", 2, 19_900, ("A-1", "A-2")))

HISTORY = (
    Entry(1, 0, AT_MS, FIRST_OWNER),
    Entry(1, 1, AT_MS, FIRST_OWNER, (EventCreated(_event("Night", 4_500, 100)),)),
    Entry(1, 2, AT_MS + 1_000, FIRST_OWNER, (HoldPlaced(ANN), HoldPlaced(BOB), HoldPlaced(CEM))),
    Entry(1, 3, AT_MS + 2_000, FIRST_OWNER, (HoldReleased(ANN.booking_id, AT_MS + 2_000),)),
    Entry(1, 4, AT_MS + 3_000, FIRST_OWNER, (SalePaused(AT_MS + 3_000),)),
    Entry(2, 0, AT_MS + 4_000, SECOND_OWNER),
    Entry(2, 5, AT_MS + 5_000, SECOND_OWNER, (SaleResumed(AT_MS + 5_000),)),
    Entry(
        2,
        6,
        AT_MS + 6_000,
        SECOND_OWNER,
        (EventAmended(_event("Nacht", 5_000, 120), AT_MS + 6_000),),
    ),
    Entry(2, 7, AT_MS + 601_000, SECOND_OWNER, (HoldExpired(BOB.booking_id, AT_MS + 601_000),)),
)

#: The snapshot is of the state behind this entry; the rest of the history is its tail.
SNAPSHOT_AT = Position(1, 4)


def snapshot_ref(slices: int, digest: str) -> SnapshotRef:
    return SnapshotRef(*SNAPSHOT_AT, "{p00}:snapshot:of-the-release", slices, digest)


def facts(state: EventState) -> str:
    """Return the digest of all that release 0.1 knew of a state.

    Named one by one: what later releases add to a state leaves this digest as it is.
    """
    assert state.event is not None
    assert state.created_as is not None
    known = {
        "sequence": state.sequence,
        "now_ms": state.now_ms,
        "paused": state.paused,
        "names": [state.created_as.name, state.event.name],
        "window_ms": [state.opens_at_ms, state.closes_at_ms],
        "prices": {code: offer.ticket_type.price_minor for code, offer in state.offers.items()},
        "committed": {code: offer.committed for code, offer in state.offers.items()},
        "stocks": {
            code: [stock.capacity, stock.available, stock.held, stock.sold, stock.blocked]
            for code, stock in state.stocks.items()
        },
        "bookings": [
            [
                booking.booking_id,
                booking.customer,
                [
                    [line.ticket_type, line.quantity, line.unit_price_minor, list(line.seats)]
                    for line in booking.lines
                ],
                [booking.units, booking.held_at_ms, booking.expires_at_ms, booking.sequence],
                [[moment.status, moment.at_ms] for moment in booking.history],
            ]
            for booking in state.bookings.values()
        ],
        "units_of": {customer: units for customer, units in state.units_of.items() if units},
        "next_expiry_ms": state.next_expiry_ms(),
    }
    text = json.dumps(known, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
