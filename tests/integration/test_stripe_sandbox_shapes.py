"""Every object has every field of the sample that Stripe publishes, with its type.

`stripe-fixtures.json` is from Stripe's OpenAPI repository (MIT).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stripe_sandbox import Sandbox, running_sandbox

SAMPLES = json.loads((Path(__file__).parent / "stripe-fixtures.json").read_text())["resources"]

#: What Stripe documents as nullable and a payment by card has no value for.
NULLABLE = {
    "payment_intent": {
        "automatic_payment_methods",
        "canceled_at",
        "last_payment_error",
        "managed_payments",
        "next_action",
        "payment_method_configuration_details.parent",
        "processing",
        "shipping",
        "transfer_data",
    },
    "charge": {
        "balance_transaction",
        "billing_details.name",
        "description",
        "payment_method_details.card.installments",
        "payment_method_details.card.three_d_secure",
        "payment_method_details.card.wallet",
        "shipping",
        "source",
        "transfer_data",
    },
    "refund": set(),
    "dispute": set(),
    "event": set(),
}
#: What an event carries has a shape of its own; a card's refund is described by its type.
FREE = {"event": {"data.object"}, "refund": {"destination_details.card.type"}}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


async def some_of_everything(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return objects in all their states, as they were answered."""
    found: list[dict[str, Any]] = []

    async with sandbox.client() as client:
        api = client.v1

        async def create(**more: Any) -> str:
            params = {"amount": 4500, "currency": "eur", "metadata": {"a": "b"}, **more}
            return (await api.payment_intents.create_async(params)).id

        paid = [await create() for _ in range(2)]
        for intent_id in paid:
            sandbox.pay(intent_id)
        await api.refunds.create_async({"payment_intent": paid[0], "amount": 500})
        await api.refunds.create_async({"payment_intent": paid[0], "reason": "duplicate"})
        sandbox.dispute(paid[1])
        for card in ("pm_card_chargeDeclined", "pm_card_visa", "pm_card_threeDSecure2Required"):
            intent_id = await create(capture_method="manual")
            if card == "pm_card_chargeDeclined":
                with pytest.raises(Exception, match="declined"):
                    sandbox.pay(intent_id, card)
            else:
                sandbox.pay(intent_id, card)
        sandbox.authenticate(intent_id)
        await api.payment_intents.cancel_async(await create(payment_method_types=["card"]))
        for service in (api.payment_intents, api.charges, api.refunds, api.disputes, api.events):
            page = await service.list_async({"limit": 100})
            found += [json.loads(str(one)) for one in page.data]
    return found


def differences(kind: str, sample: Any, given: Any, path: str = "") -> Iterator[str]:
    """Say where an object is not as the sample is."""
    if path in FREE.get(kind, ()):
        return
    if given is None or sample is None:
        if given is None and sample is not None and path not in NULLABLE[kind]:
            yield f"{kind}.{path} is null"
    elif type(given) is not type(sample):
        yield f"{kind}.{path} is {given!r}, not like {sample!r}"
    elif isinstance(sample, dict):
        for name in sample:
            inner = f"{path}.{name}".lstrip(".")
            if name in given:
                yield from differences(kind, sample[name], given[name], inner)
            else:
                yield f"{kind}.{inner} is missing"
    elif isinstance(sample, list) and sample and given:
        yield from differences(kind, sample[0], given[0], f"{path}.0")


async def test_shapes(sandbox):
    objects = await some_of_everything(sandbox)
    objects += [one["data"]["object"] for one in objects if one["object"] == "event"]
    assert {one["object"] for one in objects} == set(SAMPLES)
    wrong = {
        difference
        for one in objects
        for difference in differences(one["object"], SAMPLES[one["object"]], one)
    }
    assert not wrong


def test_a_difference_would_be_seen():
    refund = {**SAMPLES["refund"], "amount": "100", "currency": None}
    del refund["charge"]
    assert list(differences("refund", SAMPLES["refund"], refund)) == [
        "refund.amount is '100', not like 100",
        "refund.charge is missing",
        "refund.currency is null",
    ]


async def test_the_version_is_the_one_that_the_package_is_pinned_to(sandbox):
    async with sandbox.client() as client:
        await client.v1.payment_intents.create_async({"amount": 4500, "currency": "eur"})
        (event,) = (await client.v1.events.list_async({"limit": 1})).data
        answer = await client.v1.payment_intents.list_async()
    assert answer.last_response.headers["Stripe-Version"] == event.api_version
