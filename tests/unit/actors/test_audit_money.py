"""The audit of money: what the journal accounts for, and what does not add up (I7)."""

import pytest

from actors.audit import audit
from actors.owner import EventOwner
from engine.domain.booking import Booking
from engine.domain.commands import ObservePayment
from engine.domain.payment import Refund
from engine.domain.records import BookingConfirmed, PaymentReturning, PaymentStarted, Record
from engine.journal.entry import Entry, Position
from engine.limits import RETURN_ATTEMPTS_MAX
from tests.unit.actors.given import Stage, held, outcomes
from tests.unit.engine.domain.given import EVENT_ID, ORGANIZER, release
from tests.unit.engine.domain.given_payments import pay, refund, refund_said


async def paid(owner: EventOwner, customer: str, units: int) -> Booking:
    """Hold units and pay for them."""
    booking = await held(owner, customer, ga=units)
    await outcomes(owner, pay(customer), succeeded(booking))
    return booking


def succeeded(booking: Booking) -> ObservePayment:
    price_minor, intent_id = booking.total_minor, f"pi_{booking.customer}"
    return ObservePayment(
        booking.booking_id,
        intent_id,
        "succeeded",
        price_minor,
        price_minor,
        "EUR",
        booking.customer,
        "",
    )


async def planted(stage: Stage, owner: EventOwner, *records: Record) -> list[str]:
    """Put records on the journal that no rule would have made; return what the audit finds."""
    at = Position(1, owner.state.sequence)
    await stage.journal().append(Entry(1, at.sequence + 1, 1, owner._nonce, records), at)
    report = await audit(stage.journal(), None)
    return report["violations"]


async def test_it_says_what_was_taken_given_back_and_sold(stage) -> None:
    owner = await stage.on_sale(capacities={"ga": 20})
    for name, units in (("ann", 2), ("bob", 3)):
        await paid(owner, name, units)
    await outcomes(owner, refund("ann", ORGANIZER, ga=1), refund_said("succeeded", 4_500))
    late = await held(owner, "cid", ga=1)
    await outcomes(owner, pay("cid"), release("cid"))
    await outcomes(owner, succeeded(late))
    report = await audit(stage.journal(), await owner.live_facts())
    assert report["violations"] == []
    assert report["money"] == {
        "captured": 27_000,
        "refunded": 4_500,
        "kept": 0,
        "sold": 18_000,
        "returning": 4_500,
    }


async def test_money_that_no_attempt_sends_back_is_found(stage) -> None:
    owner = await stage.on_sale(capacities={"ga": 20})
    late = await held(owner, "ann", ga=2)
    await outcomes(owner, pay("ann"), release("ann"))
    await outcomes(owner, succeeded(late))
    for number in range(1, RETURN_ATTEMPTS_MAX + 1):
        assert (await audit(stage.journal(), None))["agree"], "it is under way"
        await outcomes(owner, refund_said("failed", number=number, refund_id=""))

    report = await audit(stage.journal(), await owner.live_facts())

    name = late.booking_id
    assert report["violations"] == [f"I7: {name} is CANCELLED, 9000 could not be sent back"]
    assert report["money"]["returning"] == 9_000


async def test_money_that_banks_send_back_again_and_again_is_found(stage) -> None:
    owner = await stage.on_sale(capacities={"ga": 20})
    booking = await paid(owner, "ann", 2)
    await outcomes(owner, refund("ann", ORGANIZER), refund_said("succeeded"))
    for number in range(1, RETURN_ATTEMPTS_MAX + 1):
        await outcomes(owner, refund_said("failed", number=number))

    report = await audit(stage.journal(), await owner.live_facts())

    name = booking.booking_id
    assert report["violations"] == [f"I7: {name} is REFUNDED, 9000 could not be sent back"]
    assert report["money"]["returning"] == 9_000
    await outcomes(owner, refund("ann", ORGANIZER), refund_said("succeeded", number=4))
    report = await audit(stage.journal(), await owner.live_facts())
    assert report["agree"], report["violations"]
    assert report["money"]["refunded"] == 9_000


async def test_money_that_is_taken_for_no_units_is_found(stage) -> None:
    owner = await stage.on_sale(capacities={"ga": 20})
    booking = await held(owner, "ann", ga=2)
    lost = PaymentReturning(booking.booking_id, Refund(1, 9_000, ()), 9_000, 1)
    started = PaymentStarted(booking.booking_id, 9_000, 1)
    (violation,) = await planted(stage, owner, started, lost)
    assert violation.startswith("I7: ")


@pytest.mark.parametrize("captured_minor", [0, 8_999, 18_000])
async def test_units_that_are_sold_for_another_price_are_found(stage, captured_minor: int) -> None:
    owner = await stage.on_sale(capacities={"ga": 20})
    booking = await held(owner, "ann", ga=2)
    started = PaymentStarted(booking.booking_id, 9_000, 1)
    sold = BookingConfirmed(booking.booking_id, captured_minor, 1)
    (violation,) = await planted(stage, owner, started, sold)
    assert violation.startswith("I7: ")


async def test_units_that_are_sold_without_a_payment_are_found(stage) -> None:
    owner = await stage.on_sale(capacities={"ga": 20})
    booking = await held(owner, "ann", ga=2)
    (violation,) = await planted(stage, owner, BookingConfirmed(booking.booking_id, 0, 1))
    assert violation == f"I7: {booking.booking_id} is not paid"
    assert booking.booking_id.startswith(f"bk_{EVENT_ID[4:]}")
