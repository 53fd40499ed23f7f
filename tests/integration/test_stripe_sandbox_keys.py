"""The sandbox's doors: keys, what a browser may, idempotency keys, pages for people."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import stripe
from stripe import StripeClient

from tests.stripe_sandbox import (
    API_KEY,
    PUBLISHABLE_KEY,
    Refused,
    Sandbox,
    ask,
    running_sandbox,
    seen,
)

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


async def test_keys(client, sandbox):
    for key in ("sk_test_other", PUBLISHABLE_KEY):
        async with sandbox.client(key) as stranger:
            with pytest.raises(stripe.AuthenticationError):
                await stranger.v1.payment_intents.create_async(PRICE)
    url = f"{sandbox.url}/v1/payment_intents"
    answer, body = ask(url)
    assert (answer.status, body["error"]["type"]) == (401, "invalid_request_error")
    basic = base64.b64encode(f"{API_KEY}:".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Stripe-Version": "2024-06-20"}
    answer, body = ask(url, headers)
    assert (answer.status, body["object"]) == (200, "list")
    assert answer.headers["Request-Id"].startswith("req_")
    assert answer.headers["Stripe-Version"] == "2024-06-20"
    assert answer.headers["X-Sandbox"] == "no money moves"


async def test_a_browser_pays_with_the_client_secret_and_sees_no_more_than_it_should(
    client, sandbox
):
    intent = await client.v1.payment_intents.create_async(PRICE)
    url = f"{sandbox.url}/v1/payment_intents/{intent.id}"
    browser = {"Origin": "https://tickets.example"}
    answer, body = ask(f"{url}?key={PUBLISHABLE_KEY}&client_secret={intent.client_secret}", browser)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert body["status"] == "requires_payment_method"
    assert "metadata" not in body
    for secret in ("", "&client_secret=wrong"):
        form = f"key={PUBLISHABLE_KEY}&payment_method=pm_card_visa{secret}"
        answer, body = ask(f"{url}/confirm", browser, form)
        assert answer.status == 400
        assert body["error"]["code"] == "payment_intent_invalid_parameter"
    form = f"payment_method=pm_card_chargeDeclined&client_secret={intent.client_secret}"
    headers = {**browser, "Authorization": f"Bearer {PUBLISHABLE_KEY}"}
    answer, body = ask(f"{url}/confirm", headers, form)
    assert (answer.status, body["error"]["code"]) == (402, "card_declined")
    assert "metadata" not in body["error"]["payment_intent"]
    answer, body = ask(f"{url}/confirm", headers, form.replace("chargeDeclined", "visa"))
    assert (answer.status, body["status"]) == (200, "succeeded")


async def test_a_key_remembers_the_first_answer(client, sandbox):
    intents = client.v1.payment_intents
    first = await intents.create_async(PRICE, {"idempotency_key": "k1"})
    again = await intents.create_async(PRICE, {"idempotency_key": "k1"})
    assert again.id == first.id
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.body == first.last_response.body
    assert again.last_response.headers["Original-Request"] == first.last_response.request_id
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        await intents.create_async({**PRICE, "amount": 4600}, {"idempotency_key": "k1"})
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        await client.v1.refunds.create_async(
            {"payment_intent": first.id}, {"idempotency_key": "k1"}
        )
    assert sandbox.books()["totals"]["intents"] == 1
    (event,) = (await client.v1.events.list_async()).data
    assert event.request.idempotency_key == "k1"
    assert event.request.id == first.last_response.request_id


async def test_a_key_remembers_refusals_but_not_mistakes(client):
    intents = client.v1.payment_intents
    intent = await intents.create_async(PRICE)
    declined = {"payment_method": "pm_card_chargeDeclined"}
    for replayed in (None, "true"):
        with pytest.raises(stripe.CardError) as refused:
            await intents.confirm_async(intent.id, declined, {"idempotency_key": "k2"})
        assert refused.value.headers.get("Idempotent-Replayed") == replayed
    assert len((await client.v1.charges.list_async({"payment_intent": intent.id})).data) == 1
    for mistake in ({"amount": 4500}, {**PRICE, "amount": 10}):
        with pytest.raises(stripe.InvalidRequestError):
            await intents.create_async(mistake, {"idempotency_key": "k3"})
    assert (await intents.create_async(PRICE, {"idempotency_key": "k3"})).amount == 4500


async def test_the_same_key_twice_at_once(client, sandbox):
    sandbox.faults({"kind": "latency", "seconds_min": 0.5, "seconds_max": 0.5, "times": 1})
    create = client.v1.payment_intents.create_async
    first = asyncio.create_task(create(PRICE, {"idempotency_key": "k4"}))
    await asyncio.sleep(0.1)
    with pytest.raises(stripe.APIError) as refused:
        await create(PRICE, {"idempotency_key": "k4"})
    assert (refused.value.http_status, refused.value.error.code) == (409, "idempotency_key_in_use")
    intent = await first
    assert (await create(PRICE, {"idempotency_key": "k4"})).id == intent.id


@pytest.mark.parametrize(("outcome", "told"), [("fail", "failed"), ("succeed", "succeeded")])
async def test_a_person_answers_3d_secure_and_comes_back_to_the_shop(
    client, sandbox, outcome, told
):
    intent = await client.v1.payment_intents.create_async(PRICE)
    card = {"payment_method": "pm_card_threeDSecure2Required", "return_url": f"{sandbox.url}/?a=1"}
    asked = await client.v1.payment_intents.confirm_async(intent.id, card)
    page = asked.next_action.redirect_to_url.url
    assert f'action="authenticate/{outcome}"' in seen(page)
    answer, shop = ask(f"{page}/{outcome}", body="")
    assert shop["sandbox"]
    assert answer.url == (
        f"{sandbox.url}/?a=1&payment_intent={intent.id}"
        f"&payment_intent_client_secret={intent.client_secret}&redirect_status={told}"
    )
    answer, body = ask(f"{page}/{outcome}", body="")
    assert (answer.status, body["error"]["code"]) == (400, "payment_intent_unexpected_state")


def test_it_says_what_it_is(sandbox):
    answer, body = ask(sandbox.url)
    assert body["sandbox"] is True
    assert "NO MONEY MOVES" in body["about"]
    assert answer.headers["X-Sandbox"] == "no money moves"
    assert "<h1>THIS IS A SANDBOX" in seen(sandbox.url)


def test_what_control_does_not_understand_is_refused(sandbox):
    for path, body in (
        ("faults", {"kind": "flood"}),
        ("payment_intents/pi_x/pay", {"card": "visa"}),
        ("payment_intents/pi_x/pay", {}),
    ):
        with pytest.raises(Refused) as refused:
            sandbox.control("POST", path, body)
        assert refused.value.status in (400, 404)
