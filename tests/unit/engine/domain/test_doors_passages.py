"""What becomes of a ticket that was used: mistakes, money, many passages, delivery."""

import msgspec
import pytest
from msgspec.structs import replace

from engine.domain import apply as apply_module
from engine.domain.admission import DoorReason
from engine.domain.booking import Status
from engine.domain.commands import Command, NoteDelivery
from engine.domain.event import RefundPolicy
from engine.domain.outcomes import DONE, Refusal, ScanShown
from engine.domain.records import TicketsDelivered
from engine.domain.snapshot import capture, digest, encode_slices, restore
from engine.domain.tickets import TicketStatus, ticket_at, ticket_id, tickets_of
from engine.limits import PASSAGES_KEPT_MAX
from tests.unit.engine.domain.given import (
    BUYER,
    ORGANIZER,
    RIVAL_ORGANIZER,
    a_type,
    booking_id,
    replayed,
)
from tests.unit.engine.domain.given_doors import (
    STAFF,
    Doors,
    leave,
    open_doors,
    reentry,
    scan,
    undo,
)
from tests.unit.engine.domain.given_payments import (
    PRICE_MINOR,
    charged,
    disputed,
    failed,
    pay,
    refund,
    refund_said,
)

ACTIVE, USED, VOID = TicketStatus.ACTIVE, TicketStatus.USED, TicketStatus.VOID


# -- mistakes ------------------------------------------------------------------------


def test_a_passage_that_was_a_mistake_is_taken_back():
    sale = open_doors()
    command = scan()
    sale.admitted(command)

    outcome = sale.ask(undo())

    assert isinstance(outcome, ScanShown)
    assert (outcome.scan.status, outcome.scan.inside) == ("ACTIVE", 0)
    assert sale.tickets() == [ACTIVE, ACTIVE]
    assert sale.state.inside == 0
    # The scan itself can be made again, and is news.
    assert sale.admitted(command).inside == 1


def test_passages_are_taken_back_one_by_one_last_first():
    sale = reentry()
    for command in (scan(), leave(), scan()):
        sale.admitted(command)
    found = []
    for _ in range(3):
        outcome = sale.ask(undo())
        assert isinstance(outcome, ScanShown)
        found.append((outcome.scan.status, outcome.scan.inside))

    assert found == [("USED", 0), ("USED", 1), ("ACTIVE", 0)]
    assert sale.refusal(undo()).code is Refusal.NOT_ADMITTED


def test_a_repeated_undo_takes_back_nothing_more_and_gets_the_first_answer():
    sale = reentry()
    sale.admitted(scan())
    sale.admitted(leave())
    first, second = undo(), undo()
    said = sale.undone(first)
    assert (said.status, said.inside) == ("USED", 1)

    assert sale.again(first) == said
    sale.admitted(leave())
    assert sale.again(first) == said
    assert sale.state.inside == 0
    # Another request is another undo, and once nothing is left to undo a repeat is one still.
    assert sale.undone(second).inside == 1
    last = undo()
    assert (sale.undone(last).status, sale.state.inside) == ("ACTIVE", 0)
    assert sale.again(last).status == "ACTIVE"
    assert sale.again(first) == said


def test_a_repeated_undo_is_known_from_a_snapshot_and_a_replay():
    sale = reentry()
    sale.admitted(scan())
    sale.admitted(leave())
    command = undo()
    said = sale.undone(command)
    again = replayed(sale.entries)
    assert digest(again) == digest(sale.state)

    for state in (restore(encode_slices(capture(sale.state))), again):
        sale.state = state
        assert sale.again(command) == said
        assert sale.state.inside == 1


def test_what_was_undone_is_told_to_nobody_else():
    sale = open_doors()
    sale.admitted()
    command = undo()
    sale.undone(command)

    foreign = replace(command, caller=RIVAL_ORGANIZER)

    assert sale.refusal(foreign).code is Refusal.EVENT_NOT_FOUND


def test_the_oldest_undos_are_forgotten_first(monkeypatch):
    monkeypatch.setattr(apply_module, "UNDOS_REMEMBERED_MAX", 2)
    sale = reentry()
    for command in (scan(), leave(), scan(), leave()):
        sale.admitted(command)
    commands = [undo(), undo(), undo()]
    for command in commands:
        sale.undone(command)

    assert [*sale.state.undos] == [command.undo_id for command in commands[1:]]
    sale.again(commands[1])
    assert sale.undone(commands[0]).status == "ACTIVE"


def test_an_undo_of_a_gateway_that_gave_it_no_name_is_not_remembered():
    sale = reentry()
    sale.admitted(scan())
    sale.admitted(leave())
    sent = msgspec.msgpack.encode(["undo_passage", ticket_id(booking_id("ann"), 0), STAFF])
    command = msgspec.msgpack.decode(sent, type=Command)
    assert command == undo(undo_id="")

    assert (sale.undone(command).inside, sale.undone(command).inside) == (1, 0)
    assert not sale.state.undos


def test_what_was_refused_stays_refused_when_the_passage_before_it_is_taken_back():
    sale = open_doors()
    sale.admitted()
    second = scan()
    said = sale.scanned(second)

    sale.ask(undo())

    assert sale.again(second) == said
    sale.admitted(scan())


def test_the_last_passage_of_a_void_ticket_can_be_taken_back():
    sale = open_doors()
    sale.admitted()
    sale.hear(disputed())

    outcome = sale.ask(undo())

    assert isinstance(outcome, ScanShown)
    assert (outcome.scan.status, outcome.scan.inside) == ("VOID", 0)


def test_only_what_there_is_can_be_taken_back():
    sale = open_doors()
    sale.placed("bob", ga=1)

    assert sale.refusal(undo()).code is Refusal.NOT_ADMITTED
    assert sale.refusal(undo(place=2)).code is Refusal.TICKET_NOT_FOUND
    assert sale.refusal(undo("bob")).code is Refusal.TICKET_NOT_FOUND
    assert sale.refusal(undo("nobody")).code is Refusal.TICKET_NOT_FOUND


# -- money ---------------------------------------------------------------------------


@pytest.mark.parametrize("caller", [BUYER, ORGANIZER], ids=lambda caller: caller.sub)
def test_a_ticket_that_was_used_is_not_refunded(caller):
    sale = open_doors(refund_policy=RefundPolicy(0, 100))
    sale.admitted()
    sale.admitted(leave())

    refused = sale.refusal(refund(caller=caller))

    assert (refused.code, refused.subject) == (Refusal.REFUND_NOT_ALLOWED, "used")
    sale.ask(undo(), undo())
    sale.ask(refund(caller=caller))
    assert sale.status() is Status.REFUND_REQUESTED


@pytest.mark.parametrize(
    ("used", "given_back", "allowed"),
    [(0, 1, True), (2, 1, False), (1, 1, True), (1, 2, False), (0, 2, True), (0, 3, False)],
)
def test_a_part_is_refunded_unless_one_of_its_tickets_was_used(used, given_back, allowed):
    """The units that go back are the last ones of their type."""
    sale = Doors()
    sale.bought("ann", ga=3)
    sale.admitted(scan(place=used))
    part = refund(caller=ORGANIZER, ga=given_back)

    if not allowed:
        assert sale.refusal(part).subject == "used"
        return
    sale.ask(part)
    sale.hear(refund_said("succeeded", 4_500 * given_back))
    statuses = sale.tickets()
    assert statuses[used] is USED
    assert statuses.count(VOID) == given_back


def test_a_part_of_another_type_is_refunded_whatever_was_used():
    sale = Doors(a_type("ga"), a_type("vip"))
    sale.bought("ann", ga=1, vip=1)
    sale.admitted(scan(place=0))

    sale.ask(refund(caller=ORGANIZER, vip=1))

    assert sale.tickets() == [USED, VOID]
    assert sale.turned_away(scan(place=1)) is DoorReason.VOID


def test_whoever_asked_for_the_money_first_is_not_let_in_and_whoever_is_in_gets_none():
    first_money, first_in = open_doors(), open_doors()

    first_money.ask(refund(caller=ORGANIZER), scan())
    first_in.ask(scan(), refund(caller=ORGANIZER))

    assert [first_money.state.inside, first_in.state.inside] == [0, 1]
    assert [first_money.status(), first_in.status()] == [
        Status.REFUND_REQUESTED,
        Status.CONFIRMED,
    ]


def test_a_cancelled_event_gives_money_back_for_used_tickets_too():
    sale = open_doors()
    sale.admitted()

    sale.call_off()

    assert sale.status() is Status.REFUND_REQUESTED
    assert sale.tickets() == [VOID, VOID]
    assert sale.turned_away(scan()) is DoorReason.VOID
    assert sale.admitted(leave()).inside == 0


def test_money_that_did_not_go_back_for_a_cancelled_event_can_be_asked_for_again():
    sale = open_doors()
    sale.admitted()
    sale.call_off()
    sale.hear(refund_said("failed", refund_id=""))
    assert sale.status() is Status.REFUND_DENIED

    sale.ask(refund(caller=ORGANIZER))

    assert sale.status() is Status.REFUND_REQUESTED


def test_a_lost_dispute_takes_the_money_of_a_used_ticket():
    sale = open_doors()
    sale.admitted()

    sale.hear(disputed(), disputed("lost"))

    assert sale.status() is Status.REFUNDED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert sale.state.inside == 1


# -- what is kept of a ticket ----------------------------------------------------------


def test_of_many_passages_the_first_and_the_last_are_kept():
    sale = reentry()
    commands = [scan(gate=str(n)) if n % 2 == 0 else leave(gate=str(n)) for n in range(99)]
    for command in commands:
        sale.admitted(command)
        (admission,) = sale.booking("ann").admissions
        ways = [passage.entry for passage in admission.passages]
        assert len(ways) <= PASSAGES_KEPT_MAX
        assert ways == [n % 2 == 0 for n in range(len(ways))], "in and out take turns"

    kept = [passage.gate for passage in admission.passages]
    assert kept == ["0", *(str(n) for n in range(100 - len(kept), 99))]
    assert sale.scanned(scan()).first_gate == "0"


def test_undoing_all_that_is_kept_of_many_passages_leaves_the_count_right():
    sale = reentry()
    for number in range(3 * PASSAGES_KEPT_MAX):
        sale.admitted(leave() if number % 2 else scan())

    while sale.booking("ann").admissions:
        sale.ask(undo())  # recounts who is inside after every turn

    assert sale.state.inside == 0
    assert sale.tickets() == [ACTIVE, ACTIVE]


def test_one_ticket_is_what_it_is_among_all():
    sale = Doors(a_type("ga"), a_type("vip"), capacities={"ga": 10, "vip": 10})
    sale.bought("ann", ga=3, vip=2)
    sale.admitted(scan(place=3))
    stages = [sale.booking("ann")]
    sale.ask(refund(caller=ORGANIZER, ga=2))
    stages.append(sale.booking("ann"))
    sale.hear(refund_said("succeeded", 9_000))
    stages.append(sale.booking("ann"))
    stages.append(replace(stages[0], status=Status.RESERVED))
    # Several lines of one type, with and without seats.
    first = stages[0].lines[0]
    several = (first, stages[0].lines[1], first, replace(first, seats=("A", "B", "C")))
    stages.append(replace(stages[0], lines=several))
    for booking in stages:
        for cancelled in (False, True):
            everyone = tickets_of(booking, cancelled=cancelled)
            for place in range(20):
                expected = everyone[place] if place < len(everyone) else None
                assert ticket_at(booking, place, cancelled=cancelled) == expected


# -- delivery ------------------------------------------------------------------------

DELIVERED = NoteDelivery(booking_id("ann"))


def test_that_tickets_were_sent_is_noted_once():
    sale = open_doors()

    assert sale.ask(DELIVERED) == DONE
    assert sale.last() == (TicketsDelivered(booking_id("ann"), sale.now_ms),)
    assert sale.status() is Status.TICKETS_DELIVERED
    entries = len(sale.entries)
    assert sale.ask(DELIVERED) == DONE
    assert len(sale.entries) == entries


def test_tickets_that_were_sent_are_used_and_refunded_like_others():
    sale = open_doors()
    sale.ask(DELIVERED)
    sale.admitted()
    assert sale.status() is Status.TICKETS_DELIVERED
    assert sale.refusal(refund(caller=ORGANIZER)).subject == "used"

    sale.ask(refund(caller=ORGANIZER, ga=1))
    sale.hear(refund_said("succeeded", 4_500))

    assert sale.status() is Status.TICKETS_DELIVERED


@pytest.mark.parametrize(
    ("story", "after"),
    [
        (lambda sale: sale.placed("ann", ga=2), Status.RESERVED),
        (lambda sale: sale.opened(), Status.PAYMENT_PENDING),
        (lambda sale: (sale.bought(), sale.ask(refund(caller=ORGANIZER))), Status.REFUND_REQUESTED),
        (
            lambda sale: (
                sale.bought(),
                sale.ask(refund(caller=ORGANIZER)),
                sale.hear(refund_said("failed", refund_id="")),
            ),
            Status.REFUND_DENIED,
        ),
        (lambda sale: (sale.bought(), sale.hear(charged(PRICE_MINOR))), Status.REFUNDED),
        (lambda sale: (sale.opened(), sale.expired()), Status.EXPIRED),
        (lambda sale: (sale.placed("ann", ga=2), sale.released()), Status.CANCELLED),
        (lambda sale: (sale.opened(), sale.hear(failed())), Status.PAYMENT_FAILED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_news_of_a_delivery_leaves_every_other_booking_as_it_is(story, after):
    sale = Doors()
    story(sale)
    entries = len(sale.entries)

    assert sale.ask(DELIVERED) == DONE

    assert sale.status() is after
    assert len(sale.entries) == entries


def test_news_of_the_delivery_of_nothing_is_refused():
    assert Doors().refusal(DELIVERED).code is Refusal.BOOKING_NOT_FOUND


def test_a_free_booking_is_sent_and_used_like_others():
    sale = Doors(a_type(price_minor=0))
    sale.placed("ann", ga=2)
    sale.ask(pay())

    sale.ask(DELIVERED)

    sale.admitted()
    assert sale.refusal(refund(caller=ORGANIZER)).subject == "used"
    sale.ask(refund(caller=ORGANIZER, ga=1))
    assert sale.tickets() == [USED, VOID]
