"""An owner without work goes to rest, and never with something left to do."""

import asyncio

import pytest

from actors import owner as owner_module
from actors.owner import Phase
from actors.wire import Answers, Recovering, Reply
from engine.domain.booking import Status
from engine.domain.commands import ReadAvailability, ReadPayments
from engine.journal.contract import Unavailable
from engine.journal.entry import Position
from tests.unit.actors.given import (
    held,
    outcomes,
    shown,
    submitted,
    until,
)
from tests.unit.engine.domain.given import EVENT_ID, TTL_MS, hold, release
from tests.virtual_time import now_ms

# -- rest ------------------------------------------------------------------------------


async def test_an_idle_owner_writes_a_snapshot_and_goes_to_rest(stage) -> None:
    owner = await stage.on_sale(idle_seconds=60.0)
    await held(owner, "ann", ga=1)
    await outcomes(owner, release("ann"))
    sequence = owner.state.sequence
    await asyncio.sleep(59)
    assert owner.phase is Phase.SERVING
    await asyncio.sleep(10)
    assert stage.left == [(owner, Phase.RESTING)]
    assert [ref.sequence for ref in await stage.journal().snapshots()] == [sequence]
    assert EVENT_ID not in stage.store.awake
    assert await submitted(owner, ReadAvailability()) == Recovering()


async def test_a_rested_event_is_as_it_was_when_it_is_touched_again(stage) -> None:
    first = await stage.on_sale(idle_seconds=60.0)
    await held(first, "ann", ga=1)
    await outcomes(first, release("ann"))
    await until(lambda: first.phase is Phase.RESTING)
    second = await stage.serving()
    assert EVENT_ID in stage.store.awake
    assert (await shown(second, "ann")).status is Status.CANCELLED
    await stage.assert_agrees(second)


async def test_an_owner_does_not_rest_while_something_is_held(stage) -> None:
    owner = await stage.on_sale(idle_seconds=60.0)
    await held(owner, "ann", ga=1)
    await asyncio.sleep(TTL_MS / 1_000 - 1)
    assert owner.phase is Phase.SERVING
    await until(lambda: owner.phase is Phase.RESTING)
    assert owner.state.held_units == 0


async def test_every_command_puts_rest_off(stage) -> None:
    owner = await stage.on_sale(idle_seconds=60.0)
    for _ in range(5):
        await asyncio.sleep(50)
        await outcomes(owner, ReadAvailability())
    assert owner.phase is Phase.SERVING


async def test_what_the_product_asks_every_minute_does_not(stage) -> None:
    owner = await stage.on_sale(idle_seconds=60.0)
    await outcomes(owner, ReadPayments(), ReadAvailability())
    for _ in range(2):
        await asyncio.sleep(29)
        await outcomes(owner, ReadPayments())
    assert owner.phase is Phase.SERVING
    await asyncio.sleep(10)
    assert owner.phase is Phase.RESTING


@pytest.mark.parametrize(("opens_in_seconds", "rests"), [(150, False), (200, True), (-5, True)])
async def test_an_owner_does_not_rest_shortly_before_its_sale_opens(
    stage, opens_in_seconds: int, rests: bool
) -> None:
    """Idle after a minute; to start it again would take a warm-up of another."""
    owner = await stage.on_sale(idle_seconds=60.0, opens_at_ms=now_ms() + opens_in_seconds * 1_000)
    await asyncio.sleep(70)
    assert (owner.phase is Phase.RESTING) == rests


async def test_an_owner_finishes_its_snapshot_before_it_rests(stage, monkeypatch) -> None:
    monkeypatch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", 3)
    owner = await stage.on_sale(idle_seconds=60.0)
    write = owner._journal.write_slice

    async def slowly(*args: object) -> None:
        await asyncio.sleep(100)
        await write(*args)

    monkeypatch.setattr(owner._journal, "write_slice", slowly)
    await held(owner, "ann", ga=1)
    await outcomes(owner, release("ann"))
    await asyncio.sleep(70)
    assert stage.left == []
    await until(lambda: bool(stage.left))
    assert [ref.sequence for ref in await stage.journal().snapshots()] == [3]


async def test_an_owner_rests_without_a_snapshot_when_nothing_was_written(stage) -> None:
    owner = await stage.serving(idle_seconds=60.0)
    await until(lambda: owner.phase is Phase.RESTING)
    assert await stage.journal().snapshots() == []


async def test_a_command_that_comes_while_it_goes_to_rest_is_left_to_the_next_owner(
    stage, monkeypatch
) -> None:
    owner = await stage.on_sale(idle_seconds=60.0)
    asked: list[asyncio.Task[Reply]] = []

    async def interrupted(*_: object) -> str:
        asked.append(submitted(owner, hold("ann", ga=1)))
        await asyncio.sleep(1)
        raise Unavailable("slow")

    monkeypatch.setattr(owner._journal, "begin_snapshot", interrupted)
    await until(lambda: owner.phase is Phase.RESTING)
    await until(lambda: bool(stage.left))
    assert await asked[0] == Recovering()
    follower = await stage.serving()
    assert await held(follower, "ann", ga=1)


async def test_a_command_that_waits_in_the_inbox_keeps_the_owner_from_resting(stage) -> None:
    """The store was away when the owner became idle, and returns together with a buyer."""
    owner = await stage.on_sale(idle_seconds=60.0)
    stage.store.away = True
    await asyncio.sleep(70)
    asked = submitted(owner, hold("ann", ga=1))
    await asyncio.sleep(0)
    stage.store.away = False
    assert isinstance(await asked, Answers)
    assert stage.left == []


async def test_an_owner_that_cannot_note_its_rest_serves_on(stage, monkeypatch) -> None:
    owner = await stage.on_sale(idle_seconds=60.0)
    attempts = []

    async def no_answer(*_: object) -> bool:
        attempts.append(now_ms())
        raise Unavailable("away")

    with monkeypatch.context() as away:
        away.setattr(owner._journal, "rest", no_answer)
        await until(lambda: bool(attempts))
        await asyncio.sleep(1)
        await asyncio.sleep(30)
        assert len(attempts) == 1, "it tries again and again"
        assert await held(owner, "ann", ga=1)
    assert stage.left == []
    assert EVENT_ID in stage.store.awake


async def test_an_owner_whose_event_was_taken_over_does_not_note_its_rest(
    stage, monkeypatch
) -> None:
    """The newer owner came while the snapshot for the rest was written."""
    owner = await stage.on_sale(idle_seconds=60.0)
    rest = owner._journal.rest

    async def too_late(at: Position) -> bool:
        await stage.serving()
        return await rest(at)

    monkeypatch.setattr(owner._journal, "rest", too_late)
    await until(lambda: bool(stage.left))
    assert stage.left == [(owner, Phase.FENCED)]
    assert EVENT_ID in stage.store.awake, "nobody would wake the event again"
