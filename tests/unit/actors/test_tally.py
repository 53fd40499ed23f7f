"""What an owner measures is what it has decided, and costs a turn next to nothing."""

import asyncio

import pytest

from actors import tally as tally_module
from actors.measures import (
    ADMITTED,
    BOOKING_SECONDS,
    CONFIRMED,
    HOLDS_EXPIRED,
    INVARIANT_VIOLATIONS,
    OWNER_APPEND_SECONDS,
    OWNER_HALTED,
    OWNER_HOLDS,
    OWNER_STALL_SECONDS,
    OWNER_TURN_COMMANDS,
    PAYMENT_SECONDS,
    PAYMENTS_FAILED,
    REFUNDS,
    REVENUE,
)
from actors.owner import EventOwner, Phase
from actors.tally import Tally
from engine.domain.commands import CreateEvent
from engine.domain.state import EventState
from engine.limits import TURNS_REMEMBERED_MAX
from tests.unit.actors.given import Stage, held, outcomes, submitted, until
from tests.unit.actors.recording_meter import RecordingMeter
from tests.unit.engine.domain.given import ORGANIZER, TTL_MS, a_type, an_event, hold
from tests.unit.engine.domain.given_payments import (
    OPENED,
    SUCCEEDED,
    failed,
    pay,
    refund,
    refund_said,
)


@pytest.fixture
def meter() -> RecordingMeter:
    return RecordingMeter()


@pytest.fixture
async def owner(stage: Stage, meter: RecordingMeter) -> EventOwner:
    serving = await stage.serving(meter=meter, idle_seconds=3_600)
    await outcomes(serving, CreateEvent(an_event(capacities={"ga": 10})))
    return serving


async def test_holds_are_counted_by_what_became_of_them(
    owner: EventOwner, meter: RecordingMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally_module, "_MEASURE_EVERY_SECONDS", 0.0)
    await outcomes(owner, hold("ann", ga=2), hold("bob", ga=9), hold("cid", ga=1))
    await outcomes(owner, hold("ann", ga=2))
    counted = {name: meter.count(OWNER_HOLDS, name) for name in ("granted", "not_granted")}
    assert counted == {"granted": 2, "not_granted": 2}
    assert meter.values(OWNER_TURN_COMMANDS) == [1, 3, 1]
    assert len(meter.values(OWNER_APPEND_SECONDS)) == 2, "the last turn had nothing to append"
    assert len(meter.values(OWNER_STALL_SECONDS)) == 3


async def test_turns_that_follow_closely_are_measured_together_and_none_is_lost(
    owner: EventOwner, meter: RecordingMeter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally_module, "_MEASURE_EVERY_SECONDS", 3_600.0)
    for buyer in ("ann", "bob", "cid"):
        await outcomes(owner, hold(buyer, ga=1))
    assert meter.count(OWNER_HOLDS, "granted") == 0
    monkeypatch.setattr(tally_module, "_MEASURE_EVERY_SECONDS", 0.0)
    await asyncio.sleep(10)  # a tick of an owner without work
    assert meter.count(OWNER_HOLDS, "granted") == 3
    assert meter.values(OWNER_TURN_COMMANDS) == [1, 1], "of the event, and of the last hold"


async def test_holds_that_expire_are_counted(owner: EventOwner, meter: RecordingMeter) -> None:
    await held(owner, "ann", ga=2)
    await asyncio.sleep((TTL_MS + 1) / 1_000)
    await outcomes(owner, hold("bob", ga=1))
    assert meter.count(HOLDS_EXPIRED) == 1


async def test_what_is_replayed_is_not_counted_again(stage: Stage, meter: RecordingMeter) -> None:
    first = await stage.on_sale()
    await held(first, "ann", ga=1)
    await stage.crash(first)
    second = await stage.serving(meter=meter)
    assert not meter.counts.total()
    assert second.health().pulse.granted == 0
    assert second.health().pulse.held == 1


async def test_a_sale_is_counted_with_its_money_and_its_times(
    owner: EventOwner, meter: RecordingMeter
) -> None:
    await held(owner, "ann", ga=2)
    await asyncio.sleep(20)
    await outcomes(owner, pay())
    await outcomes(owner, OPENED)
    await asyncio.sleep(10)
    await outcomes(owner, failed())
    await asyncio.sleep(5)
    await outcomes(owner, SUCCEEDED)
    assert meter.count(PAYMENTS_FAILED) == 1
    assert meter.count(CONFIRMED) == 1
    assert meter.count(REVENUE, "EUR") == 9_000
    (whole,), (paying,) = meter.values(BOOKING_SECONDS), meter.values(PAYMENT_SECONDS)
    assert whole == pytest.approx(35, abs=1)
    assert paying == pytest.approx(15, abs=1)
    await outcomes(owner, refund(caller=ORGANIZER))
    await outcomes(owner, refund_said("succeeded"))
    assert meter.count(REFUNDS, "settled") == 1
    assert meter.count(ADMITTED) == 0


async def test_a_free_booking_takes_no_time_to_pay(stage: Stage, meter: RecordingMeter) -> None:
    owner = await stage.serving(meter=meter)
    await outcomes(owner, CreateEvent(an_event(a_type(price_minor=0))))
    await held(owner, "ann", ga=2)
    await outcomes(owner, pay())
    assert meter.count(CONFIRMED) == 1
    assert meter.count(REVENUE, "EUR") == 0
    assert len(meter.values(BOOKING_SECONDS)) == 1
    assert meter.values(PAYMENT_SECONDS) == []


async def test_an_event_whose_counts_are_wrong_is_shown(
    owner: EventOwner, meter: RecordingMeter
) -> None:
    assert meter.shown[(OWNER_HALTED.name,)] == 0
    assert meter.shown[(INVARIANT_VIOLATIONS.name,)] == 0
    owner.state.held_units += 1
    await submitted(owner, hold("ann", ga=1))
    await until(lambda: owner.phase is Phase.HALTED)
    assert meter.shown[(OWNER_HALTED.name,)] == 1
    assert meter.shown[(INVARIANT_VIOLATIONS.name,)] == 1


async def test_an_event_that_is_halted_for_another_reason_counts_rightly(
    owner: EventOwner, stage: Stage, meter: RecordingMeter
) -> None:
    stage.store.entries[owner.event_id].clear()
    await submitted(owner, hold("ann", ga=1))
    await until(lambda: owner.phase is Phase.HALTED)
    assert meter.shown[(OWNER_HALTED.name,)] == 1
    assert meter.shown[(INVARIANT_VIOLATIONS.name,)] == 0


async def test_a_pulse_says_how_the_event_fares(owner: EventOwner) -> None:
    await outcomes(owner, hold("ann", ga=2), hold("bob", ga=9))
    pulse = owner.health().pulse
    assert pulse.event_id == owner.event_id
    assert (pulse.granted, pulse.refused, pulse.expired) == (1, 1, 0)
    assert (pulse.available, pulse.held, pulse.sold, pulse.inbox) == (8, 2, 0, 0)


def test_the_p99_is_over_the_last_turns() -> None:
    tally = Tally(RecordingMeter())
    for milliseconds in range(1, 2 * TURNS_REMEMBERED_MAX + 1):
        tally._took.append(milliseconds / 1_000)
    slowest = 2 * TURNS_REMEMBERED_MAX
    pulse = tally.pulse("evt_000000000000", EventState(), 0)
    assert pulse.p99_us / 1_000 == pytest.approx(slowest - TURNS_REMEMBERED_MAX / 100, abs=2)
