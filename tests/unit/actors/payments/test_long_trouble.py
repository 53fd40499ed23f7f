"""Hours of trouble with Stripe, in virtual time: the real client before the sandbox's own books.

FAULTS 19 and 20 at their full length: Stripe is away for an hour while holds end, and no
webhook comes for two.
"""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest

from actors.payments import desk as desk_module
from actors.payments import reconciler
from actors.payments.breaker import Breaker
from actors.payments.calling import Caller
from actors.payments.connections import READ_SECONDS, Answer, Connections
from actors.payments.contract import NotNow, Opened, StripeAway
from actors.payments.desk import PaymentDesk
from actors.payments.limiter import ENDPOINT_PER_SECOND, Limiter
from actors.payments.stripe_api import StripeApi
from engine.domain.booking import Status
from engine.domain.commands import Caller as Buyer
from engine.domain.commands import OpenPayment
from engine.domain.outcomes import PaymentShown, UnsettledPayment
from engine.domain.payment import PaymentState
from engine.domain.state import check_fully
from engine.journal.entry import Position
from engine.journal.groups import PAYMENTS, PAYMENTS_INBOX
from engine.journal.keys import partition_of
from engine.journal.memory_stream_store import MemoryStreamStore
from engine.journal.memory_streams import MemoryStreams
from engine.journal.streams import Delivery, Group
from engine.limits import PAYMENT_GRACE_MS, RECONCILE_EVERY_SECONDS, RECONCILE_YOUNGER_SECONDS
from loadtests.stripe_sandbox import intents, refunds
from loadtests.stripe_sandbox.params import IntentConfirm, RefundCreate
from loadtests.stripe_sandbox.sandbox import Sandbox, Settings
from loadtests.stripe_sandbox.server import make_app
from tests.samples import entry
from tests.unit.actors.payments.sale import OneEvent, SaleOwners
from tests.unit.engine.domain.given import (
    EVENT_ID,
    NOW_MS,
    TTL_MS,
    Sale,
    a_type,
    booking_id,
    release,
)

PRICE_MINOR = 4_500
#: How often the owner looks whose time is up, seconds.
_TURN_SECONDS = 1.0
HOUR = 3_600.0


class WorldClock:
    """The wall clock, as virtual as the loop's; it begins at NOW_MS."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    def time(self) -> float:
        return NOW_MS / 1_000 + asyncio.get_running_loop().time() - self._began

    def time_ns(self) -> int:
        return round(self.time() * 1e9)


class LongWay:
    """The way to Stripe; keeps `actors.payments.calling.Line`. `away`: nothing comes back.

    `asked` are the loop's times at which something set out, by what it was.
    """

    def __init__(self, line: Connections) -> None:
        self.away = False
        self.asked: list[tuple[float, str]] = []
        self._line = line

    async def ask(
        self, method: str, path: str, params: Mapping[str, Any], key: str | None
    ) -> Answer:
        last = path.rsplit("/", 1)[-1]
        what = last if last in ("cancel", "capture") else f"{method} {path.split('/')[2]}"
        self.asked.append((asyncio.get_running_loop().time(), what))
        if self.away:
            await asyncio.sleep(READ_SECONDS)
            raise StripeAway("no answer", 0.5)
        return await self._line.ask(method, path, params, key)

    def most_in_a_second(self) -> int:
        """Return how many calls of one kind set out within a second at most."""
        most = 0
        for kind in {what for _, what in self.asked}:
            times = [at for at, what in self.asked if what == kind]
            most = max(most, *(bisect_left(times, at + 1) - n for n, at in enumerate(times)))
        return most


class OneStream(MemoryStreams):
    """Streams of which only the sale's own partition is read: there is nothing in the others."""

    async def read(
        self, group: Group, consumer: str, _: Sequence[int], count: int, block_ms: int
    ) -> list[Delivery]:
        mine = [partition_of(EVENT_ID)]
        return await super().read(group, consumer, mine, count, block_ms)

    async def claim_abandoned(
        self, group: Group, consumer: str, _: Sequence[int], idle_ms: int, count: int
    ) -> list[Delivery]:
        mine = [partition_of(EVENT_ID)]
        return await super().claim_abandoned(group, consumer, mine, idle_ms, count)


class World:
    """A sale of 60 tickets, its payment desk at work, Stripe, and time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = WorldClock()
        monkeypatch.setattr(desk_module, "time", clock)
        monkeypatch.setattr(reconciler, "time", clock)
        self.sale = Sale(a_type(), capacities={"ga": 60})
        self.sandbox = Sandbox(Settings(), clock.time)
        connections = Connections("sk_test_sandbox", "http://sandbox.test")
        app = httpx.ASGITransport(make_app(self.sandbox))
        monkeypatch.setattr(connections._http, "_pool", httpx.AsyncClient(transport=app))
        self.way = LongWay(connections)
        self.streams_store = MemoryStreamStore()
        self.streams = OneStream(self.streams_store)
        loop = asyncio.get_running_loop()
        caller = Caller(self.way, Limiter(), Breaker(loop.time), lambda: 0.5)
        owners, catalogue = SaleOwners(self.sale), OneEvent(self.sale)
        stripe = StripeApi(caller, clock.time)
        self.desk = PaymentDesk(stripe, owners, catalogue, self.streams)
        self._clock = clock
        self._told = 0

    async def turns(self) -> None:
        """Be the owner's clock and its journal: expire what is due, hand on what was decided."""
        while True:
            self.sale.now_ms = round(self._clock.time() * 1_000)
            self.sale.expire_due()
            entries, self._told = self.sale.entries[self._told :], len(self.sale.entries)
            for one in entries:
                position = Position(1, one.sequence)
                self.streams_store.add_effects(EVENT_ID, entry(position, *one.records))
            await asyncio.sleep(_TURN_SECONDS)

    async def open(self, customer: str) -> Opened | NotNow:
        shown = self.sale.ask(OpenPayment(booking_id(customer), Buyer(customer)))
        assert isinstance(shown, PaymentShown), shown
        wanted = UnsettledPayment(booking_id(customer), customer, shown.payment)
        answer = await self.desk.open(wanted)
        assert isinstance(answer, Opened | NotNow), answer
        return answer

    async def opened(self, *customers: str) -> list[str]:
        """Have these hold a ticket each and open their payments, and return the intents."""
        for customer in customers:
            self.sale.placed(customer, ga=1)
        answers = await asyncio.gather(*map(self.open, customers))
        assert all(isinstance(one, Opened) for one in answers), answers
        return [one.intent_id for one in answers if isinstance(one, Opened)]

    def pay(self, intent_id: str) -> None:
        """Pay at Stripe, which buyers reach even if we do not."""
        confirm = IntentConfirm(payment_method="pm_card_visa")
        self.sandbox.do(lambda change: intents.confirm(change, confirm, intent_id))

    def statuses(self, *customers: str) -> Counter[Status]:
        return Counter(self.sale.booking(one).status for one in customers)

    async def check_the_end(self) -> None:
        """Check that money and tickets agree, and nothing is under way or was given up."""
        check_fully(self.sale.state)
        assert not self.sale.state.unsettled
        for group in (PAYMENTS, PAYMENTS_INBOX):
            assert await self.streams.dead_letters(group, 10) == []
        books = self.sandbox.accounts()
        assert set(books["statuses"]) <= {"succeeded", "canceled"}
        booked = Counter(one["metadata"]["booking"] for one in books["intents"])
        assert set(booked.values()) == {1}, "one payment for each booking"
        left_minor = books["totals"]["captured"] - books["totals"]["refunded"]
        assert left_minor == PRICE_MINOR * self.sale.counts()[2]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    it = World(monkeypatch)
    working = [asyncio.create_task(it.turns()), asyncio.create_task(it.desk.work())]
    await asyncio.sleep(1)
    yield it
    assert not any(task.done() for task in working), working
    for task in working:
        task.cancel()
    await asyncio.wait(working)


def named(word: str, count: int) -> list[str]:
    return [f"{word} {number}" for number in range(count)]


async def test_stripe_is_away_for_an_hour_while_holds_end(world: World) -> None:
    paying, idle, leaving, coming = (named(one, 15) for one in ("pays", "idle", "left", "comes"))
    late = await world.opened(*paying)
    await world.opened(*idle, *leaving)
    for customer in coming:
        world.sale.placed(customer, ga=1)
    world.way.away = True
    began = len(world.way.asked)

    for customer in leaving:
        world.sale.ask(release(customer))
    answers = await asyncio.gather(*map(world.open, coming))
    assert all(isinstance(one, NotNow) for one in answers)
    for intent_id in late:
        world.pay(intent_id)
    await asyncio.sleep((TTL_MS + PAYMENT_GRACE_MS) / 1_000 + 60)
    assert world.statuses(*paying, *idle, *coming) == {Status.EXPIRED: 45}
    assert world.sale.counts() == (60, 0, 0), "stock does not wait for Stripe"

    await asyncio.sleep(HOUR - TTL_MS / 1_000 - 120)
    others = named("other", 50)
    for customer in others:
        world.sale.placed(customer, ga=1)
    answers = await asyncio.gather(*map(world.open, others))
    assert all(isinstance(one, NotNow) for one in answers)
    assert len(world.way.asked) - began < HOUR / 5, (
        "it is left alone, but for one call now and then"
    )

    world.way.away = False
    await asyncio.sleep(6)
    for answer in await asyncio.gather(*map(world.open, others)):
        assert isinstance(answer, Opened)
        world.pay(answer.intent_id)
    await asyncio.sleep(5 * RECONCILE_EVERY_SECONDS)

    assert world.sale.counts() == (0, 0, 60)
    assert world.statuses(*others) == {Status.CONFIRMED: 50}
    assert world.statuses(*paying) == {Status.CONFIRMED: 10, Status.EXPIRED: 5}
    states = Counter(world.sale.booking(one).payment.state for one in paying)
    assert states == {PaymentState.CAPTURED: 10, PaymentState.RETURNED: 5}, "late money goes back"
    assert world.statuses(*idle, *coming) == {Status.EXPIRED: 30}
    assert world.statuses(*leaving) == {Status.CANCELLED: 15}
    assert world.way.most_in_a_second() <= ENDPOINT_PER_SECOND + 5, "nobody storms Stripe"
    await world.check_the_end()


async def test_no_webhook_comes_for_two_hours(world: World) -> None:
    within = RECONCILE_EVERY_SECONDS + RECONCILE_YOUNGER_SECONDS + 5
    bought: list[tuple[str, str]] = []
    for number in range(50):
        customer = f"buyer {number}"
        (intent_id,) = await world.opened(customer)
        await asyncio.sleep(30)
        world.pay(intent_id)
        await asyncio.sleep(within)
        assert world.sale.booking(customer).status is Status.CONFIRMED, number
        bought.append((customer, intent_id))
        await asyncio.sleep(2 * HOUR / 50 - 30 - within)

    first, intent_id = bought[0]
    back = RefundCreate(payment_intent=intent_id)
    world.sandbox.do(lambda change: refunds.create(change, back, ""))
    await asyncio.sleep(within)

    assert world.sale.booking(first).status is Status.REFUNDED, "though it was bought hours ago"
    await world.check_the_end()
