"""Refunds and disputes over HTTP: who may ask, how much goes back, and how it ends."""

from datetime import UTC, datetime, timedelta

import pytest

from engine.domain.commands import RequestRefund
from tests.in_process import BASE
from tests.paying import Shop

POLICY = {"until_hours_before": 48, "percent": 80}


def totals(shop: Shop) -> tuple[int, int]:
    """Return what Stripe has taken and given back."""
    found = shop.sandbox.books()["totals"]
    return found["captured"], found["refunded"]


def in_hours(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


# -- by the buyer ----------------------------------------------------------------------


async def test_a_buyer_gets_what_the_policy_says(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id, ga=2)
    answer = await shop.refund(booking_id)
    assert answer.status_code == 202
    assert answer.json()["status"] == "REFUND_REQUESTED"
    assert answer.json()["refund"] == {"status": "requested", "amount": 7_200, "reason": None}
    booking = await shop.until(booking_id, "REFUNDED")
    assert booking["refund"] == {"status": "succeeded", "amount": 7_200, "reason": None}
    assert totals(shop) == (9_000, 7_200)
    assert await shop.stock(event_id) == (10, 0, 0)
    await shop.deliver()
    assert await shop.put_aside() == []


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"refund_policy": POLICY, "starts_at": in_hours(47)},
        {"refund_policy": POLICY, "starts_at": in_hours(0.5)},
    ],
    ids=["none", "late", "at the door"],
)
async def test_outside_the_policy_nothing_goes_back(shop: Shop, terms: dict) -> None:
    event_id = await shop.onsale.event(**terms)
    booking_id = await shop.confirmed(event_id)
    answer = await shop.refund(booking_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "refund_not_allowed")
    assert answer.json()["subject"] == "policy"
    assert (await shop.booking(booking_id))["status"] == "CONFIRMED"
    assert totals(shop) == (4_500, 0)


async def test_the_window_closes_at_its_hour(shop: Shop) -> None:
    event_id = await shop.onsale.event(
        refund_policy=POLICY, starts_at=in_hours(50), max_per_booking=5
    )
    first, second = await shop.confirmed(event_id), await shop.confirmed(event_id)
    shop.onsale.owners.ahead_ms += int(1.9 * 3_600_000)
    assert (await shop.refund(first)).status_code == 202
    shop.onsale.owners.ahead_ms += int(0.2 * 3_600_000)
    assert (await shop.refund(second)).status_code == 409


async def test_a_policy_of_nothing_gives_the_tickets_back_without_money(shop: Shop) -> None:
    policy = {"until_hours_before": 1, "percent": 0}
    event_id = await shop.onsale.event(capacity=10, refund_policy=policy)
    booking_id = await shop.confirmed(event_id)
    assert (await shop.refund(booking_id)).status_code == 202
    await shop.until(booking_id, "REFUNDED")
    assert totals(shop) == (4_500, 0)
    assert await shop.stock(event_id) == (10, 0, 0)


async def test_tickets_go_back_one_by_one(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id, ga=3)
    assert (await shop.refund(booking_id, ga=1)).json()["refund"]["amount"] == 3_600
    booking = await shop.until(booking_id, "CONFIRMED")
    assert [(one["ticket_type"], one["quantity"]) for one in booking["items"]] == [("ga", 2)]
    assert booking["total"]["amount"] == 9_000
    assert await shop.stock(event_id) == (8, 0, 2)
    answer = await shop.refund(booking_id, ga=3)
    assert (answer.status_code, answer.json()["code"]) == (409, "refund_not_allowed")
    assert (answer.json()["subject"], answer.json()["limit"]) == ("ga", 2)
    assert (await shop.refund(booking_id, ga=2)).status_code == 202
    await shop.until(booking_id, "REFUNDED")
    assert totals(shop) == (13_500, 10_800)
    assert await shop.stock(event_id) == (10, 0, 0)
    await shop.deliver()
    assert await shop.put_aside() == []


async def test_under_a_key_a_part_goes_back_once_however_often_it_is_asked_for(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id, ga=3)
    for replayed in (None, "true"):
        answer = await shop.refund(booking_id, key="k1", ga=1)
        assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (202, replayed)
        await shop.until(booking_id, "CONFIRMED")
    assert await shop.stock(event_id) == (8, 0, 2)
    changed = await shop.refund(booking_id, key="k1", ga=2)
    assert (changed.status_code, changed.json()["code"]) == (422, "idempotency_key_reused")
    assert (await shop.refund(booking_id, key="k2", ga=1)).status_code == 202
    await shop.until(booking_id, "CONFIRMED")
    assert await shop.stock(event_id) == (9, 0, 1)
    assert totals(shop) == (13_500, 7_200)
    late = await shop.refund(booking_id, key="k1", ga=1)
    assert (late.status_code, late.headers["idempotent-replayed"]) == (202, "true")
    assert late.json()["status"] == "CONFIRMED"
    for key in ("k1", "k2"):
        whole = await shop.refund(booking_id, key=key)
        assert (whole.status_code, whole.json()["code"]) == (422, "idempotency_key_reused")
    await shop.settled()
    assert await shop.stock(event_id) == (9, 0, 1)
    assert totals(shop) == (13_500, 7_200)
    unusable = await shop.refund(booking_id, key="", ga=1)
    assert (unusable.status_code, unusable.json()["code"]) == (400, "invalid_idempotency_key")


@pytest.mark.parametrize("key", [None, "k1"])
async def test_a_part_goes_back_once_though_the_owner_dies_before_it_says_so(
    shop: Shop, key: str | None
) -> None:
    event_id = await shop.onsale.event(capacity=10, price=0, refund_policy=POLICY)
    booking_id = await shop.held(event_id, ga=3)
    await shop.pay(booking_id)
    shop.onsale.owners.dies_after = RequestRefund
    answer = await shop.refund(booking_id, key=key, ga=1)
    assert shop.onsale.owners.dies_after is None
    assert (answer.status_code, answer.json()["status"]) == (202, "CONFIRMED")
    assert ("idempotent-replayed" in answer.headers) == (key is not None)
    assert await shop.stock(event_id) == (8, 0, 2)
    # Whoever has no key and asks again wants one more.
    assert (await shop.refund(booking_id, ga=1)).status_code == 202
    assert await shop.stock(event_id) == (9, 0, 1)


async def test_money_goes_back_though_the_owner_dies_before_it_says_so(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id, ga=3)
    shop.onsale.owners.dies_after = RequestRefund
    assert (await shop.refund(booking_id, ga=1)).status_code == 202
    assert shop.onsale.owners.dies_after is None
    await shop.until(booking_id, "CONFIRMED")
    await shop.settled()
    assert await shop.stock(event_id) == (8, 0, 2)
    assert totals(shop) == (13_500, 3_600)


async def test_twice_is_the_same_as_once(shop: Shop) -> None:
    event_id = await shop.onsale.event(refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id)
    for _ in range(2):
        assert (await shop.refund(booking_id)).status_code == 202
    await shop.until(booking_id, "REFUNDED")
    again = await shop.refund(booking_id)
    assert (again.status_code, again.json()["status"]) == (202, "REFUNDED")
    part = await shop.refund(booking_id, ga=1)
    assert (part.status_code, part.json()["subject"]) == (409, "REFUNDED")
    assert totals(shop) == (4_500, 3_600)


@pytest.mark.parametrize("state", ["RESERVED", "PAYMENT_PENDING", "CANCELLED"])
async def test_what_is_not_paid_is_not_refunded(shop: Shop, state: str) -> None:
    event_id = await shop.onsale.event(refund_policy=POLICY)
    booking_id = await shop.held(event_id)
    if state == "PAYMENT_PENDING":
        await shop.opened(booking_id)
    elif state == "CANCELLED":
        ann = shop.onsale.token("buyer", "ann")
        await shop.onsale.ask("DELETE", f"{BASE}/bookings/{booking_id}", ann)
    answer = await shop.refund(booking_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "refund_not_allowed")
    assert answer.json()["subject"] == state


async def test_a_free_booking_is_given_back(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, price=0, refund_policy=POLICY)
    booking_id = await shop.held(event_id, ga=2)
    await shop.pay(booking_id)
    answer = await shop.refund(booking_id, ga=1)
    assert answer.status_code == 202
    assert await shop.stock(event_id) == (9, 0, 1)
    await shop.refund(booking_id)
    assert (await shop.booking(booking_id))["status"] == "REFUNDED"
    assert totals(shop) == (0, 0)


# -- by others -------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "sub"), [("organizer", "acme"), ("admin", "root")])
async def test_an_organizer_refunds_in_full_and_at_any_time(
    shop: Shop, role: str, sub: str
) -> None:
    event_id = await shop.onsale.event("acme", starts_at=in_hours(0.5), refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id)
    answer = await shop.refund(booking_id, role, sub)
    assert answer.status_code == 202
    await shop.until(booking_id, "REFUNDED")
    assert totals(shop) == (4_500, 4_500)


async def test_people_at_the_doors_give_no_money_back(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme", refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id)
    staff = shop.onsale.token("staff", "ann", org="acme")
    answer = await shop.onsale.post(f"{BASE}/bookings/{booking_id}/refund", staff)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await shop.booking(booking_id))["status"] == "CONFIRMED"
    assert totals(shop) == (4_500, 0)


@pytest.mark.parametrize(("role", "sub"), [("buyer", "bob"), ("organizer", "rival")])
async def test_strangers_do_not_see_the_booking(shop: Shop, role: str, sub: str) -> None:
    event_id = await shop.onsale.event("acme", refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id)
    foreign = await shop.refund(booking_id, role, sub)
    missing = await shop.refund("bk_" + "0" * 28, role, sub)
    assert foreign.status_code == missing.status_code == 404
    own = {"instance": "", "request_id": ""}
    assert foreign.json() | own == missing.json() | own
    assert (await shop.onsale.post(f"{BASE}/bookings/{booking_id}/refund")).status_code == 401
    assert totals(shop) == (4_500, 0)


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"items": [{"ticket_type": "ga", "quantity": 0}]}, 422, "/items/0/quantity"),
        ({"items": [{"ticket_type": "ga", "quantity": "1"}]}, 422, "/items/0/quantity"),
        ({"items": [{"ticket_type": "ga"}]}, 422, "/items/0/quantity"),
        ({"items": [{"quantity": 1}]}, 422, "/items/0/ticket_type"),
        ({"items": 2 * [{"ticket_type": "ga", "quantity": 1}]}, 422, "/items/1/ticket_type"),
        ({"amount": 4_500}, 422, "/amount"),
        ({"items": [{"ticket_type": "vip", "quantity": 1}]}, 422, None),
    ],
)
async def test_a_wrong_body_is_refused_by_name(
    shop: Shop, body: dict, status: int, pointer: str | None
) -> None:
    event_id = await shop.onsale.event(price=0, refund_policy=POLICY)
    booking_id = await shop.held(event_id, ga=2)
    await shop.pay(booking_id)
    path = f"{BASE}/bookings/{booking_id}/refund"
    answer = await shop.onsale.post(path, shop.onsale.token("buyer", "ann"), json=body)
    assert answer.status_code == status
    if pointer is None:
        assert (answer.json()["code"], answer.json()["subject"]) == ("unknown_ticket_type", "vip")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/items/0/ticket_type"]
    else:
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await shop.booking(booking_id))["status"] == "CONFIRMED"


# -- how it ends -----------------------------------------------------------------------


async def test_a_refund_is_followed_until_stripe_has_sent_it(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, refund_policy=POLICY)
    booking_id, _ = await shop.bought(event_id, card="pm_card_pendingRefund")
    await shop.refund(booking_id)
    await shop.settled()
    assert (await shop.booking(booking_id))["status"] == "REFUND_REQUESTED"
    assert await shop.stock(event_id) == (9, 0, 1)
    (refund,) = shop.listed("refunds")
    shop.sandbox.settle_refund(refund["id"], "succeeded")
    await shop.deliver()
    await shop.until(booking_id, "REFUNDED")
    assert await shop.stock(event_id) == (10, 0, 0)


async def test_a_refund_that_stripe_fails_is_denied_with_its_reason(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme", capacity=10, refund_policy=POLICY)
    booking_id, _ = await shop.bought(event_id, card="pm_card_pendingRefund")
    await shop.refund(booking_id)
    await shop.settled()
    (refund,) = shop.listed("refunds")
    shop.sandbox.settle_refund(refund["id"], "failed")
    await shop.deliver()
    booking = await shop.until(booking_id, "REFUND_DENIED")
    assert booking["refund"]["status"] == "failed"
    assert booking["refund"]["reason"]
    assert await shop.stock(event_id) == (9, 0, 1)
    again = await shop.refund(booking_id, "organizer", "acme")
    assert (again.status_code, again.json()["status"]) == (202, "REFUND_REQUESTED")
    await shop.settled()
    second, _ = shop.listed("refunds")
    shop.sandbox.settle_refund(second["id"], "succeeded")
    await shop.deliver()
    await shop.until(booking_id, "REFUNDED")
    assert await shop.put_aside() == []


async def test_money_that_the_operator_sends_back_at_stripe_is_seen(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10)
    booking_id, intent_id = await shop.bought(event_id, ga=2)
    async with shop.sandbox.client() as client:
        await client.v1.refunds.create_async({"payment_intent": intent_id})
    await shop.deliver()
    await shop.until(booking_id, "REFUNDED")
    assert await shop.stock(event_id) == (10, 0, 0)
    assert await shop.put_aside() == []


async def test_stripe_away_is_waited_out(shop: Shop) -> None:
    event_id = await shop.onsale.event(refund_policy=POLICY)
    booking_id = await shop.confirmed(event_id)
    shop.sandbox.faults({"kind": "outage", "seconds": 0.3})
    assert (await shop.refund(booking_id)).status_code == 202
    await shop.until(booking_id, "REFUNDED")
    assert totals(shop) == (4_500, 3_600)


# -- disputes --------------------------------------------------------------------------


async def test_a_disputed_payment_is_not_refunded(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme", capacity=10, refund_policy=POLICY)
    booking_id, intent_id = await shop.bought(event_id)
    dispute = shop.sandbox.dispute(intent_id)
    assert "charge.dispute.created" in await shop.deliver()
    await shop.settled()
    for who in (("buyer", "ann"), ("organizer", "acme")):
        answer = await shop.refund(booking_id, *who)
        assert (answer.status_code, answer.json()["subject"]) == (409, "disputed")
    shop.sandbox.close_dispute(dispute["id"], "won")
    await shop.deliver()
    await shop.settled()
    # Whether money of a dispute that was won can go back is Stripe's to say.
    assert (await shop.refund(booking_id)).status_code == 202
    assert await shop.put_aside() == []


async def test_a_lost_dispute_takes_the_money_and_the_ticket(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10, refund_policy=POLICY)
    booking_id, intent_id = await shop.bought(event_id)
    dispute = shop.sandbox.dispute(intent_id)
    shop.sandbox.close_dispute(dispute["id"], "lost")
    await shop.deliver()
    await shop.until(booking_id, "REFUNDED")
    assert await shop.stock(event_id) == (10, 0, 0)
    await shop.deliver(shop.mail())
    assert await shop.put_aside() == []
