"""The payment desk as the gateway sees it: an answer for every kind of trouble."""

import asyncio
import json

import pytest
from msgspec.structs import replace

from actors.contract import OwnerGone
from actors.measures import BURIED, QUARANTINED
from actors.payments import desk as desk_module
from actors.payments.contract import (
    Declined,
    DeskGone,
    Notice,
    NotNow,
    Opened,
    Report,
    StripeAway,
    StripeRefused,
)
from actors.payments.desk import (
    PaymentDesk,
    decode_opened,
    decode_report,
    decode_unsettled,
    encode_opened,
    encode_report,
    encode_unsettled,
)
from engine.domain.booking import Status
from engine.domain.payment import PaymentState
from engine.journal.contract import Unavailable
from engine.journal.entry import Position
from engine.journal.groups import BACK_OFFICE, PAYMENTS, PAYMENTS_INBOX
from engine.journal.keys import partition_of
from engine.journal.memory_stream_store import MemoryStreamStore
from engine.journal.memory_streams import MemoryStreams
from engine.journal.stream_fields import stream_key
from engine.journal.streams import StreamKind
from engine.limits import (
    HOLD_TTL_SECONDS_MAX,
    PAYMENT_GRACE_MS,
    RECONCILE_WIDE_EVERY_SECONDS,
    STREAM_TRIM_SECONDS,
)
from tests.samples import entry, expired
from tests.unit.actors.payments.given import INTENT, METADATA
from tests.unit.actors.payments.sale import Desk
from tests.unit.actors.recording_meter import RecordingMeter
from tests.unit.engine.domain.given import EVENT_ID, booking_id

NOW = 1_800_000_000


def counter(desk: Desk, streams: object = None) -> PaymentDesk:
    """Return a payment desk over the parts of a test."""
    streams = streams or MemoryStreams(MemoryStreamStore())
    return PaymentDesk(desk.stripe, desk.owners, desk.catalogue, streams)


def notice(kind: str, number: int, **changes: object) -> Notice:
    thing = {**INTENT, "metadata": {**METADATA, "booking": booking_id("ann")}, **changes}
    event = {
        "id": f"evt_{number}",
        "object": "event",
        "type": kind,
        "created": number,
        "data": {"object": thing},
    }
    return Notice(event["id"], kind, number, json.dumps(event).encode())


# -- opening ---------------------------------------------------------------------------


async def test_a_payment_is_opened_and_its_owner_knows() -> None:
    desk = Desk()
    opened = await counter(desk).open(desk.begun())
    assert opened == Opened("pi_1", "pi_1_secret_1")
    assert desk.booking().payment.intent_id == "pi_1"
    assert desk.booking().payment.state is PaymentState.OPEN
    assert await counter(desk).open(desk.unsettled()) == opened
    assert len(desk.stripe.intents) == 1


async def test_what_stripe_knows_better_is_told_to_the_owner() -> None:
    desk = Desk()
    desk.stripe.pay(await desk.opened())
    assert isinstance(await counter(desk).open(desk.unsettled()), Opened)
    assert desk.booking().status is Status.CONFIRMED


async def test_whoever_is_away_may_be_asked_again_later() -> None:
    desk = Desk()
    unsettled = desk.begun()
    desk.stripe.away = True
    assert await counter(desk).open(unsettled) == NotNow(7.0)
    desk.stripe.away, desk.catalogue.away = False, True
    assert isinstance(await counter(desk).open(unsettled), NotNow)
    desk.catalogue.away, desk.owners.instead = False, OwnerGone("killed")
    assert isinstance(await counter(desk).open(unsettled), NotNow)
    desk.owners.instead = None
    assert isinstance(await counter(desk).open(unsettled), Opened)
    assert len(desk.stripe.intents) == 1


async def test_what_stripe_refuses_is_declined() -> None:
    desk = Desk()
    desk.stripe.refuses = StripeRefused("amount_too_small", "no")
    assert await counter(desk).open(desk.begun()) == Declined("amount_too_small")


async def test_a_key_that_stripe_does_not_take_is_no_fault_of_the_buyer() -> None:
    desk = Desk()
    unsettled = desk.begun()
    desk.stripe.refuses = StripeRefused("unauthorized", "Invalid API Key")
    assert isinstance(await counter(desk).open(unsettled), NotNow)
    desk.stripe.refuses = None
    assert isinstance(await counter(desk).open(unsettled), Opened)


async def test_a_payment_of_another_amount_is_declined() -> None:
    desk = Desk()
    intent_id = await desk.opened()
    desk.stripe._change(intent_id, amount_minor=1)
    declined = await counter(desk).open(desk.unsettled())
    assert isinstance(declined, Declined)
    assert "payment_mismatch" in declined.code


async def test_a_payment_put_aside_is_counted_once_whoever_finds_it() -> None:
    desk, meter, streams = Desk(), RecordingMeter(), MemoryStreams(MemoryStreamStore())
    it = PaymentDesk(desk.stripe, desk.owners, desk.catalogue, streams, meter)
    intent_id = await desk.opened()
    desk.stripe.pay(intent_id)
    desk.stripe._change(intent_id, currency="USD")
    for _ in range(2):
        assert isinstance(await it.open(desk.unsettled()), Declined)  # the buyer asks again
        assert len((await it.reconcile(0)).troubles) > 0
    assert meter.count(QUARANTINED) == 1

    working = asyncio.create_task(it.work())
    metadata = {"booking": booking_id("ann"), "event": EVENT_ID, "customer": "ann"}
    for number, currency in enumerate(("usd", "usd", "gbp")):
        changes = {"id": intent_id, "amount": 9_000, "currency": currency, "metadata": metadata}
        await it.take_in([notice("payment_intent.processing", number, **changes)])
    await asyncio.sleep(5)
    assert meter.count(BURIED, PAYMENTS_INBOX.name) == 3
    assert meter.count(QUARANTINED) == 1, "the same was found by a webhook"

    await it.take_in(
        [notice("payment_intent.processing", 9, id="pi_other", amount=9_000, metadata=metadata)]
    )
    await asyncio.sleep(5)
    assert meter.count(QUARANTINED) == 2
    working.cancel()
    await asyncio.wait([working])


async def test_money_that_names_no_booking_is_counted() -> None:
    desk, meter = Desk(), RecordingMeter()
    it = PaymentDesk(
        desk.stripe, desk.owners, desk.catalogue, MemoryStreams(MemoryStreamStore()), meter
    )
    intent = desk.stripe.pay(await desk.opened())
    desk.stripe.intents["pi_9"] = replace(intent, intent_id="pi_9", booking_id="")
    for _ in range(2):
        await it.reconcile(0)
    assert meter.count(QUARANTINED) == 1


async def test_what_it_says_crosses_processes() -> None:
    desk = Desk()
    unsettled = desk.begun()
    assert decode_unsettled(encode_unsettled(unsettled)) == unsettled
    for answer in (Opened("pi_1", "secret"), NotNow(2.5), Declined("code")):
        assert decode_opened(encode_opened(answer)) == answer
    report = await counter(desk).reconcile(0)
    assert decode_report(encode_report(report)) == report
    assert "secret" not in repr(Opened("pi_1", "secret"))


# -- what webhooks would have said -----------------------------------------------------


async def test_lost_webhooks_stand_where_the_webhooks_would() -> None:
    streams = MemoryStreams(MemoryStreamStore())
    good = notice("payment_intent.succeeded", 1, status="succeeded", amount_received=4_500)
    bad = notice("payment_intent.succeeded", 2, amount="a lot")
    foreign = notice("payment_intent.succeeded", 3, metadata={})
    await counter(Desk(), streams).take_in([good, bad, foreign])
    partition = partition_of(EVENT_ID)
    await streams.ensure_group(PAYMENTS_INBOX, range(64))
    (found,) = await streams.read(PAYMENTS_INBOX, "c", range(64), 10, 0)
    assert (found.partition, found.message.id, found.event_id) == (partition, "evt_1", EVENT_ID)


async def test_nothing_to_put_asks_no_store() -> None:
    await counter(Desk(), object()).take_in([notice("customer.created", 1)])


# -- reconciling -----------------------------------------------------------------------


async def test_what_keeps_it_from_comparing_is_said_in_words() -> None:
    desk = Desk()
    desk.stripe.away = True
    with pytest.raises(DeskGone, match="Stripe does not answer: the test took it away"):
        await counter(desk).reconcile(0)
    desk.stripe.away, desk.catalogue.away = False, True
    with pytest.raises(DeskGone, match="the store does not answer"):
        await counter(desk).reconcile(0)


async def test_two_do_not_compare_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    running, most = 0, 0

    async def undelivered(created: int, after: str | None) -> tuple[list[Notice], bool]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        return [], False

    desk.stripe.undelivered = undelivered
    it = counter(desk)
    await asyncio.gather(*(it.reconcile(0) for _ in range(3)))
    assert most == 1


# -- at work ---------------------------------------------------------------------------


class LoopClock:
    """The wall clock, as virtual as the loop's; it begins at NOW."""

    def __init__(self) -> None:
        self._began: float | None = None

    def time(self) -> float:
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        return NOW + now - self._began

    def time_ns(self) -> int:
        return int(self.time() * 1_000_000_000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LoopClock:
    clock = LoopClock()
    monkeypatch.setattr(desk_module, "time", clock)
    return clock


async def test_it_works_through_outages_of_stripe_and_store(clock: LoopClock) -> None:
    trouble = [StripeAway("outage", 1.0), Unavailable("gone"), StripeRefused("bad_key", "no")]
    runs: list[int | None] = []

    class Failing:
        async def run(self, since: int | None = None, *, again: bool) -> Report:
            assert not again, "every minute each event that rests was woken"
            runs.append(since)
            if trouble:
                raise trouble.pop(0)
            return Report()

    it = counter(Desk())
    it._reconciler = Failing()
    working = asyncio.create_task(it.work())
    await asyncio.sleep(5.5 * desk_module.RECONCILE_EVERY_SECONDS)
    assert not working.done()
    working.cancel()
    await asyncio.wait([working])
    # As far back as Stripe's own attempts until it has worked once.
    first = NOW - desk_module.RECONCILE_FIRST_LOOK_BACK_SECONDS
    assert runs == [first, first, first, first, NOW + 3 * 60 - 900, NOW + 4 * 60 - 900]


async def looks(hours: float, fails: range = range(0)) -> list[int]:
    """Let a desk work for so long; return from when on each run has looked.

    Args:
        hours: how long.
        fails: the runs that fail.
    """
    runs: list[int] = []

    class Counting:
        async def run(self, since: int, *, again: bool) -> Report:
            assert not again, "every minute each event that rests was woken"
            runs.append(since)
            if len(runs) - 1 in fails:
                raise StripeAway("an outage", 1.0)
            return Report()

    it = counter(Desk())
    it._reconciler, it._consumers = Counting(), ()
    working = asyncio.create_task(it.work())
    await asyncio.sleep(hours * 3_600 + 1)
    working.cancel()
    await asyncio.wait([working])
    return runs


async def test_after_a_later_outage_it_looks_as_far_back_as_it_lasted(clock: LoopClock) -> None:
    runs = await looks(50 / 60, range(1, 41))

    assert runs[1:42] == [NOW - 900] * 41, "from the last success, however long ago"
    assert runs[42] == NOW + 41 * 60 - 900


async def test_once_an_hour_it_looks_back_longer_than_any_hold_lasts(clock: LoopClock) -> None:
    runs = await looks(2.5)

    longest = HOLD_TTL_SECONDS_MAX + PAYMENT_GRACE_MS / 1_000
    wide = [number for number in range(1, 150) if NOW + number * 60 - runs[number] > longest]
    assert wide == [60, 120]
    every = RECONCILE_WIDE_EVERY_SECONDS
    assert NOW + 3_600 - runs[60] > longest + every, "each is looked at after it has ended"
    assert runs[61] == NOW + 60 * 60 - 900


async def test_a_look_from_further_back_that_fails_is_made_up_for(clock: LoopClock) -> None:
    runs = await looks(1.2, range(60, 63))

    assert runs[60] < NOW
    assert runs[61:64] == [runs[60]] * 3
    assert runs[64] == NOW + 63 * 60 - 900


async def test_what_the_back_office_has_yet_to_read_is_kept_although_it_has_never_come() -> None:
    """A first start without a database: sales go on, and are in the books later."""
    store = MemoryStreamStore()
    streams = MemoryStreams(store)
    it = counter(Desk(), streams)
    working = asyncio.create_task(it.work())
    for number in (1, 2, 3):
        store.add_effects(EVENT_ID, entry(Position(1, number), expired(number)))
    await asyncio.sleep(3.5 * STREAM_TRIM_SECONDS)
    partition = partition_of(EVENT_ID)
    done = (await streams.lag(PAYMENTS))[partition]
    assert (done.undelivered, done.pending) == (0, 0), "the payment desk has not finished"

    await streams.ensure_group(BACK_OFFICE, [partition])
    found = await streams.read(BACK_OFFICE, "clerk", [partition], 10, 0)
    assert [delivery.message.entry.sequence for delivery in found] == [1, 2, 3]

    await streams.finish(BACK_OFFICE, found)
    await asyncio.sleep(STREAM_TRIM_SECONDS)
    assert len(store.streams[stream_key(StreamKind.EFFECTS, partition)]) == 1, "nothing is trimmed"
    working.cancel()
    await asyncio.wait([working])


async def test_a_webhook_and_an_effect_take_their_way() -> None:
    desk, streams = Desk(), MemoryStreams(MemoryStreamStore())
    it = counter(desk, streams)
    intent_id = await desk.opened()
    desk.stripe.pay(intent_id)
    success = notice(
        "payment_intent.succeeded",
        1,
        id=intent_id,
        status="succeeded",
        amount=9_000,
        amount_received=9_000,
        metadata={"booking": booking_id("ann"), "event": EVENT_ID, "customer": "ann"},
    )
    working = asyncio.create_task(it.work())
    await it.take_in([success])
    await asyncio.sleep(5)
    assert desk.booking().status is Status.CONFIRMED
    working.cancel()
    await asyncio.wait([working])
