"""Cards that fail, ask their bank, take their time: what becomes of the booking."""

import pytest

from tests.in_process import BASE
from tests.paying import Shop


async def test_a_card_that_fails_leaves_another_try_on_the_same_payment(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10)
    booking_id = await shop.held(event_id)
    intent_id = await shop.opened(booking_id)
    shop.decline(intent_id, "pm_card_chargeDeclinedInsufficientFunds")
    await shop.deliver()
    await shop.until(booking_id, "PAYMENT_FAILED")
    assert await shop.stock(event_id) == (9, 1, 0)
    assert await shop.opened(booking_id) == intent_id
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    shop.sandbox.pay(intent_id)
    await shop.deliver()
    await shop.until(booking_id, "CONFIRMED")


async def test_a_card_may_be_tried_again_without_asking(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    intent_id = await shop.opened(booking_id)
    shop.decline(intent_id)
    await shop.deliver()
    await shop.until(booking_id, "PAYMENT_FAILED")
    shop.sandbox.pay(intent_id)
    await shop.deliver()
    await shop.until(booking_id, "CONFIRMED")


@pytest.mark.parametrize("attempts_max", [1, 3])
async def test_too_many_failures_give_the_stock_to_others(shop: Shop, attempts_max: int) -> None:
    event_id = await shop.onsale.event(capacity=10, payment_attempts_max=attempts_max)
    booking_id = await shop.held(event_id, ga=2)
    intent_id = await shop.opened(booking_id)
    for attempt in range(1, attempts_max + 1):
        shop.decline(intent_id)
        await shop.deliver()
        status = "CANCELLED" if attempt == attempts_max else "PAYMENT_FAILED"
        await shop.until(booking_id, status)
        await shop.settled()
    assert await shop.stock(event_id) == (10, 0, 0)
    assert shop.sandbox.books()["intents"][0]["status"] == "canceled"
    answer = await shop.pay(booking_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_payable")
    await shop.deliver()
    assert await shop.put_aside() == []


async def test_the_same_failure_counts_once(shop: Shop) -> None:
    event_id = await shop.onsale.event(payment_attempts_max=2)
    booking_id = await shop.held(event_id)
    shop.decline(await shop.opened(booking_id))
    mail = shop.mail()
    for _ in range(4):
        await shop.deliver(mail)
    await shop.until(booking_id, "PAYMENT_FAILED")
    await shop.settled()
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_FAILED"
    assert (await shop.pay(booking_id)).status_code == 201


@pytest.mark.parametrize("outcome", ["succeed", "fail"])
async def test_a_bank_that_wants_to_know_its_customer(shop: Shop, outcome: str) -> None:
    event_id = await shop.onsale.event(capacity=10)
    booking_id = await shop.held(event_id)
    intent_id = await shop.opened(booking_id)
    shop.sandbox.pay(intent_id, "pm_card_threeDSecure2Required")
    assert "payment_intent.requires_action" in await shop.deliver()
    await shop.settled()
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    shop.sandbox.authenticate(intent_id, outcome)
    await shop.deliver()
    await shop.until(booking_id, "CONFIRMED" if outcome == "succeed" else "PAYMENT_FAILED")
    assert await shop.put_aside() == []


async def test_a_bank_that_does_not_know_its_customer_three_times_is_enough(shop: Shop) -> None:
    """No charge tells these failures apart: each try is with a payment method of its own."""
    event_id = await shop.onsale.event(capacity=10, payment_attempts_max=3)
    booking_id = await shop.held(event_id)
    intent_id = await shop.opened(booking_id)
    for attempt in (1, 2, 3):
        shop.sandbox.pay(intent_id, "pm_card_threeDSecure2Required")
        shop.sandbox.authenticate(intent_id, "fail")
        await shop.deliver()
        await shop.until(booking_id, "CANCELLED" if attempt == 3 else "PAYMENT_FAILED")
    await shop.settled()
    assert shop.sandbox.books()["intents"][0]["status"] == "canceled"
    assert await shop.stock(event_id) == (10, 0, 0)


async def test_a_payment_that_takes_its_time(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    intent_id = await shop.opened(booking_id)
    shop.sandbox.pay(intent_id, "pm_usBankAccount_success")
    assert "payment_intent.processing" in await shop.deliver()
    await shop.settled()
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    shop.sandbox.settle(intent_id)
    await shop.deliver()
    await shop.until(booking_id, "CONFIRMED")


async def test_money_that_is_set_aside_first_is_taken(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, capture_method="manual")
    booking_id = await shop.held(event_id, ga=2)
    intent_id = await shop.opened(booking_id)
    assert shop.sandbox.pay(intent_id)["status"] == "requires_capture"
    assert "payment_intent.amount_capturable_updated" in await shop.deliver()
    await shop.until(booking_id, "CONFIRMED")
    assert shop.sandbox.books()["totals"]["captured"] == 9_000
    await shop.deliver()
    assert await shop.put_aside() == []
    assert await shop.stock(event_id) == (8, 0, 2)


async def test_money_that_was_set_aside_for_nothing_is_let_go(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, capture_method="manual")
    booking_id = await shop.held(event_id)
    intent_id = await shop.opened(booking_id)
    shop.sandbox.pay(intent_id)
    ann = shop.onsale.token("buyer", "ann")
    await shop.onsale.ask("DELETE", f"{BASE}/bookings/{booking_id}", ann)
    await shop.deliver()
    await shop.settled()
    books = shop.sandbox.books()
    assert (books["intents"][0]["status"], books["totals"]["captured"]) == ("canceled", 0)
    await shop.deliver()
    assert await shop.put_aside() == []
    assert (await shop.booking(booking_id))["status"] == "CANCELLED"
