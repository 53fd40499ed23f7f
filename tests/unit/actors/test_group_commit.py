"""A turn is durable exactly once, however often the store fails to answer."""

import asyncio
from itertools import pairwise

import pytest

from actors.group_commit import Backoff, commit, insist
from engine.journal.contract import Fenced, InDoubt, JournalLost, Unavailable
from engine.journal.entry import START, Entry, Position
from engine.journal.memory import Fault, MemoryJournal, MemoryStore
from engine.limits import REDIS_RETRY_SECONDS_MAX, REDIS_RETRY_SECONDS_MIN
from tests.samples import EVENT_ID, MINE, NOW_MS, THEIRS, entry
from tests.virtual_time import VirtualClocks

FIRST = entry(Position(1, 1))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def journal(store: MemoryStore) -> MemoryJournal:
    return MemoryJournal(store, EVENT_ID)


async def entries(journal: MemoryJournal) -> list[Entry]:
    return [seen async for seen in journal.replay(START)]


async def test_an_entry_is_committed_with_one_append(journal) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    began = VirtualClocks.monotonic()
    await commit(journal, FIRST, claim)
    assert await entries(journal) == [FIRST]
    assert VirtualClocks.monotonic() == began, "a pause where nothing went wrong"


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.REPLY_LOST])
@pytest.mark.parametrize("times", [1, 3])
async def test_an_append_that_is_not_answered_is_committed_once(
    store, journal, fault, times
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    store.faults.extend([fault] * times)
    await commit(journal, FIRST, claim)
    assert await entries(journal) == [FIRST]
    assert len(store.projections[EVENT_ID]) == 2, "the claim and the entry, each once"


async def test_a_store_that_is_away_is_waited_for(store, journal) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    store.faults.append(Fault.AWAY)
    committing = asyncio.create_task(commit(journal, FIRST, claim))
    await asyncio.sleep(300)
    assert not committing.done()
    store.away = False
    returned_at = VirtualClocks.monotonic()
    await committing
    assert await entries(journal) == [FIRST]
    assert VirtualClocks.monotonic() - returned_at <= REDIS_RETRY_SECONDS_MAX


async def test_a_newer_owner_ends_the_attempts(store, journal) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    store.faults.append(Fault.REQUEST_LOST)
    committing = asyncio.create_task(commit(journal, FIRST, claim))
    await asyncio.sleep(0)
    newer = await journal.claim(THEIRS, NOW_MS)
    with pytest.raises(Fenced) as fenced:
        await committing
    assert fenced.value.args == (FIRST.position, newer)
    assert await entries(journal) == []


async def test_an_entry_that_was_written_before_a_newer_owner_came_is_committed(
    store, journal
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    store.faults.append(Fault.REPLY_LOST)
    committing = asyncio.create_task(commit(journal, FIRST, claim))
    await asyncio.sleep(0)
    await journal.claim(THEIRS, NOW_MS)
    await committing
    assert await entries(journal) == [FIRST]


async def test_an_entry_of_another_incarnation_in_its_place_is_not_taken_for_its_own(
    journal,
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    await commit(journal, FIRST, claim)
    with pytest.raises(Fenced):
        await commit(journal, entry(FIRST.position, nonce=THEIRS), claim)
    assert await entries(journal) == [FIRST]


async def test_a_journal_that_has_lost_its_end_is_reported(journal) -> None:
    await journal.claim(MINE, NOW_MS)
    with pytest.raises(JournalLost):
        await commit(journal, entry(Position(1, 42)), Position(1, 41))


async def test_attempts_come_quickly_at_first_and_then_at_a_steady_pace() -> None:
    moments: list[float] = []

    class Deaf:
        event_id = EVENT_ID

        async def append(self, _entry: Entry, _after: Position) -> None:
            moments.append(VirtualClocks.monotonic())
            raise InDoubt("nobody answers")

    committing = asyncio.create_task(commit(Deaf(), FIRST, START))
    await asyncio.sleep(60)
    committing.cancel()
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses[0] == pytest.approx(REDIS_RETRY_SECONDS_MIN)
    assert pauses == sorted(pauses), "a pause shorter than the one before"
    assert pauses[-1] == pytest.approx(REDIS_RETRY_SECONDS_MAX)
    assert len(moments) > 55


async def test_every_commit_begins_with_short_pauses_again() -> None:
    for _ in range(2):
        backoff = Backoff()
        began = VirtualClocks.monotonic()
        await backoff.pause()
        assert VirtualClocks.monotonic() - began == pytest.approx(REDIS_RETRY_SECONDS_MIN)


async def test_whoever_insists_gets_the_answer_once_the_store_is_back() -> None:
    asked_at = []

    async def ask() -> str:
        asked_at.append(VirtualClocks.monotonic())
        if len(asked_at) < 4:
            raise Unavailable("away")
        return "here"

    assert await insist(ask) == "here"
    first, second, third = (then - one for one, then in pairwise(asked_at))
    assert first == pytest.approx(REDIS_RETRY_SECONDS_MIN)
    assert first < second < third


async def test_whoever_insists_is_told_of_mistakes_at_once() -> None:
    async def ask() -> None:
        raise ValueError("not the store's fault")

    with pytest.raises(ValueError, match="not the store's"):
        await insist(ask)
