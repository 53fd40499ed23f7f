"""Lanes: batches form by themselves, every command is answered, nothing is asked twice in vain."""

import asyncio

import msgspec
import pytest

from actors.wire import (
    Answers,
    Halted,
    Overloaded,
)
from engine.domain.outcomes import DONE, Refusal, Refused
from engine.limits import (
    BATCH_COMMANDS_MAX,
    BATCHES_IN_FLIGHT_MAX,
    CALL_TURN_SECONDS,
    CALLS_AT_ONCE,
    EVENTS_REMEMBERED_MAX,
    GATEWAY_COMMANDS_MAX,
    LANE_COMMANDS_MAX,
    NEXT_BATCH_COMMANDS_MIN,
    REQUEST_DEADLINE_MS,
)
from gateway import batcher
from gateway.batcher import Answer, Lane, Load, Unanswered
from tests.unit.engine.domain.given import EVENT_ID
from tests.unit.gateway.fake_owners import command, counts, gone, now, recovering


async def fill(lane: Lane) -> list[asyncio.Future[Answer]]:
    """Have as many batches under way as there may be."""
    asked = [lane.ask(command())]
    await asyncio.sleep(0.001)
    asked += [lane.ask(command(number)) for number in range(1, NEXT_BATCH_COMMANDS_MIN + 1)]
    await asyncio.sleep(0.001)
    return asked


# -- batches ---------------------------------------------------------------------------


async def test_a_command_alone_waits_for_nothing(owners, lane) -> None:
    began = now()
    assert await lane.ask(command()) == (DONE, 0)
    assert now() == began
    assert owners.sizes == [1]


async def test_what_arrives_in_one_round_of_the_loop_is_one_batch(owners, lane) -> None:
    await asyncio.gather(*(lane.ask(command(number)) for number in range(100)))
    assert owners.sizes == [100]
    assert [envelope.command for envelope in owners.batches[0]] == [
        command(number) for number in range(100)
    ]


async def test_events_take_turns_and_gather_until_their_own(owners) -> None:
    load = Load()
    owners.takes_seconds = CALL_TURN_SECONDS / 2
    lanes = [Lane(EVENT_ID, owners, load) for _ in range(3 * CALLS_AT_ONCE)]
    began = now()
    asked = [lane.ask(command(0)) for lane in lanes]
    await asyncio.sleep(CALL_TURN_SECONDS / 4)
    asked += [lane.ask(command(1)) for lane in lanes]
    await asyncio.gather(*asked)
    assert owners.in_flight_max == CALLS_AT_ONCE
    first, others = owners.sizes[:CALLS_AT_ONCE], owners.sizes[CALLS_AT_ONCE:]
    assert first == [1] * CALLS_AT_ONCE, "who comes first waits for nothing"
    # Those with two were there before the first ones came back with their second.
    assert others == [2] * 2 * CALLS_AT_ONCE + [1] * CALLS_AT_ONCE
    assert now() - began == pytest.approx(4 * owners.takes_seconds)


async def test_however_many_calls_hang_nobody_waits_longer_for_them(owners) -> None:
    load = Load()
    owners.open.clear()
    hanging = [Lane(EVENT_ID, owners, load).ask(command()) for _ in range(CALLS_AT_ONCE)]
    await asyncio.sleep(CALL_TURN_SECONDS / 2)
    began = now()
    late = Lane(EVENT_ID, owners, load).ask(command())
    await asyncio.sleep(CALL_TURN_SECONDS / 4)
    assert owners.in_flight == CALLS_AT_ONCE
    await asyncio.sleep(CALL_TURN_SECONDS / 4 + 0.001)
    assert owners.in_flight == CALLS_AT_ONCE + 1
    owners.open.set()
    assert await asyncio.gather(late, *hanging) == [(DONE, 0)] * (CALLS_AT_ONCE + 1)
    assert now() - began == pytest.approx(CALL_TURN_SECONDS / 2 + 0.001)


async def test_an_event_whose_commands_were_given_up_leaves_its_turn_to_the_next(
    owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "CALL_TURN_SECONDS", 1.0)
    load = Load()
    owners.open.clear()
    hanging = [Lane(EVENT_ID, owners, load).ask(command()) for _ in range(CALLS_AT_ONCE)]
    await asyncio.sleep(0)
    impatient = Lane(EVENT_ID, owners, load).ask(command(), budget_ms=0)
    patient = Lane(EVENT_ID, owners, load).ask(command(2))
    await asyncio.sleep(1.01)
    assert await impatient == (Unanswered.RECOVERING, 0)
    owners.open.set()
    assert await patient == (DONE, 0)
    await asyncio.gather(*hanging)
    assert owners.sizes == [1] * (CALLS_AT_ONCE + 1)


async def test_what_arrives_while_two_are_under_way_makes_the_next_one(owners, lane) -> None:
    owners.open.clear()
    asked = await fill(lane)
    for number in range(50):
        asked.append(lane.ask(command(number)))
        await asyncio.sleep(0.001)
    assert owners.sizes == [1, NEXT_BATCH_COMMANDS_MIN]
    owners.open.set()
    await asyncio.gather(*asked)
    assert owners.sizes == [1, NEXT_BATCH_COMMANDS_MIN, 50]
    assert owners.in_flight_max == BATCHES_IN_FLIGHT_MAX


async def test_a_few_commands_wait_for_the_batch_before_them(owners, lane) -> None:
    owners.open.clear()
    asked = [lane.ask(command())]
    await asyncio.sleep(0.001)
    asked += [lane.ask(command(number)) for number in range(1, NEXT_BATCH_COMMANDS_MIN)]
    await asyncio.sleep(0.001)
    assert owners.sizes == [1]
    owners.open.set()
    await asyncio.gather(*asked)
    assert owners.sizes == [1, NEXT_BATCH_COMMANDS_MIN - 1]


async def test_never_are_more_than_two_batches_under_way(owners, lane) -> None:
    owners.takes_seconds = 0.01
    asked = [lane.ask(command(number)) for number in range(4 * BATCH_COMMANDS_MAX)]
    await asyncio.gather(*asked)
    assert owners.sizes == [BATCH_COMMANDS_MAX] * 4
    assert owners.in_flight_max == BATCHES_IN_FLIGHT_MAX


async def test_each_command_gets_its_own_answer(owners, lane) -> None:
    outcomes = [Refused(Refusal.SOLD_OUT, str(number)) for number in range(10)]
    owners.reply = lambda _batch: Answers(list(outcomes), counts(41))
    answers = await asyncio.gather(*(lane.ask(command(number)) for number in range(10)))
    assert answers == [(outcome, 41) for outcome in outcomes]


async def test_a_command_takes_along_how_long_its_client_still_waits(owners, lane) -> None:
    owners.open.clear()
    at_once, later = lane.ask(command(0)), lane.ask(command(1), budget_ms=2_000)
    await asyncio.sleep(0.001)
    waiting = lane.ask(command(2))
    await asyncio.sleep(1)
    owners.open.set()
    await asyncio.gather(at_once, later, waiting)
    budgets = [envelope.budget_ms for batch in owners.batches for envelope in batch]
    assert budgets[:2] == [REQUEST_DEADLINE_MS, 2_000]
    assert budgets[2] == pytest.approx(REQUEST_DEADLINE_MS - 1_000, abs=2)


# -- the answer always comes -----------------------------------------------------------


async def test_a_silent_owner_is_recovering_after_the_deadline(owners, lane) -> None:
    owners.open.clear()
    began = now()
    asked = [*await fill(lane), lane.ask(command())]  # under way, and one that waits
    answers = await asyncio.gather(*asked)
    assert set(answers) == {(Unanswered.RECOVERING, 0)}
    assert REQUEST_DEADLINE_MS / 1_000 <= now() - began <= REQUEST_DEADLINE_MS / 1_000 + 0.25


async def test_a_deadline_may_be_shorter(owners, lane) -> None:
    owners.open.clear()
    began = now()
    assert await lane.ask(command(), budget_ms=300) == (Unanswered.RECOVERING, 0)
    assert now() - began < 0.5


async def test_an_answer_that_comes_too_late_is_nobodys(owners, lane) -> None:
    owners.open.clear()
    assert (await lane.ask(command()))[0] is Unanswered.RECOVERING
    owners.open.set()
    await asyncio.sleep(0.01)
    assert lane.idle
    assert await lane.ask(command(1)) == (DONE, 0)


async def test_a_client_that_leaves_takes_nothing_with_it(owners, lanes, lane) -> None:
    owners.open.clear()
    leaving, staying = lane.ask(command(0)), lane.ask(command(1))
    await asyncio.sleep(0)
    leaving.cancel()
    owners.open.set()
    assert await staying == (DONE, 0)
    await asyncio.sleep(0)
    assert lane.idle


@pytest.mark.parametrize(
    ("reply", "code"),
    [(Overloaded(), Unanswered.OVERLOADED), (Halted("gap"), Unanswered.EVENT_HALTED)],
)
async def test_an_owner_that_declines_is_not_asked_again(owners, lane, reply, code) -> None:
    owners.reply = lambda _batch: reply
    answers = await asyncio.gather(lane.ask(command(0)), lane.ask(command(1)))
    assert answers == [(code, 0)] * 2
    assert owners.sizes == [2]


async def test_a_command_whose_turn_came_too_late_is_overloaded(owners, lane) -> None:
    owners.reply = lambda _batch: Answers([None, DONE], counts(3))
    answers = await asyncio.gather(lane.ask(command(0)), lane.ask(command(1)))
    assert answers == [(Unanswered.OVERLOADED, 3), (DONE, 3)]


# -- retries ---------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [gone, recovering])
async def test_what_was_not_answered_is_sent_again_as_it_was(owners, lane, trouble) -> None:
    owners.reply = trouble
    asked = [lane.ask(command(number)) for number in range(3)]
    await asyncio.sleep(1.9)
    assert not any(answer.done() for answer in asked)
    owners.reply = owners.done
    began = now()
    assert await asyncio.gather(*asked) == [(DONE, 0)] * 3
    assert now() - began <= 0.25
    commands = [[envelope.command for envelope in batch] for batch in owners.batches]
    assert commands == [[command(0), command(1), command(2)]] * len(commands)
    budgets = [batch[0].budget_ms for batch in owners.batches]
    assert budgets == sorted(budgets, reverse=True)
    assert 8 <= len(budgets) <= 20


async def test_an_owner_that_never_returns_is_given_up_at_the_deadline(owners, lane) -> None:
    owners.reply = gone
    assert await lane.ask(command()) == (Unanswered.RECOVERING, 0)
    await asyncio.sleep(1)
    tries = len(owners.batches)
    await asyncio.sleep(10)
    assert len(owners.batches) == tries
    assert lane.idle


async def test_only_those_whose_client_still_waits_are_sent_again(owners, lane) -> None:
    owners.reply = gone
    short, long = lane.ask(command(0), budget_ms=500), lane.ask(command(1))
    assert await short == (Unanswered.RECOVERING, 0)
    owners.reply = owners.done
    assert await long == (DONE, 0)
    assert [envelope.command for envelope in owners.batches[-1]] == [command(1)]


async def test_a_reply_that_cannot_be_read_ends_one_batch_and_no_other(owners, lane) -> None:
    errors = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, about: errors.append(about))

    async def nonsense(_event_id: str, _data: bytes) -> bytes:
        await asyncio.sleep(0.01)
        return b"\xc1"

    submit, owners.submit = owners.submit, nonsense
    unread = await fill(lane)
    waiting = [lane.ask(command(number)) for number in range(2, 5)]
    owners.submit = submit
    began = now()
    assert set(await asyncio.gather(*unread)) == {(Unanswered.RECOVERING, 0)}
    assert await asyncio.gather(*waiting) == [(DONE, 0)] * 3
    assert now() - began <= 0.01, "the others have waited for the deadline"
    assert isinstance(errors[0]["exception"], msgspec.DecodeError)


# -- bounds ----------------------------------------------------------------------------


async def test_a_full_lane_says_so_at_once(owners, lane) -> None:
    owners.open.clear()
    await fill(lane)
    waiting = [lane.ask(command(number)) for number in range(LANE_COMMANDS_MAX)]
    refused = lane.ask(command())
    assert refused.done()
    assert refused.result() == (Unanswered.OVERLOADED, 0)
    assert not waiting[-1].done()
    owners.open.set()
    assert set(await asyncio.gather(*waiting)) == {(DONE, 0)}
    assert await lane.ask(command()) == (DONE, 0)


async def test_a_full_gateway_says_so_at_once_on_every_lane(owners, lanes) -> None:
    owners.open.clear()
    busy = [lanes.lane(f"evt_{number:012d}") for number in range(8)]
    for number in range(GATEWAY_COMMANDS_MAX):
        busy[number % 8].ask(command())
    idle = lanes.lane(EVENT_ID)
    assert idle.ask(command()).result() == (Unanswered.OVERLOADED, 0)
    assert lanes.load.commands == GATEWAY_COMMANDS_MAX
    await asyncio.sleep(REQUEST_DEADLINE_MS / 1_000 + 0.3)
    assert lanes.load.commands == 0
    owners.open.set()
    assert await idle.ask(command()) == (DONE, 0)


async def test_what_was_answered_no_longer_counts_as_load(owners, lanes, lane) -> None:
    await asyncio.gather(*(lane.ask(command(number)) for number in range(10)))
    owners.reply = lambda _batch: Overloaded()
    await lane.ask(command())
    assert lanes.load.commands == 0


async def test_idle_lanes_are_forgotten_and_busy_ones_are_not(
    owners, lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EVENTS_REMEMBERED_MAX > 3
    monkeypatch.setattr(batcher, "EVENTS_REMEMBERED_MAX", 3)
    owners.open.clear()
    busy = lanes.lane(EVENT_ID)
    waiting = busy.ask(command())
    for number in range(10):
        lanes.lane(f"evt_{number:012d}")
    assert lanes.known_lane(EVENT_ID) is busy
    assert lanes.known_lane("evt_000000000000") is None
    assert lanes.known_lane("evt_000000000009") is not None
    owners.open.set()
    assert await waiting == (DONE, 0)
