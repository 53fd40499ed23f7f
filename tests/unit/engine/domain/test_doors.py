"""Who is let in and out, why not, and that a repeated scan gets the first answer."""

import msgspec
import pytest
from msgspec.structs import replace

from engine.domain.admission import DoorReason, Scanned
from engine.domain.commands import Caller, CheckIn
from engine.domain.outcomes import Refusal
from engine.domain.records import PassageUndone, TicketScanned
from engine.domain.snapshot import capture, digest, encode_slices, restore
from engine.domain.state import check_fully
from engine.domain.tickets import Bearer, TicketStatus, customer_tag, ticket_id
from engine.limits import SCANS_REMEMBERED_MAX
from tests.unit.engine.domain.given import (
    ADMIN,
    BUYER,
    EVENT_ID,
    NOW_MS,
    ORGANIZER,
    RIVAL_ORGANIZER,
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
    charged,
    disputed,
    failed,
    refund,
    refund_said,
)

ACTIVE, USED, VOID = TicketStatus.ACTIVE, TicketStatus.USED, TicketStatus.VOID
DOORS_OPEN_AT_MS = NOW_MS + 60_000
UNKNOWN = CheckIn("scan unknown", "", STAFF, "North", found=DoorReason.FORGED)


def from_a_snapshot(sale: Doors) -> None:
    """Go on with what a snapshot gives back."""
    before = digest(sale.state)
    sale.state = restore(encode_slices(capture(sale.state)))
    check_fully(sale.state)
    assert digest(sale.state) == before


# -- in ------------------------------------------------------------------------------


def test_whoever_has_a_ticket_is_let_in():
    sale = open_doors()
    command = scan()

    said = sale.admitted(command)

    assert said == Scanned(
        command.scan_id,
        admitted=True,
        ticket_id=ticket_id(booking_id("ann"), 0),
        ticket_type="ga",
        status="USED",
        inside=1,
    )
    record = TicketScanned(said, True, "North", "tom", sale.now_ms, sale.now_ms, False)
    assert sale.last() == (record,)
    assert sale.tickets() == [USED, ACTIVE]
    assert sale.state.inside == 1


def test_a_code_in_other_hands_than_the_bookings_is_forged():
    sale = open_doors()
    key = b"k" * 32
    for customer in ("bob", "anna", ""):
        bearer = Bearer(customer_tag(key, EVENT_ID, customer), key)
        assert sale.turned_away(replace(scan(), bearer=bearer)) is DoorReason.FORGED
        assert sale.said[-1].ticket_id == ""
    other_event = Bearer(customer_tag(key, "evt_000000000000", "ann"), key)
    assert sale.turned_away(replace(scan(), bearer=other_event)) is DoorReason.FORGED
    assert sale.tickets() == [ACTIVE, ACTIVE]
    hers = Bearer(customer_tag(key, EVENT_ID, "ann"), key)
    sale.admitted(replace(scan(), bearer=hers))
    assert sale.turned_away(replace(scan(), bearer=hers)) is DoorReason.ALREADY_USED


def test_a_scan_of_a_gateway_that_asks_for_no_bearer_is_still_read():
    command = scan()
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(command))
    assert fields.pop() is None
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=CheckIn) == command


def test_a_ticket_lets_in_one_and_the_next_is_told_when_and_where_that_was():
    sale = open_doors()
    sale.admitted(scan(gate="South"))
    used_at_ms = sale.now_ms
    sale.wait(5_000)

    said = sale.scanned(scan(gate="North"))

    assert (said.admitted, said.reason, said.status) == (False, "already_used", "USED")
    assert (said.first_at_ms, said.first_gate, said.inside) == (used_at_ms, "South", 1)


def test_each_ticket_of_a_booking_lets_in_its_own_holder():
    sale = open_doors()

    sale.admitted(scan(place=1))

    assert sale.tickets() == [ACTIVE, USED]
    assert sale.admitted(scan(place=0)).inside == 2


def test_all_scans_of_one_turn_are_decided_one_after_the_other():
    sale = open_doors()
    gates = [scan(gate=str(number)) for number in range(20)]

    sale.ask(*gates)

    said = [record.scan for record in sale.last() if isinstance(record, TicketScanned)]
    assert [one.admitted for one in said] == [True] + 19 * [False]
    assert {(one.reason, one.first_gate) for one in said[1:]} == {("already_used", "0")}


@pytest.mark.parametrize("caller", [STAFF, ORGANIZER, ADMIN], ids=lambda caller: caller.sub)
def test_the_organizers_people_may_scan_and_undo(caller):
    sale = open_doors()

    sale.admitted(scan(caller=caller))
    said = sale.undone(undo(caller=caller))

    ticket = ticket_id(booking_id("ann"), 0)
    assert sale.last() == (PassageUndone(ticket, caller.sub, sale.now_ms, said),)


@pytest.mark.parametrize("caller", [BUYER, RIVAL_ORGANIZER, Caller("tom", organizer="rival")])
def test_to_everybody_else_the_event_does_not_exist(caller):
    sale = open_doors()
    assert sale.refusal(scan(caller=caller)).code is Refusal.EVENT_NOT_FOUND
    mine = scan()
    sale.admitted(mine)

    # Not even what was said before is told to them.
    assert sale.refusal(replace(mine, caller=caller)).code is Refusal.EVENT_NOT_FOUND
    assert sale.refusal(undo(caller=caller)).code is Refusal.EVENT_NOT_FOUND


# -- why not -------------------------------------------------------------------------


@pytest.mark.parametrize("found", [DoorReason.FORGED, DoorReason.WRONG_EVENT])
def test_a_code_that_names_no_ticket_of_this_event_is_refused_and_kept_in_the_log(found):
    sale = open_doors()

    assert sale.turned_away(replace(UNKNOWN, found=found)) is found

    (record,) = sale.last()
    assert isinstance(record, TicketScanned)
    assert record.scan == Scanned("scan unknown", admitted=False, reason=found)


def unpaid(sale: Doors) -> None:
    sale.placed("bob", ga=1)


def failing(sale: Doors) -> None:
    sale.opened("bob", ga=2)
    sale.hear(failed("ch_1", "bob"))


def given_back(sale: Doors) -> None:
    sale.bought("bob", ga=1)
    sale.ask(refund("bob", ORGANIZER))


def refunded(sale: Doors) -> None:
    given_back(sale)
    sale.hear(refund_said("succeeded", 4_500, customer="bob"))


def refunded_in_part(sale: Doors) -> None:
    sale.bought("bob", ga=2)
    sale.ask(refund("bob", ORGANIZER, ga=1))
    assert sale.admitted(scan("bob", 0)).status == USED


def in_dispute(sale: Doors) -> None:
    sale.bought("bob", ga=1)
    sale.hear(disputed(customer="bob"))


def taken_back(sale: Doors) -> None:
    sale.bought("bob", ga=1)
    sale.hear(charged(4_500, "bob", captured_minor=4_500))


def called_off(sale: Doors) -> None:
    sale.bought("bob", ga=1)
    sale.call_off()


def cancelled_and_not_seen_to(sale: Doors) -> None:
    sale.bought("bob", ga=1)
    sale.ask(refund("bob", ORGANIZER))
    sale.hear(refund_said("failed", 4_500, customer="bob", refund_id=""))
    sale.call_off()


@pytest.mark.parametrize(
    ("story", "place", "reason"),
    [
        (lambda _: None, 0, DoorReason.VOID),  # no such booking
        (unpaid, 0, DoorReason.UNPAID),
        (failing, 0, DoorReason.UNPAID),
        (given_back, 0, DoorReason.VOID),
        (refunded, 0, DoorReason.VOID),
        (refunded_in_part, 1, DoorReason.VOID),
        (in_dispute, 0, DoorReason.VOID),
        (taken_back, 0, DoorReason.VOID),
        (called_off, 0, DoorReason.VOID),
        (cancelled_and_not_seen_to, 0, DoorReason.VOID),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_ticket_that_is_not_paid_for_or_void_lets_nobody_in(story, place, reason):
    sale = Doors(doors_open_at_ms=None)
    story(sale)

    assert sale.turned_away(scan("bob", place)) is reason


@pytest.mark.parametrize("ending", ["won", "warning_closed"])
def test_a_ticket_is_good_again_once_its_dispute_is_won(ending):
    sale = open_doors()
    sale.hear(disputed())
    assert sale.turned_away() is DoorReason.VOID

    sale.hear(disputed(ending))

    sale.admitted()


def test_a_ticket_is_good_again_once_its_refund_was_denied():
    sale = open_doors()
    sale.ask(refund(caller=ORGANIZER))
    assert sale.turned_away() is DoorReason.VOID

    sale.hear(refund_said("failed", refund_id=""))

    sale.admitted()


def test_nobody_is_let_in_before_the_doors_open_and_everybody_from_then_on():
    sale = open_doors(doors_open_at_ms=DOORS_OPEN_AT_MS)
    sale.wait(59_999)
    assert sale.turned_away() is DoorReason.NOT_YET

    sale.wait(1)

    sale.admitted()


def test_reasons_win_in_their_order():
    # UNPAID and VOID cannot meet, nor can either of them meet a code that names no ticket.
    sale = open_doors(doors_open_at_ms=DOORS_OPEN_AT_MS)
    sale.ask(refund(caller=ORGANIZER, ga=1))
    assert sale.turned_away(scan(place=1)) is DoorReason.VOID, "not NOT_YET"
    sale.wait(60_000)
    sale.admitted()
    sale.now_ms = DOORS_OPEN_AT_MS  # an offline scanner saw it earlier
    early = scan(seen_at_ms=DOORS_OPEN_AT_MS - 1)
    assert sale.turned_away(early) is DoorReason.NOT_YET, "not ALREADY_USED"
    sale.hear(disputed())
    assert sale.turned_away() is DoorReason.VOID, "not ALREADY_USED"


# -- out and in again ----------------------------------------------------------------


def test_whoever_left_may_not_come_back_unless_the_event_says_so():
    sale = open_doors()
    sale.admitted()

    assert sale.admitted(leave()).inside == 0

    assert sale.turned_away() is DoorReason.ALREADY_USED


def test_with_reentry_a_ticket_lets_in_again_whoever_has_left():
    sale = reentry()
    sale.admitted(scan(gate="South"))
    first_ms = sale.now_ms
    sale.wait(1_000)
    assert sale.turned_away() is DoorReason.ALREADY_USED, "its holder is inside"
    assert sale.admitted(leave()).inside == 0

    back = sale.admitted()

    assert (back.first_at_ms, back.first_gate, back.inside) == (first_ms, "South", 1)
    assert sale.turned_away() is DoorReason.ALREADY_USED


def test_nobody_can_leave_who_is_not_in():
    sale = reentry()
    assert sale.turned_away(leave()) is DoorReason.NOT_INSIDE
    sale.admitted()
    sale.admitted(leave())

    assert sale.turned_away(leave()) is DoorReason.NOT_INSIDE


def test_whoever_is_in_may_leave_whatever_has_become_of_the_ticket():
    sale = reentry()
    sale.admitted()
    sale.hear(disputed())

    said = sale.admitted(leave())

    assert (said.status, said.inside) == ("VOID", 0)
    assert sale.turned_away() is DoorReason.VOID


# -- the same scan -------------------------------------------------------------------


def everything_said(sale: Doors) -> list[tuple[CheckIn, Scanned]]:
    """Have each kind of answer given once; return what was asked and said."""
    asked = [scan(), scan(), leave(), scan(), scan(place=1), UNKNOWN, leave(place=1)]
    said = [(command, sale.scanned(command)) for command in asked]
    sale.hear(disputed())
    asked = [leave(), leave(), scan(place=1)]
    return said + [(command, sale.scanned(command)) for command in asked]


def test_a_repeated_scan_gets_the_same_answer():
    sale = reentry()
    for command, said in everything_said(sale):
        assert sale.again(command) == said


def test_a_repeated_scan_gets_the_same_answer_from_a_snapshot_and_a_replay():
    sale = reentry()
    told = everything_said(sale)
    again = replayed(sale.entries)
    assert digest(again) == digest(sale.state)

    for state in (restore(encode_slices(capture(sale.state))), again):
        sale.state = state
        for command, said in told:
            assert sale.again(command) == said


def crowd_out(sale: Doors) -> None:
    """Have so many others scanned that the owner forgets every scan before."""
    others = (replace(UNKNOWN, scan_id=f"other {n}") for n in range(SCANS_REMEMBERED_MAX))
    sale.ask(*others)
    assert len(sale.state.scans) == SCANS_REMEMBERED_MAX


def test_a_passage_is_known_again_after_any_number_of_other_scans():
    sale = reentry()
    told = everything_said(sale)
    inside = sale.state.inside
    crowd_out(sale)
    from_a_snapshot(sale)

    for command, said in told:
        if said.admitted:
            assert sale.again(command) == said
    assert sale.state.inside == inside


def test_the_oldest_scans_are_forgotten_first():
    sale = open_doors()
    first, second = replace(UNKNOWN, scan_id="a"), replace(UNKNOWN, scan_id="b")
    sale.scanned(first)
    sale.scanned(second)
    sale.ask(*(replace(UNKNOWN, scan_id=f"{n}") for n in range(SCANS_REMEMBERED_MAX - 1)))

    sale.again(second)
    sale.scanned(first)


def test_what_a_void_ticket_was_told_on_the_way_out_is_told_again_when_it_is_good_again():
    sale = reentry()
    entering, leaving = scan(), leave()
    inside = sale.admitted(entering)
    sale.hear(disputed())
    outside = sale.admitted(leaving)
    sale.hear(disputed("won"))
    crowd_out(sale)

    assert (sale.again(entering), sale.again(leaving)) == (inside, outside)
    assert (inside.status, outside.status) == ("USED", "VOID")


# -- offline -------------------------------------------------------------------------


def test_a_scan_made_offline_counts_from_when_it_was_made():
    sale = open_doors(doors_open_at_ms=DOORS_OPEN_AT_MS)
    sale.wait(600_000)
    seen_at_ms = DOORS_OPEN_AT_MS + 7

    said = sale.admitted(scan(seen_at_ms=seen_at_ms))

    record = TicketScanned(said, True, "North", "tom", seen_at_ms, sale.now_ms, True)
    assert sale.last() == (record,)
    later = sale.scanned(scan())
    assert (later.reason, later.first_at_ms) == ("already_used", seen_at_ms)


def test_a_scan_made_offline_before_the_doors_opened_is_a_conflict_whenever_it_is_reported():
    sale = open_doors(doors_open_at_ms=DOORS_OPEN_AT_MS)
    sale.wait(600_000)

    early = scan(seen_at_ms=DOORS_OPEN_AT_MS - 1)

    assert sale.turned_away(early) is DoorReason.NOT_YET


@pytest.mark.parametrize(
    ("seen_at_ms", "at_ms"),
    [
        (NOW_MS + 5_000, NOW_MS + 1_000),  # ahead: nobody has seen a ticket in the future
        (1, NOW_MS),  # never set: nor before the event was on record
        (NOW_MS + 500, NOW_MS + 500),
    ],
)
def test_a_scanner_whose_clock_is_wrong_is_corrected(seen_at_ms, at_ms):
    sale = open_doors()
    sale.wait(1_000)

    sale.admitted(scan(seen_at_ms=seen_at_ms))

    (record,) = sale.last()
    assert isinstance(record, TicketScanned)
    assert (record.at_ms, record.noted_ms, record.offline) == (at_ms, NOW_MS + 1_000, True)


def test_doors_do_not_open_earlier_for_a_clock_that_is_ahead():
    sale = open_doors(doors_open_at_ms=DOORS_OPEN_AT_MS)

    assert sale.turned_away(scan(seen_at_ms=DOORS_OPEN_AT_MS + 1)) is DoorReason.NOT_YET


def test_of_two_scans_without_a_connection_the_first_to_be_reported_counts():
    sale = open_doors()
    sale.wait(60_000)
    sale.admitted(scan(gate="late", seen_at_ms=NOW_MS + 9_000))

    said = sale.scanned(scan(gate="early", seen_at_ms=NOW_MS + 1_000))

    assert (said.reason, said.first_gate) == ("already_used", "late")
