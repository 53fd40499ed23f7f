"""Telling owners: answers come back in order, and no answer is no answer."""

import pytest

from actors.consumer import RetryLater
from actors.contract import OwnerGone
from actors.wire import Answers, Halted, Overloaded, Recovering
from engine.domain import payments
from engine.domain.outcomes import DONE, Refusal, Refused
from engine.limits import BATCH_COMMANDS_MAX
from tests.unit.actors.payments.sale import Desk
from tests.unit.engine.domain.given import EVENT_ID, booking_id
from tests.unit.engine.domain.given_payments import said


@pytest.mark.parametrize(
    ("reply", "why", "seconds_min"),
    [
        (OwnerGone("killed"), "gone", 0.1),
        (Recovering(), "recovering", 0.1),
        (Overloaded(), "overloaded", 0.1),
        (Halted("damaged"), "halted: damaged", 10.0),
        (Answers([None], None), "no time", 0.1),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_no_answer_is_a_reason_to_ask_again(
    reply: object, why: str, seconds_min: float
) -> None:
    desk = Desk()
    desk.owners.instead = reply
    with pytest.raises(RetryLater) as later:
        await desk.telling.tell(EVENT_ID, [said("processing")])
    assert why in later.value.reason
    assert EVENT_ID in later.value.reason
    assert seconds_min <= later.value.seconds <= 60


async def test_outcomes_come_in_the_order_of_the_commands() -> None:
    desk = Desk()
    desk.begun("ann")
    known, unknown = said("requires_payment_method"), said("processing", "bob")
    outcomes = await desk.telling.tell(EVENT_ID, [unknown, known, unknown])
    missing = Refused(Refusal.BOOKING_NOT_FOUND)
    assert outcomes == [missing, DONE, missing]


async def test_more_than_an_owner_takes_at_once_is_told_in_parts() -> None:
    desk = Desk()
    desk.begun("ann")
    news = [said("requires_payment_method")] * (2 * BATCH_COMMANDS_MAX + 1)
    assert await desk.telling.tell(EVENT_ID, news) == [DONE] * len(news)
    assert desk.owners.batches == [BATCH_COMMANDS_MAX, BATCH_COMMANDS_MAX, 1]
    assert await desk.telling.tell(EVENT_ID, []) == []


async def test_bookings_are_read_by_whoever_they_are() -> None:
    desk = Desk()
    desk.begun("ann")
    assert await desk.telling.booking(booking_id("ann")) == desk.booking("ann")
    assert await desk.telling.booking(booking_id("bob")) is None
    wanted = [booking_id("bob"), booking_id("ann")]
    assert await desk.telling.bookings(EVENT_ID, wanted) == [None, desk.booking("ann")]


async def test_what_waits_for_stripe_is_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payments, "UNSETTLED_PAGE", 2)
    desk = Desk()
    waiting = [desk.begun(customer, 1) for customer in ("ann", "bob", "cid", "dan", "eve")]
    assert await desk.telling.unsettled(EVENT_ID) == waiting
    assert len(desk.owners.batches) == 3


async def test_an_event_that_is_not_there_waits_for_nothing() -> None:
    assert await Desk().telling.unsettled("evt_000000000000") == []
