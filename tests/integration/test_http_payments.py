"""Payments over HTTP, from the hold to CONFIRMED: what the buyer is told, and when."""

import asyncio
from datetime import datetime

import pytest

from engine.limits import PAYMENT_GRACE_MS, PAYMENT_OPENING_MS
from tests.in_process import BASE, PUBLISHABLE_KEY
from tests.paying import Shop

UNKNOWN = "bk_" + "0" * 28


def intents(shop: Shop) -> list[dict]:
    return shop.sandbox.books()["intents"]


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


# -- begun -----------------------------------------------------------------------------


async def test_a_payment_is_opened_and_paid(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10)
    booking_id = await shop.held(event_id, ga=2)
    answer = await shop.pay(booking_id)
    assert answer.status_code == 201
    opened = answer.json()
    (intent,) = intents(shop)
    assert opened == {
        "payment_intent_id": intent["id"],
        "client_secret": opened["client_secret"],
        "publishable_key": PUBLISHABLE_KEY,
        "amount": 9_000,
        "currency": "EUR",
        "expires_at": opened["expires_at"],
    }
    assert opened["client_secret"].startswith(f"{intent['id']}_secret_")
    assert (intent["amount"], intent["currency"]) == (9_000, "eur")
    assert intent["metadata"] == {"booking": booking_id, "event": event_id, "customer": "ann"}
    booking = await shop.booking(booking_id)
    assert booking["status"] == "PAYMENT_PENDING"
    assert booking["expires_at"] == opened["expires_at"]
    assert await shop.stock(event_id) == (8, 2, 0)

    shop.sandbox.pay(intent["id"])
    assert "payment_intent.succeeded" in await shop.deliver()
    booking = await shop.until(booking_id, "CONFIRMED")
    statuses = [moment["status"] for moment in booking["history"]]
    assert statuses == ["RESERVED", "PAYMENT_PENDING", "CONFIRMED"]
    assert await shop.stock(event_id) == (8, 0, 2)


async def test_repeated_it_is_the_same_payment(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    first, second = await asyncio.gather(shop.pay(booking_id), shop.pay(booking_id))
    third = await shop.pay(booking_id)
    assert [one.status_code for one in (first, second, third)] == [201] * 3
    assert first.json()["payment_intent_id"] == third.json()["payment_intent_id"]
    assert first.json()["client_secret"] == third.json()["client_secret"]
    assert second.json()["client_secret"] == third.json()["client_secret"]
    assert len(intents(shop)) == 1


async def test_a_free_booking_is_confirmed_without_stripe(shop: Shop) -> None:
    event_id = await shop.onsale.event(price=0, capacity=5)
    booking_id = await shop.held(event_id, ga=2)
    shop.sandbox.faults({"kind": "outage"})
    answer = await shop.pay(booking_id)
    assert answer.status_code == 200
    assert answer.json()["status"] == "CONFIRMED"
    assert answer.json()["total"] == {"amount": 0, "currency": "EUR"}
    assert (await shop.pay(booking_id)).status_code == 200
    assert await shop.stock(event_id) == (3, 0, 2)
    shop.sandbox.clear_faults()
    assert intents(shop) == []


async def test_what_is_paid_is_shown_as_it_is(shop: Shop) -> None:
    booking_id = await shop.confirmed(await shop.onsale.event())
    answer = await shop.pay(booking_id)
    assert answer.status_code == 200
    assert (answer.json()["id"], answer.json()["status"]) == (booking_id, "CONFIRMED")


async def test_who_asks_again_after_paying_is_told_so_without_any_webhook(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    shop.sandbox.pay(await shop.opened(booking_id))
    answer = await shop.pay(booking_id)
    assert answer.status_code == 200
    assert answer.json()["status"] == "CONFIRMED"


@pytest.mark.parametrize(("currency", "price"), [("JPY", 900), ("KWD", 12_340), ("USD", 50)])
async def test_currencies_of_any_number_of_decimals(shop: Shop, currency: str, price: int) -> None:
    event_id = await shop.onsale.event(currency=currency, price=price)
    booking_id = await shop.held(event_id)
    opened = (await shop.pay(booking_id)).json()
    assert (opened["amount"], opened["currency"]) == (price, currency)
    shop.sandbox.pay(opened["payment_intent_id"])
    await shop.deliver()
    await shop.until(booking_id, "CONFIRMED")


# -- by whom ---------------------------------------------------------------------------


async def test_only_its_buyer_pays_a_booking(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event("acme"))
    path = f"{BASE}/bookings/{booking_id}/payment-intent"
    foreign = await shop.pay(booking_id, "bob")
    missing = await shop.pay(UNKNOWN, "bob")
    assert foreign.status_code == missing.status_code == 404
    own = {"instance": "", "request_id": ""}
    assert foreign.json() | own == missing.json() | own
    nobody = await shop.onsale.post(path)
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")
    organizer = await shop.onsale.post(path, shop.onsale.token("organizer", "acme"))
    assert (organizer.status_code, organizer.json()["code"]) == (403, "forbidden")
    admin = await shop.onsale.post(path, shop.onsale.token("admin", "root"))
    assert admin.status_code in (403, 404)
    assert intents(shop) == []
    assert (await shop.booking(booking_id))["status"] == "RESERVED"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"contact": {}}, "/contact/email"),
        ({"contact": {"email": "ann"}}, "/contact/email"),
        ({"contact": {"email": "a@b\r\nBcc: c@d"}}, "/contact/email"),
        ({"contact": {"email": "a@" + "b" * 300}}, "/contact/email"),
        ({"contact": {"email": "a@b.c", "name": "A\nB"}}, "/contact/name"),
        ({"contact": {"email": "a@b.c", "locale": "klingon"}}, "/contact/locale"),
        ({"contact": {"email": "a@b.c", "phone": "1"}}, "/contact/phone"),
        ({"holders": "Ann"}, "/holders"),
        ({"holders": ["Ann", ""]}, "/holders/1"),
        ({"holders": [7]}, "/holders/0"),
        ({"amount": 1}, "/amount"),
        ([], ""),
    ],
)
async def test_a_wrong_body_is_refused_by_name(shop: Shop, body: object, pointer: str) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    answer = await shop.pay(booking_id, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert intents(shop) == []
    assert (await shop.booking(booking_id))["status"] == "RESERVED"


async def test_a_body_that_is_no_json_is_refused(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    answer = await shop.pay(booking_id, content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


# -- when it is too late ---------------------------------------------------------------


async def test_a_hold_that_was_given_back_cannot_be_paid(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10)
    early, late = await shop.held(event_id), await shop.held(event_id)
    intent_id = await shop.opened(late)
    ann = shop.onsale.token("buyer", "ann")
    for booking_id in (early, late):
        released = await shop.onsale.ask("DELETE", f"{BASE}/bookings/{booking_id}", ann)
        assert released.json()["status"] == "CANCELLED"
        answer = await shop.pay(booking_id)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_payable")
        assert answer.json()["subject"] == "CANCELLED"
    assert await shop.stock(event_id) == (10, 0, 0)
    await shop.settled()
    assert [(one["id"], one["status"]) for one in intents(shop)] == [(intent_id, "canceled")]


async def test_a_hold_whose_time_is_up_cannot_be_paid(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, hold_ttl_seconds=600)
    early, late = await shop.held(event_id), await shop.held(event_id)
    await shop.opened(late)
    shop.onsale.owners.ahead_ms += 601_000
    for booking_id in (early, late):
        await shop.until(booking_id, "EXPIRED")
        answer = await shop.pay(booking_id)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_payable")
        assert answer.json()["subject"] == "EXPIRED"
    assert [one["status"] for one in intents(shop)] == ["canceled"]
    assert await shop.stock(event_id) == (10, 0, 0)


async def test_what_was_paid_in_the_last_second_is_confirmed(shop: Shop) -> None:
    """The expiry asks Stripe before it gives the stock away."""
    event_id = await shop.onsale.event(capacity=10)
    booking_id = await shop.held(event_id)
    shop.sandbox.pay(await shop.opened(booking_id))
    shop.onsale.owners.ahead_ms += 601_000
    booking = await shop.until(booking_id, "CONFIRMED")
    assert "EXPIRED" not in [moment["status"] for moment in booking["history"]]
    await shop.deliver()
    await shop.settled()
    assert await shop.stock(event_id) == (9, 0, 1)


async def test_an_expiry_does_not_wait_for_stripe_for_ever(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=1)
    booking_id = await shop.held(event_id)
    intent_id = await shop.opened(booking_id)
    shop.sandbox.faults({"kind": "outage"})
    shop.onsale.owners.ahead_ms += 601_000
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    shop.onsale.owners.ahead_ms += PAYMENT_GRACE_MS
    assert (await shop.booking(booking_id))["status"] == "EXPIRED"
    assert await shop.stock(event_id) == (1, 0, 0)
    shop.sandbox.clear_faults()
    # Late money gets its ticket back, as it is still there.
    shop.sandbox.pay(intent_id)
    await shop.deliver()
    await shop.until(booking_id, "CONFIRMED")


async def test_late_money_goes_back_when_the_tickets_are_gone(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=1)
    late = await shop.held(event_id, "ann")
    intent_id = await shop.opened(late, "ann")
    shop.sandbox.faults({"kind": "server_error_before_commit", "only": "payment_intents.cancel"})
    shop.onsale.owners.ahead_ms += 601_000 + PAYMENT_GRACE_MS
    await shop.booking(late)
    shop.onsale.owners.ahead_ms += PAYMENT_GRACE_MS
    assert (await shop.booking(late))["status"] == "EXPIRED"
    winner = await shop.held(event_id, "bob")
    shop.sandbox.pay(intent_id)
    shop.sandbox.clear_faults()
    await shop.deliver()
    await shop.until(
        late, "EXPIRED", also=lambda one: one.get("refund", {}).get("status") == "succeeded"
    )
    assert shop.sandbox.books()["totals"]["refunded"] == 4_500
    assert (await shop.pay(winner, "bob")).status_code == 201


# -- Stripe is away --------------------------------------------------------------------


async def test_while_stripe_is_away_the_hold_stays(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10)
    booking_id = await shop.held(event_id)
    shop.sandbox.faults({"kind": "outage"})
    answer = await shop.pay(booking_id)
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 30
    assert answer.json()["retryable"] is True
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    assert await shop.stock(event_id) == (9, 1, 0)
    assert (await shop.onsale.hold(event_id, "bob", ga=1)).status_code == 201


async def test_what_stripe_takes_is_added_to_the_time_to_pay(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    before = (await shop.booking(booking_id))["expires_at"]
    shop.sandbox.faults(
        {
            "kind": "latency",
            "only": "payment_intents.create",
            "seconds_min": 0.4,
            "seconds_max": 0.4,
        }
    )
    opened = (await shop.pay(booking_id)).json()
    gained = seconds_between(before, opened["expires_at"])
    assert 0.4 <= gained < 5
    again = (await shop.pay(booking_id)).json()
    assert again["expires_at"] == opened["expires_at"], "it is gained once"


async def test_a_hold_whose_time_is_up_while_stripe_is_asked_can_be_paid(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, hold_ttl_seconds=600)
    booking_id = await shop.held(event_id)
    before = (await shop.booking(booking_id))["expires_at"]
    shop.sandbox.faults({"kind": "outage"})
    shop.onsale.owners.ahead_ms += 585_000
    assert (await shop.pay(booking_id)).status_code == 503
    shop.onsale.owners.ahead_ms += 16_000
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    shop.sandbox.clear_faults()

    answer = await shop.pay(booking_id)

    assert answer.status_code == 201, answer.text
    opened = answer.json()
    assert seconds_between(before, opened["expires_at"]) >= 16
    assert (await shop.booking(booking_id))["expires_at"] == opened["expires_at"]
    shop.sandbox.pay(opened["payment_intent_id"])
    await shop.deliver()
    await shop.until(booking_id, "CONFIRMED")


async def test_a_hold_does_not_wait_for_stripe_for_ever(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=1, hold_ttl_seconds=600)
    booking_id = await shop.held(event_id)
    shop.sandbox.faults({"kind": "outage"})
    shop.onsale.owners.ahead_ms += 585_000
    assert (await shop.pay(booking_id)).status_code == 503
    shop.onsale.owners.ahead_ms += PAYMENT_OPENING_MS
    answer = await shop.pay(booking_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_payable")
    assert answer.json()["subject"] == "PAYMENT_PENDING"
    shop.onsale.owners.ahead_ms += PAYMENT_GRACE_MS
    assert (await shop.booking(booking_id))["status"] == "EXPIRED"
    assert await shop.stock(event_id) == (1, 0, 0)


async def test_a_payment_that_stripe_refuses_is_a_problem_of_its_own(shop: Shop) -> None:
    # Stripe takes no more than 99 999 999 at a time.
    event_id = await shop.onsale.event(price=20_000_000, max_per_booking=10)
    booking_id = await shop.held(event_id, ga=6)
    answer = await shop.pay(booking_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_refused")
    assert "amount_too_large" in answer.json()["detail"]
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
