"""Two back offices, killed -9 in turn while they are at work (FAULTS.md, 18; I8 and I9)."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from actors.contract import back_office_name
from engine.domain.records import TicketsDelivered
from engine.journal.connect import connect
from engine.journal.keys import partition_of
from engine.journal.offices import Offices
from engine.store.connect import Database
from tests.back_office import shared_among, who_reads
from tests.end_to_end.announced import compare, listening
from tests.end_to_end.office import Counter, Office, counter_of, running_office
from tests.end_to_end.service import until
from tests.end_to_end.stage import Stage
from tests.receiver import answer, break_off

_PLACES = 2
_SETTINGS = {
    "ONSALE_BACK_OFFICES": str(_PLACES),
    "ONSALE_WEBHOOK_PRIVATE_TARGETS": "allow",
}


@pytest.fixture(scope="module")
def two_offices(tmp_path_factory: pytest.TempPathFactory, stage: Stage) -> Iterator[Office]:
    """The service of these drills; they take `offices`."""
    stage.enter("two_offices")
    with running_office(tmp_path_factory.mktemp("offices"), _SETTINGS) as running:
        yield running


@pytest.fixture
def offices(two_offices: Office) -> Office:
    """A running service with two back offices."""
    two_offices.mend()
    return two_offices


@asynccontextmanager
async def _one_of_each(office: Office, capacity: int) -> AsyncIterator[list[Counter]]:
    """Put an event on sale for each back office, in its share of the partitions."""
    async with AsyncExitStack() as ends:
        found: dict[int, Counter] = {}
        while len(found) < _PLACES:
            counter = await ends.enter_async_context(counter_of(office, capacity))
            found.setdefault(partition_of(counter.event_id) % _PLACES, counter)
        yield [found[place] for place in range(_PLACES)]


async def _spend(counter: Counter, number: int, chance: random.Random) -> None:
    """Buy two tickets; some give one or both back, some go in, at two gates at once."""
    await asyncio.sleep(chance.uniform(0.0, 2.0))
    one = await counter.paid(f"buyer-{number}", 2)
    await counter.has_tickets(one)
    if number % 3 == 0:
        await counter.refund(one, 1 + number % 2)
    elif number % 3 == 1:
        first, _ = await counter.codes(one)
        await asyncio.gather(*(counter.gates.scan(gate, first) for gate in ("North", "South")))


async def _in_hand(counter: Counter) -> None:
    """Return when an effect of this event is on its way through a back office."""
    deadline = time.monotonic() + 60.0
    while not await counter.shop.behind(counter.event_id):
        assert time.monotonic() < deadline, "nobody buys anything"
        await asyncio.sleep(0.005)


@pytest.mark.drill
async def test_two_killed_in_turn_while_many_buy_lose_nothing_and_do_nothing_twice(
    offices: Office,
):
    """The organizer hears of everything that is in the journal, and of nothing else."""
    seed = random.randrange(1 << 32)
    log = logging.getLogger(__name__)
    log.warning("seed %d", seed)
    chance = random.Random(seed)
    buyers, kills = 60, 6
    async with (
        listening(break_off, answer(500), answer(200)) as mailbox,
        _one_of_each(offices, 2 * buyers) as counters,
    ):
        await mailbox.register(offices.service)
        at_work = [await offices.at_work(place) for place in range(_PLACES)]
        assert len({one.pid for one in at_work}) == _PLACES
        for number in range(kills):
            buying = [
                asyncio.create_task(_spend(counter, one, chance))
                for counter in counters
                for one in range(number, buyers, kills)
            ]
            place = number % _PLACES
            await _in_hand(counters[place])
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            killed = await offices.kill(place)
            if number >= kills - 2:
                # Its work is left to nobody for a moment: the other one goes as well.
                other = await offices.kill(1 - place)
                await offices.next_one(other, 1 - place)
            await offices.next_one(killed, place)
            await asyncio.gather(*buying)

        again = [await counter.settled(120.0) for counter in counters]
        for counter in counters:
            bookings = (await counter.state()).bookings
            assert len(bookings) == len(counter.addresses) == buyers
            delivered = {one.booking_id for one in await counter.records(TicketsDelivered)}
            kept = [one for one in bookings.values() if one.payment and not one.payment.refund]
            assert kept
            assert {one.booking_id for one in kept} <= delivered

        database = Database(offices.rig.url)
        try:
            in_books = await mailbox.settled(database)
        finally:
            await database.close()
        journals = {counter.event_id: await counter.entries() for counter in counters}
        repeated = compare(journals, mailbox.taken)
        assert in_books == {one.webhook_id for one in mailbox.taken}
        assert repeated >= 2, "what was not taken comes again"
        log.warning(
            "%d and %d mails again, %d webhooks, %d of them again",
            *again,
            len(mailbox.taken),
            repeated,
        )


# -- another number --------------------------------------------------------------------


async def _have(office: Office, count: int) -> None:
    """Set the number of back offices, as `onsale up` does."""
    async with connect(office.service.store_url) as client:
        await Offices(client).set_count(count)


async def _share_the_work(office: Office, count: int) -> None:
    """Return when every partition has exactly the one reader that it has to have."""
    deadline = time.monotonic() + 60.0
    async with connect(office.service.store_url) as client:
        while (found := await who_reads(client)) != shared_among(count):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)


@pytest.mark.drill
async def test_the_number_changes_while_many_buy_and_nobody_waits_for_ever(offices: Office):
    """From two to one and back: who is left reads all, and who comes back its share again."""
    chance = random.Random(1)
    async with _one_of_each(offices, 60) as counters:
        first, second = [await offices.at_work(place) for place in range(_PLACES)]
        await _share_the_work(offices, 2)
        buying = [
            asyncio.create_task(_spend(counter, number, chance))
            for counter in counters
            for number in range(10)
        ]
        await _have(offices, 1)
        await until(lambda: second.pid not in offices.service.processes(), 60.0, "it has gone")
        await _share_the_work(offices, 1)
        await asyncio.gather(*buying)
        for counter in counters:
            await counter.settled(120.0)
        assert (await offices.at_work(0)).pid == first.pid, "it has changed its share, and stayed"
        assert (await offices.service.owner(back_office_name(1))) == second, "another one came"

        buying = [
            asyncio.create_task(_spend(counter, number, chance))
            for counter in counters
            for number in range(10, 20)
        ]
        await _have(offices, 2)
        third = await offices.next_one(second, 1)
        await asyncio.gather(*buying)
        await _share_the_work(offices, 2)
        for counter in counters:
            await counter.settled(120.0)
        assert third.pid in offices.service.processes()
