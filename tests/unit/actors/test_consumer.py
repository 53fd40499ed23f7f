"""The consumer: every message is seen through, in order for each event, whatever dies."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise

import pytest
import structlog
from structlog.testing import LogCapture

from actors import consumer as module
from actors.consumer import Consumer, Hopeless, RetryLater
from actors.measures import BURIED, HANDLED
from engine.journal.entry import Position
from engine.journal.memory import Fault
from engine.journal.memory_stream_store import MemoryStreamStore
from engine.journal.memory_streams import MemoryStreams
from engine.journal.stream_fields import stream_key
from engine.journal.streams import DeadLetter, Delivery, Group, Incoming, StreamKind
from engine.limits import (
    ABANDONED_MS,
    ATTEMPTS_MAX,
    CONSUMER_EVENTS_MAX,
    CONSUMER_HANDLE_SECONDS_MAX,
    CONSUMER_MESSAGES_MAX,
    CONSUMER_PAUSE_SECONDS,
    DELIVERIES_MAX,
    DELIVERIES_TOGETHER_MAX,
    KEEP_SECONDS,
    READ_MESSAGES_MAX,
)
from tests.unit.actors.given import until
from tests.unit.actors.recording_meter import RecordingMeter
from tests.virtual_time import now_ms

GROUP = Group("payments", StreamKind.INBOX)
PARTITIONS = range(4)


class Poison(Exception):
    """What the handler makes of some messages."""


class World:
    """A store, the processes that consume from it, and what they have done."""

    def __init__(self) -> None:
        self.store = MemoryStreamStore(now_ms)
        self.streams = MemoryStreams(self.store)
        self.done: list[str] = []
        self.calls: list[list[str]] = []
        self.busy: Counter[str] = Counter()
        self.busiest = 0
        #: What becomes of a message instead of being done: called with its id.
        self.troubles: dict[str, Callable[[], object]] = {}
        self.seconds = 0.01
        self.running: dict[str, tuple[Consumer, asyncio.Task[None]]] = {}

    async def put(self, *ids: str) -> None:
        """Put messages named event:number into the inbox."""
        await self.streams.put_many(
            [
                (int(event[1:]) % len(PARTITIONS), Incoming(name, "kind", b"", 0, event))
                for name in ids
                for event in [name.partition(":")[0]]
            ]
        )

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        names = [delivery.message.id for delivery in deliveries]
        (event,) = {delivery.event_id for delivery in deliveries}
        self.calls.append(names)
        self.busy[event] += 1
        assert self.busy[event] == 1, "two calls for one event"
        self.busiest = max(self.busiest, self.busy.total())
        try:
            for name in names:
                await asyncio.sleep(self.seconds)
                if name in self.troubles:
                    answer = self.troubles[name]()
                    if asyncio.iscoroutine(answer):
                        await answer
                self.done.append(name)
        finally:
            self.busy[event] -= 1

    def start(self, name: str = "consumer-0", **options: object) -> Consumer:
        """Start a process with one consumer; its streams know nothing of the past."""
        consumer = Consumer(
            MemoryStreams(self.store), GROUP, name, self.handle, partitions=PARTITIONS, **options
        )
        self.running[name] = consumer, asyncio.create_task(consumer.run())
        return consumer

    async def kill(self, name: str = "consumer-0") -> None:
        """End a process wherever it is."""
        _, task = self.running.pop(name)
        task.cancel()
        await asyncio.wait([task])

    async def stop(self, name: str = "consumer-0") -> None:
        consumer, task = self.running.pop(name)
        await consumer.stop()
        await task

    async def pending(self) -> int:
        return sum(lag.pending + lag.undelivered for lag in await self.streams.lag(GROUP))

    async def all_finished(self) -> None:
        while await self.pending():  # noqa: ASYNC110 - the store tells nobody when it is empty
            await asyncio.sleep(0.25)

    async def letters(self) -> list[DeadLetter]:
        return await self.streams.dead_letters(GROUP, 100)


def fail(error: Exception, times: int = 10_000) -> Callable[[], object]:
    left = iter(range(times))

    def trouble() -> None:
        if next(left, None) is not None:
            raise error

    return trouble


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    made = World()
    await made.streams.ensure_group(GROUP, PARTITIONS)
    yield made
    for name in list(made.running):
        await made.kill(name)


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> list:
    capture = LogCapture()
    monkeypatch.setattr(module, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


# -- the ordinary day ------------------------------------------------------------------


async def test_messages_of_one_event_are_handled_in_order_and_finished(world: World) -> None:
    names = [f"e{number % 3}:{number:02d}" for number in range(60)]
    world.start()
    for start in range(0, 60, 7):
        await world.put(*names[start : start + 7])
        await asyncio.sleep(0.013)
    await world.all_finished()
    for event in ("e0", "e1", "e2"):
        mine = [name for name in names if name.startswith(event)]
        assert [name for name in world.done if name.startswith(event)] == mine
    assert Counter(world.done) == Counter(names)


async def test_a_handler_gets_what_has_gathered_of_one_event(world: World) -> None:
    await world.put(*(f"e1:{number}" for number in range(5)))
    world.start()
    await world.all_finished()
    assert world.calls == [[f"e1:{number}" for number in range(5)]]


async def test_what_comes_in_close_succession_is_handled_together(world: World) -> None:
    world.seconds = 0
    world.start()
    for number in range(100):
        await world.put(f"e1:{number}")
        await asyncio.sleep(0.01)
    await world.all_finished()
    assert world.calls[0] == ["e1:0"], "the first waits for nobody"
    rounds = 1 / CONSUMER_PAUSE_SECONDS
    assert rounds / 2 < len(world.calls) <= rounds + 2
    assert len(world.done) == 100


async def test_what_comes_alone_waits_for_nothing(world: World) -> None:
    world.seconds = 0
    world.start()
    waited = []
    for number in range(5):
        await asyncio.sleep(0.3)
        put_at = asyncio.get_running_loop().time()
        await world.put(f"e1:{number}")
        await until(lambda: len(world.done) > number)  # noqa: B023 - over before the next
        waited.append(asyncio.get_running_loop().time() - put_at)
    assert max(waited) < CONSUMER_PAUSE_SECONDS / 2


async def test_a_handler_may_take_them_one_by_one(world: World) -> None:
    await world.put("e1:0", "e1:1", "e1:2")
    world.start(batch_max=1)
    await world.all_finished()
    assert world.calls == [["e1:0"], ["e1:1"], ["e1:2"]]


async def test_events_are_handled_side_by_side_up_to_the_limit(world: World) -> None:
    await world.put(*(f"e{number}:0" for number in range(100)))
    world.seconds = 1.0
    world.start()
    await world.all_finished()
    assert world.busiest == CONSUMER_EVENTS_MAX


async def test_no_more_is_read_than_memory_is_meant_for(world: World) -> None:
    await world.put(*(f"e{number % 9}:{number}" for number in range(3_000)))
    world.seconds = 0.1
    world.start()
    await until(lambda: len(world.done) > 50)
    in_hand = sum(lag.pending for lag in await world.streams.lag(GROUP))
    assert in_hand <= CONSUMER_MESSAGES_MAX + READ_MESSAGES_MAX * len(PARTITIONS)
    await world.all_finished()
    assert len(world.done) == 3_000


# -- whoever dies ----------------------------------------------------------------------


async def test_killed_between_side_effect_and_finish_it_is_handled_again(world: World) -> None:
    await world.put("e1:0", "e2:0")
    world.troubles["e2:0"] = lambda: world.done.append("e2:0") or asyncio.Event().wait()
    world.start()
    await until(lambda: "e2:0" in world.done and "e1:0" in world.done)
    await asyncio.sleep(0.1)
    await world.kill()
    del world.troubles["e2:0"]
    world.start()
    await world.all_finished()
    assert Counter(world.done) == {"e1:0": 1, "e2:0": 2}


@pytest.mark.parametrize("moment", range(1, 60, 4))
async def test_killed_at_any_moment_nothing_is_left_out_and_order_is_kept(
    world: World, moment: int
) -> None:
    names = [f"e{number % 3}:{number:02d}" for number in range(30)]
    await world.put(*names)
    world.start(batch_max=3)
    await asyncio.sleep(moment / 500)
    await world.kill()
    world.start(batch_max=3)
    await world.all_finished()
    for event in ("e0", "e1", "e2"):
        first = dict.fromkeys(name for name in world.done if name.startswith(event))
        assert list(first) == [name for name in names if name.startswith(event)]


async def test_stopping_finishes_what_is_under_way_and_gives_back_the_rest(world: World) -> None:
    await world.put(*(f"e{number % 2}:{number}" for number in range(8)))
    world.seconds = 1.0
    world.start(batch_max=1)
    await asyncio.sleep(1.5)
    await world.stop()
    assert sorted(world.done) == ["e0:0", "e0:2", "e1:1", "e1:3"]
    assert await world.pending() == 4
    left = await MemoryStreams(world.store).claim_abandoned(GROUP, "x", PARTITIONS, ABANDONED_MS, 9)
    assert [delivery.deliveries for delivery in left] == [1, 1, 1, 1]


async def test_stopping_begins_nothing_that_had_to_wait_for_its_place(world: World) -> None:
    await world.put(*(f"e{number}:0" for number in range(3 * CONSUMER_EVENTS_MAX)))
    world.seconds = 1.0
    world.start()
    await asyncio.sleep(0.5)
    await world.stop()
    assert len(world.done) == CONSUMER_EVENTS_MAX
    assert await world.pending() == 2 * CONSUMER_EVENTS_MAX


async def test_stopping_does_not_wait_for_a_pause_to_end(world: World) -> None:
    await world.put("e1:0")
    world.troubles["e1:0"] = fail(RetryLater(3_000, "closed"))
    world.start()
    await asyncio.sleep(5)
    began = now_ms()
    await world.stop()
    assert now_ms() - began < 2_000


async def test_stopping_before_anything_has_begun_is_over_at_once(world: World) -> None:
    consumer = Consumer(world.streams, GROUP, "never", world.handle)
    await consumer.stop()


async def test_a_mistake_in_here_ends_it_loudly(world: World) -> None:
    consumer = Consumer(world.streams, GROUP, "me", world.handle, partitions=[0, "x"])
    with pytest.raises(ExceptionGroup):
        await consumer.run()
    await consumer.stop()


# -- messages that fail ----------------------------------------------------------------


async def test_poison_is_buried_and_the_rest_proceeds(world: World, said: list) -> None:
    await world.put("e1:0", "e1:1", "e1:2", "e2:0")
    world.troubles["e1:1"] = fail(Poison("no such booking"))
    world.start()
    await until(lambda: "e2:0" in world.done)
    assert "e1:2" not in world.done, "out of order"
    await world.all_finished()
    (letter,) = await world.letters()
    assert letter.message.id == "e1:1"
    assert (letter.reason, letter.attempts) == ("Poison: no such booking", ATTEMPTS_MAX)
    assert world.done[-1] == "e1:2"
    critical = [entry for entry in said if entry["log_level"] == "critical"]
    assert [entry["message_id"] for entry in critical] == [letter.message_id]
    assert critical[0]["group"] == GROUP.name


async def test_what_is_handled_and_what_is_buried_is_counted(world: World) -> None:
    meter = RecordingMeter()
    world.troubles["e1:2"] = fail(Hopeless("never"))
    await world.put("e1:1", "e1:2", "e2:1")
    world.start(meter=meter)
    await world.all_finished()
    assert meter.count(HANDLED, GROUP.name) == 2
    assert meter.count(BURIED, GROUP.name) == 1


async def test_a_batch_that_fails_is_tried_one_by_one(world: World) -> None:
    await world.put("e1:0", "e1:1", "e1:2")
    world.troubles["e1:1"] = fail(Poison(), times=2)
    world.start()
    await world.all_finished()
    assert world.calls == [["e1:0", "e1:1", "e1:2"], ["e1:0"], ["e1:1"], ["e1:1"], ["e1:2"]]
    assert await world.letters() == []


async def test_other_events_go_on_however_much_waits_behind_poison(world: World) -> None:
    world.troubles["e1:0"] = fail(Poison())
    await world.put(*(f"e1:{number}" for number in range(2 * CONSUMER_MESSAGES_MAX)))
    world.start()
    await asyncio.sleep(10)
    assert not world.done
    await world.put("e2:0", "e5:0")
    await until(lambda: set(world.done) == {"e2:0", "e5:0"})
    await world.all_finished()
    assert len(world.done) == 2 + 2 * CONSUMER_MESSAGES_MAX - 1


async def test_pauses_grow(world: World) -> None:
    world.troubles["e1:0"] = fail(Poison())
    world.seconds = 0.0
    await world.put("e1:0")
    world.start()
    times = []
    for number in range(1, ATTEMPTS_MAX + 1):
        await until(lambda number=number: len(world.calls) >= number)
        times.append(now_ms())
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses[0] < 500
    assert all(later > 1.5 * sooner for sooner, later in pairwise(pauses[:8]))
    assert 59_000 < pauses[-1] < 61_000


async def test_expected_trouble_never_counts(world: World) -> None:
    await world.put("e1:0", "e1:1", "e2:0")
    world.troubles["e1:0"] = fail(RetryLater(30, "no answer yet"), times=5 * ATTEMPTS_MAX)
    world.start()
    await until(lambda: "e2:0" in world.done)
    await world.all_finished()
    assert world.done == ["e2:0", "e1:0", "e1:1"]
    assert await world.letters() == []
    assert len(world.calls) == 5 * ATTEMPTS_MAX + 2


async def test_a_handler_that_never_returns_is_a_failure(world: World) -> None:
    async def hang_once() -> None:
        if len(world.calls) == 1:
            await asyncio.Event().wait()

    await world.put("e1:0")
    world.troubles["e1:0"] = hang_once
    world.start()
    await asyncio.sleep(CONSUMER_HANDLE_SECONDS_MAX - 1)
    assert len(world.calls) == 1
    await world.all_finished()
    assert world.done == ["e1:0"]
    assert len(world.calls) == 2


async def test_what_a_handler_waits_for_may_be_cancelled(world: World) -> None:
    async def cancelled() -> None:
        if len(world.calls) == 1:
            raise asyncio.CancelledError

    await world.put("e1:0")
    world.troubles["e1:0"] = cancelled
    world.start()
    await world.all_finished()
    assert len(world.calls) == 2


async def test_an_unreadable_message_is_buried_at_once(world: World) -> None:
    await world.put("e1:0")
    world.store.add(GROUP.kind, 1, {b"x": b"y"})
    await world.put("e1:1")
    world.start()
    await world.all_finished()
    (letter,) = await world.letters()
    assert (letter.attempts, letter.reason[:10]) == (0, "unreadable")
    assert world.done == ["e1:0", "e1:1"]


async def test_messages_of_no_known_event_go_on_around_an_unreadable_one(world: World) -> None:
    for number in range(4):
        await world.streams.put(0, Incoming(f"-:{number}", "kind", b"", 0))
        world.store.add(GROUP.kind, 0, {b"x": b"y"})
    world.start()
    await world.all_finished()
    assert world.calls == [[f"-:{number}"] for number in range(4)]
    assert len(await world.letters()) == 4


async def test_what_kills_its_consumer_is_found_out_and_nothing_else_is(world: World) -> None:
    names = [f"e{number}:0" for number in range(40)]
    await world.put(*names)
    deaths = 0
    deadly = asyncio.Event()

    async def die() -> None:
        deadly.set()
        await asyncio.Event().wait()

    world.troubles["e7:0"] = die
    while True:
        world.start()
        deadly.clear()
        ended = asyncio.create_task(world.all_finished())
        waiting = asyncio.create_task(deadly.wait())
        await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if ended.done():
            break
        ended.cancel()
        await world.kill()
        deaths += 1
        assert deaths <= DELIVERIES_MAX, "it is not found out"
    (letter,) = await world.letters()
    assert letter.message.id == "e7:0"
    assert letter.attempts == deaths == DELIVERIES_MAX
    assert set(world.done) == set(names) - {"e7:0"}


async def test_a_suspect_is_handled_while_nothing_else_is(world: World) -> None:
    await world.put("e0:0", "e1:0", "e2:0", "e3:0", "e4:0")
    before = MemoryStreams(world.store)
    found = await before.read(GROUP, "consumer-0", PARTITIONS, 10, 0)
    suspects = [one for one in found if one.message.id in ("e1:0", "e2:0")]
    for delivery in suspects:
        stream = world.store.streams[stream_key(GROUP.kind, delivery.partition)]
        place = Position.parse(delivery.message_id)
        stream.readers[GROUP.name].pending[place].deliveries = DELIVERIES_TOGETHER_MAX
        world.troubles[delivery.message.id] = lambda: company.append(world.busy.total())
    company: list[int] = []
    world.seconds = 1.0
    await world.put(*(f"e{number}:1" for number in range(5, 20)))
    world.start()
    await world.all_finished()
    assert company == [1, 1]
    assert len(world.done) == 20
    assert world.busiest > 1


# -- a store that is away --------------------------------------------------------------


async def test_an_outage_of_the_store_delays_and_loses_nothing(world: World) -> None:
    names = [f"e{number % 5}:{number}" for number in range(40)]
    await world.put(*names[:20])
    world.start()
    await asyncio.sleep(0.015)
    world.store.away = True
    await asyncio.sleep(120)
    world.store.away = False
    await world.put(*names[20:])
    await world.all_finished()
    assert Counter(world.done) == Counter(names), "handled twice without a crash"
    assert await world.letters() == []


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.REPLY_LOST])
async def test_lost_answers_of_the_store_lose_no_message(world: World, fault: Fault) -> None:
    names = [f"e{number % 5}:{number}" for number in range(60)]
    world.start()
    for start in range(0, 60, 5):
        await world.put(*names[start : start + 5])
        world.store.faults.append(fault)
        await asyncio.sleep(1.3)
    world.store.faults.clear()
    await world.all_finished()
    assert Counter(world.done) == Counter(names), "handled twice without a crash"


async def test_a_store_that_comes_back_empty_gets_its_group_again(world: World) -> None:
    world.start()
    await asyncio.sleep(5)
    world.store.streams.clear()
    await world.put("e1:0")
    await until(lambda: world.done == ["e1:0"])


async def test_stopping_while_the_store_is_away_comes_to_an_end(world: World) -> None:
    await world.put("e1:0")
    world.start()
    await asyncio.sleep(0.005)
    world.store.away = True
    await asyncio.sleep(1)
    await asyncio.wait_for(world.stop(), 10)
    world.store.away = False
    world.start()
    await world.all_finished()
    assert world.done == ["e1:0", "e1:0"]


# -- several consumers -----------------------------------------------------------------


async def test_two_consumers_share_the_work(world: World) -> None:
    names = [f"e{number}:0" for number in range(2_000)]
    world.seconds = 0.2
    world.start("consumer-0")
    world.start("consumer-1")
    await asyncio.sleep(0.01)
    await world.put(*names)
    await until(lambda: world.busiest > CONSUMER_EVENTS_MAX)
    await world.all_finished()
    assert Counter(world.done) == Counter(names)


async def test_what_a_dead_consumer_had_is_taken_over(world: World) -> None:
    await world.put("e1:0", "e2:0")
    world.troubles["e1:0"] = lambda: asyncio.Event().wait()
    world.start("consumer-0")
    await until(lambda: "e2:0" in world.done)
    await world.kill("consumer-0")
    del world.troubles["e1:0"]
    world.start("consumer-1")
    await asyncio.sleep(ABANDONED_MS / 1_000 - 2)
    assert "e1:0" not in world.done
    await asyncio.sleep(2 + 2 * KEEP_SECONDS)
    assert world.done == ["e2:0", "e1:0"]
    await world.all_finished()


async def test_what_waits_for_long_is_kept_from_others(world: World) -> None:
    await world.put("e1:0")
    world.troubles["e1:0"] = fail(RetryLater(1_000, "closed"), times=1)
    world.start("consumer-0")
    await until(lambda: len(world.calls) == 1)
    world.start("consumer-1")
    await asyncio.sleep(990)
    assert len(world.calls) == 1
    await world.all_finished()
    assert len(world.calls) == 2
    assert await world.letters() == []
