"""What the product needs of Stripe: kept by the double of the unit tests and by the real API."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from actors.payments import stripe_api
from actors.payments.contract import Stripe, StripeAway, StripeRefused, Wanted
from actors.payments.webhooks import read
from tests.paying import account
from tests.stripe_sandbox import Refused, Sandbox, running_sandbox
from tests.unit.actors.payments.fake_stripe import PAGE, FakeStripe

WANTED = Wanted("bk_1", "evt_2", "u_3", 4_500, "EUR")


@dataclass
class Account:
    """An account and what happens in the world around it."""

    stripe: Stripe
    world: Any

    def pay(self, intent_id: str) -> None:
        self.world.pay(intent_id)

    def decline(self, intent_id: str) -> None:
        if isinstance(self.world, FakeStripe):
            self.world.decline(intent_id)
            return
        with pytest.raises(Refused):
            self.world.pay(intent_id, "pm_card_chargeDeclined")

    def leave(self) -> None:
        if isinstance(self.world, FakeStripe):
            self.world.away = True
        else:
            self.world.faults({"kind": "outage"})

    async def paid(self, wanted: Wanted = WANTED) -> str:
        intent_id = (await self.stripe.create(wanted)).intent_id
        self.pay(intent_id)
        return intent_id


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture(params=["double", "sandbox"])
async def world(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Account]:
    if request.param == "double":
        double = FakeStripe()
        yield Account(double, double)
        return
    monkeypatch.setattr(stripe_api, "PAGE_MAX", PAGE)
    running = request.getfixturevalue("sandbox")
    running.clear_faults()
    running.reset()
    async with account(running) as api:
        yield Account(api, running)


async def test_a_payment_is_opened_once(world: Account) -> None:
    first = await world.stripe.create(WANTED)
    assert (first.status, first.amount_minor, first.received_minor, first.currency) == (
        "requires_payment_method",
        4_500,
        0,
        "EUR",
    )
    assert (first.booking_id, first.event_id, first.customer) == ("bk_1", "evt_2", "u_3")
    assert first.client_secret.startswith(f"{first.intent_id}_secret_")
    assert (first.failure, first.refunded_minor) == ("", 0)
    assert await world.stripe.create(WANTED) == first
    assert await world.stripe.retrieve(first.intent_id) == first
    with pytest.raises(StripeRefused) as refused:
        await world.stripe.create(replace(WANTED, amount_minor=1_000))
    assert refused.value.code == "idempotency_error"


async def test_who_opens_again_sees_what_became_of_it(world: Account) -> None:
    intent_id = await world.paid()
    again = await world.stripe.create(WANTED)
    assert (again.intent_id, again.status, again.received_minor) == (intent_id, "succeeded", 4_500)


async def test_each_failure_has_a_name_of_its_own(world: Account) -> None:
    intent_id = (await world.stripe.create(WANTED)).intent_id
    names = []
    for _ in range(2):
        world.decline(intent_id)
        found = await world.stripe.retrieve(intent_id)
        assert found.status == "requires_payment_method"
        names.append(found.failure)
    assert all(names)
    assert len(set(names)) == 2
    world.pay(intent_id)
    assert (await world.stripe.retrieve(intent_id)).failure == ""


async def test_what_is_closed_stays_closed_and_what_is_paid_stays_paid(world: Account) -> None:
    intent_id = (await world.stripe.create(WANTED)).intent_id
    for _ in range(2):
        assert (await world.stripe.cancel(intent_id)).status == "canceled"
    paid_id = await world.paid(replace(WANTED, booking_id="bk_2"))
    assert (await world.stripe.cancel(paid_id)).status == "succeeded"


async def test_money_that_was_set_aside_is_taken_once(world: Account) -> None:
    wanted = replace(WANTED, manual_capture=True)
    intent_id = (await world.stripe.create(wanted)).intent_id
    assert (await world.stripe.capture(intent_id)).status == "requires_payment_method"
    world.pay(intent_id)
    found = await world.stripe.retrieve(intent_id)
    assert (found.status, found.received_minor) == ("requires_capture", 0)
    for _ in range(2):
        found = await world.stripe.capture(intent_id)
        assert (found.status, found.received_minor) == ("succeeded", 4_500)


async def test_money_goes_back_once_for_each_number(world: Account) -> None:
    intent_id = await world.paid()

    async def refund(amount_minor: int, number: int):
        return await world.stripe.refund("bk_1", "evt_2", intent_id, amount_minor, number)

    first, second = await refund(1_000, 1), await refund(500, 2)
    assert (first.status, first.amount_minor, first.number) == ("succeeded", 1_000, 1)
    assert (first.booking_id, first.event_id, first.intent_id) == ("bk_1", "evt_2", intent_id)
    assert await refund(1_000, 1) == first
    assert await world.stripe.refunds(intent_id) == [second, first]
    assert (await world.stripe.retrieve(intent_id)).refunded_minor == 1_500
    for amount_minor, number in [(2_000, 1), (4_000, 3)]:
        with pytest.raises(StripeRefused):
            await refund(amount_minor, number)
    await refund(3_000, 4)
    with pytest.raises(StripeRefused) as refused:
        await refund(1, 5)
    assert refused.value.code == "charge_already_refunded"


async def test_a_dispute_stands_at_its_payment(world: Account) -> None:
    intent_id = await world.paid()
    other_id = await world.paid(replace(WANTED, booking_id="bk_2"))
    assert await world.stripe.disputes(intent_id) == []
    world.world.dispute(intent_id)
    (found,) = await world.stripe.disputes(intent_id)
    assert (found.intent_id, found.status, found.amount_minor, found.currency) == (
        intent_id,
        "needs_response",
        4_500,
        "EUR",
    )
    assert (await world.stripe.retrieve(intent_id)).disputed
    assert not (await world.stripe.retrieve(other_id)).disputed
    listed, _ = await world.stripe.opened_since(0, None)
    assert {one.intent_id: one.disputed for one in listed} == {intent_id: True, other_id: False}


async def test_what_was_opened_is_listed_page_by_page(world: Account) -> None:
    wanted = [replace(WANTED, booking_id=f"bk_{number}") for number in range(PAGE + 1)]
    ids = [(await world.stripe.create(one)).intent_id for one in wanted]
    first, more = await world.stripe.opened_since(0, None)
    assert more
    rest, more = await world.stripe.opened_since(0, first[-1].intent_id)
    assert not more
    assert [one.intent_id for one in first + rest] == ids[::-1]
    assert await world.stripe.opened_since(first[0].created + 1, None) == ([], False)
    assert await world.stripe.undelivered(0, None) == ([], False)


async def test_money_that_goes_back_is_told_of_without_any_webhook(world: Account) -> None:
    intent_id = await world.paid()
    assert await world.stripe.money_back(0, None) == ([], False)
    made = await world.stripe.refund("bk_1", "evt_2", intent_id, 1_000, 1)
    other_id = await world.paid(replace(WANTED, booking_id="bk_2"))
    world.world.dispute(other_id)

    told, after, more = [], None, True
    while more:
        page, more = await world.stripe.money_back(0, after)
        assert len(page) <= PAGE
        told += page
        after = page[-1].event_id

    facts = [read(notice.body).facts for notice in told]
    assert made in facts
    (dispute,) = await world.stripe.disputes(other_id)
    assert facts[0] == dispute, "newest first"
    assert await world.stripe.money_back(told[0].created + 1, None) == ([], False)


async def test_what_is_not_there_is_refused(world: Account) -> None:
    for call in (world.stripe.retrieve, world.stripe.cancel, world.stripe.capture):
        with pytest.raises(StripeRefused) as refused:
            await call("pi_nothing")
        assert refused.value.code == "resource_missing"


async def test_while_it_is_away_everything_may_be_tried_again(world: Account) -> None:
    intent_id = (await world.stripe.create(WANTED)).intent_id
    world.leave()
    with pytest.raises(StripeAway) as away:
        await world.stripe.retrieve(intent_id)
    assert away.value.retry_after_seconds > 0
