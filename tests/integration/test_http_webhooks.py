"""Stripe's webhooks over HTTP: proved, kept before the 200, and what becomes of them."""

import copy
import json
import time

import pytest
from prometheus_client import REGISTRY

from engine.journal.contract import Unavailable
from engine.journal.groups import PAYMENTS_INBOX
from engine.journal.redis_streams import RedisStreams
from engine.journal.streams import StreamKind
from engine.limits import WEBHOOK_BYTES_MAX
from tests.in_process import WEBHOOK_SECRET
from tests.paying import WEBHOOKS, Shop, signature

OLD, NEW = "whsec_old", "whsec_new"


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("onsale_webhooks_total", {"outcome": outcome}) or 0.0


async def paid(shop: Shop) -> tuple[str, dict]:
    """Have a booking paid at Stripe; return it and the webhook that tells of it."""
    booking_id = await shop.held(await shop.onsale.event(capacity=10))
    shop.sandbox.pay(await shop.opened(booking_id))
    (succeeded,) = [one for one in shop.mail() if one["type"] == "payment_intent.succeeded"]
    return booking_id, succeeded


async def kept(shop: Shop) -> int:
    """Return how many messages stand in all inboxes."""
    keys = [key for key in await shop.onsale.redis.keys() if StreamKind.INBOX.encode() in key]
    lengths = [await shop.onsale.redis.xlen(key) for key in keys if b"dead" not in key]
    return sum(lengths)


# -- proved ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forge",
    [
        lambda _: "",
        lambda _: "t=1,v1=00",
        lambda body: "v1=" + signature(body).rpartition("=")[2],
        lambda body: signature(body, "whsec_wrong"),
        lambda body: signature(body + b" "),
        lambda body: signature(body, at_s=time.time() - 400),
        lambda body: signature(body, at_s=time.time() + 400),
        lambda body: signature(body).replace("v1=", "v0="),
    ],
    ids=["none", "garbage", "no time", "secret", "body", "old", "future", "scheme"],
)
async def test_what_stripe_did_not_sign_now_is_refused(shop: Shop, forge) -> None:
    booking_id, succeeded = await paid(shop)
    before = counted("bad_signature")
    answer = await shop.post(succeeded, forge(json.dumps(succeeded).encode()))
    assert await kept(shop) == 0
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_signature")
    assert counted("bad_signature") == before + 1
    assert WEBHOOK_SECRET not in answer.text
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"


async def test_while_a_secret_is_changed_both_are_good(shop: Shop) -> None:
    shop.onsale.service.paying.webhook_secrets = (OLD, NEW)
    booking_id, succeeded = await paid(shop)
    for secrets in [(OLD,), (NEW,), (OLD, NEW), ("whsec_other", NEW)]:
        assert (await shop.post(succeeded, None, *secrets)).status_code == 200
    assert (await shop.post(succeeded, None, WEBHOOK_SECRET)).status_code == 400
    await shop.until(booking_id, "CONFIRMED")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"object":"charge","id":"ch_1"}',
        b'{"object":"event","id":"evt_1","type":"payment_intent.succeeded","created":1,"data":{}}',
        b'{"object":"event","id":"evt_1","type":"charge.refunded","created":1,"data":{"object":7}}',
        b"[" * 100_000,
    ],
    ids=["empty", "cut", "list", "binary", "no event", "no data", "no charge", "deep"],
)
async def test_what_is_signed_and_makes_no_sense_is_refused(shop: Shop, body: bytes) -> None:
    answer = await shop.post(body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_webhook")
    assert await kept(shop) == 0


async def test_a_webhook_that_is_too_large_is_not_read(shop: Shop) -> None:
    answer = await shop.post(b" " * (WEBHOOK_BYTES_MAX + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_it_is_an_address_for_stripe_alone(shop: Shop) -> None:
    answer = await shop.onsale.get(WEBHOOKS)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


# -- kept ------------------------------------------------------------------------------


async def test_what_cannot_be_kept_is_not_acknowledged(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking_id, succeeded = await paid(shop)

    async def away(*_: object) -> list[str]:
        raise Unavailable("the test took the store away")

    with monkeypatch.context() as patch:
        patch.setattr(RedisStreams, "put_many", away)
        answer = await shop.post(succeeded)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    await shop.deliver([succeeded])
    await shop.until(booking_id, "CONFIRMED")


async def test_what_is_acknowledged_is_in_the_store(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, succeeded = await paid(shop)
    put_many, written = RedisStreams.put_many, []

    async def watched(self: RedisStreams, messages: list) -> list[str]:
        places = await put_many(self, messages)
        written.extend(message.id for _, message in messages)
        return places

    monkeypatch.setattr(RedisStreams, "put_many", watched)
    answer = await shop.post(succeeded)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert written == [succeeded["id"]]


async def test_what_is_none_of_ours_is_acknowledged_and_counted(shop: Shop) -> None:
    _, succeeded = await paid(shop)
    unknown = {**succeeded, "type": "customer.subscription.trial_will_end"}
    foreign = copy.deepcopy(succeeded)
    foreign["data"]["object"]["metadata"] = {"order": "6735"}
    unrelated = copy.deepcopy(foreign)
    unrelated["data"]["object"]["metadata"] = {}
    dispute = {
        **succeeded,
        "type": "charge.dispute.created",
        "data": {
            "object": {
                "id": "dp_1",
                "object": "dispute",
                "status": "needs_response",
                "amount": 1,
                "currency": "eur",
                "charge": "ch_1",
                "payment_intent": None,
            }
        },
    }
    before = counted("not_ours")
    for event in (unknown, foreign, unrelated, dispute):
        assert (await shop.post(event)).status_code == 200
    assert counted("not_ours") == before + 4
    assert await kept(shop) == 0


async def test_a_dispute_of_somebody_elses_payment_is_no_matter(shop: Shop) -> None:
    """A dispute names no booking: Stripe is asked for its payment."""
    _, succeeded = await paid(shop)
    event = copy.deepcopy(succeeded)
    event["type"] = "charge.dispute.created"
    async with shop.sandbox.client() as client:
        params = {"amount": 700, "currency": "eur", "payment_method_types": ["card"]}
        foreign = await client.v1.payment_intents.create_async(params)
    event["data"]["object"] = {
        "id": "dp_1",
        "object": "dispute",
        "status": "needs_response",
        "amount": 700,
        "currency": "eur",
        "charge": "ch_1",
        "payment_intent": foreign.id,
    }
    assert (await shop.post(event)).status_code == 200
    assert await shop.put_aside() == []


# -- what becomes of them --------------------------------------------------------------


async def test_twice_is_the_same_as_once(shop: Shop) -> None:
    booking_id, succeeded = await paid(shop)
    await shop.deliver(3 * [succeeded])
    booking = await shop.until(booking_id, "CONFIRMED")
    await shop.deliver([*shop.mail(), succeeded])
    assert await shop.put_aside() == []
    assert await shop.booking(booking_id) | {"server_time": ""} == booking | {"server_time": ""}


async def test_the_order_is_no_matter(shop: Shop) -> None:
    booking_id = await shop.held(await shop.onsale.event())
    intent_id = await shop.opened(booking_id)
    shop.decline(intent_id)
    shop.sandbox.pay(intent_id)
    await shop.deliver(shop.mail()[::-1])
    booking = await shop.until(booking_id, "CONFIRMED")
    assert await shop.put_aside() == []
    assert [moment["status"] for moment in booking["history"]][-1] == "CONFIRMED"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"amount": 1, "amount_received": 1}, "amount"),
        ({"amount_received": 1}, "received"),
        ({"currency": "usd"}, "currency"),
        ({"metadata.customer": "bob"}, "customer"),
        ({"metadata.event": "evt_000000000000"}, "event"),
        ({"metadata.event": ""}, "event"),
        ({"id": "pi_other"}, "intent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_does_not_belong_to_its_booking_is_put_aside(
    shop: Shop, change: dict, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    booking_id, succeeded = await paid(shop)
    forged = copy.deepcopy(succeeded)
    for name, value in change.items():
        outer, _, inner = name.partition(".")
        if inner:
            forged["data"]["object"][outer][inner] = value
        else:
            forged["data"]["object"][outer] = value
    await shop.deliver([forged])
    (letter,) = await shop.put_aside()
    assert letter.reason == f"payment_mismatch: {why}"
    assert letter.message.id == forged["id"]
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    assert "payment_quarantined" in capsys.readouterr().out
    await shop.deliver([succeeded])
    await shop.until(booking_id, "CONFIRMED")


@pytest.mark.parametrize("booking_id", ["bk_" + "0" * 28, "nonsense", ""])
async def test_a_booking_that_is_not_there_is_put_aside(shop: Shop, booking_id: str) -> None:
    _, succeeded = await paid(shop)
    forged = copy.deepcopy(succeeded)
    forged["data"]["object"]["metadata"]["booking"] = booking_id
    await shop.deliver([forged])
    assert len(await shop.put_aside()) == 1


async def test_one_that_is_put_aside_keeps_no_other_back(shop: Shop) -> None:
    booking_id, succeeded = await paid(shop)
    forged = copy.deepcopy(succeeded)
    forged["data"]["object"]["currency"] = "usd"
    await shop.deliver([forged, forged, succeeded])
    await shop.until(booking_id, "CONFIRMED")
    assert len(await shop.put_aside()) == 2


# -- the desk was away -----------------------------------------------------------------


async def test_what_came_while_no_desk_was_there_is_not_lost(shop: Shop) -> None:
    booking_id, succeeded = await paid(shop)
    await shop.settled()
    streams = RedisStreams(shop.onsale.redis)
    lag = await streams.lag(PAYMENTS_INBOX)
    assert not sum(one.pending + one.undelivered for one in lag)
    await shop.onsale.close_desk()
    await shop.deliver([succeeded])
    assert await kept(shop) >= 1
    assert (await shop.booking(booking_id))["status"] == "PAYMENT_PENDING"
    shop.onsale.open_desk()
    await shop.until(booking_id, "CONFIRMED")
