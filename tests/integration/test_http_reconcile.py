"""`POST /payments/reconcile`: what Stripe knows and no webhook has told."""

import asyncio
import time

import pytest

from actors.payments import reconciler
from tests.in_process import BASE, InProcess
from tests.paying import Shop

PATH = f"{BASE}/payments/reconcile"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not give payments time to report by themselves."""
    monkeypatch.setattr(reconciler, "RECONCILE_YOUNGER_SECONDS", 0)


async def reconciled(shop: Shop, **query: object) -> dict:
    answer = await shop.onsale.post(PATH, shop.onsale.token("admin", "root"), params=query)
    assert answer.status_code == 200, answer.text
    report: dict = answer.json()
    return report


async def test_a_quiet_day(shop: Shop) -> None:
    booking_id = await shop.confirmed(await shop.onsale.event())
    report = await reconciled(shop)
    assert report == {"notices": 0, "unsettled": 0, "recent": 1, "repairs": [], "troubles": []}
    assert (await shop.booking(booking_id))["status"] == "CONFIRMED"


async def test_without_any_webhook_everything_comes_to_its_end(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10)
    paid, failed, waiting = [await shop.held(event_id) for _ in range(3)]
    shop.sandbox.pay(await shop.opened(paid))
    shop.decline(await shop.opened(failed))
    await shop.opened(waiting)
    report = await reconciled(shop)
    assert (report["recent"], report["troubles"]) == (3, [])
    repairs = {one["booking_id"]: one for one in report["repairs"]}
    assert set(repairs) == {paid, failed}
    assert repairs[paid]["before"] == "PAYMENT_PENDING, payment open"
    assert repairs[paid]["after"] == "CONFIRMED, payment captured"
    assert repairs[paid]["reason"]
    assert repairs[failed]["after"] == "PAYMENT_FAILED, payment open"
    again = await reconciled(shop)
    assert again["repairs"] == []


async def test_money_that_went_back_unheard_is_found(shop: Shop) -> None:
    event_id = await shop.onsale.event(capacity=10)
    booking_id, intent_id = await shop.bought(event_id)
    async with shop.sandbox.client() as client:
        await client.v1.refunds.create_async({"payment_intent": intent_id})
    (repair,) = (await reconciled(shop))["repairs"]
    assert repair["booking_id"] == booking_id
    assert repair["after"].startswith("REFUNDED")
    assert await shop.stock(event_id) == (10, 0, 0)


async def test_a_dispute_of_an_older_payment_is_found_without_any_webhook(shop: Shop) -> None:
    booking_id, intent_id = await shop.bought(await shop.onsale.event())
    await asyncio.sleep(1.01)  # Stripe counts whole seconds
    since = int(time.time())
    dispute = shop.sandbox.dispute(intent_id)

    report = await shop.onsale.desk.reconcile(since)

    assert (report.recent, report.notices, report.troubles) == (0, 0, [])
    assert [(one.booking_id, one.reason) for one in report.repairs] == [
        (booking_id, "Stripe says charge.dispute.created")
    ]
    shop.sandbox.close_dispute(dispute["id"], "lost")
    await shop.onsale.desk.reconcile(since)
    assert (await shop.booking(booking_id))["status"] == "REFUNDED"


async def test_only_what_is_as_old_as_asked_for_is_looked_at(shop: Shop) -> None:
    await shop.confirmed(await shop.onsale.event())
    assert (await reconciled(shop, since_hours=1))["recent"] == 1
    await asyncio.sleep(1.01)  # Stripe counts whole seconds
    assert (await reconciled(shop, since_hours=0))["recent"] == 0


async def orphan(shop: Shop, booking_id: str) -> str:
    """Have Stripe know a second payment of a booking, and return its id."""
    params = {
        "amount": 4_500,
        "currency": "eur",
        "metadata": {"booking": booking_id, "event": "", "customer": "ann"},
    }
    async with shop.sandbox.client() as client:
        intent_id: str = (await client.v1.payment_intents.create_async(params)).id
    return intent_id


async def test_a_payment_that_nobody_can_make_is_closed(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    mine = await shop.opened(booking_id)
    other = await orphan(shop, booking_id)
    assert (await reconciled(shop))["troubles"] == []
    statuses = {one["id"]: one["status"] for one in shop.sandbox.books()["intents"]}
    assert statuses == {mine: "requires_payment_method", other: "canceled"}


async def test_money_of_no_booking_is_reported(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    await shop.opened(booking_id)
    shop.sandbox.pay(await orphan(shop, booking_id))
    report = await reconciled(shop)
    assert report["troubles"] == [f"{booking_id}: payment_mismatch: intent"]
    assert report["repairs"] == []
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"


async def test_a_payment_that_stripe_never_opens_ends_with_its_hold(shop: Shop) -> None:
    """Stripe takes nothing below half a euro: nobody can ever pay for this ticket."""
    event_id = await shop.onsale.event(capacity=10, price=10)
    booking_id = await shop.held(event_id)
    answer = await shop.pay(booking_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_refused")

    shop.onsale.owners.ahead_ms += 601_000
    await shop.until(booking_id, "EXPIRED")

    assert await shop.put_aside() == []
    assert await reconciled(shop) == {
        "notices": 0,
        "unsettled": 0,
        "recent": 0,
        "repairs": [],
        "troubles": [],
    }
    assert await shop.stock(event_id) == (10, 0, 0)


async def test_while_stripe_is_away_nothing_can_be_compared(shop: Shop) -> None:
    shop.sandbox.faults({"kind": "outage"})
    answer = await shop.onsale.post(PATH, shop.onsale.token("admin", "root"))
    assert (answer.status_code, answer.json()["code"]) == (503, "payments_unavailable")
    assert "Stripe does not answer" in answer.json()["detail"]


async def test_it_is_for_operators(onsale: InProcess) -> None:
    assert (await onsale.post(PATH)).status_code == 401
    for role in ("buyer", "organizer", "staff"):
        assert (await onsale.post(PATH, onsale.token(role, "acme"))).status_code == 403
    for hours in ("-1", "721", "x"):
        answer = await onsale.post(
            PATH, onsale.token("admin", "root"), params={"since_hours": hours}
        )
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
