"""Webhooks of the sandbox, everything that can go wrong on purpose, and its restarts."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import stripe
from stripe import StripeClient

from tests.stripe_sandbox import Sandbox, running_sandbox
from tests.webhook_inbox import WebhookInbox, webhook_inbox

PRICE: dict[str, Any] = {"amount": 4500, "currency": "eur", "metadata": {"booking": "bk_1"}}
PAID = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
IMPATIENT = ["--webhook-first-seconds", "0.02", "--webhook-total-seconds", "0.5"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(seed=7, options=IMPATIENT) as running:
        yield running


@pytest.fixture
async def inbox() -> AsyncIterator[WebhookInbox]:
    async with webhook_inbox() as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox, inbox: WebhookInbox) -> AsyncIterator[StripeClient]:
    """A client of a sandbox that holds nothing and tells everything to the inbox."""
    sandbox.reset()
    async with sandbox.client() as client:
        endpoint = await client.v1.webhook_endpoints.create_async(
            {"url": inbox.url, "enabled_events": ["*"]}
        )
        inbox.secret = endpoint.secret
        yield client
        await client.v1.webhook_endpoints.delete_async(endpoint.id)


async def pay(client: StripeClient, sandbox: Sandbox) -> str:
    intent = await client.v1.payment_intents.create_async(PRICE)
    sandbox.pay(intent.id)
    return intent.id


async def settled(sandbox: Sandbox, seconds: float = 5.0) -> dict[str, int]:
    """Wait until no webhook is under way; return what became of them."""
    async with asyncio.timeout(seconds):
        while True:
            webhooks = sandbox.books()["webhooks"]
            if not webhooks["to_deliver"]:
                return webhooks
            await asyncio.sleep(0.02)


async def test_every_event_arrives_once_and_signed(client, sandbox, inbox):
    intent_id = await pay(client, sandbox)
    events = await inbox.wait(3)
    assert sorted(inbox.types()) == sorted(PAID)
    assert {event.data.object.metadata["booking"] for event in events} == {"bk_1"}
    assert all(event.pending_webhooks == 1 for event in events)
    assert await settled(sandbox) == {"to_deliver": 0, "given_up": 0}
    succeeded = next(event for event in events if event.type == "payment_intent.succeeded")
    known = await client.v1.events.retrieve_async(succeeded.id)
    assert (known.pending_webhooks, known.data.object.id) == (0, intent_id)
    assert len(inbox.events) == 3


async def test_endpoints_choose_their_events(client, sandbox):
    async with webhook_inbox() as other:
        params = {"url": other.url, "enabled_events": ["payment_intent.succeeded"]}
        endpoints = client.v1.webhook_endpoints
        endpoint = await endpoints.create_async(params)
        other.secret = endpoint.secret
        assert len((await endpoints.list_async()).data) == 2
        assert "secret" not in await endpoints.retrieve_async(endpoint.id)
        await pay(client, sandbox)
        await other.wait(1)
        await endpoints.delete_async(endpoint.id)
        await pay(client, sandbox)
        await settled(sandbox)
        assert other.types() == ["payment_intent.succeeded"]


async def test_what_is_not_taken_comes_again(client, sandbox, inbox):
    inbox.status = 503
    await client.v1.payment_intents.create_async(PRICE)
    await inbox.wait(3)
    failed = await client.v1.events.list_async({"delivery_success": False})
    assert [event.type for event in failed.data] == ["payment_intent.created"]
    inbox.status = 200
    assert await settled(sandbox) == {"to_deliver": 0, "given_up": 0}
    assert not (await client.v1.events.list_async({"delivery_success": False})).data
    assert len((await client.v1.events.list_async({"delivery_success": True})).data) == 1
    assert len(inbox.attempts()) == 1


async def test_what_is_never_taken_is_given_up_until_somebody_sends_it_again(
    client, sandbox, inbox
):
    inbox.status = 500
    await client.v1.payment_intents.create_async(PRICE)
    assert (await settled(sandbox))["given_up"] == 1
    assert 2 <= len(inbox.events) <= 7, "0.02 s, 0.04 s, 0.08 s … within half a second"
    inbox.status = 200
    (event,) = (await client.v1.events.list_async({"delivery_success": False})).data
    sandbox.resend(event.id)
    await inbox.wait(len(inbox.events) + 1)
    await asyncio.sleep(0.05)
    assert sandbox.books()["webhooks"] == {"to_deliver": 0, "given_up": 0}


async def test_duplicates(client, sandbox, inbox):
    sandbox.faults(
        {"kind": "webhook_duplicate", "only": "payment_intent.succeeded", "copies": 4, "times": 1}
    )
    await pay(client, sandbox)
    await inbox.wait(7)
    await settled(sandbox)
    assert sorted(inbox.attempts().values()) == [1, 1, 5]


async def test_delays_let_later_events_overtake(client, sandbox, inbox):
    sandbox.faults(
        {
            "kind": "webhook_delay",
            "only": "payment_intent.created",
            "seconds_min": 0.2,
            "seconds_max": 0.3,
        }
    )
    await pay(client, sandbox)
    await inbox.wait(3)
    assert inbox.types()[-1] == "payment_intent.created"


async def test_neighbours_change_places(client, sandbox, inbox):
    sandbox.faults(
        {"kind": "webhook_reorder", "only": "payment_intent.created", "times": 1, "seconds": 30}
    )
    await client.v1.payment_intents.create_async(PRICE)
    await asyncio.sleep(0.1)
    assert inbox.types() == []
    held = await client.v1.payment_intents.create_async(PRICE)
    events = await inbox.wait(2)
    assert inbox.types() == ["payment_intent.created"] * 2
    assert events[0].data.object.id == held.id, "the second came first"
    await settled(sandbox)


async def test_all_change_places_in_pairs(client, sandbox, inbox):
    sandbox.faults({"kind": "webhook_reorder", "seconds": 30})
    made = []
    for number in range(1, 5):
        made.append((await client.v1.payment_intents.create_async(PRICE)).id)
        await inbox.wait(number // 2 * 2)
    events = await inbox.wait(4)
    first, second, third, fourth = made
    assert [event.data.object.id for event in events] == [second, first, fourth, third]
    await settled(sandbox)


async def test_a_webhook_without_a_neighbour_comes_late(client, sandbox, inbox):
    sandbox.faults({"kind": "webhook_reorder", "times": 1, "seconds": 0.1})
    await client.v1.payment_intents.create_async(PRICE)
    assert len(await inbox.wait(1)) == 1
    await settled(sandbox)


async def test_drops(client, sandbox, inbox):
    sandbox.faults({"kind": "webhook_drop", "only": "payment_intent.succeeded"})
    await pay(client, sandbox)
    assert await settled(sandbox) == {"to_deliver": 0, "given_up": 1}
    assert "payment_intent.succeeded" not in inbox.types()
    (lost,) = (await client.v1.events.list_async({"delivery_success": False})).data
    assert (lost.type, lost.pending_webhooks) == ("payment_intent.succeeded", 1)


@pytest.mark.parametrize(
    ("kind", "done"), [("timeout_before_commit", 0), ("timeout_after_commit", 1)]
)
@pytest.mark.parametrize("seconds", [0, 0.2])
async def test_no_answer(client, sandbox, kind, done, seconds):
    sandbox.faults({"kind": kind, "only": "payment_intents.create", "times": 1, "seconds": seconds})
    create = client.v1.payment_intents.create_async
    with pytest.raises(stripe.APIConnectionError):
        await create(PRICE, {"idempotency_key": f"{kind}{seconds}"})
    assert sandbox.books()["totals"]["intents"] == done
    intent = await create(PRICE, {"idempotency_key": f"{kind}{seconds}"})
    assert ("Idempotent-Replayed" in intent.last_response.headers) is bool(done)
    assert sandbox.books()["totals"]["intents"] == 1


async def test_a_client_that_leaves_first_is_let_go(client, sandbox):
    sandbox.faults({"kind": "timeout_after_commit", "times": 1, "seconds": 60})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.v1.payment_intents.create_async(PRICE)
    assert sandbox.books()["totals"]["intents"] == 1


async def test_too_many_requests(client, sandbox):
    sandbox.faults({"kind": "rate_limit", "times": 1})
    create = client.v1.payment_intents.create_async
    with pytest.raises(stripe.RateLimitError) as refused:
        await create(PRICE, {"idempotency_key": "limited"})
    assert (refused.value.http_status, refused.value.error.code) == (429, "rate_limit")
    assert await create(PRICE, {"idempotency_key": "limited"})


@pytest.mark.parametrize(
    ("kind", "done"), [("server_error_before_commit", 0), ("server_error_after_commit", 1)]
)
async def test_server_errors_are_remembered_by_the_key(client, sandbox, kind, done):
    sandbox.faults({"kind": kind, "times": 1})
    create = client.v1.payment_intents.create_async
    for replayed in (None, "true"):
        with pytest.raises(stripe.APIError) as failed:
            await create(PRICE, {"idempotency_key": kind})
        assert failed.value.http_status == 500
        assert failed.value.headers.get("Idempotent-Replayed") == replayed
        assert failed.value.headers["Stripe-Should-Retry"] == "false"
    assert sandbox.books()["totals"]["intents"] == done


async def test_an_outage(client, sandbox, inbox):
    intent_id = await pay(client, sandbox)
    await settled(sandbox)
    (fault,) = sandbox.faults({"kind": "outage"})
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.payment_intents.retrieve_async(intent_id)
    with pytest.raises(OSError, match=r"closed|reset"):
        sandbox.pay(intent_id)
    sandbox.resend(inbox.events[0].id)
    await asyncio.sleep(0.1)
    assert len(inbox.events) == 3
    sandbox.control("DELETE", f"faults/{fault['id']}")
    await inbox.wait(4)
    assert (await client.v1.payment_intents.retrieve_async(intent_id)).status == "succeeded"
    sandbox.faults({"kind": "outage", "seconds": 0.3})
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.payment_intents.retrieve_async(intent_id)
    await asyncio.sleep(0.35)
    assert await client.v1.payment_intents.retrieve_async(intent_id)
    assert sandbox.show_faults() == []


async def test_a_payment_that_overtakes_its_cancellation(client, sandbox):
    sandbox.faults({"kind": "success_after_cancel_race", "seconds": 2})
    intents = client.v1.payment_intents
    intent = await intents.create_async(PRICE)
    cancelling = asyncio.create_task(intents.cancel_async(intent.id))
    await asyncio.sleep(0.05)
    assert sandbox.pay(intent.id)["status"] == "succeeded"
    async with asyncio.timeout(1):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await cancelling
    assert refused.value.code == "payment_intent_unexpected_state"
    assert refused.value.error.payment_intent.status == "succeeded"


async def test_a_cancellation_that_nobody_overtakes(client, sandbox):
    sandbox.faults({"kind": "success_after_cancel_race", "seconds": 0.05})
    intent = await client.v1.payment_intents.create_async(PRICE)
    assert (await client.v1.payment_intents.cancel_async(intent.id)).status == "canceled"


async def test_a_killed_sandbox_forgets_nothing(tmp_path, inbox):
    with running_sandbox(tmp_path, webhook_url=inbox.url, options=IMPATIENT) as sandbox:
        inbox.status = 500
        async with sandbox.client() as client:
            key = {"idempotency_key": "k"}
            intent = await client.v1.payment_intents.create_async(PRICE, key)
            sandbox.pay(intent.id)
            processing = await client.v1.payment_intents.create_async(PRICE)
            sandbox.pay(processing.id, "pm_usBankAccount_success")
            before = sandbox.books()["intents"]
        sandbox.kill()
        with (tmp_path / "books.jsonl").open("ab") as file:
            file.write(b'{"put": {"id": "pi_torn')
        await asyncio.sleep(0.05)  # what it sent last arrives
        inbox.status = 200
        inbox.events.clear()
        sandbox.start()
        assert sandbox.books()["intents"] == before
        async with sandbox.client() as client:
            again = await client.v1.payment_intents.create_async(PRICE, key)
            assert again.id == intent.id
            assert again.last_response.headers["Idempotent-Replayed"] == "true"
            await inbox.wait(7)
            assert await settled(sandbox) == {"to_deliver": 0, "given_up": 0}
            settled_one = await client.v1.payment_intents.retrieve_async(processing.id)
        assert settled_one.status == "succeeded"
        assert inbox.types().count("payment_intent.succeeded") == 2
        assert sandbox.stop() == 0


async def test_everything_that_was_answered_before_a_kill_is_there_after_it(tmp_path):
    with running_sandbox(tmp_path) as sandbox:
        answered: list[str] = []
        async with sandbox.client() as client:

            async def buy() -> None:
                while True:
                    intent = await client.v1.payment_intents.create_async(PRICE)
                    answered.append(intent.id)
                    if len(answered) == 100:
                        os.kill(sandbox.pid, signal.SIGKILL)

            gone = await asyncio.gather(*(buy() for _ in range(8)), return_exceptions=True)
        assert {type(error) for error in gone} == {stripe.APIConnectionError}
        sandbox.stop()
        sandbox.start()
        kept = {account["id"] for account in sandbox.books()["intents"]}
        assert set(answered) <= kept
        assert len(kept) <= len(answered) + 8


def test_it_takes_over_a_socket_and_ends_with_its_parent():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtests.stripe_sandbox", "--fd", str(fd), "--with-parent"],
            pass_fds=[fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            port = listener.getsockname()[1]
            assert told == {"url": f"http://127.0.0.1:{port}", "pid": process.pid}
            _, loud = process.communicate(timeout=5)
        assert process.returncode == 0
        assert b"NO MONEY MOVES" in loud


def test_it_ends_in_good_order_while_a_request_is_held(tmp_path):
    with running_sandbox(tmp_path) as sandbox:
        sandbox.faults({"kind": "timeout_after_commit", "seconds": 60})
        host, port = sandbox.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as held:
            held.sendall(
                b"GET /v1/events HTTP/1.1\r\nAuthorization: Bearer sk_test_sandbox\r\n\r\n"
            )
            assert sandbox.books()["events"] == 0
            os.kill(sandbox.pid, signal.SIGTERM)
            assert sandbox.stop() == 0
