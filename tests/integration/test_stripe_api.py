"""The client of Stripe over HTTP, against the sandbox: what is carried out, and how often."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from actors.payments import calling, connections, stripe_api
from actors.payments.breaker import Breaker
from actors.payments.calling import Caller
from actors.payments.connections import Connections
from actors.payments.contract import (
    ChargeFacts,
    Return,
    Stripe,
    StripeAway,
    StripeRefused,
    Wanted,
)
from actors.payments.limiter import Limiter
from actors.payments.stripe_api import StripeApi
from actors.payments.webhooks import read
from tests.stripe_sandbox import API_KEY, Sandbox, ask, running_sandbox

WANTED = Wanted("bk_1", "evt_2", "u_3", 4500, "EUR")
CREATE = "payment_intents.create"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (calling, connections):
        monkeypatch.setattr(module, "AGAIN_SECONDS", 0.02)
    monkeypatch.setattr(calling, "JITTER_SECONDS", 0.02)


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[StripeApi]:
    """A client of a sandbox that holds nothing; it may ask as often as it likes."""
    sandbox.reset()
    sandbox.clear_faults()
    async with connecting(sandbox) as api:
        yield api


@asynccontextmanager
async def connecting(
    sandbox: Sandbox,
    *,
    key: str = API_KEY,
    breaker: Breaker | None = None,
    create_doubt_seconds: float = 0.0,
    refund_doubt_seconds: float = 0.0,
    attempt: Callable[[], str] = lambda: uuid4().hex,
) -> AsyncIterator[StripeApi]:
    line = Connections(key, sandbox.url)
    limiter = Limiter(account_per_second=1_000, endpoint_per_second=1_000)
    caller = Caller(line, limiter, breaker or Breaker(time.monotonic))
    try:
        yield StripeApi(caller, time.time, create_doubt_seconds, refund_doubt_seconds, attempt)
    finally:
        await line.close()


async def paid(api: Stripe, sandbox: Sandbox, wanted: Wanted = WANTED) -> str:
    """Open a payment and pay it; return its id."""
    intent = await api.create(wanted)
    sandbox.pay(intent.intent_id)
    return intent.intent_id


def intents(sandbox: Sandbox) -> list[dict[str, Any]]:
    return sandbox.books()["intents"]


def failing(kind: str, only: str, times: int | None = 1, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "only": only, "times": times, **more}


# -- opening -----------------------------------------------------------------------


async def test_a_payment_is_opened_once(api, sandbox):
    first = await api.create(WANTED)
    assert (first.status, first.amount_minor, first.currency) == (
        "requires_payment_method",
        4500,
        "EUR",
    )
    assert (first.booking_id, first.event_id, first.customer) == ("bk_1", "evt_2", "u_3")
    assert first.client_secret.startswith(first.intent_id)
    assert await api.create(WANTED) == first
    assert len(intents(sandbox)) == 1
    assert intents(sandbox)[0]["metadata"] == {
        "booking": "bk_1",
        "event": "evt_2",
        "customer": "u_3",
    }


async def test_who_takes_over_from_a_dead_process_gets_the_same_payment(api, sandbox):
    first = await api.create(WANTED)
    sandbox.pay(first.intent_id)
    async with connecting(sandbox) as successor:
        again = await successor.create(WANTED)
    assert (again.intent_id, again.status) == (first.intent_id, "succeeded")


async def test_another_amount_for_the_same_booking_is_refused(api):
    await api.create(WANTED)
    with pytest.raises(StripeRefused) as refused:
        await api.create(Wanted("bk_1", "evt_2", "u_3", 4600, "EUR"))
    assert refused.value.code == "idempotency_error"


async def test_a_payment_whose_answer_was_lost_is_opened_once(api, sandbox):
    sandbox.faults(failing("timeout_after_commit", CREATE, seconds=0.0))
    intent = await api.create(WANTED)
    assert [found["id"] for found in intents(sandbox)] == [intent.intent_id]


@pytest.mark.parametrize("kind", ["server_error_before_commit", "server_error_after_commit"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_failure_that_stripe_remembers_is_got_over(api, sandbox, kind, times):
    sandbox.faults(failing(kind, CREATE, times))
    intent = await api.create(WANTED)
    assert (await api.create(WANTED)).intent_id == intent.intent_id
    async with connecting(sandbox) as successor:
        assert (await successor.create(WANTED)).intent_id == intent.intent_id
    assert [found["id"] for found in intents(sandbox)] == [intent.intent_id]


async def test_a_long_failure_does_not_use_up_all_keys(sandbox):
    sandbox.reset()
    async with connecting(sandbox, create_doubt_seconds=1.0) as api:
        sandbox.faults(failing("server_error_before_commit", CREATE, None))
        for _ in range(3):
            with pytest.raises(StripeAway) as away:
                await api.create(WANTED)
            assert 0 < away.value.retry_after_seconds <= 1.0
        # Two keys were spent, and it was told twice again that they are.
        assert sandbox.show_faults()[0]["struck"] == 2 * 2 + 2 * 2
        sandbox.clear_faults()
        await asyncio.sleep(1.0)
        await api.create(WANTED)
    assert len(intents(sandbox)) == 1


async def test_what_fails_under_every_key_is_given_up(api, sandbox, monkeypatch):
    monkeypatch.setattr(stripe_api, "KEYS_MAX", 3)
    intent_id = await paid(api, sandbox)
    sandbox.faults(failing("server_error_before_commit", "*.create", None))
    with pytest.raises(StripeAway, match="fails each time"):
        await api.create(Wanted("bk_9", "evt_2", "u_3", 4500, "EUR"))
    with pytest.raises(StripeAway, match="fails each time"):
        await refund(api, intent_id)


async def test_a_payment_is_looked_for_page_by_page(api, sandbox, monkeypatch):
    monkeypatch.setattr(stripe_api, "PAGE_MAX", 2)
    monkeypatch.setattr(calling, "AGAIN_SECONDS", 0.5)
    sandbox.faults(failing("server_error_after_commit", CREATE))
    opening = asyncio.create_task(api.create(WANTED))
    while not intents(sandbox):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    for number in range(5):
        await api.create(Wanted(f"bk_other_{number}", "evt_2", "u_3", 4500, "EUR"))
    assert not opening.done()
    assert (await opening).intent_id == intents(sandbox)[0]["id"]
    assert len(intents(sandbox)) == 6


async def test_asked_to_be_patient_it_is(api, sandbox):
    sandbox.faults(failing("rate_limit", CREATE))
    began = time.monotonic()
    await api.create(WANTED)
    assert time.monotonic() - began >= 1
    assert len(intents(sandbox)) == 1


async def test_many_at_once_open_one_payment(api, sandbox):
    sandbox.faults(failing("latency", CREATE, None, seconds_min=0.05, seconds_max=0.05))
    found = await asyncio.gather(*(api.create(WANTED) for _ in range(5)))
    assert len({intent.intent_id for intent in found}) == 1
    assert len(intents(sandbox)) == 1


async def test_a_bad_key_is_refused(sandbox):
    async with connecting(sandbox, key="sk_test_wrong") as api:
        with pytest.raises(StripeRefused) as refused:
            await api.create(WANTED)
    assert refused.value.code == "unauthorized"


# -- cancelling and capturing ------------------------------------------------------


async def test_what_is_cancelled_stays_cancelled(api):
    intent = await api.create(WANTED)
    assert (await api.cancel(intent.intent_id)).status == "canceled"
    assert (await api.cancel(intent.intent_id)).status == "canceled"


async def test_what_is_paid_is_not_cancelled(api, sandbox):
    intent_id = await paid(api, sandbox)
    found = await api.cancel(intent_id)
    assert (found.status, found.received_minor) == ("succeeded", 4500)


async def test_a_payment_that_overtakes_its_cancellation(api, sandbox):
    intent = await api.create(WANTED)
    sandbox.faults(failing("success_after_cancel_race", "payment_intents.cancel", seconds=5.0))
    cancelling = asyncio.create_task(api.cancel(intent.intent_id))
    await asyncio.sleep(0.1)
    sandbox.pay(intent.intent_id)
    assert (await cancelling).status == "succeeded"


@pytest.mark.parametrize(
    "kind", ["timeout_after_commit", "server_error_before_commit", "server_error_after_commit"]
)
@pytest.mark.parametrize(("step", "status"), [("cancel", "canceled"), ("capture", "succeeded")])
async def test_trouble_does_not_stick(api, sandbox, kind, step, status):
    wanted = Wanted("bk_1", "evt_2", "u_3", 4500, "EUR", manual_capture=True)
    intent = await api.create(wanted)
    assert sandbox.pay(intent.intent_id)["status"] == "requires_capture"
    more = {"seconds": 0.0} if kind == "timeout_after_commit" else {}
    sandbox.faults(failing(kind, f"payment_intents.{step}", **more))
    found = await getattr(api, step)(intent.intent_id)
    assert (found.status, found.refunded_minor) == (status, 0)
    assert (await getattr(api, step)(intent.intent_id)).status == status


def keys(sandbox: Sandbox, kind: str) -> list[str]:
    """Return the keys under which events of a kind were brought about, oldest first."""
    headers = {"authorization": f"Bearer {API_KEY}"}
    _, page = ask(f"{sandbox.url}/v1/events?type={kind}&limit=100", headers)
    return [event["request"]["idempotency_key"] for event in page["data"][::-1]]


@pytest.mark.parametrize(
    ("step", "kind"),
    [("cancel", "payment_intent.canceled"), ("capture", "payment_intent.succeeded")],
)
async def test_an_attempt_whose_answer_was_lost_is_made_under_the_same_key(
    api, sandbox, step, kind
):
    intent_id = (await api.create(replace(WANTED, manual_capture=True))).intent_id
    sandbox.pay(intent_id)
    operation = f"payment_intents.{step}"
    sandbox.faults(
        failing("timeout_after_commit", operation, seconds=0.0),
        failing("server_error_before_commit", "payment_intents.retrieve", None),
    )
    done = await getattr(api, step)(intent_id)
    assert done.status in ("canceled", "succeeded"), "told without another look"
    (key,) = keys(sandbox, kind)
    assert key.startswith(f"{intent_id}:{step}:")


async def test_a_refusal_that_stripe_remembers_keeps_no_later_attempt_from_its_end(api, sandbox):
    intent_id = (await api.create(replace(WANTED, manual_capture=True))).intent_id
    assert (await api.capture(intent_id)).status == "requires_payment_method"
    sandbox.pay(intent_id)
    assert (await api.capture(intent_id)).status == "succeeded"
    async with connecting(sandbox) as successor:
        assert (await successor.cancel(intent_id)).status == "succeeded"


async def test_no_two_attempts_share_a_key(sandbox):
    sandbox.reset()
    names = iter("abcd")
    async with connecting(sandbox, attempt=lambda: next(names)) as api:
        made = [await api.create(replace(WANTED, booking_id=f"bk_{one}")) for one in range(2)]
        sandbox.faults(failing("server_error_before_commit", "payment_intents.cancel"))
        for intent in made:
            await api.cancel(intent.intent_id)
    first, second = (intent.intent_id for intent in made)
    assert keys(sandbox, "payment_intent.canceled") == [
        f"{first}:cancel:b",
        f"{second}:cancel:c",
    ]


async def test_what_nobody_has_paid_cannot_be_captured(api):
    intent = await api.create(WANTED)
    assert (await api.capture(intent.intent_id)).status == "requires_payment_method"


async def test_what_is_not_there_is_refused(api):
    for call in (api.retrieve, api.cancel, api.capture):
        with pytest.raises(StripeRefused) as refused:
            await call("pi_nothing")
        assert refused.value.code == "resource_missing"


# -- refunds -----------------------------------------------------------------------


def refund(api: Stripe, intent_id: str, amount_minor: int = 4500, number: int = 1) -> Any:
    return api.refund("bk_1", "evt_2", intent_id, amount_minor, number)


async def test_money_is_given_back_once(api, sandbox):
    intent_id = await paid(api, sandbox)
    first = await refund(api, intent_id)
    expected = Return(first.refund_id, "succeeded", 4500, "EUR", intent_id, "bk_1", "evt_2", 1)
    assert first == expected
    async with connecting(sandbox) as successor:
        assert await refund(successor, intent_id) == first
    assert (await api.retrieve(intent_id)).refunded_minor == 4500
    with pytest.raises(StripeRefused) as refused:
        await refund(api, intent_id, number=2)
    assert refused.value.code == "charge_already_refunded"


async def test_money_is_given_back_in_parts(api, sandbox, monkeypatch):
    monkeypatch.setattr(stripe_api, "PAGE_MAX", 2)
    intent_id = await paid(api, sandbox)
    made = [await refund(api, intent_id, 500, number) for number in range(1, 6)]
    assert await api.refunds(intent_id) == made[::-1]
    assert await refund(api, intent_id, 500, 1) == made[0]
    with pytest.raises(StripeRefused) as refused:
        await refund(api, intent_id, 600, 1)
    assert refused.value.code == "refund_number_reused"
    assert (await api.retrieve(intent_id)).refunded_minor == 2_500


@pytest.mark.parametrize(
    "kind", ["timeout_after_commit", "server_error_before_commit", "server_error_after_commit"]
)
async def test_trouble_gives_no_money_back_twice(api, sandbox, kind):
    intent_id = await paid(api, sandbox)
    more = {"seconds": 0.0} if kind == "timeout_after_commit" else {}
    sandbox.faults(failing(kind, "refunds.create", **more))
    first = await refund(api, intent_id, 500)
    async with connecting(sandbox) as successor:
        assert await refund(successor, intent_id, 500) == first
    assert (await api.retrieve(intent_id)).refunded_minor == 500


async def test_a_refund_is_known_when_stripe_has_forgotten_its_key(api, sandbox):
    intent_id = await paid(api, sandbox)
    first = await refund(api, intent_id, 500)
    sandbox.faults(failing("server_error_before_commit", "refunds.create"))
    assert await refund(api, intent_id, 500) == first
    assert sandbox.show_faults()[0]["struck"] == 0


async def test_many_at_once_give_money_back_once(api, sandbox):
    intent_id = await paid(api, sandbox)
    found = await asyncio.gather(*(refund(api, intent_id, 500) for _ in range(5)))
    assert len({made.refund_id for made in found}) == 1
    assert (await api.retrieve(intent_id)).refunded_minor == 500


async def test_a_refund_in_doubt_is_not_asked_for_again_at_once(api, sandbox):
    intent_id = await paid(api, sandbox)
    sandbox.faults(failing("server_error_before_commit", "refunds.create"))
    async with connecting(sandbox, refund_doubt_seconds=0.3) as careful:
        with pytest.raises(StripeAway) as away:
            await refund(careful, intent_id, 500)
        assert 0 < away.value.retry_after_seconds <= 0.3
        assert await careful.refunds(intent_id) == []
        await asyncio.sleep(0.3)
        assert (await refund(careful, intent_id, 500)).status == "succeeded"
    assert (await api.retrieve(intent_id)).refunded_minor == 500


# -- lists -------------------------------------------------------------------------


async def test_what_was_opened_comes_page_by_page(api, sandbox, monkeypatch):
    monkeypatch.setattr(stripe_api, "PAGE_MAX", 2)
    wanted = [Wanted(f"bk_{number}", "evt_2", "u_3", 4500, "EUR") for number in range(5)]
    ids = [await paid(api, sandbox, one) for one in wanted]
    await refund(api, ids[-1])
    seen, after, more = [], None, True
    while more:
        page, more = await api.opened_since(int(time.time()) - 60, after)
        seen += page
        after = page[-1].intent_id
    assert [intent.intent_id for intent in seen] == ids[::-1]
    assert [intent.refunded_minor for intent in seen] == [4500, 0, 0, 0, 0]
    assert await api.opened_since(int(time.time()) + 60, None) == ([], False)


async def test_webhooks_that_got_lost(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(stripe_api, "PAGE_MAX", 2)
    nowhere = "http://127.0.0.1:9/webhooks"
    with running_sandbox(tmp_path, webhook_url=nowhere) as sandbox:
        async with connecting(sandbox) as api:
            intent_id = await paid(api, sandbox)
            await refund(api, intent_id, 500)
            first, more = await api.undelivered(int(time.time()) - 60, None)
            assert more
            second, more = await api.undelivered(int(time.time()) - 60, first[-1].event_id)
            assert not more
    notices = first + second
    assert [notice.kind for notice in notices] == [
        "refund.created",
        "charge.refunded",
        "payment_intent.succeeded",
        "payment_intent.created",
    ]
    said = [read(notice.body) for notice in notices]
    assert [event.id for event in said] == [notice.event_id for notice in notices]
    facts = said[1].facts
    assert isinstance(facts, ChargeFacts)
    assert (facts.captured_minor, facts.refunded_minor) == (4500, 500)
    assert json.loads(notices[0].body)["type"] == "refund.created"


# -- Stripe is away ----------------------------------------------------------------


async def test_while_stripe_is_away_nobody_waits_and_then_it_is_back(sandbox):
    sandbox.reset()
    breaker = Breaker(time.monotonic, failures_max=2, open_seconds=1.0)
    async with connecting(sandbox, breaker=breaker) as api:
        sandbox.faults({"kind": "outage"})
        with pytest.raises(StripeAway):
            await api.create(WANTED)
        assert breaker.is_open()
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(StripeAway):
                await api.create(WANTED)
        assert time.monotonic() - began < 0.9
        sandbox.clear_faults()
        await asyncio.sleep(1.0)
        assert (await api.create(WANTED)).status == "requires_payment_method"
        assert not breaker.is_open()


async def test_no_stripe_at_all():
    nowhere = Sandbox([])
    nowhere.url = "http://127.0.0.1:9"
    async with connecting(nowhere) as api:
        with pytest.raises(StripeAway) as away:
            await api.create(WANTED)
    assert away.value.retry_after_seconds > 0
