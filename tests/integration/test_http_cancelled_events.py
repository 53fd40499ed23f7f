"""A whole event called off: everything goes back, and nothing is sold any more."""

import asyncio

from tests.in_process import BASE
from tests.paying import Shop


async def called_off(shop: Shop, event_id: str, sub: str = "acme", role: str = "organizer"):
    path = f"{BASE}/events/{event_id}/cancel"
    return await shop.onsale.post(path, shop.onsale.token(role, sub))


async def seen_to(shop: Shop, event_id: str) -> dict:
    """Wait until the owner has seen to every booking, and return the event."""
    async with asyncio.timeout(10):
        while True:
            event = (await shop.onsale.get(f"{BASE}/events/{event_id}")).json()
            if event["cancellation"] and not event["cancellation"]["bookings_left"]:
                return event
            await asyncio.sleep(0.01)


async def test_everything_of_a_cancelled_event_goes_back(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme", capacity=10)
    sold, other = await shop.confirmed(event_id, "ann", ga=2), await shop.confirmed(event_id, "bob")
    held = await shop.held(event_id, "cid")
    paying = await shop.held(event_id, "dan")
    await shop.opened(paying, "dan")
    assert await shop.stock(event_id) == (5, 2, 3)

    answer = await called_off(shop, event_id)
    assert answer.status_code == 202
    assert answer.json()["cancellation"]["bookings_left"] == 4
    event = await seen_to(shop, event_id)
    assert event["cancellation"]["at"] == answer.json()["cancellation"]["at"]
    for booking_id, buyer, status in [
        (sold, "ann", "REFUNDED"),
        (other, "bob", "REFUNDED"),
        (held, "cid", "CANCELLED"),
        (paying, "dan", "CANCELLED"),
    ]:
        await shop.until(booking_id, status, buyer)
    await shop.settled()
    books = shop.sandbox.books()
    assert (books["totals"]["captured"], books["totals"]["refunded"]) == (13_500, 13_500)
    statuses = sorted(intent["status"] for intent in books["intents"])
    assert statuses == ["canceled", "succeeded", "succeeded"]
    assert await shop.stock(event_id) == (10, 0, 0)
    await shop.deliver()
    assert await shop.put_aside() == []


async def test_twice_is_the_same_as_once(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme")
    booking_id = await shop.confirmed(event_id)
    first = await called_off(shop, event_id)
    await shop.until(booking_id, "REFUNDED")
    second = await called_off(shop, event_id)
    assert second.status_code == 202
    assert second.json()["cancellation"] == {**first.json()["cancellation"], "bookings_left": 0}
    assert shop.sandbox.books()["totals"]["refunded"] == 4_500


async def test_only_its_organizer_calls_an_event_off(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme")
    path = f"{BASE}/events/{event_id}/cancel"
    assert (await shop.onsale.post(path)).status_code == 401
    assert (await called_off(shop, event_id, "ann", "buyer")).status_code == 403
    foreign = await called_off(shop, event_id, "rival")
    missing = await called_off(shop, "evt_" + "0" * 12, "rival")
    assert foreign.status_code == missing.status_code == 404
    assert (await shop.onsale.get(f"{BASE}/events/{event_id}")).json()["cancellation"] is None


async def test_a_cancelled_event_is_not_sold_or_changed_any_more(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme")
    paying = await shop.held(event_id)
    intent_id = await shop.opened(paying)
    await called_off(shop, event_id)
    acme, path = shop.onsale.token("organizer", "acme"), f"{BASE}/events/{event_id}"
    changes = [
        await shop.onsale.ask("PATCH", path, acme, json={"name": "Another Night"}),
        await shop.onsale.post(f"{path}/pause", acme),
        await shop.onsale.post(f"{path}/resume", acme),
    ]
    for answer in changes:
        assert (answer.status_code, answer.json()["code"]) == (409, "event_cancelled")
    hold = await shop.onsale.hold(event_id, "bob", ga=1)
    assert (hold.status_code, hold.json()["code"]) == (409, "sale_closed")
    pay = await shop.pay(paying)
    assert (pay.status_code, pay.json()["code"]) in [(409, "event_cancelled"), (409, "not_payable")]
    counts = (await shop.onsale.get(f"{path}/availability")).json()
    assert counts["on_sale"] is False
    await shop.settled()
    assert [one["id"] for one in shop.sandbox.books()["intents"]] == [intent_id]


async def test_money_that_comes_after_the_end_goes_back(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme", capacity=10)
    booking_id = await shop.held(event_id)
    shop.sandbox.pay(await shop.opened(booking_id))
    await called_off(shop, event_id)
    await shop.deliver()
    await shop.until(booking_id, "CANCELLED", also=lambda one: "refund" in one)
    await shop.settled()
    await shop.deliver()
    totals = shop.sandbox.books()["totals"]
    assert (totals["captured"], totals["refunded"]) == (4_500, 4_500)
    assert await shop.stock(event_id) == (10, 0, 0)


async def test_it_goes_on_after_a_crash(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme", capacity=100)
    bookings = [await shop.confirmed(event_id) for _ in range(5)]
    shop.sandbox.faults({"kind": "outage"})
    await called_off(shop, event_id)
    await shop.onsale.owners.crash(event_id)
    await shop.onsale.close_desk()
    shop.sandbox.clear_faults()
    shop.onsale.open_desk()
    for booking_id in bookings:
        await shop.until(booking_id, "REFUNDED")
    totals = shop.sandbox.books()["totals"]
    assert (totals["captured"], totals["refunded"]) == (22_500, 22_500)
    assert await shop.stock(event_id) == (100, 0, 0)
