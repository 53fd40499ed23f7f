"""Refunds: who may have how much back until when, what becomes of the units, and by whose hand."""

import pytest
from msgspec.structs import replace

from engine.domain.booking import Status
from engine.domain.commands import Caller
from engine.domain.event import RefundPolicy
from engine.domain.outcomes import Granted, Refusal, Refused, Shown
from engine.domain.payment import Part, Payment, PaymentState, Refund, RefundState
from engine.domain.records import PaymentReturning, RefundFailed, RefundRequested, RefundSettled
from engine.domain.snapshot import capture, digest, encode_slices, restore
from engine.limits import REFUNDS_REMEMBERED_MAX, RETURN_ATTEMPTS_MAX
from tests.unit.engine.domain.given import (
    ADMIN,
    EVENT_ID,
    ORGANIZER,
    RIVAL_ORGANIZER,
    STARTS_AT_MS,
    Item,
    a_type,
    booking_id,
    hold,
    replayed,
)
from tests.unit.engine.domain.given_payments import (
    PRICE_MINOR,
    BoxOffice,
    charged,
    pay,
    refund,
    refund_said,
    said,
)
from tests.unit.engine.domain.situations import confirmed, delivered, paid_after_leaving

HOUR_MS = 3_600_000


def with_policy(percent: int, until_hours_before: int = 48, *types) -> BoxOffice:
    sale = BoxOffice(*types, refund_policy=RefundPolicy(until_hours_before, percent))
    sale.bought()
    return sale


# -- who, when and how much ------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "back_minor"), [(100, 9_000), (80, 7_200), (33, 2_970), (1, 90)]
)
def test_a_buyer_gets_what_the_policy_says(percent, back_minor):
    sale = with_policy(percent)

    shown = sale.ask(refund())

    assert shown == Shown(sale.booking("ann"), "EUR"), "the answer is what is journalled"
    assert sale.status() is Status.REFUND_REQUESTED
    assert sale.counts() == (8, 0, 2), "sold until the money is back"
    sale.hear(refund_said("succeeded", back_minor))
    assert sale.status() is Status.REFUNDED
    assert sale.money() == (PRICE_MINOR, back_minor, PRICE_MINOR - back_minor)
    assert sale.counts() == (10, 0, 0)


def test_what_the_policy_says_is_rounded_in_favour_of_the_books():
    sale = BoxOffice(a_type(price_minor=333), refund_policy=RefundPolicy(48, 50))
    sale.bought(ga=1)

    sale.ask(refund())

    refund_ = sale.payment().refund
    assert (refund_.amount_minor, refund_.kept_minor) == (166, 167)


def test_the_policy_ends_to_the_millisecond():
    until_ms = STARTS_AT_MS - 48 * HOUR_MS
    sale = with_policy(100)
    sale.now_ms = until_ms + 1
    refused = sale.refusal(refund())
    assert (refused.code, refused.subject) == (Refusal.REFUND_NOT_ALLOWED, "policy")

    sale.now_ms = until_ms

    assert isinstance(sale.ask(refund()), Shown)


def test_without_a_policy_only_the_organizer_gives_money_back():
    sale = confirmed()
    assert sale.refusal(refund()).subject == "policy"

    sale.ask(refund(caller=ORGANIZER))

    assert sale.payment().refund.amount_minor == PRICE_MINOR


@pytest.mark.parametrize("caller", [ORGANIZER, ADMIN])
def test_an_organizer_gives_everything_back_at_any_time(caller):
    sale = with_policy(10)
    sale.now_ms = STARTS_AT_MS + HOUR_MS

    sale.ask(refund(caller=caller))

    assert sale.payment().refund.amount_minor == PRICE_MINOR


@pytest.mark.parametrize("caller", [Caller("bob"), RIVAL_ORGANIZER])
def test_a_stranger_does_not_learn_that_there_is_a_booking(caller):
    sale = with_policy(100)

    assert sale.refusal(refund(caller=caller)).code is Refusal.BOOKING_NOT_FOUND
    assert sale.refusal(refund("nobody")).code is Refusal.BOOKING_NOT_FOUND


def test_a_policy_of_nothing_takes_the_units_and_keeps_the_money():
    sale = with_policy(0)

    sale.ask(refund())

    assert [type(record) for record in sale.last()] == [RefundRequested, RefundSettled]
    assert sale.status() is Status.REFUNDED
    assert sale.money() == (PRICE_MINOR, 0, PRICE_MINOR)


def test_a_free_booking_is_given_back_at_once():
    sale = BoxOffice(a_type(price_minor=0))
    sale.placed("ann", ga=2)
    sale.ask(pay())

    sale.ask(refund(caller=ORGANIZER))

    assert sale.status() is Status.REFUNDED
    assert sale.counts() == (10, 0, 0)
    assert not sale.state.unsettled, "Stripe is not asked for nothing"


def test_asking_twice_is_the_same_as_once():
    sale = with_policy(100)
    sale.ask(refund())
    entries = len(sale.entries)

    assert sale.ask(refund()) == Shown(sale.booking("ann"), "EUR")
    sale.hear(refund_said("succeeded"))
    assert sale.ask(refund()) == Shown(sale.booking("ann"), "EUR")

    assert len(sale.entries) == entries + 1


# -- asked again under a key -----------------------------------------------------------


def parts_back(sale: BoxOffice, *keys: str) -> None:
    """Have one ticket go back under each key, to the end."""
    for number, key in enumerate(keys, start=1):
        sale.ask(refund(caller=ORGANIZER, key=key, ga=1))
        sale.hear(refund_said("succeeded", 4_500, number))


def of_many(units: int) -> BoxOffice:
    sale = BoxOffice(a_type(max_per_booking=units), capacities={"ga": units})
    sale.bought(ga=units)
    return sale


def test_a_late_repeat_of_any_earlier_key_gives_nothing_back_once_more():
    sale = of_many(5)
    parts_back(sale, "k1", "k2", "k3")
    entries = len(sale.entries)

    for key in ("k1", "k2", "k3"):
        again = sale.ask(refund(caller=ORGANIZER, key=key, ga=1))
        assert again == Shown(sale.booking("ann"), "EUR", replayed=True)

    assert len(sale.entries) == entries
    assert sale.counts() == (3, 0, 2)
    sale.ask(refund(caller=ORGANIZER, key="k4", ga=1))
    assert sale.payment().refund.number == 4, "a new key is a new request"


@pytest.mark.parametrize("later", [(), ("k2",)])
@pytest.mark.parametrize("changed", [{"ga": 2}, {}])
def test_an_earlier_key_with_another_body_is_told_apart(later, changed):
    sale = of_many(5)
    parts_back(sale, "k1", *later)

    refused = sale.refusal(refund(caller=ORGANIZER, key="k1", **changed))

    assert refused.code is Refusal.IDEMPOTENCY_KEY_REUSED


def test_everything_is_another_request_than_all_parts_by_name():
    sale = of_many(2)
    sale.ask(refund(caller=ORGANIZER, key="k1"))

    assert sale.refusal(refund(caller=ORGANIZER, key="k1", ga=2)).code is (
        Refusal.IDEMPOTENCY_KEY_REUSED
    )
    assert sale.ask(refund(caller=ORGANIZER, key="k1")).replayed


def test_parts_may_be_named_in_another_order():
    sale = BoxOffice(a_type("ga"), a_type("vip"))
    sale.bought(ga=2, vip=1)
    sale.ask(refund(caller=ORGANIZER, key="k1", ga=1, vip=1))

    assert sale.ask(refund(caller=ORGANIZER, key="k1", vip=1, ga=1)).replayed


def test_a_key_stays_known_when_its_refund_has_failed_or_the_event_is_called_off():
    sale = of_many(3)
    sale.ask(refund(caller=ORGANIZER, key="k1", ga=1))
    sale.hear(refund_said("failed", 4_500, refund_id=""))
    assert sale.ask(refund(caller=ORGANIZER, key="k1", ga=1)).replayed
    sale.call_off()
    assert sale.payment().refund.number == 2

    assert sale.ask(refund(caller=ORGANIZER, key="k1", ga=1)).replayed


def test_keys_are_remembered_up_to_a_limit_and_survive_a_snapshot():
    keys = [f"k{number}" for number in range(REFUNDS_REMEMBERED_MAX + 2)]
    sale = of_many(len(keys) + 1)
    parts_back(sale, *keys)
    state = restore(encode_slices(capture(sale.state)))

    assert digest(state) == digest(sale.state) == digest(replayed(sale.entries))
    for number, key in enumerate(keys):
        payment = state.bookings[booking_id("ann")].payment
        assert (payment.asked_under(key) is not None) is (number > 0)


def test_of_a_refund_journalled_before_that_was_noted_everything_may_have_been_meant():
    older = Refund(1, PRICE_MINOR, (Part("ga", 2),), key="k1")
    payment = Payment(PaymentState.CAPTURED, PRICE_MINOR, 0, refund=older)

    asked = payment.asked_under("k1")

    assert asked.is_repeated_by(())
    assert asked.is_repeated_by((Part("ga", 1), Part("ga", 1)))
    assert not asked.is_repeated_by((Part("ga", 1),))


# -- some of the units -----------------------------------------------------------------


def test_units_go_back_one_after_the_other():
    sale = BoxOffice(a_type("ga"), a_type("vip", price_minor=9_900))
    sale.bought(ga=2, vip=1)
    for number, (code, price_minor) in enumerate([("ga", 4_500), ("vip", 9_900)], start=1):
        sale.ask(refund(caller=ORGANIZER, **{code: 1}))
        sale.hear(refund_said("succeeded", price_minor, number))
        assert sale.status() is Status.CONFIRMED
    assert [(line.ticket_type, line.quantity) for line in sale.booking("ann").lines] == [("ga", 1)]
    assert (sale.counts("ga"), sale.counts("vip")) == ((9, 0, 1), (10, 0, 0))

    sale.ask(refund(caller=ORGANIZER, ga=1))
    sale.hear(refund_said("succeeded", 4_500, 3))

    assert sale.status() is Status.REFUNDED
    assert sale.money() == (18_900, 18_900, 0)
    assert sale.booking("ann").as_placed().units == 3


def test_a_repeated_hold_gets_its_first_answer_also_when_a_part_has_gone_back():
    sale = BoxOffice()
    first = sale.bought(ga=2).as_placed()
    sale.ask(refund(caller=ORGANIZER, ga=1))
    sale.hear(refund_said("succeeded", PRICE_MINOR // 2))
    again = sale.ask(hold("ann", ga=2))
    assert again == Granted(first, "EUR", replayed=True)
    assert sale.ask(hold("ann", ga=1)) == Refused(Refusal.IDEMPOTENCY_KEY_REUSED)


def test_what_was_delivered_stays_so_for_the_units_that_are_left():
    sale = delivered()
    sale.ask(refund(caller=ORGANIZER, ga=1))

    sale.hear(refund_said("succeeded", 4_500))

    assert sale.status() is Status.TICKETS_DELIVERED
    assert sale.counts() == (9, 0, 1)


@pytest.mark.parametrize(
    ("parts", "code", "subject"),
    [
        ((Part("ga", 3),), Refusal.REFUND_NOT_ALLOWED, "ga"),
        ((Part("ga", 2), Part("ga", 1)), Refusal.REFUND_NOT_ALLOWED, "ga"),
        ((Part("ga", 1), Part("vip", 1)), Refusal.UNKNOWN_TICKET_TYPE, "vip"),
    ],
)
def test_no_more_goes_back_than_was_bought(parts, code, subject):
    sale = confirmed()

    refused = sale.refusal(replace(refund(caller=ORGANIZER), parts=parts))

    assert (refused.code, refused.subject) == (code, subject)


def test_a_part_that_is_named_twice_counts_twice():
    sale = confirmed()

    sale.ask(replace(refund(caller=ORGANIZER), parts=(Part("ga", 1), Part("ga", 1))))

    sale.hear(refund_said("succeeded"))
    assert sale.status() is Status.REFUNDED


@pytest.mark.parametrize("parts", [{"ga": 3}, {}])
def test_a_type_that_stands_in_two_lines_goes_back_as_one(parts):
    sale = BoxOffice()
    booking = sale.placed("ann", Item("ga", 1), Item("ga", 3))
    sale.paid(booking.booking_id)
    sale.ask(refund(caller=ORGANIZER, **parts))
    amount_minor = sale.payment().refund.amount_minor

    sale.hear(refund_said("succeeded", amount_minor))

    left = 1 if parts else 0
    assert amount_minor == (4 - left) * 4_500
    assert sale.counts() == (10 - left, 0, left)
    assert sum(line.quantity for line in sale.booking("ann").lines) == (left or 4)


def test_everything_is_not_promised_while_only_a_part_is_under_way():
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER, ga=1))

    refused = sale.refusal(refund(caller=ORGANIZER))

    assert (refused.code, refused.subject) == (Refusal.REFUND_NOT_ALLOWED, "REFUND_REQUESTED")
    sale.hear(refund_said("succeeded", 4_500))
    assert isinstance(sale.ask(refund(caller=ORGANIZER)), Shown)


# -- how it ends -----------------------------------------------------------------------


def test_a_refund_that_fails_leaves_the_booking_and_may_be_asked_for_again():
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER))

    sale.hear(refund_said("failed", refund_id="", reason="expired_or_canceled_card"))

    assert sale.last() == (
        RefundFailed(booking_id("ann"), "", "expired_or_canceled_card", sale.now_ms),
    )
    assert sale.status() is Status.REFUND_DENIED
    assert sale.counts() == (8, 0, 2)
    sale.ask(refund(caller=ORGANIZER))
    assert sale.payment().refund.number == 2
    sale.hear(refund_said("succeeded", number=1))
    assert sale.payment().refunding, "that was about the first one"
    sale.hear(refund_said("succeeded", number=2))
    assert sale.status() is Status.REFUNDED


@pytest.mark.parametrize("amount_minor", [PRICE_MINOR - 1, 0])
def test_a_refund_of_another_amount_is_not_the_one_that_was_asked_for(amount_minor):
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER))

    refused = sale.refusal(refund_said("succeeded", amount_minor))

    assert (refused.code, refused.subject) == (Refusal.PAYMENT_MISMATCH, "amount")
    assert sale.refusal(refund_said("succeeded", number=2)).subject == "number"


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"intent_id": "pi_2"}, "intent"),
        ({"currency": "USD"}, "currency"),
        ({"event": "evt_000000000000"}, "event"),
    ],
)
@pytest.mark.parametrize("status", ["succeeded", "failed", "pending"])
def test_a_refund_of_another_payment_ends_nothing(changes, subject, status):
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER))
    fitting = {"intent_id": "pi_1", "currency": "EUR", "event": EVENT_ID}
    news = replace(refund_said(status), **{**fitting, **changes})

    refused = sale.refusal(news)

    assert (refused.code, refused.subject) == (Refusal.PAYMENT_MISMATCH, subject)
    assert sale.status() is Status.REFUND_REQUESTED
    sale.hear(replace(news, **fitting))


@pytest.mark.parametrize("left_out", ["intent_id", "currency", "event"])
def test_what_stripe_leaves_out_of_a_refund_does_not_contradict(left_out):
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER))
    fitting = {"intent_id": "pi_1", "currency": "EUR", "event": EVENT_ID}

    sale.hear(replace(refund_said("succeeded"), **{**fitting, left_out: None}))

    assert sale.status() is Status.REFUNDED


def test_money_without_a_ticket_is_sent_back_a_few_times_and_then_looked_at():
    sale = paid_after_leaving()

    for number in range(1, RETURN_ATTEMPTS_MAX + 1):
        assert sale.payment().refund.number == number
        sale.hear(refund_said("failed", number=number, refund_id=""))

    assert [type(record) for record in sale.last()] == [RefundFailed]
    assert sale.payment().refund.state is RefundState.FAILED


def test_money_without_a_ticket_is_sent_back_as_far_as_it_is_still_there():
    sale = paid_after_leaving()
    sale.hear(charged(1_000), refund_said("failed", refund_id=""))
    _, again = sale.last()
    assert isinstance(again, PaymentReturning)
    assert again.refund.amount_minor == PRICE_MINOR - 1_000

    sale.hear(refund_said("succeeded", PRICE_MINOR - 1_000, 2))

    assert sale.payment().state is PaymentState.RETURNED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)


# -- by the hands of others ------------------------------------------------------------


def test_a_part_of_the_money_that_others_gave_back_is_not_given_back_again():
    sale = confirmed()
    sale.hear(charged(1_000))
    assert sale.status() is Status.CONFIRMED

    sale.ask(refund(caller=ORGANIZER))

    assert sale.payment().refund.amount_minor == PRICE_MINOR - 1_000
    sale.hear(refund_said("succeeded", PRICE_MINOR - 1_000), charged(PRICE_MINOR))
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)


def test_all_of_the_money_that_others_gave_back_ends_the_booking():
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER, ga=1))
    sale.hear(refund_said("succeeded", 4_500), charged(4_500))
    assert sale.status() is Status.CONFIRMED

    sale.hear(charged(PRICE_MINOR))

    assert sale.status() is Status.REFUNDED
    assert sale.money() == (PRICE_MINOR, PRICE_MINOR, 0)
    assert sale.counts() == (10, 0, 0)


def test_after_a_refund_of_ours_was_refused_a_look_at_the_charge_says_why():
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER))
    sale.hear(charged(PRICE_MINOR))
    assert sale.status() is Status.REFUND_REQUESTED, "that may be ours, which is under way"

    sale.hear(refund_said("failed", refund_id="", reason="charge_already_refunded"))
    assert sale.status() is Status.REFUND_DENIED
    sale.hear(charged(PRICE_MINOR))

    assert sale.status() is Status.REFUNDED


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({"intent_id": "pi_2"}, "intent"),
        ({"currency": "USD"}, "currency"),
        ({"captured_minor": PRICE_MINOR - 1}, "captured"),
        ({"event": "evt_000000000000"}, "event"),
        ({"customer": "bob"}, "customer"),
    ],
)
def test_a_charge_that_does_not_fit_its_booking_takes_nothing(changes, subject):
    sale = confirmed()

    refused = sale.refusal(replace(charged(PRICE_MINOR), **changes))

    assert (refused.code, refused.subject) == (Refusal.PAYMENT_MISMATCH, subject)
    assert sale.refusal(charged(1, "nobody")).code is Refusal.BOOKING_NOT_FOUND


def test_a_charge_of_another_sum_pays_for_nothing():
    sale = BoxOffice()
    sale.opened()

    assert sale.refusal(charged(0, captured_minor=PRICE_MINOR - 1)).subject == "captured"
    assert sale.refusal(said("succeeded", received_minor=1)).subject == "received"
    sale.hear(charged(0))
    assert sale.status() is Status.CONFIRMED, "what was captured was paid"
