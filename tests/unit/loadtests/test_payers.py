"""Payers do what buyers and browsers do, and measure what they say they measure."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import stripe

from loadtests.own_process import LoadFailed
from loadtests.payers import Buying, Delivering, Paid, Purchase, run_buying
from loadtests.payers.buying import buy
from loadtests.payers.delivering import deliver
from tests.unit.loadtests.small_server import http, server

SECRET = "whsec_known"


class Shop:
    """A service and a sandbox in one, that knows as much as payers look at."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.statuses: dict[str, list[tuple[str, int]]] = {}
        self.busy = 0
        self.confirm_after_s = 0.0
        self.webhooks: list[float] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Shop"]:
        async with server(self._answer) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self

    async def _answer(self, _: int, request: bytes, writer: asyncio.StreamWriter) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        method, path, _ = head.decode().split("\r\n")[0].split(" ")
        self.asked.append(f"{method} {path}")
        parts = path.split("/")
        if self.busy:
            self.busy -= 1
            writer.write(http(503))
        elif parts[-1] == "holds":
            booking_id = f"bk_{len(self.statuses)}"
            self._move(booking_id, "RESERVED")
            writer.write(http(201, json.dumps({"id": booking_id}).encode()))
        elif parts[-1] == "payment-intent":
            writer.write(http(201, json.dumps({"payment_intent_id": f"pi_{parts[-2]}"}).encode()))
        elif parts[-1] == "pay":
            writer.write(self._pay(parts[-2].removeprefix("pi_"), json.loads(body)))
        elif parts[-1] == "refund":
            self._move(parts[-2], "REFUNDED")
            writer.write(http(202))
        elif path == "/api/v1/stripe/events":
            self._webhook(head, body)
            writer.write(http(200))
        else:
            writer.write(http(200, self._show(parts[-1])))

    def _pay(self, booking_id: str, body: dict[str, str]) -> bytes:
        if body["payment_method"] == "pm_card_visa":
            self._confirm_soon(booking_id)
            return http(200)
        failed = [status for status, _ in self.statuses.get(booking_id, []) if status == "FAILED"]
        self._move(booking_id, "FAILED")
        if len(failed) == 2:
            self._move(booking_id, "CANCELLED")
        return http(402)

    def _webhook(self, head: bytes, body: bytes) -> None:
        signature = head.decode().partition("stripe-signature: ")[2].partition("\r\n")[0]
        stripe.WebhookSignature.verify_header(body.decode(), signature, SECRET, 10)
        self.webhooks.append(time.monotonic())
        self._confirm_soon(json.loads(body)["booking"])

    def _confirm_soon(self, booking_id: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self.confirm_after_s, self._move, booking_id, "CONFIRMED")

    def _move(self, booking_id: str, status: str) -> None:
        now_ms = time.time_ns() // 1_000_000
        self.statuses.setdefault(booking_id, []).append((status, now_ms))

    def _show(self, booking_id: str) -> bytes:
        history = [
            {"status": status, "at": datetime.fromtimestamp(ms / 1_000, UTC).isoformat()}
            for status, ms in self.statuses.get(booking_id, [("RESERVED", 0)])
        ]
        shown = {"id": booking_id, "status": history[-1]["status"], "history": history}
        return json.dumps(shown).encode()


async def bought(shop: Shop, *purchases: Purchase, **more):
    spec = Buying(shop.url, shop.url, list(purchases), **more)
    return await asyncio.wait_for(buy(spec, lambda _: None), 20)


async def test_buyers_hold_pay_and_wait_until_it_is_confirmed():
    async with Shop().open() as shop:
        shop.confirm_after_s = 0.2
        takings = await bought(shop, Purchase("t"), event_id="evt_1")
    assert takings.statuses == {"CONFIRMED": 1}
    assert 200 <= takings.confirmed.p50 < 400
    assert shop.asked[:3] == [
        "POST /api/v1/events/evt_1/holds",
        "POST /api/v1/bookings/bk_0/payment-intent",
        "POST /_sandbox/payment_intents/pi_bk_0/pay",
    ]


async def test_a_card_that_is_declined_is_followed_by_the_next():
    bad, good = "pm_card_chargeDeclined", "pm_card_visa"
    async with Shop().open() as shop:
        takings = await bought(
            shop, Purchase("t", "bk_x", (bad, good)), Purchase("t", "bk_y", (bad,) * 3), at_once=1
        )
    assert [one.status for one in takings.bought] == ["CONFIRMED", "CANCELLED"]
    assert takings.bought[0].confirmed_ms is not None
    assert takings.bought[1].confirmed_ms is None
    assert len([one for one in shop.asked if one.endswith("/pay")]) == 5


async def test_who_wants_the_money_back_gets_it():
    async with Shop().open() as shop:
        takings = await bought(shop, Purchase("t", "bk_x", refund=True))
    assert takings.statuses == {"REFUNDED": 1}


async def test_what_is_not_possible_at_the_moment_is_tried_again():
    async with Shop().open() as shop:
        shop.busy = 2
        takings = await bought(shop, Purchase("t", "bk_x"))
    assert takings.statuses == {"CONFIRMED": 1}
    assert shop.asked[:3] == ["POST /api/v1/bookings/bk_x/payment-intent"] * 3


async def test_time_ends_purchases_without_end():
    async with Shop().open() as shop:
        takings = await bought(shop, Purchase("t"), event_id="evt_1", seconds=0.3, at_once=2)
    assert len(takings.bought) > 2
    assert 0.3 <= takings.elapsed_s < 2


async def test_nobody_there_is_an_error():
    shop = Shop()
    shop.url = "http://127.0.0.1:9"
    with pytest.raises(LoadFailed, match="not answered"):
        await bought(shop, Purchase("t", "bk_x"))


def test_payers_in_a_process_of_their_own():
    told: list[int] = []

    async def run():
        async with Shop().open() as shop:
            spec = Buying(shop.url, shop.url, [Purchase("t", "bk_x")])
            return await asyncio.to_thread(run_buying, spec, told.append)

    assert asyncio.run(run()).statuses == {"CONFIRMED": 1}
    assert told == [1]


async def delivered(shop: Shop, count: int, **more):
    paid = [
        Paid(json.dumps({"booking": f"bk_{number}"}), f"bk_{number}", "t")
        for number in range(count)
    ]
    spec = Delivering(shop.url, SECRET, paid, **more)
    return await asyncio.wait_for(deliver(spec, lambda _: None), 20)


async def test_webhooks_keep_their_pace_whether_or_not_they_are_answered():
    async with Shop().open() as shop:
        shop.confirm_after_s = 0.3
        found = await delivered(shop, 20, per_second=50.0)
    assert found.confirmed == 20
    assert 0.3 < shop.webhooks[-1] - shop.webhooks[0] < 0.6
    assert 300 <= found.readable.p50 < 500
    assert 298 <= found.decided.p50 <= found.readable.p50 + 1
    assert found.accepted.p50 < 100
    assert found.before == 0


async def test_unwatched_nobody_looks_before_all_are_delivered():
    async with Shop().open() as shop:
        shop.confirm_after_s = 0.02
        found = await delivered(shop, 10, per_second=200.0, watched=False)
    methods = [one.split(" ")[0] for one in shop.asked]
    assert methods[:10] == ["POST"] * 10
    assert set(methods[10:]) == {"GET"}
    assert found.confirmed == 10
    assert found.readable.max == 0
    assert found.decided.p50 > 18


async def test_what_was_confirmed_before_is_not_measured():
    async with Shop().open() as shop:
        shop.statuses["bk_0"] = [("CONFIRMED", 1_000)]
        found = await delivered(shop, 2, per_second=100.0)
    assert (found.confirmed, found.before) == (2, 1)


async def test_a_webhook_that_is_not_taken_is_an_error():
    async with Shop().open() as shop:
        shop.busy = 1
        with pytest.raises(LoadFailed, match="was answered"):
            await delivered(shop, 1, per_second=100.0)
