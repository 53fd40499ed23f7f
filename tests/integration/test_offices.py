"""Several back offices over one store, whose number changes while they are at work."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis

from actors import consumer
from actors.back_office import receipts
from actors.back_office.desk import BackOfficeDesk
from engine.journal.connect import connect
from engine.journal.contract import Unavailable
from engine.journal.embedded import EmbeddedStore
from engine.journal.keys import OFFICES, partition_of
from engine.journal.offices import Offices
from engine.limits import PARTITIONS
from gateway.cli.office import set_count
from gateway.cli.surroundings import CannotStart
from tests.back_office import Office, perish, read_mails, settings_of, shared_among, who_reads
from tests.in_process import in_process

FREE = {"ticket_types": [{"code": "ga", "name": "Standing", "price": 0, "capacity": 100}]}
#: Longest that a test waits, seconds.
_PATIENCE_SECONDS = 60.0


async def until(condition: Callable[[], Awaitable[object]], what: str) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not await condition():
        assert time.monotonic() < give_up, f"not so: {what}"
        await asyncio.sleep(0.05)


# -- the number ------------------------------------------------------------------------


async def test_there_is_one_until_somebody_says_another_number(redis: Redis) -> None:
    offices = Offices(redis)
    assert await offices.count() == 1
    for count in (1, 3, PARTITIONS):
        await offices.set_count(count)
        assert await offices.count() == count


@pytest.mark.parametrize("count", [0, -1, PARTITIONS + 1])
async def test_a_number_that_there_cannot_be_is_a_mistake(redis: Redis, count: int) -> None:
    with pytest.raises(AssertionError):
        await Offices(redis).set_count(count)


@pytest.mark.parametrize("written", ["0", "65", "-1", "many", ""])
async def test_what_somebody_else_has_written_is_no_number(redis: Redis, written: str) -> None:
    await redis.set(OFFICES, written)
    with pytest.raises(Unavailable, match="somebody else"):
        await Offices(redis).count()


async def test_a_store_that_is_away_is_said_to_be_away() -> None:
    async with connect("redis://127.0.0.1:1/0") as client:
        with pytest.raises(Unavailable):
            await Offices(client).count()
        with pytest.raises(Unavailable):
            await Offices(client).set_count(2)


async def test_onsale_up_sets_it_or_says_why_it_cannot(redis: Redis, store: EmbeddedStore) -> None:
    await asyncio.to_thread(set_count, 3, store.url)
    assert await Offices(redis).count() == 3
    with pytest.raises(CannotStart, match="the store does not answer"):
        await asyncio.to_thread(set_count, 3, "redis://127.0.0.1:1/0")


# -- at work ---------------------------------------------------------------------------


class Desks:
    """Back offices by their places, and buyers who keep them busy."""

    def __init__(self, office: Office, redis: Redis) -> None:
        self.office = office
        self.redis = redis
        self.working: dict[int, asyncio.Task[None]] = {}
        self.bookings: list[str] = []

    async def are_to_be(self, count: int) -> None:
        """Set the number, and start those who are new, as the warden does."""
        await Offices(self.redis).set_count(count)
        for place in range(count):
            if place not in self.working or self.working[place].done():
                desk = BackOfficeDesk(self.office.settings, self.office.onsale.owners, place)
                self.working[place] = asyncio.create_task(desk.work())

    async def share_the_work(self, count: int) -> None:
        """Return when every partition has exactly the one reader that it has to have."""

        async def shared() -> bool:
            return await who_reads(self.redis) == shared_among(count)

        await until(shared, f"{count} share the work")

    async def end(self) -> None:
        await perish(list(self.working.values()))


@pytest.fixture
async def desks(
    redis: Redis, store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desks]:
    # Half a minute for owners who were not told by a back office that is gone; ten seconds for
    # what it has given back.
    monkeypatch.setattr(receipts, "POST_UNTOLD_SECONDS", 2.0)
    monkeypatch.setattr(consumer, "KEEP_SECONDS", 2.0)
    settings = settings_of(store, tmp_path)
    async with in_process(redis, database_url=settings.database_url) as onsale:
        made = Desks(Office(onsale, settings), redis)
        try:
            yield made
        finally:
            await made.end()


async def _all_told(office: Office) -> bool:
    return not await office.onsale.store.untold(1)


@pytest.mark.parametrize("numbers", [(1, 3), (3, 1), (2, 3, 2)])
async def test_after_every_change_each_partition_has_one_reader_and_all_get_their_tickets(
    desks: Desks, numbers: tuple[int, ...]
) -> None:
    office = desks.office
    await desks.are_to_be(numbers[0])
    await desks.share_the_work(numbers[0])
    events: dict[int, str] = {}
    while len(events) < 6:  # an event for each that divides by two and three otherwise
        event_id = await office.onsale.event("acme", **FREE)
        events.setdefault(partition_of(event_id) % 6, event_id)
    bookings = []
    for before, count in pairwise(numbers):
        bookings += [await office.bought(one) for one in events.values()]
        await desks.are_to_be(count)
        bookings += [await office.bought(one, "bob") for one in events.values()]
        for place in range(count, before):
            gone = desks.working[place]
            await asyncio.wait([gone], timeout=_PATIENCE_SECONDS)
            assert gone.done(), "its place is no more"
            assert gone.result() is None
        await desks.share_the_work(count)
        bookings += [await office.bought(one, "cid") for one in events.values()]

    store = office.onsale.store
    for booking_id in bookings:

        async def delivered(booking_id: str = booking_id) -> bool:
            return [one.status.value for one in await store.messages(booking_id)] == ["SENT"]

        await until(delivered, f"{booking_id} has its tickets")
        assert len(await store.tickets(booking_id)) == 1
        assert len(await store.trail(booking_id)) == 1
    mails = read_mails(Path(office.settings.mail_dir))
    assert set(Counter(mail["message-id"] for mail in mails).values()) == {1}
    assert len(mails) == len(bookings)
    # What somebody has sent and told no owner of, before it left, others look for now and then.
    await until(lambda: _all_told(office), "every owner knows")
    await office.settled()
    assert {place for place, task in desks.working.items() if not task.done()} == set(
        range(numbers[-1])
    )
