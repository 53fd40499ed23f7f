"""Webhooks: many times at once, in any order, forged, lost (FAULTS.md, 5, 7, 20 and 26)."""

import asyncio
import logging
import random
import select
import socket
import time
from contextlib import suppress
from itertools import permutations
from typing import Any

import pytest

from engine.domain.booking import Booking
from engine.domain.records import BookingConfirmed
from engine.limits import RECONCILE_EVERY_SECONDS
from tests.end_to_end.money import settled
from tests.end_to_end.service import resident_bytes
from tests.end_to_end.shop import WEBHOOKS, Shop
from tests.end_to_end.till import Till, altered, till_of
from tests.stripe_sandbox import API_KEY, Refused, ask


async def test_a_webhook_sent_100_times_at_once_confirms_once(shop: Shop):
    async with till_of(shop, 10) as till:
        shop.sandbox.faults({"kind": "webhook_drop", "only": "payment_intent.succeeded"})
        ann = await till.paid("ann", 2)
        event = till.event_of(ann, "payment_intent.succeeded")
        answers = await asyncio.gather(*(till.send(event) for _ in range(100)))
        assert {answer.status_code for answer in answers} == {200}
        await till.becomes(ann, "CONFIRMED")
        await settled(till)
        assert len(await till.records(BookingConfirmed)) == 1
        shown = await till.shown(ann)
        assert [moment["status"] for moment in shown["history"]] == [
            "RESERVED",
            "PAYMENT_PENDING",
            "CONFIRMED",
        ]


# -- forged (26) -----------------------------------------------------------------------


async def test_a_webhook_that_stripe_did_not_sign_now_changes_nothing(shop: Shop):
    forgeries: list[dict[str, Any]] = [
        {"signature": ""},
        {"signature": "v1=00"},
        {"secret": "whsec_of_somebody_else"},
        {"late_seconds": 400},
        {"late_seconds": -400},
    ]
    async with till_of(shop, 10) as till:
        shop.sandbox.faults({"kind": "webhook_drop"})
        ann = await till.paid("ann")
        event = till.event_of(ann, "payment_intent.succeeded")
        before = await till.entries()
        for forgery in forgeries:
            answer = await till.send(event, **forgery)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_signature"), forgery
            assert await till.shop.behind(till.event_id) == 0, forgery
        assert await till.entries() == before
        assert (await till.send(event)).status_code == 200
        await till.becomes(ann, "CONFIRMED")
        await settled(till)


async def test_what_does_not_belong_to_its_booking_is_put_aside_and_confirms_nothing(shop: Shop):
    async with till_of(shop, 10) as till:
        shop.sandbox.faults({"kind": "webhook_drop"})
        ann, bob = await till.paid("ann"), await till.opened("bob")
        event = till.event_of(ann, "payment_intent.succeeded")
        metadata = event["data"]["object"]["metadata"]
        lies: list[dict[str, Any]] = [
            {"amount": 4_499, "amount_received": 4_499},
            {"amount_received": 4_499},
            {"currency": "usd"},
            {"metadata": {**metadata, "customer": "eve"}},
            {"metadata": {**metadata, "event": "evt_000000000000"}},
            {"metadata": {"booking": ann.booking_id}},
            {"metadata": {name: metadata[name] for name in ("event", "customer")}},
            {"metadata": {**metadata, "booking": "bk_nobody"}},
            {"metadata": {**metadata, "customer": "bob", "booking": bob.booking_id}},
            {"id": "pi_of_another_shop"},
        ]
        for lie in lies:
            assert (await till.send(altered(event, **lie))).status_code == 200
        await _letters(till, len(lies))
        assert [await till.status(one) for one in (ann, bob)] == ["PAYMENT_PENDING"] * 2
        assert await till.records(BookingConfirmed) == []
        reasons = [letter.reason for letter in await till.dead_letters()]
        assert [reason.rpartition(": ")[2] for reason in reasons] == [
            *("amount", "received", "currency", "customer", "event", "customer"),
            *("''", "'bk_nobody'", "intent", "intent"),
        ]
        assert (await till.send(event)).status_code == 200
        await till.becomes(ann, "CONFIRMED")
        await till.buyers.release("bob", bob.booking_id)
        await settled(till)


async def _letters(till: Till, count: int) -> None:
    deadline = time.monotonic() + 10.0
    while len(await till.dead_letters()) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_webhook_of_50_mb_is_turned_away_unread(shop: Shop):
    async with till_of(shop, 10) as till:
        before = [resident_bytes(pid) for pid in shop.service.gateways()]
        sent, answer = await asyncio.to_thread(_send_much, shop.service.url, 50_000_000)
        assert b" 413 " in answer.splitlines()[0]
        assert sent < 20_000_000, "it was read to the end"
        after = [resident_bytes(pid) for pid in shop.service.gateways()]
        assert sum(after) - sum(before) < 20_000_000
        await settled(till)


def _send_much(url: str, size: int) -> tuple[int, bytes]:
    """Send a body until nobody takes it any more; return how much, and the answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    head = f"POST {WEBHOOKS} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {size}\r\n\r\n"
    sent, piece = 0, b" " * 65_536
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(head.encode())
        with suppress(OSError):
            while sent < size and not select.select([line], [], [], 0)[0]:
                sent += line.send(piece)
        return sent, line.recv(65_536)


# -- lost (20) -------------------------------------------------------------------------


async def test_what_every_webhook_was_lost_of_the_reconciler_finds_out(shop: Shop):
    async with till_of(shop, 40) as till:
        refunded, partly = await till.bought("refunded", 2), await till.bought("partly", 2)
        shop.sandbox.faults({"kind": "webhook_drop"})
        paid = await till.paid("paid", 2)
        declined, open_, left = [await till.opened(name) for name in ("declined", "open", "left")]
        for _ in range(3):
            with pytest.raises(Refused):
                shop.sandbox.pay(declined.intent_id, "pm_card_chargeDeclined")
        await till.buyers.release("left", left.booking_id)
        await till.refund(refunded)
        await till.refund(partly, 1)
        assert await till.status(paid) == await till.status(declined) == "PAYMENT_PENDING"

        report = await till.reconciled()
        # Other drills have left events behind that stand still on purpose.
        assert [one for one in report["troubles"] if till.event_id[4:] in one] == []
        ends = {paid: "CONFIRMED", declined: "CANCELLED", open_: "PAYMENT_PENDING"}
        ends |= {left: "CANCELLED", refunded: "REFUNDED", partly: "CONFIRMED"}
        for purchase, status in ends.items():
            await till.becomes(purchase, status, 10.0)
        shop.sandbox.clear_faults()
        shop.sandbox.pay(open_.intent_id)
        await settled(till)
        again = await till.reconciled()
        mine = [one for one in again["repairs"] if till.event_id[4:] in one["booking_id"]]
        assert mine == [], "there was something left"


@pytest.mark.drill
async def test_without_webhooks_it_converges_by_itself_within_its_period(shop: Shop):
    async with till_of(shop, 40) as till:
        shop.sandbox.faults({"kind": "webhook_drop"})
        bought = [await till.paid(f"buyer-{number}") for number in range(10)]
        for one in bought:
            await till.becomes(one, "CONFIRMED", RECONCILE_EVERY_SECONDS + 15.0)
        await settled(till)


# -- in any order (7) ------------------------------------------------------------------

_FIVE = (
    "payment_intent.created",
    "payment_intent.payment_failed",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
    "charge.refunded",
)


@pytest.mark.parametrize("orders_max", [12, pytest.param(120, marks=pytest.mark.drill)])
async def test_five_webhooks_of_a_payment_end_the_same_in_any_order(shop: Shop, orders_max: int):
    seed = random.randrange(1 << 32)
    logging.getLogger(__name__).warning("seed %d", seed)
    orders = random.Random(seed).sample(list(permutations(_FIVE)), orders_max)
    async with till_of(shop, 2 * orders_max) as till:
        shop.sandbox.faults({"kind": "webhook_drop"})
        everyone = []
        for number, order in enumerate(orders):
            one = await till.opened(f"buyer-{number}", 2)
            with pytest.raises(Refused):
                shop.sandbox.pay(one.intent_id, "pm_card_chargeDeclined")
            shop.sandbox.pay(one.intent_id, "pm_card_threeDSecure2Required")
            shop.sandbox.authenticate(one.intent_id)
            key = {"authorization": f"Bearer {API_KEY}"}
            ask(f"{shop.sandbox.url}/v1/refunds", key, f"payment_intent={one.intent_id}")
            events = {event["type"]: event for event in till.events_of(one)}
            for kind in order:
                assert (await till.send(events[kind])).status_code == 200
            everyone.append(one)
        state = await settled(till)
        ends = {
            (order, _end(state.bookings[one.booking_id]))
            for order, one in zip(orders, everyone, strict=True)
        }
        assert {end for _, end in ends} == {("REFUNDED", "captured", 9_000, 9_000, 0)}, ends


def _end(booking: Booking) -> tuple[Any, ...]:
    payment = booking.payment
    assert payment is not None
    return (
        str(booking.status),
        str(payment.state),
        payment.captured_minor,
        payment.refunded_minor,
        payment.kept_minor,
    )
