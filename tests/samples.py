"""Records and entries to fill journals with, and nothing about what they mean."""

from msgspec.structs import replace

from engine.domain.booking import Booking, Line
from engine.domain.event import Allotment, Event, RefundPolicy, TicketType, Venue
from engine.domain.records import (
    EventAmended,
    EventCreated,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    Record,
    SalePaused,
    SaleResumed,
)
from engine.journal.entry import Entry, Position

NOW_MS = 1_800_000_000_000
EVENT_ID = "evt_0000000000aa"
#: Of two incarnations of an owner.
MINE, THEIRS = b"m" * 16, b"t" * 16


def event(event_id: str = EVENT_ID, **changes) -> Event:
    return replace(
        Event(
            event_id,
            "acme",
            "Night of Strings",
            NOW_MS + 86_400_000,
            "EUR",
            (TicketType("ga", "General", 4_500, "ga", 6), TicketType("vip", "Loge", 9_900, "v", 2)),
            (Allotment("ga", 100), Allotment("v", 10)),
            600_000,
            max_per_customer=8,
            venue=Venue("Grünspan", "Hamburg", "DE"),
            refund_policy=RefundPolicy(48, 80),
        ),
        **changes,
    )


def booking_id(number: int, event_id: str = EVENT_ID) -> str:
    return f"bk_{event_id[4:]}{number:016d}"


def booking(
    number: int, customer: str = "ann", at_ms: int = NOW_MS, event_id: str = EVENT_ID
) -> Booking:
    lines = (Line("ga", 2, 4_500), Line("vip", 1, 9_900, ("A-1",)))
    return Booking(booking_id(number, event_id), customer, lines, 3, at_ms, at_ms + 600_000, number)


def placed(
    number: int, customer: str = "ann", at_ms: int = NOW_MS, event_id: str = EVENT_ID
) -> HoldPlaced:
    return HoldPlaced(booking(number, customer, at_ms, event_id))


def expired(number: int, at_ms: int = NOW_MS) -> HoldExpired:
    return HoldExpired(booking_id(number), at_ms)


def one_of_each() -> tuple[Record, ...]:
    return (
        EventCreated(event()),
        placed(1),
        placed(2, "bob"),
        placed(3, "ann", NOW_MS + 1),
        HoldReleased(booking_id(1), NOW_MS + 2),
        expired(2, NOW_MS + 3),
        SalePaused(NOW_MS + 4),
        EventAmended(event(name="Night of Strings II"), NOW_MS + 5),
        SaleResumed(NOW_MS + 6),
        expired(3, NOW_MS + 7),
    )


def entry(position: Position, *records: Record, nonce: bytes = MINE) -> Entry:
    return Entry(*position, NOW_MS + position.sequence, nonce, records or (placed(1),))
