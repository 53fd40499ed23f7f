"""Clocks are wrong: those of gateways by ten minutes, an owner's by an hour (FAULTS.md, 22)."""

import asyncio
import os
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from engine.limits import HOLD_TTL_SECONDS_MIN, RECONCILE_EVERY_SECONDS, RECONCILE_YOUNGER_SECONDS
from tests.calls import Seen
from tests.end_to_end.buyers import Buyers
from tests.end_to_end.by_hand import HandEvent, HandOwner
from tests.end_to_end.money import settled
from tests.end_to_end.shop import Shop
from tests.end_to_end.till import till_of

_WRONG_CLOCK = Path(__file__).with_name("wrong_clock")
#: A webhook is refused by both gateways: for one it is too old, for the other too new.
_RECONCILED_SECONDS = RECONCILE_YOUNGER_SECONDS + 2 * RECONCILE_EVERY_SECONDS


@pytest.fixture
def wrong(tmp_path: Path) -> Iterator[Shop]:
    """A service with two gateways, neither of which knows the time."""
    path = os.pathsep.join([str(_WRONG_CLOCK), os.environ.get("PYTHONPATH", "")])
    environment = {"PYTHONPATH": path, "ONSALE_WRONG_CLOCK_TAKEN": str(tmp_path / "taken")}
    shop = Shop(tmp_path, gateways=2, environment=environment)
    try:
        shop.start()
        yield shop
    finally:
        shop.end()


async def _told_times(buyers: Buyers) -> set[int]:
    """Return by how many minutes the gateways are wrong, by their answers' own dates."""
    found = set()
    for number in range(40):  # each over a connection of its own
        answer = await buyers.client(f"clock-{number}").get(buyers.service.url + "/livez")
        told = parsedate_to_datetime(answer.headers["date"]).timestamp()
        found.add(round((told - time.time()) / 60))
    return found


@pytest.mark.drill
async def test_gateways_with_wrong_clocks_end_no_hold_early_and_lose_no_payment(wrong: Shop):
    async with till_of(wrong, 100, hold_ttl_seconds=HOLD_TTL_SECONDS_MIN) as till:
        buyers = till.buyers
        assert await _told_times(buyers) == {10, -10}, "both gateways are wrong"
        began = time.time()
        seen = [await buyers.held(f"buyer-{number}", quantity=2) for number in range(20)]
        for one in seen:
            held_at = one.expires_at_ms / 1_000 - HOLD_TTL_SECONDS_MIN
            assert began - 1.0 < held_at < time.time() + 1.0
        await asyncio.sleep(seen[0].expires_at_ms / 1_000 - time.time() - 1.0)
        assert (await buyers.availability())["held"] == 40, "held for as long as was promised"
        await asyncio.sleep(seen[-1].expires_at_ms / 1_000 - time.time() + 1.0)
        assert await buyers.availability() == {"available": 100, "held": 0, "sold": 0}

        paid = [await till.paid(f"payer-{number}") for number in range(4)]
        for one in paid:
            await till.becomes(one, "CONFIRMED", _RECONCILED_SECONDS)
        await settled(till)


async def test_an_owner_an_hour_back_ends_no_hold_early_and_brings_none_back(by_hand: HandEvent):
    right = await by_hand.on_sale(10, hold_ttl_seconds=HOLD_TTL_SECONDS_MIN)
    (old,) = await by_hand.ask(right, by_hand.hold("old", quantity=3))
    assert old.seen is not None
    await _until(old.seen.expires_at_ms + 500)
    held_at = time.monotonic()
    (ann,) = await by_hand.ask(right, by_hand.hold("ann", quantity=2))
    right.kill()

    behind = await by_hand.start_owner(clock_seconds=-3_600)
    expired, still_held = await _seen(by_hand, behind)
    assert ann.seen is not None
    assert (expired.status, still_held) == ("EXPIRED", ann.seen)
    (bob,) = await by_hand.ask(behind, by_hand.hold("bob"))
    assert bob.seen is not None
    assert bob.seen.expires_at_ms >= ann.seen.expires_at_ms, "its time goes on from the journal's"
    await asyncio.sleep(held_at + HOLD_TTL_SECONDS_MIN - 0.5 - time.monotonic())
    _, still_held = await _seen(by_hand, behind)
    assert still_held == ann.seen, "held for as long as was promised"
    await asyncio.sleep(2.5)
    again = await _seen(by_hand, behind)
    assert [one.status for one in again] == ["EXPIRED", "EXPIRED"]
    await by_hand.verify(behind)
    behind.kill()

    last = await by_hand.start_owner()
    assert await _seen(by_hand, last) == again
    await by_hand.verify(last)


async def _until(at_ms: int) -> None:
    await asyncio.sleep(max(0.0, at_ms / 1_000 - time.time()))


async def _seen(event: HandEvent, owner: HandOwner) -> list[Seen]:
    """Return what `old` and `ann` see of their bookings, once this owner serves."""
    await owner.in_phase("serving")
    calls = await event.ask(owner, event.read("old"), event.read("ann"))
    return [call.seen for call in calls if call.seen is not None]
