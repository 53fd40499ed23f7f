"""Kill -9 the payment desk at every step of create, confirm and refund (FAULTS.md, 18)."""

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from engine.domain.records import BookingConfirmed, IntentOpened, RefundSettled
from tests.end_to_end.money import settled
from tests.end_to_end.shop import Shop
from tests.end_to_end.till import Purchase, Till, till_of

#: What becomes of a call during which the desk is killed: not carried out, carried out
#: after it, carried out before it and the answer lost.
_MOMENTS = {
    "before": {"kind": "timeout_before_commit", "seconds": 20.0},
    "during": {"kind": "latency", "seconds_min": 1.0, "seconds_max": 1.0},
    "after": {"kind": "timeout_after_commit", "seconds": 20.0},
}
_CREATE, _CANCEL = "payment_intents.create", "payment_intents.cancel"
_CAPTURE, _REFUND = "payment_intents.capture", "refunds.create"


async def _held_up(till: Till, operation: str, moment: str, cause: Callable[[], Awaitable[None]]):
    """Bring about a call of Stripe, and return when it is stuck at this moment."""
    (fault,) = till.sandbox.faults({**_MOMENTS[moment], "only": operation, "times": 1})
    await cause()
    deadline = time.monotonic() + 10.0
    while any(one["id"] == fault["id"] for one in till.sandbox.show_faults()):
        assert time.monotonic() < deadline, f"Stripe was not asked for {operation}"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "moment", ["before", pytest.param("during", marks=pytest.mark.drill), "after"]
)
async def test_killed_in_its_calls_of_stripe_it_does_nothing_twice(shop: Shop, moment: str):
    """One call of each kind is under way when it dies.

    They are of several events, because of one event the desk takes its steps in turn.
    """
    async with (
        till_of(shop, 10, capture_method="manual") as capturing,
        till_of(shop, 10) as cancelling,
        till_of(shop, 10) as refunding,
    ):
        captured, cancelled = await capturing.opened("ann", 2), await cancelling.opened("ann", 2)
        refunded, held = await refunding.bought("ann", 2), await refunding.held("bob", 2)
        asked: list[asyncio.Task[Purchase]] = []

        async def create() -> None:
            asked.append(asyncio.create_task(refunding.opened("bob", booking_id=held)))

        async def capture() -> None:
            capturing.sandbox.pay(captured.intent_id)

        async def cancel() -> None:
            await cancelling.buyers.release("ann", cancelled.booking_id)

        async def refund() -> None:
            await refunding.refund(refunded)

        await _held_up(refunding, _CREATE, moment, create)
        await _held_up(capturing, _CAPTURE, moment, capture)
        await _held_up(cancelling, _CANCEL, moment, cancel)
        await _held_up(refunding, _REFUND, moment, refund)
        await shop.kill_desk()

        created = await asked[0]
        shop.sandbox.pay(created.intent_id)
        await refunding.becomes(created, "CONFIRMED")
        await capturing.becomes(captured, "CONFIRMED")
        await cancelling.becomes(cancelled, "CANCELLED")
        await refunding.becomes(refunded, "REFUNDED")
        for till in (capturing, cancelling, refunding):
            await settled(till)
            bookings = (await till.state()).bookings
            assert len(till.accounts()) == len(await till.records(IntentOpened)) == len(bookings)
        assert len(await capturing.records(BookingConfirmed)) == 1
        assert len(await refunding.records(BookingConfirmed)) == 2
        assert len(await refunding.records(RefundSettled)) == 1


@asynccontextmanager
async def _frozen(pid: int) -> AsyncIterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # the warden was faster
            os.kill(pid, signal.SIGCONT)


async def test_killed_before_it_has_read_what_webhooks_brought_it_confirms_later(shop: Shop):
    async with till_of(shop, 10) as till:
        ann = await till.opened("ann", 2)
        desk = shop.desk()
        assert desk is not None
        os.kill(desk, signal.SIGSTOP)
        shop.sandbox.pay(ann.intent_id)
        await _has_behind(till, lambda behind: behind > 0)
        os.kill(desk, signal.SIGKILL)
        await till.becomes(ann, "CONFIRMED")
        await settled(till)


@pytest.mark.parametrize(
    "step", ["confirm", pytest.param("create", marks=pytest.mark.drill), "refund"]
)
async def test_killed_while_it_tells_the_owner_it_tells_it_again(shop: Shop, step: str):
    """Stripe has done it, the owner was told and has not answered, nothing is acknowledged."""
    async with till_of(shop, 10) as till:
        held = await till.held("ann", 2)
        if step == "create":
            shop.sandbox.faults(_slow(_CREATE))
            asked = asyncio.create_task(till.opened("ann", booking_id=held))
            await _struck(till)
        elif step == "confirm":
            ann = await till.opened("ann", booking_id=held)
        else:
            ann = await till.opened("ann", booking_id=held)
            shop.sandbox.pay(ann.intent_id)
            await till.becomes(ann, "CONFIRMED")
            shop.sandbox.faults(_slow(_REFUND))
            await till.refund(ann)
            await _struck(till)  # the desk has asked the owner what is to be done
        owner = await shop.service.owner(till.event_id)
        assert owner is not None
        async with _frozen(owner.pid):
            if step == "confirm":
                shop.sandbox.pay(ann.intent_id)
                await _has_behind(till, lambda behind: behind > 0)
            else:
                await _done_at_stripe(till, step)
            await asyncio.sleep(0.1)  # it has told the owner by now
            await shop.kill_desk()
        if step == "create":
            ann = await asked
            shop.sandbox.pay(ann.intent_id)
        await till.becomes(ann, "REFUNDED" if step == "refund" else "CONFIRMED")
        await settled(till)
        assert len(till.accounts()) == 1


def _slow(operation: str) -> dict[str, object]:
    return {
        "kind": "latency",
        "only": operation,
        "times": 1,
        "seconds_min": 0.5,
        "seconds_max": 0.5,
    }


async def _struck(till: Till) -> None:
    """Return when the fault has struck and is gone: Stripe is being asked."""
    deadline = time.monotonic() + 10.0
    while till.sandbox.show_faults():
        assert time.monotonic() < deadline, "Stripe was not asked"
        await asyncio.sleep(0.005)


async def _done_at_stripe(till: Till, step: str) -> None:
    deadline = time.monotonic() + 10.0
    while not any(step == "create" or one["refunds"] for one in till.accounts()):
        assert time.monotonic() < deadline, f"Stripe has done no {step}"
        await asyncio.sleep(0.005)


async def _has_behind(till: Till, condition: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not condition(await till.shop.behind(till.event_id)):
        assert time.monotonic() < deadline, "nothing came in"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("buyers", "kills"), [(30, 2), pytest.param(300, 12, marks=pytest.mark.drill)]
)
async def test_killed_again_and_again_while_many_pay_and_return_nothing_is_lost(
    shop: Shop, buyers: int, kills: int
):
    seed = random.randrange(1 << 32)
    logging.getLogger(__name__).warning("seed %d", seed)
    chance = random.Random(seed)
    async with till_of(shop, 2 * buyers) as till:
        done = asyncio.Event()

        async def buy(number: int) -> None:
            await asyncio.sleep(chance.uniform(0.0, kills * 2.5))
            one = await till.paid(f"buyer-{number}", 2)
            await till.becomes(one, "CONFIRMED")
            if number % 3 == 0:
                await till.refund(one, 1 + number % 2)

        async def kill() -> None:
            for _ in range(kills):
                assert not done.is_set(), "nobody was paying any more"
                await shop.next_desk(await shop.kill_desk())
                await asyncio.sleep(chance.uniform(0.2, 0.8))

        killing = asyncio.create_task(kill())
        await asyncio.gather(*(buy(number) for number in range(buyers)))
        done.set()
        await killing
        state = await settled(till)
        assert len(state.bookings) == len(till.accounts()) == buyers


@pytest.mark.drill
async def test_frozen_it_is_noticed_and_replaced(shop: Shop):
    async with till_of(shop, 10) as till:
        ann, bob = await till.opened("ann", 2), await till.held("bob", 2)
        desk = shop.desk()
        assert desk is not None
        os.kill(desk, signal.SIGSTOP)
        began = time.monotonic()
        shop.sandbox.pay(ann.intent_id)
        asked = asyncio.create_task(till.opened("bob", booking_id=bob))
        await shop.next_desk(desk)
        assert time.monotonic() - began < 12.0, "it took long to notice"
        await till.becomes(ann, "CONFIRMED")
        shop.sandbox.pay((await asked).intent_id)
        await till.becomes(await asked, "CONFIRMED")
        assert time.monotonic() - began < 25.0
        await settled(till)
