"""The warden: every event in need has an owner that answers (FAULTS.md, 4 and 12)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from enum import Enum, auto

import msgspec
import pytest

from actors.contract import OwnerGone
from actors.measures import SILENT, WATCHED
from actors.warden import Warden
from actors.wire import Health, encode_reply
from engine.journal.contract import Unavailable
from engine.journal.pulses import Pulse
from engine.limits import HOT_EVENTS_MAX, PROBE_TIMEOUT_SECONDS, WARM_UP_SECONDS
from tests.unit.actors.given import until
from tests.unit.actors.recording_meter import RecordingMeter
from tests.virtual_time import VirtualClocks, now_ms


class Mood(Enum):
    WELL = auto()
    SILENT = auto()
    DYING = auto()


def health(event_id: str) -> Health:
    return Health(event_id, f"node of {event_id}", 4711, 99, "serving", 1, 1, 0)


class FakeOwners:
    """Owners that answer, keep silent or die, as the test says."""

    def __init__(self) -> None:
        self.mood: dict[str, Mood] = {}
        self.asked: Counter[str] = Counter()
        self.asked_now: Counter[str] = Counter()
        self.killed: list[str] = []
        self.kill_fails = False

    async def health(self, event_id: str) -> Health:
        self.asked[event_id] += 1
        self.asked_now[event_id] += 1
        try:
            mood = self.mood.get(event_id, Mood.WELL)
            if mood is Mood.DYING:
                raise OwnerGone("ActorDiedError")
            if mood is Mood.SILENT:
                await asyncio.Event().wait()
            return health(event_id)
        finally:
            self.asked_now[event_id] -= 1

    async def kill(self, named: Health) -> None:
        if self.kill_fails:
            raise OwnerGone("the node does not answer")
        self.killed.append(named.incarnation)


class FakeCatalogue:
    """What the store would say of events in need."""

    def __init__(self) -> None:
        self.away = False
        self.events_awake: list[str] = []
        self.openings: dict[str, int] = {}
        self.unclaimed: set[str] = set()

    async def awake(self) -> list[str]:
        self._reach()
        return list(self.events_awake)

    async def opening(self, from_ms: int, until_ms: int) -> list[str]:
        self._reach()
        return [event for event, at in self.openings.items() if from_ms <= at <= until_ms]

    async def claimant(self, event_id: str) -> bytes | None:
        self._reach()
        return None if event_id in self.unclaimed else encode_reply(health(event_id))

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("away")


@pytest.fixture
def owners() -> FakeOwners:
    return FakeOwners()


@pytest.fixture
def catalogue() -> FakeCatalogue:
    return FakeCatalogue()


@pytest.fixture
async def watching(owners, catalogue) -> AsyncIterator[asyncio.Task]:
    """A warden that goes round; a task that must not end."""
    task = asyncio.create_task(Warden(owners, catalogue).watch())
    yield task
    assert not task.done(), "the warden has ended"
    task.cancel()


# -- who is looked after ---------------------------------------------------------------


async def test_events_with_unfinished_business_are_asked_every_second(
    owners, catalogue, watching
) -> None:
    catalogue.events_awake = ["a", "b"]
    await asyncio.sleep(10.5)
    assert owners.asked == {"a": 10, "b": 10}
    assert owners.killed == []


async def test_an_event_is_started_shortly_before_its_sale_opens(
    owners, catalogue, watching
) -> None:
    opens_in = 2 * WARM_UP_SECONDS
    catalogue.openings["a"] = now_ms() + opens_in * 1_000
    await asyncio.sleep(opens_in - WARM_UP_SECONDS - 1)
    assert owners.asked["a"] == 0
    await asyncio.sleep(3)
    assert owners.asked["a"] >= 1


async def test_an_event_that_is_awake_and_opens_soon_is_asked_once_a_round(
    owners, catalogue
) -> None:
    catalogue.events_awake = ["a"]
    catalogue.openings["a"] = now_ms() + 1_000
    await Warden(owners, catalogue).round()
    await asyncio.sleep(0.1)
    assert owners.asked == {"a": 1}


async def test_an_event_at_rest_is_left_alone(owners, catalogue, watching) -> None:
    catalogue.events_awake = ["a"]
    await asyncio.sleep(3.5)
    catalogue.events_awake = []
    asked = owners.asked["a"]
    await asyncio.sleep(10)
    assert owners.asked["a"] == asked


# -- silence ---------------------------------------------------------------------------


async def test_a_silent_owner_is_killed_after_two_probes(
    owners, catalogue, watching, logged
) -> None:
    catalogue.events_awake = ["a"]
    await asyncio.sleep(3.5)
    owners.mood["a"] = Mood.SILENT
    silent_since, asked = VirtualClocks.monotonic(), owners.asked["a"]
    await until(lambda: bool(owners.killed))
    assert owners.killed == ["a"]
    assert owners.asked["a"] - asked == 2
    assert VirtualClocks.monotonic() - silent_since <= 5.1, (
        "half of ten seconds is left to start again"
    )
    (line,) = [line for line in logged if line["event"] == "owner_silent"]
    assert (line["event_id"], line["pid"], line["node"]) == ("a", 4711, "node of a")


async def test_an_owner_that_was_silent_once_is_not_killed(owners, catalogue, watching) -> None:
    catalogue.events_awake = ["a"]
    for _ in range(5):
        owners.mood["a"] = Mood.SILENT
        asked = owners.asked["a"]
        await until(lambda asked=asked: owners.asked["a"] > asked)
        owners.mood["a"] = Mood.WELL
        await asyncio.sleep(5)
    assert owners.killed == []


async def test_a_dying_owner_is_not_killed_for_ray_knows_already(
    owners, catalogue, watching
) -> None:
    catalogue.events_awake = ["a"]
    owners.mood["a"] = Mood.DYING
    await asyncio.sleep(30)
    assert owners.asked["a"] > 20
    assert owners.killed == []


@pytest.mark.parametrize("between", [Mood.DYING, Mood.WELL])
async def test_another_answer_between_two_silences_starts_the_count_again(
    owners, catalogue, between: Mood
) -> None:
    catalogue.events_awake = ["a"]
    warden = Warden(owners, catalogue)
    for _ in range(3):
        owners.mood["a"] = Mood.SILENT
        await warden.round()
        await asyncio.sleep(PROBE_TIMEOUT_SECONDS / 2)
        owners.mood["a"] = between  # at the second question
        await asyncio.sleep(PROBE_TIMEOUT_SECONDS)
    assert owners.killed == []
    owners.mood["a"] = Mood.SILENT
    await warden.round()
    await asyncio.sleep(2 * PROBE_TIMEOUT_SECONDS + 0.1)
    assert owners.killed == ["a"]


async def test_one_silent_owner_does_not_hold_up_the_others(owners, catalogue, watching) -> None:
    catalogue.events_awake = ["a", "b"]
    owners.mood["a"] = Mood.SILENT
    await asyncio.sleep(10.5)
    assert owners.asked["b"] == 10
    assert set(owners.killed) == {"a"}


async def test_an_owner_is_asked_one_thing_at_a_time(owners, catalogue, watching) -> None:
    catalogue.events_awake = ["a"]
    owners.mood["a"] = Mood.SILENT
    for _ in range(100):
        await asyncio.sleep(0.1)
        assert owners.asked_now["a"] <= 1


async def test_an_owner_that_stays_silent_is_killed_again(owners, catalogue, watching) -> None:
    """The order may have been lost, or what is there now is frozen too."""
    catalogue.events_awake = ["a"]
    owners.mood["a"] = Mood.SILENT
    await asyncio.sleep(20)
    assert len(owners.killed) >= 3


async def test_an_owner_that_has_not_claimed_yet_is_left_to_start(
    owners, catalogue, watching
) -> None:
    catalogue.events_awake = ["a"]
    catalogue.unclaimed = {"a"}
    owners.mood["a"] = Mood.SILENT
    await asyncio.sleep(20)
    assert owners.killed == []


async def test_an_order_to_kill_that_fails_is_given_again(
    owners, catalogue, watching, logged
) -> None:
    catalogue.events_awake = ["a"]
    owners.mood["a"] = Mood.SILENT
    owners.kill_fails = True
    await asyncio.sleep(10)
    assert "owner_not_killed" in {line["event"] for line in logged}
    owners.kill_fails = False
    await asyncio.sleep(5)
    assert "a" in owners.killed


# -- the store is away -----------------------------------------------------------------


async def test_without_the_store_the_warden_goes_on_asking_those_it_knows(
    owners, catalogue, watching, logged
) -> None:
    catalogue.events_awake = ["a", "b"]
    await asyncio.sleep(2.5)
    catalogue.away = True
    before = owners.asked["a"]
    await asyncio.sleep(300)
    assert owners.asked["a"] - before >= 299
    assert "store_unreachable" in {line["event"] for line in logged}
    catalogue.away = False
    catalogue.events_awake = ["c"]
    await asyncio.sleep(2)
    assert owners.asked["c"] >= 1


async def test_without_the_store_nobody_is_killed_and_the_silent_are_remembered(
    owners, catalogue, watching, logged
) -> None:
    catalogue.events_awake = ["a"]
    await asyncio.sleep(2.5)
    owners.mood["a"] = Mood.SILENT
    catalogue.away = True
    await asyncio.sleep(30)
    assert owners.killed == [], "who claimed the journal last is not known"
    assert "owner_not_killed" in {line["event"] for line in logged}
    catalogue.away = False
    await asyncio.sleep(4)
    assert owners.killed[:1] == ["a"]


async def test_a_warden_that_starts_without_the_store_begins_when_it_returns(
    owners, catalogue, watching
) -> None:
    catalogue.away = True
    catalogue.events_awake = ["a"]
    await asyncio.sleep(60)
    assert owners.asked == {}
    catalogue.away = False
    await asyncio.sleep(2)
    assert owners.asked["a"] >= 1


async def test_what_is_always_needed_is_asked_like_an_owner_and_killed_like_one(
    owners, catalogue
) -> None:
    async def desks() -> list[str]:
        return ["payments"]

    task = asyncio.create_task(Warden(owners, catalogue, desks).watch())
    try:
        await asyncio.sleep(3)
        assert owners.asked["payments"] >= 3
        owners.mood["payments"] = Mood.SILENT
        await asyncio.sleep(10)
        assert owners.killed[:1] == ["payments"]
    finally:
        task.cancel()


async def test_who_is_always_needed_may_change_and_an_outage_changes_nothing(
    owners, catalogue
) -> None:
    places = ["back-office:0", "back-office:1"]
    away = False

    async def desks() -> list[str]:
        if away:
            raise Unavailable("away")
        return list(places)

    task = asyncio.create_task(Warden(owners, catalogue, desks).watch())
    try:
        await asyncio.sleep(2.5)
        assert owners.asked == {"back-office:0": 3, "back-office:1": 3}
        away = True
        await asyncio.sleep(2)
        assert owners.asked == {"back-office:0": 5, "back-office:1": 5}
        away, places[:] = False, ["back-office:0", "back-office:2"]
        await asyncio.sleep(2)
        assert owners.asked == {"back-office:0": 7, "back-office:1": 5, "back-office:2": 2}
    finally:
        task.cancel()


# -- what operators are shown ----------------------------------------------------------


class FakeBoard:
    def __init__(self) -> None:
        self.shown: list[Pulse] = []
        self.away = False

    async def put(self, pulses: list[Pulse]) -> None:
        if self.away:
            raise Unavailable("away")
        self.shown = list(pulses)


class BusyOwners(FakeOwners):
    """Owners whose events sell so many holds between two looks."""

    def __init__(self, pace: dict[str, int]) -> None:
        super().__init__()
        self.pace = pace

    async def health(self, event_id: str) -> Health:
        found = await super().health(event_id)
        granted = self.asked[event_id] * self.pace[event_id]
        pulse = Pulse(event_id, granted, 0, 0, 0, 0, 0, 0, 0)
        return msgspec.structs.replace(found, pulse=pulse)


async def test_the_busiest_events_are_shown_and_no_more_than_fit(catalogue) -> None:
    pace = {f"e{number:03d}": number for number in range(100)}
    owners, board, meter = BusyOwners(pace), FakeBoard(), RecordingMeter()
    catalogue.events_awake = list(pace)
    warden = Warden(owners, catalogue, board=board, meter=meter)
    watching = asyncio.create_task(warden.watch())
    await asyncio.sleep(5.5)
    busiest = [f"e{number:03d}" for number in range(99, 99 - HOT_EVENTS_MAX, -1)]
    assert [pulse.event_id for pulse in board.shown] == busiest
    assert meter.shown[(WATCHED.name,)] == 100
    catalogue.events_awake = ["e001"]
    board.away = True
    await asyncio.sleep(5)
    board.away = False
    await asyncio.sleep(5)
    assert [pulse.event_id for pulse in board.shown] == ["e001"]
    assert not watching.done()
    watching.cancel()


async def test_processes_that_were_killed_are_counted(owners, catalogue) -> None:
    meter = RecordingMeter()
    catalogue.events_awake = ["a"]
    owners.mood["a"] = Mood.SILENT
    watching = asyncio.create_task(Warden(owners, catalogue, meter=meter).watch())
    await until(lambda: owners.killed)
    assert meter.count(SILENT) == 1
    watching.cancel()
