"""Which messages an effect calls for, and what tells one from another."""

import msgspec
import pytest
from msgspec.structs import replace

from actors.back_office.notices import (
    confirmation,
    going_back_minor,
    messages_of,
    notice_of,
    notice_to_all,
)
from engine.domain.booking import Status
from engine.domain.cancellation import call_off
from engine.domain.event import RefundPolicy, Venue
from engine.domain.payment import Part, Refund
from engine.domain.records import (
    EFFECTS,
    BookingConfirmed,
    EventAmended,
    EventCancelled,
    HoldExpired,
    PaymentClosing,
    PaymentFailed,
    PaymentGivenUp,
    PaymentReturning,
    Record,
    RefundSettled,
)
from engine.letters.facts import Before, Details, Reason, Units
from engine.store.contract import MessageKind
from tests.unit.engine.domain.given import (
    EVENT_ID,
    NOW_MS,
    ORGANIZER,
    STARTS_AT_MS,
    TTL_MS,
    amend,
    an_event,
    booking_id,
    release,
)
from tests.unit.engine.domain.given_payments import (
    CANCEL,
    SUCCEEDED,
    BoxOffice,
    charged,
    disputed,
    failed,
    refund,
    refund_said,
)


def notice(office: BoxOffice, kind: type[Record], customer: str = "ann"):
    """Return what the last turn's record of a kind calls for."""
    (record,) = [one for one in office.last() if isinstance(one, kind)]
    cancelled = office.state.cancelled_at_ms is not None
    return notice_of(record, office.booking(customer), cancelled=cancelled)


# -- bookings --------------------------------------------------------------------------


def test_a_confirmation_says_what_was_paid_and_when():
    office = BoxOffice()
    office.wait(1_234)
    office.bought("ann", ga=2)
    paid = Details(amount_minor=9_000, issued_at_ms=NOW_MS + 1_234)
    assert notice(office, BookingConfirmed) == (MessageKind.CONFIRMATION, paid)


def test_a_free_booking_is_confirmed_without_money():
    office = BoxOffice()
    office.bought("ann", ga=2)
    free = replace(office.booking("ann"), payment=None)
    assert confirmation(free).amount_minor == 0


def test_a_confirmation_is_of_its_first_time_whatever_has_happened_since():
    office = BoxOffice()
    office.bought("ann", ga=2)
    first = confirmation(office.booking("ann"))
    office.wait(60_000)
    office.ask(refund("ann", ORGANIZER, ga=1))
    office.hear(refund_said("succeeded", 4_500))
    assert confirmation(office.booking("ann")) == first


def test_a_card_that_failed_says_until_when_another_may_be_tried():
    office = BoxOffice()
    until_ms = office.opened("ann", ga=2).expires_at_ms
    office.hear(failed("ch_1"))
    again = Details(units=(Units("ga", 2),), pay_until_ms=until_ms)
    assert notice(office, PaymentFailed) == (MessageKind.PAYMENT_FAILED, again)


def test_the_last_card_that_failed_offers_no_other():
    office = BoxOffice()
    office.opened("ann", ga=2)
    office.hear(failed("ch_1"), failed("ch_2"), failed("ch_3"))
    over = Details(units=(Units("ga", 2),))
    assert notice(office, PaymentGivenUp) == (MessageKind.PAYMENT_FAILED, over)


def test_what_expired_is_named():
    office = BoxOffice()
    office.opened("ann", ga=2)
    office.expired()
    lost = Details(units=(Units("ga", 2),))
    assert notice(office, HoldExpired) == (MessageKind.EXPIRED, lost)


def _late() -> BoxOffice:
    office = BoxOffice()
    office.opened("ann", ga=2)
    office.expired()
    office.placed("bob", ga=6)
    office.placed("cid", ga=4)
    office.hear(SUCCEEDED)
    return office


def test_money_that_came_too_late_is_spoken_of_at_the_first_attempt_to_return_it_only():
    office = _late()
    late = Details(amount_minor=9_000, units=(Units("ga", 2),))
    assert notice(office, PaymentReturning) == (MessageKind.LATE_PAYMENT, late)
    office.hear(refund_said("failed"))
    assert notice(office, PaymentReturning) is None
    office.hear(refund_said("succeeded", number=2))
    assert notice(office, RefundSettled) is None


def test_a_refund_says_what_goes_back_what_is_kept_and_for_which_units():
    office = BoxOffice(refund_policy=RefundPolicy(1, 80))
    office.bought("ann", ga=2)
    office.ask(refund("ann", ga=1))
    office.hear(refund_said("succeeded", 3_600))
    back = Details(
        amount_minor=3_600, kept_minor=900, units=(Units("ga", 1),), reason=Reason.REQUESTED
    )
    assert notice(office, RefundSettled) == (MessageKind.REFUNDED, back)


def test_the_refund_of_a_cancelled_event_says_so():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.call_off()
    office.hear(refund_said("succeeded"))
    kind, back = notice(office, RefundSettled)
    assert (kind, back.reason) == (MessageKind.REFUNDED, Reason.EVENT_CANCELLED)


def test_of_a_refund_behind_which_another_has_begun_no_amount_is_known():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.ask(refund("ann", ORGANIZER, ga=1))
    office.hear(refund_said("succeeded", 4_500))
    (settled,) = [one for one in office.last() if isinstance(one, RefundSettled)]
    office.ask(refund("ann", ORGANIZER))
    one = notice_of(settled, office.booking("ann"), cancelled=False)
    assert one == (MessageKind.REFUNDED, Details(reason=Reason.REQUESTED))


def test_who_was_about_to_pay_when_the_event_was_called_off_hears_of_it():
    office = BoxOffice()
    office.opened("ann", ga=2)
    office.ask(CANCEL)
    office.take(*call_off(office.state, office.now_ms))
    lost = Details(units=(Units("ga", 2),), reason=Reason.EVENT_CANCELLED, held=True)
    assert notice(office, PaymentClosing) == (MessageKind.EVENT_CANCELLED, lost)


def test_a_payment_that_is_closed_for_another_reason_is_no_news():
    office = BoxOffice()
    office.opened("ann", ga=2)
    office.ask(release("ann"))
    assert notice(office, PaymentClosing) is None
    office = BoxOffice()
    office.opened("ann", ga=2)
    office.wait(2 * TTL_MS)
    office.expire_due()
    assert notice(office, PaymentClosing) is None


def test_units_of_several_lines_of_a_type_are_counted_together():
    office = BoxOffice()
    office.opened("ann", ga=2)
    office.hear(failed("ch_1"))
    booking = office.booking("ann")
    twice = replace(booking, lines=(*booking.lines, *booking.lines))
    (record,) = office.last()
    kind_and_details = notice_of(record, twice, cancelled=False)
    assert kind_and_details is not None
    assert kind_and_details[1].units == (Units("ga", 4),)


def test_everything_else_and_whatever_has_no_booking_is_silence():
    told = {BookingConfirmed, HoldExpired, PaymentFailed, PaymentGivenUp, PaymentReturning}
    told |= {RefundSettled, EventAmended, EventCancelled}
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.ask(CANCEL)
    for record in (one for entry in office.entries for one in entry.records):
        assert notice_of(record, None, cancelled=False) is None
        if type(record) in EFFECTS - told:
            assert notice_of(record, office.booking("ann"), cancelled=False) is None


# -- everybody -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "before"),
    [
        ({"name": "Day"}, Before(name="Night of Strings")),
        ({"starts_at_ms": 1}, Before(starts_at_ms=STARTS_AT_MS)),
        ({"venue": Venue("Elsewhere")}, Before(venue=Venue("Here"))),
        ({"doors_open_at_ms": 2}, Before(doors_open_at_ms=1)),
        ({"description": "longer", "refund_policy": None, "max_per_customer": 3}, None),
        ({}, None),
    ],
    ids=["name", "start", "venue", "doors", "nothing that matters", "nothing"],
)
def test_holders_hear_of_what_they_must_know(change: dict, before: Before | None):
    known = an_event(venue=Venue("Here"), doors_open_at_ms=1)
    record = EventAmended(replace(known, **change), NOW_MS)
    wanted = None if before is None else (MessageKind.EVENT_CHANGED, Details(before=before))
    assert notice_to_all(known, record) == wanted


def test_a_change_is_none_to_those_who_know_of_no_event():
    assert notice_to_all(None, EventAmended(an_event(name="Day"), NOW_MS)) is None


def test_the_end_of_an_event_concerns_all_even_if_nothing_is_known_of_it():
    wanted = (MessageKind.EVENT_CANCELLED, Details(reason=Reason.EVENT_CANCELLED))
    for known in (None, an_event()):
        assert notice_to_all(known, EventCancelled(NOW_MS, 3)) == wanted


def test_what_is_of_one_booking_concerns_nobody_else():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.ask(amend(name="Day"))
    records = [one for entry in office.entries[:-1] for one in entry.records]
    assert [notice_to_all(an_event(), one) for one in records] == [None] * len(records)


# -- money of an event that was called off ---------------------------------------------


def going_back(office: BoxOffice, customer: str = "ann") -> int | None:
    cancelled_at_ms = office.state.cancelled_at_ms
    assert cancelled_at_ms is not None
    return going_back_minor(office.booking(customer), cancelled_at_ms)


def test_everything_that_was_paid_goes_back_whenever_one_looks():
    office = BoxOffice(refund_policy=RefundPolicy(1, 80))
    office.bought("ann", ga=2)
    office.wait(1_000)
    office.ask(CANCEL)
    found = [going_back(office)]
    while office.state.to_call_off:
        office.take(*call_off(office.state, office.now_ms))
    found.append(going_back(office))
    office.hear(refund_said("failed"))
    found.append(going_back(office))
    assert found == [9_000] * 3
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.wait(1_000)
    office.call_off()
    office.hear(refund_said("succeeded"))
    office.wait(60_000)
    assert office.status() is Status.REFUNDED
    assert going_back(office) == 9_000


def test_what_had_gone_back_before_does_not_go_back_again():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.ask(refund("ann", ORGANIZER, ga=1))
    office.hear(refund_said("succeeded", 4_500))
    office.wait(1_000)
    office.call_off()
    assert going_back(office) == 4_500
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.hear(charged(1_000))
    office.wait(1_000)
    office.ask(CANCEL)
    assert going_back(office) == 8_000


def test_a_part_that_is_on_its_way_is_counted_with_the_rest():
    office = BoxOffice(refund_policy=RefundPolicy(1, 80))
    office.bought("ann", ga=2)
    office.ask(refund("ann", ga=1))
    office.wait(1_000)
    office.call_off()
    assert office.status() is Status.REFUND_REQUESTED
    assert going_back(office) == 3_600 + 4_500


def test_a_free_booking_gets_no_money_and_is_told():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.wait(1_000)
    office.ask(CANCEL)
    free = replace(office.booking("ann"), payment=None)
    free = replace(free, lines=tuple(replace(line, unit_price_minor=0) for line in free.lines))
    assert going_back_minor(free, office.now_ms) == 0
    parts = tuple(Part(line.ticket_type, line.quantity) for line in free.lines)
    over = free.refunding(Refund(1, 0, parts), office.now_ms).refunded("", office.now_ms)
    assert over.status is Status.REFUNDED
    assert going_back_minor(over, office.now_ms) == 0


def test_who_had_no_valid_ticket_left_is_not_concerned():
    asked = BoxOffice()
    asked.bought("ann", ga=2)
    asked.ask(refund("ann", ORGANIZER))
    asked.wait(1_000)
    asked.call_off()
    assert going_back(asked) is None
    asked.wait(1_000)
    asked.hear(refund_said("succeeded"))
    assert asked.status() is Status.REFUNDED
    assert going_back(asked) is None

    disputing = BoxOffice()
    disputing.bought("ann", ga=2)
    disputing.hear(disputed("needs_response"))
    disputing.wait(1_000)
    disputing.call_off()
    assert going_back(disputing) is None

    taken = BoxOffice()
    taken.bought("ann", ga=2)
    taken.hear(charged(9_000))
    taken.wait(1_000)
    taken.call_off()
    assert going_back(taken) is None


def test_who_gets_the_money_from_somebody_else_hears_of_the_event_all_the_same():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.wait(1_000)
    office.ask(CANCEL)
    office.hear(charged(9_000))
    assert office.status() is Status.REFUNDED
    assert going_back(office) == 0


# -- rows ------------------------------------------------------------------------------


def test_a_message_is_named_by_kind_booking_cause_and_channel():
    ids = [booking_id("ann"), booking_id("bob")]
    told = (MessageKind.EVENT_CHANGED, Details(before=Before(name="Day")))
    rows = messages_of(told, EVENT_ID, ids, ["email", "push"], "1-7-0", NOW_MS)
    assert [one.dedupe_key for one in rows] == [
        f"event_changed:{one}:1-7-0:{channel}" for one in ids for channel in ("email", "push")
    ]
    assert [msgspec.json.decode(one.facts, type=Details) for one in rows] == [told[1]] * 4
    assert {(one.kind, one.event_id, one.created_ms) for one in rows} == {
        (MessageKind.EVENT_CHANGED, EVENT_ID, NOW_MS)
    }


def test_a_confirmation_is_named_by_its_booking_alone():
    told = (MessageKind.CONFIRMATION, Details())
    (row,) = messages_of(told, EVENT_ID, [booking_id("ann")], ["email"], "", NOW_MS)
    assert row.dedupe_key == f"order_confirmation:{booking_id('ann')}:email"
