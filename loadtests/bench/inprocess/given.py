"""An event with holds in it, and commands that place more: what the measurements begin with."""

import time
from collections.abc import Iterator

from actors.wire import Envelope, decode_batch, encode_batch
from engine.domain.apply import apply, finish_entry
from engine.domain.commands import Command, CreateEvent, Item, PlaceHold
from engine.domain.decide import decide
from engine.domain.event import Allotment, Event, TicketType
from engine.domain.records import Record
from engine.domain.state import EventState, check_turn, fetch_ahead
from engine.limits import REQUEST_DEADLINE_MS

EVENT_ID = "evt_bench0000000"
#: Commands of one turn.
BATCH = 256
#: Time from one turn to the next, milliseconds.
TURN_MS = 5
_DAY_MS = 86_400_000


def event(now_ms: int) -> Event:
    """Return an event that never sells out, with holds that do not expire meanwhile."""
    return Event(
        EVENT_ID,
        "bench",
        "Bench",
        now_ms + 30 * _DAY_MS,
        "EUR",
        (TicketType("ga", "Standing", 4_500, "ga", 10), TicketType("vip", "Loge", 9_000, "vip", 4)),
        (Allotment("ga", 100_000_000), Allotment("vip", 1_000)),
        3_600_000,
    )


def batches(first: int, count: int) -> Iterator[list[Command]]:
    """Yield batches of BATCH new holds, decoded from the wire as an owner gets them.

    Args:
        first: number of the first hold; no two holds of a state may share one.
        count: how many holds in all; the last batch may be shorter.
    """
    for start in range(first, first + count, BATCH):
        envelopes = decode_batch(wire_batch(start, min(BATCH, first + count - start)))
        yield [envelope.command for envelope in envelopes]


def wire_batch(first: int, count: int) -> bytes:
    """Return one batch of holds as a gateway sends it."""
    return encode_batch(
        [
            Envelope(
                REQUEST_DEADLINE_MS,
                PlaceHold(f"bk_bench0000000{n:016d}", f"customer-{n:012d}", (Item("ga", 2),)),
            )
            for n in range(first, first + count)
        ]
    )


def take_turn(state: EventState, commands: list[Command], now_ms: int) -> list[Record]:
    """Decide and apply one batch as a turn does, and return what would be journalled."""
    fetch_ahead(state, {command.booking_id for command in commands if type(command) is PlaceHold})
    journalled: list[Record] = []
    for command in commands:
        _, records = decide(state, command, now_ms)
        for record in records:
            apply(state, record)
            journalled.append(record)
    check_turn(state)
    finish_entry(state, state.sequence + 1, now_ms)
    return journalled


def turns(state: EventState, count: int) -> Iterator[list[Record]]:
    """Create the event in an empty state, then place `count` holds; yield each turn's records."""
    now_ms = time.time_ns() // 1_000_000
    yield take_turn(state, [CreateEvent(event(now_ms))], now_ms)
    for commands in batches(0, count):
        now_ms += TURN_MS
        yield take_turn(state, commands, now_ms)


def filled(count: int) -> EventState:
    """Return a state that holds `count` bookings."""
    state = EventState()
    for _ in turns(state, count):
        pass
    assert len(state.bookings) == count, f"{len(state.bookings)} bookings, not {count}"
    return state
