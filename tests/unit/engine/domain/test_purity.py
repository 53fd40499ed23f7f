"""Deciding only reads, applying only writes, and both depend on nothing but their arguments."""

from typing import get_args

import msgspec
import pytest

from engine.domain.apply import apply
from engine.domain.booking import Booking
from engine.domain.commands import (
    AmendEvent,
    Caller,
    Changes,
    Command,
    CreateEvent,
    Item,
    ReadAvailability,
    ReadBooking,
)
from engine.domain.decide import decide
from engine.domain.outcomes import DONE, EventShown, Granted, Outcome, Refusal, Refused, Shown
from engine.domain.records import Record
from engine.domain.snapshot import digest
from engine.domain.state import EventState
from tests.unit.engine.domain.given import (
    ADMIN,
    BUYER,
    NOW_MS,
    ORGANIZER,
    PAUSE,
    RESUME,
    TTL_MS,
    Sale,
    a_type,
    amend,
    an_event,
    booking_id,
    everything,
    expire,
    hold,
    release,
)


def busy() -> Sale:
    """Return a sale with one hold that stands, one that is due, and one given back."""
    sale = Sale(a_type("ga"), a_type("vip"), capacities={"vip": 1}, max_per_customer=6)
    sale.placed("due", ga=1)
    sale.wait(TTL_MS)
    sale.placed("ann", ga=2)
    sale.placed("bob", vip=1)
    sale.placed("gone", ga=1)
    sale.ask(release("gone"))
    return sale


def paused() -> Sale:
    sale = busy()
    sale.ask(PAUSE)
    return sale


#: Every kind of command, granted and refused; what it does depends on the state it meets.
COMMANDS: dict[str, Command] = {
    "hold": hold("cid", ga=1),
    "hold of many": hold("cid", ga=1, vip=1),
    "hold too large": hold("cid", ga=7),
    "hold again": hold("ann", ga=2),
    "hold again, changed": hold("ann", ga=1),
    "hold of seats": hold("cid", Item("ga", 2, seats=("A-1", "A-2"))),
    "release": release("ann"),
    "release again": release("gone"),
    "release of another's": release("ann", caller=Caller("bob")),
    "expire": expire("due"),
    "expire too early": expire("ann"),
    "read": ReadBooking(booking_id("ann"), BUYER),
    "read another's": ReadBooking(booking_id("bob"), BUYER),
    "availability": ReadAvailability(),
    "create": CreateEvent(an_event()),
    "create the same": CreateEvent(
        an_event(a_type("ga"), a_type("vip"), capacities={"vip": 1}, max_per_customer=6)
    ),
    "amend": amend(
        name="Another",
        opens_at_ms=None,
        closes_at_ms=NOW_MS + 2 * TTL_MS,
        capacities={"ga": 20},
    ),
    "amend nothing": AmendEvent(ADMIN, Changes()),
    "amend a committed price": amend(prices_minor={"ga": 1}),
    "pause": PAUSE,
    "resume": RESUME,
}
STATES = {"no event": lambda: None, "nothing sold": Sale, "busy": busy, "paused": paused}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("state_name", STATES)
def test_deciding_changes_nothing(state_name, name):
    sale = STATES[state_name]()
    state, now_ms = (sale.state, sale.now_ms) if sale else (EventState(), NOW_MS)
    digest_before, before = digest(state), everything(state)

    first = decide(state, COMMANDS[name], now_ms)
    second = decide(state, COMMANDS[name], now_ms)

    assert first == second, "the same question got two answers"
    assert digest(state) == digest_before
    # Also what the digest leaves out: expiries, customers' units, what types have committed.
    assert everything(state) == before


def test_every_kind_of_command_is_among_those_above():
    assert {type(command) for command in COMMANDS.values()} == set(get_args(Command))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_refusal_and_a_read_leave_no_records(name):
    sale = busy()

    outcome, records = decide(sale.state, COMMANDS[name], sale.now_ms)

    if isinstance(outcome, Refused) or isinstance(COMMANDS[name], (ReadBooking, ReadAvailability)):
        assert records == ()


def run_through_all() -> Sale:
    """Ask everything of one sale, time passing in between."""
    sale = busy()
    for command in COMMANDS.values():
        sale.ask(command)
        sale.wait(1_000)
    sale.wait(TTL_MS)
    sale.expire_due()
    return sale


def test_the_same_commands_at_the_same_times_give_the_same_state():
    one, other = run_through_all(), run_through_all()

    assert one.entries == other.entries
    assert digest(one.state) == digest(other.state)
    assert everything(one.state) == everything(other.state)


def test_a_record_says_all_that_applying_it_needs():
    # What became of the rules since does not matter: only records are replayed, from bytes.
    sale = run_through_all()
    encode = msgspec.msgpack.Encoder().encode
    decode = msgspec.msgpack.Decoder(Record).decode
    met, state = set(), EventState()
    for entry in sale.entries:
        for record in entry.records:
            met.add(type(record))
            read_back = decode(encode(record))
            assert read_back == record
            apply(state, read_back)
    state.sequence, state.now_ms = sale.state.sequence, sale.state.now_ms

    assert digest(state) == digest(sale.state)
    assert met == set(get_args(Record)), "a kind of record was not met on the way"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_arrives_as_it_was_sent(name):
    sent = COMMANDS[name]

    arrived = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Command)

    assert arrived == sent
    assert type(arrived) is type(sent)


@pytest.mark.parametrize(
    "changes",
    [
        Changes(),
        Changes(name="Another"),
        Changes(opens_at_ms=None, closes_at_ms=None),
        Changes(opens_at_ms=NOW_MS),
        Changes(prices_minor={"ga": 1}, capacities={"ga": 2}),
    ],
)
def test_an_amendment_still_knows_after_its_journey_what_it_leaves_alone(changes):
    sent = AmendEvent(ORGANIZER, changes)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Command) == sent


BOOKING: Booking = busy().booking("ann")


@pytest.mark.parametrize(
    "sent",
    [
        Refused(Refusal.NOT_ENOUGH, "ga", available=1, held=2),
        Refused(Refusal.SEAT_TAKEN, "ga", seats=("A-1",)),
        Granted(BOOKING, "EUR", replayed=True),
        Shown(BOOKING, "EUR"),
        EventShown(an_event(), paused=True),
        DONE,
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_an_outcome_arrives_as_it_was_given(sent):
    arrived = msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Outcome)

    assert arrived == sent
    assert type(arrived) is type(sent)


def test_kinds_of_commands_and_records_are_told_apart_by_their_tags():
    for union in (Command, Record, Outcome):
        tags = [kind.__struct_config__.tag for kind in get_args(union)]
        assert len(set(tags)) == len(tags)
    # Stored for ever: a tag that changes makes journals unreadable.
    assert {kind.__struct_config__.tag for kind in get_args(Record)} == {
        "created",
        "amended",
        "paused",
        "resumed",
        "held",
        "released",
        "expired",
    }
