"""Deciding only reads, applying only writes, and both depend on nothing but their arguments."""

from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace

from engine.domain.admission import Scanned
from engine.domain.apply import apply
from engine.domain.booking import Booking
from engine.domain.commands import (
    AmendEvent,
    Caller,
    CancelEvent,
    Changes,
    Command,
    CreateEvent,
    Item,
    NoteDelivery,
    OpenPayment,
    ReadAvailability,
    ReadBooking,
    ReadPayments,
)
from engine.domain.decide import decide
from engine.domain.outcomes import (
    DONE,
    Cancellation,
    EventShown,
    Granted,
    Outcome,
    PaymentShown,
    PaymentsShown,
    Refusal,
    Refused,
    ScanShown,
    Shown,
    UnsettledPayment,
)
from engine.domain.records import Record
from engine.domain.snapshot import digest
from engine.domain.state import EventState, fetch_ahead
from tests.unit.engine.domain.given import (
    ADMIN,
    BUYER,
    NOW_MS,
    ORGANIZER,
    PAUSE,
    RESUME,
    RIVAL_ORGANIZER,
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
from tests.unit.engine.domain.given_doors import Doors, leave, scan, undo
from tests.unit.engine.domain.given_payments import (
    CANCEL,
    BoxOffice,
    charged,
    disputed,
    failed,
    pay,
    refund,
    refund_said,
    said,
)

EVENT = {"capacities": {"ga": 40, "vip": 1}, "max_per_customer": 6}
ONE_MINOR = 4_500


def busy() -> Doors:
    """Return a sale with one hold that stands, one that is due, one given back, two payments.

    And one ticket that was used.
    """
    sale = Doors(a_type("ga"), a_type("vip"), **EVENT)
    sale.placed("due", ga=1)
    sale.wait(TTL_MS)
    sale.placed("ann", ga=2)
    sale.placed("bob", vip=1)
    sale.placed("gone", ga=1)
    sale.ask(release("gone"))
    sale.opened("dan", ga=1)
    sale.bought("eve", ga=1)
    sale.bought("fay", ga=2)
    sale.admitted(scan("fay", scan_id="earlier"))
    return sale


def paused() -> Doors:
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
    "create the same": CreateEvent(an_event(a_type("ga"), a_type("vip"), **EVENT)),
    "amend": amend(
        name="Another",
        opens_at_ms=None,
        closes_at_ms=NOW_MS + 2 * TTL_MS,
        capacities={"ga": 50},
    ),
    "amend nothing": AmendEvent(ADMIN, Changes()),
    "amend a committed price": amend(prices_minor={"ga": 1}),
    "pause": PAUSE,
    "resume": RESUME,
    "pay": pay(),
    "pay again": pay("dan"),
    "pay for another": OpenPayment(booking_id("ann"), Caller("bob")),
    "failure": failed("ch_1", "dan"),
    "success": said("succeeded", "dan", amount_minor=ONE_MINOR),
    "success of another amount": said("succeeded", "eve", amount_minor=1),
    "payments": ReadPayments(),
    "charge": charged(1_000, "eve", captured_minor=ONE_MINOR),
    "refund": refund("eve", caller=ORGANIZER),
    "refund out of policy": refund("eve"),
    "refund heard of": refund_said("succeeded", ONE_MINOR - 1_000, customer="eve"),
    "dispute": disputed(customer="dan"),
    "scan": scan("eve", scan_id="first"),
    "scan again": scan("fay", scan_id="earlier"),
    "scan of a used ticket": scan("fay", scan_id="second"),
    "scan on the way out": leave("fay", scan_id="third"),
    "scan for another": scan("eve", caller=RIVAL_ORGANIZER),
    "undo": undo("fay"),
    "undo of nothing": undo("fay", 1),
    "delivery": NoteDelivery(booking_id("fay")),
    "delivery of nothing": NoteDelivery(booking_id("ann")),
    "cancel": CANCEL,
    "cancel for another": CancelEvent(RIVAL_ORGANIZER),
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


READS = (ReadBooking, ReadAvailability, ReadPayments)


def test_fetching_ids_ahead_changes_nothing_whether_they_are_known_or_not():
    state = busy().state
    before = everything(state)
    fetch_ahead(state, {next(iter(state.bookings)), booking_id("nobody's")})
    assert everything(state) == before


def test_every_kind_of_command_is_among_those_above():
    assert {type(command) for command in COMMANDS.values()} == set(get_args(Command))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_refusal_and_a_read_leave_no_records(name):
    sale = busy()

    outcome, records = decide(sale.state, COMMANDS[name], sale.now_ms)

    if isinstance(outcome, Refused) or isinstance(COMMANDS[name], READS):
        assert records == ()


def pay_in_every_way(sale: BoxOffice) -> None:
    """Have everything happen that can happen to a payment, to customers of their own."""
    for number in (1, 2, 3):
        sale.opened(f"f{number}", ga=1)
        for charge in range(number):
            sale.ask(pay(f"f{number}"))
            sale.hear(said("x", f"f{number}", amount_minor=ONE_MINOR))
            news = said("requires_payment_method", f"f{number}", amount_minor=ONE_MINOR)
            sale.hear(replace(news, failure=f"ch_{charge}"))
    sale.hear(said("canceled", "f3", amount_minor=ONE_MINOR))
    sale.opened("late", ga=1)
    sale.ask(release("late"))
    sale.hear(said("succeeded", "late", amount_minor=ONE_MINOR))
    sale.opened("careful", ga=1)
    sale.hear(said("requires_capture", "careful", amount_minor=ONE_MINOR))
    for number, ending in enumerate(("succeeded", "failed")):
        sale.bought(f"r{number}", ga=1)
        sale.ask(refund(f"r{number}", caller=ORGANIZER))
        sale.hear(refund_said(ending, ONE_MINOR, customer=f"r{number}"))
    sale.hear(disputed("lost", customer="r1"))


def run_through_all() -> BoxOffice:
    """Ask everything of one sale, time passing in between."""
    sale = busy()
    pay_in_every_way(sale)
    for command in COMMANDS.values():
        sale.ask(command)
        sale.wait(1_000)
    sale.call_off()
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
PAYING: Booking = busy().booking("dan")


@pytest.mark.parametrize(
    "sent",
    [
        Refused(Refusal.NOT_ENOUGH, "ga", available=1, held=2),
        Refused(Refusal.SEAT_TAKEN, "ga", seats=("A-1",)),
        Granted(BOOKING, "EUR", replayed=True),
        Shown(BOOKING, "EUR"),
        EventShown(an_event(), paused=True),
        EventShown(an_event(), paused=False, cancellation=Cancellation(NOW_MS, 7)),
        PaymentShown(PAYING, PAYING.payment, an_event()),
        PaymentsShown((UnsettledPayment(PAYING.booking_id, "dan", PAYING.payment),), more=True),
        ScanShown(Scanned("scan", admitted=True, status="USED", inside=1), replayed=True),
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
        "cancelled",
        "calling_off",
        "pay_started",
        "pay_opened",
        "pay_retried",
        "pay_failed",
        "pay_given_up",
        "pay_authorised",
        "pay_closing",
        "pay_closed",
        "confirmed",
        "pay_returning",
        "refund_wanted",
        "refunded",
        "refund_failed",
        "taken_back",
        "disputed",
        "delivered",
        "scanned",
        "unscanned",
    }
