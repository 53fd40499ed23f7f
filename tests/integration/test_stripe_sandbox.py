"""The sandbox through the real `stripe` package: payments, refunds, disputes, errors, lists."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import stripe
from stripe import StripeClient

from tests.stripe_sandbox import Refused, Sandbox, running_sandbox

PRICE: dict[str, Any] = {
    "amount": 4500,
    "currency": "eur",
    "metadata": {"booking": "bk_1", "event": "evt_2"},
    "automatic_payment_methods": {"enabled": True},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(options=["--settle-seconds", "0.05"]) as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[StripeClient]:
    sandbox.reset()
    async with sandbox.client() as client:
        yield client


async def event_types(client: StripeClient) -> list[str]:
    """Return the types of all events, oldest first."""
    page = await client.v1.events.list_async({"limit": 100})
    return [event.type for event in page.data][::-1]


async def until(retrieve: Any, object_id: str, status: str) -> Any:
    """Return an object once it has this status."""
    async with asyncio.timeout(5):
        while True:
            found = await retrieve(object_id)
            if found.status == status:
                return found
            await asyncio.sleep(0.02)


async def test_a_payment_and_its_refund(client, sandbox):
    intents = client.v1.payment_intents
    intent = await intents.create_async(PRICE)
    assert (intent.status, intent.amount_received) == ("requires_payment_method", 0)
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    assert intent.metadata["booking"] == "bk_1"
    paid = await intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.amount_received) == ("succeeded", 4500)
    charge = await client.v1.charges.retrieve_async(paid.latest_charge)
    assert (charge.paid, charge.captured, charge.metadata["booking"]) == (True, True, "bk_1")
    refund = await client.v1.refunds.create_async(
        {"payment_intent": intent.id, "amount": 500, "metadata": {"booking": "bk_1"}}
    )
    assert (refund.status, refund.charge) == ("succeeded", charge.id)
    assert (await client.v1.refunds.retrieve_async(refund.id)).metadata["booking"] == "bk_1"
    charge = await client.v1.charges.retrieve_async(charge.id)
    assert (charge.amount_refunded, charge.refunded) == (500, False)
    assert await event_types(client) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.refunded",
        "refund.created",
    ]
    (account,) = sandbox.books()["intents"]
    assert (account["captured"], account["refunded"], account["refunds"]) == (4500, 500, 1)
    assert account["metadata"]["event"] == "evt_2"


async def test_created_and_confirmed_at_once(client):
    params = {**PRICE, "confirm": True, "payment_method": "pm_card_visa"}
    paid = await client.v1.payment_intents.create_async({**params, "expand": ["latest_charge"]})
    assert paid.status == "succeeded"
    assert paid.latest_charge.payment_intent == paid.id
    with pytest.raises(stripe.CardError) as declined:
        await client.v1.payment_intents.create_async(
            {**params, "payment_method": "pm_card_chargeDeclined"}
        )
    assert declined.value.error.payment_intent.status == "requires_payment_method"


async def test_money_set_aside(client):
    intents = client.v1.payment_intents
    held = await intents.create_async({**PRICE, "capture_method": "manual"})
    held = await intents.confirm_async(held.id, {"payment_method": "pm_card_visa"})
    assert (held.status, held.amount_capturable) == ("requires_capture", 4500)
    taken = await intents.capture_async(held.id, {"amount_to_capture": 4000})
    assert (taken.status, taken.amount_received, taken.amount_capturable) == ("succeeded", 4000, 0)


async def test_3d_secure(client, sandbox):
    intents = client.v1.payment_intents
    for outcome, status in (("fail", "requires_payment_method"), ("succeed", "succeeded")):
        intent = await intents.create_async(PRICE)
        asked = await intents.confirm_async(
            intent.id,
            {"payment_method": "pm_card_threeDSecure2Required", "return_url": "https://x.example"},
        )
        assert (asked.status, asked.next_action.type) == ("requires_action", "redirect_to_url")
        assert sandbox.authenticate(intent.id, outcome)["status"] == status
        assert (await intents.retrieve_async(intent.id)).status == status


async def test_a_declined_card(client):
    intent = await client.v1.payment_intents.create_async(PRICE)
    with pytest.raises(stripe.CardError) as declined:
        await client.v1.payment_intents.confirm_async(
            intent.id, {"payment_method": "pm_card_chargeDeclinedInsufficientFunds"}
        )
    error = declined.value
    assert (error.http_status, error.code) == (402, "card_declined")
    assert error.error.decline_code == "insufficient_funds"
    assert error.error.charge.startswith("ch_")
    assert error.error.payment_intent.id == intent.id
    assert error.error.doc_url.endswith("/card-declined")
    failed = await client.v1.payment_intents.retrieve_async(intent.id)
    assert failed.last_payment_error.decline_code == "insufficient_funds"
    assert (await event_types(client))[-2:] == ["charge.failed", "payment_intent.payment_failed"]


async def test_cancel_and_what_it_forbids(client):
    intents = client.v1.payment_intents
    intent = await intents.create_async(PRICE)
    canceled = await intents.cancel_async(intent.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    assert canceled.canceled_at is not None
    for late in (
        intents.cancel_async(intent.id),
        intents.capture_async(intent.id),
        intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await late
        assert (refused.value.http_status, refused.value.code) == (
            400,
            "payment_intent_unexpected_state",
        )
        assert refused.value.error.payment_intent.status == "canceled"


async def test_what_takes_its_time_ends_by_itself(client):
    intents = client.v1.payment_intents
    delayed = await intents.create_async(PRICE)
    delayed = await intents.confirm_async(
        delayed.id, {"payment_method": "pm_usBankAccount_success"}
    )
    assert delayed.status == "processing"
    refunds = []
    for card in ("pm_card_pendingRefund", "pm_card_refundFail"):
        paid = await intents.create_async({**PRICE, "confirm": True, "payment_method": card})
        refunds.append(await client.v1.refunds.create_async({"payment_intent": paid.id}))
    assert [refund.status for refund in refunds] == ["pending", "succeeded"]
    await until(intents.retrieve_async, delayed.id, "succeeded")
    await until(client.v1.refunds.retrieve_async, refunds[0].id, "succeeded")
    assert (await until(client.v1.refunds.retrieve_async, refunds[1].id, "failed")).failure_reason
    assert {"refund.updated", "refund.failed"} <= set(await event_types(client))


async def test_disputes(client, sandbox):
    intent = await client.v1.payment_intents.create_async(PRICE)
    with pytest.raises(Refused, match="Nothing was charged"):
        sandbox.dispute(intent.id)
    sandbox.pay(intent.id)
    opened = sandbox.dispute(intent.id)
    assert (await client.v1.disputes.retrieve_async(opened["id"])).status == "needs_response"
    sandbox.close_dispute(opened["id"], "lost")
    (dispute,) = (await client.v1.disputes.list_async({"payment_intent": intent.id})).data
    assert (dispute.status, dispute.amount) == ("lost", 4500)
    assert (await event_types(client))[-2:] == ["charge.dispute.created", "charge.dispute.closed"]
    assert sandbox.books()["totals"]["disputed"] == 4500


async def test_too_much_is_not_refunded(client, sandbox):
    intent = await client.v1.payment_intents.create_async(PRICE)
    sandbox.pay(intent.id)
    refunds = client.v1.refunds
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded") as refused:
        await refunds.create_async({"payment_intent": intent.id, "amount": 4501})
    assert refused.value.param == "amount"
    await refunds.create_async({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await refunds.create_async({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"currency": "eur"}, "parameter_missing"),
        ({"amount": 4500, "currency": "eur", "colour": "red"}, "parameter_unknown"),
        ({"amount": 10, "currency": "eur"}, "amount_too_small"),
        ({"amount": 10**9, "currency": "eur"}, "amount_too_large"),
        ({"amount": "much", "currency": "eur"}, "parameter_invalid_integer"),
        ({"amount": 4500, "currency": "eur", "payment_method": "pm_x"}, "resource_missing"),
    ],
)
async def test_a_request_that_is_wrong(client, params, code):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.payment_intents.create_async(params)
    assert (refused.value.http_status, refused.value.code) == (400, code)


async def test_what_is_not_there(client):
    for missing in (
        client.v1.payment_intents.retrieve_async("pi_x"),
        client.v1.charges.retrieve_async("ch_x"),
        client.v1.refunds.retrieve_async("re_x"),
        client.v1.disputes.retrieve_async("dp_x"),
        client.v1.events.retrieve_async("evt_x"),
        client.v1.webhook_endpoints.delete_async("we_x"),
        client.v1.refunds.create_async({"payment_intent": "pi_x"}),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=r"No such \w+: '\w+_x'") as refused:
            await missing
        assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        await client.v1.customers.list_async()


async def test_lists(client, sandbox):
    intents = [(await client.v1.payment_intents.create_async(PRICE)).id for _ in range(5)]
    sandbox.pay(intents[0])
    page = await client.v1.payment_intents.list_async({"limit": 2})
    assert page.has_more
    assert [intent.id async for intent in page.auto_paging_iter()] == intents[::-1]
    since = {"gte": page.data[0].created - 60, "lt": page.data[0].created + 60}
    assert len((await client.v1.payment_intents.list_async({"created": since})).data) == 5
    until = {"lte": page.data[0].created - 60}
    assert not (await client.v1.payment_intents.list_async({"created": until})).data
    before = await client.v1.payment_intents.list_async({"ending_before": intents[1], "limit": 2})
    assert [intent.id for intent in before.data] == [intents[3], intents[2]]
    events = client.v1.events
    created = await events.list_async({"type": "payment_intent.created", "limit": 4})
    assert (len(created.data), created.has_more) == (4, True)
    types = ["charge.succeeded", "payment_intent.succeeded"]
    assert [e.type for e in (await events.list_async({"types": types})).data] == types[::-1]
    assert len((await events.list_async({"type": "charge.*"})).data) == 1
    event = await events.retrieve_async(created.data[0].id)
    assert event.data.object.id == intents[4]
