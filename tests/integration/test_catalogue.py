"""What is read beside the journals is what the owners have written, over all partitions."""

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from engine.domain.records import EventAmended, EventCreated, Record, SalePaused, SaleResumed
from engine.journal.catalogue import Catalogue, EventDocument
from engine.journal.connect import connect
from engine.journal.contract import InDoubt, Unavailable
from engine.journal.entry import Entry
from engine.journal.keys import partition_of
from engine.journal.projection import booking_member
from engine.journal.redis import RedisJournal
from tests.proxy import Proxy
from tests.samples import MINE, NOW_MS, booking_id, event, expired, placed

#: Enough events that their partitions differ, and one partition has several.
EVENT_IDS = [f"evt_{number:012d}" for number in range(37, 37 * 21, 37)]


class Owner:
    """Writes one event's records, one entry for each call."""

    def __init__(self, client: Redis, event_id: str) -> None:
        self.journal = RedisJournal(client, event_id)
        self.sequence = 0

    async def write(self, *records: Record) -> None:
        if self.sequence == 0:
            self.after = await self.journal.claim(MINE, NOW_MS)
        self.sequence += 1
        written = Entry(self.after.epoch, self.sequence, NOW_MS, MINE, records)
        await self.journal.append(written, self.after)
        self.after = written.position


@pytest.fixture
def catalogue(redis: Redis) -> Catalogue:
    return Catalogue(redis)


async def created(redis: Redis, event_id: str, **changes) -> Owner:
    owner = Owner(redis, event_id)
    await owner.write(EventCreated(event(event_id, **changes)))
    return owner


def test_the_events_of_these_tests_lie_in_several_partitions_and_share_some() -> None:
    partitions = {partition_of(event_id) for event_id in EVENT_IDS}
    assert 10 < len(partitions) < len(EVENT_IDS)


# -- one event -------------------------------------------------------------------------


async def test_an_event_reads_as_it_was_created(redis: Redis, catalogue: Catalogue) -> None:
    assert await catalogue.event(EVENT_IDS[0]) is None
    await created(redis, EVENT_IDS[0])
    assert await catalogue.event(EVENT_IDS[0]) == EventDocument(event(EVENT_IDS[0]), False, 1)


async def test_a_journal_that_was_only_claimed_is_no_event(
    redis: Redis, catalogue: Catalogue
) -> None:
    await RedisJournal(redis, EVENT_IDS[0]).claim(MINE, NOW_MS, b"claimant")
    assert await catalogue.event(EVENT_IDS[0]) is None
    assert await catalogue.upcoming(0, 9) == []
    assert await catalogue.claimant(EVENT_IDS[0]) == b"claimant"
    assert await catalogue.claimant(EVENT_IDS[1]) is None


async def test_an_event_reads_as_it_was_last_amended(redis: Redis, catalogue: Catalogue) -> None:
    owner = await created(redis, EVENT_IDS[0])
    await owner.write(placed(2, event_id=EVENT_IDS[0]))
    amended = replace(event(EVENT_IDS[0]), name="Second night")
    await owner.write(EventAmended(amended, NOW_MS))
    assert await catalogue.event(EVENT_IDS[0]) == EventDocument(amended, False, 3)


async def test_a_paused_sale_is_seen_until_it_is_resumed(
    redis: Redis, catalogue: Catalogue
) -> None:
    owner = await created(redis, EVENT_IDS[0])
    await owner.write(SalePaused(NOW_MS))
    assert await catalogue.event(EVENT_IDS[0]) == EventDocument(event(EVENT_IDS[0]), True, 2)
    await owner.write(EventAmended(event(EVENT_IDS[0], name="Moved"), NOW_MS))
    document = await catalogue.event(EVENT_IDS[0])
    assert (document.paused, document.event.name) == (True, "Moved")
    await owner.write(SaleResumed(NOW_MS), SalePaused(NOW_MS), SaleResumed(NOW_MS))
    document = await catalogue.event(EVENT_IDS[0])
    assert (document.paused, document.sequence) == (False, 4)


async def test_events_are_given_in_the_order_asked_for_with_gaps(
    redis: Redis, catalogue: Catalogue
) -> None:
    for event_id in EVENT_IDS[:3]:
        await created(redis, event_id)
    asked = [EVENT_IDS[2], "evt_unknown00000", EVENT_IDS[0], EVENT_IDS[2]]
    found = await catalogue.events(asked)
    assert [document and document.event.event_id for document in found] == [
        EVENT_IDS[2],
        None,
        EVENT_IDS[0],
        EVENT_IDS[2],
    ]
    assert await catalogue.events([]) == []


# -- upcoming events -------------------------------------------------------------------


async def pages(catalogue: Catalogue, now_ms: int, limit: int) -> list[list[str]]:
    found = []
    last = None
    while documents := await catalogue.upcoming(now_ms, limit, last):
        found.append([document.event.event_id for document in documents])
        last = documents[-1]
        assert len(found) <= len(EVENT_IDS), "the pages never end"
    return found


@pytest.mark.parametrize("limit", [1, 3, 20, 50])
async def test_upcoming_events_come_soonest_first_page_by_page(
    limit: int, redis: Redis, catalogue: Catalogue
) -> None:
    for number, event_id in enumerate(EVENT_IDS):
        # Two start at each instant, the later ids first: ties are broken by id.
        await created(redis, event_id, starts_at_ms=NOW_MS + (20 - number) // 2)
    expected = sorted(EVENT_IDS, key=lambda name: ((20 - EVENT_IDS.index(name)) // 2, name))
    found = await pages(catalogue, NOW_MS, limit)
    assert [event_id for page in found for event_id in page] == expected
    assert all(len(page) == limit for page in found[:-1])


async def test_an_event_is_upcoming_until_the_instant_it_starts(
    redis: Redis, catalogue: Catalogue
) -> None:
    for number, event_id in enumerate(EVENT_IDS[:4]):
        await created(redis, event_id, starts_at_ms=NOW_MS + number)
    assert await pages(catalogue, NOW_MS + 2, 10) == [EVENT_IDS[2:4]]
    assert await pages(catalogue, NOW_MS + 4, 10) == []


async def test_a_page_that_outlives_its_first_event_shows_none_that_has_started(
    redis: Redis, catalogue: Catalogue
) -> None:
    for number, event_id in enumerate(EVENT_IDS[:4]):
        await created(redis, event_id, starts_at_ms=NOW_MS + number)
    (first,) = await catalogue.upcoming(NOW_MS, 1)
    documents = await catalogue.upcoming(NOW_MS + 2, 10, first)
    assert [document.event.event_id for document in documents] == EVENT_IDS[2:4]


# -- bookings of a customer ------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 4, 40])
async def test_a_customers_bookings_come_newest_first_over_all_events(
    limit: int, redis: Redis, catalogue: Catalogue
) -> None:
    expected = []
    for number, event_id in enumerate(EVENT_IDS):
        owner = await created(redis, event_id)
        at_ms = NOW_MS + number * 7 % 5  # several at one instant
        await owner.write(
            placed(1, "ann", at_ms, event_id),
            placed(2, "bob", at_ms, event_id),
            placed(3, "ann", at_ms + 10, event_id),
        )
        expected += [(at_ms, booking_id(1, event_id)), (at_ms + 10, booking_id(3, event_id))]
    expected.sort(reverse=True)
    held_at_ms = {name: at_ms for at_ms, name in expected}
    found: list[str] = []
    before = None
    while page := await catalogue.bookings_of("ann", limit, before):
        assert len(page) <= limit
        found += page
        assert len(found) <= len(expected), "the pages never end"
        before = booking_member(held_at_ms[page[-1]], page[-1])
    assert found == [name for _, name in expected]
    assert len(await catalogue.bookings_of("bob", 50)) == len(EVENT_IDS)
    assert await catalogue.bookings_of("nobody", 50) == []


async def test_customers_with_strange_names_find_their_own_bookings(
    redis: Redis, catalogue: Catalogue
) -> None:
    owner = await created(redis, EVENT_IDS[0])
    names = ["", "{p00}", "a:b", "a", "ä\n\0", "auth0|" + "x" * 300]
    for number, name in enumerate(names):
        await owner.write(placed(number, name, event_id=EVENT_IDS[0]))
    for number, name in enumerate(names):
        assert await catalogue.bookings_of(name, 9) == [booking_id(number, EVENT_IDS[0])]


async def test_a_booking_is_listed_once_though_its_append_was_repeated(
    redis: Redis, catalogue: Catalogue, proxy: Proxy
) -> None:
    owner = await created(redis, EVENT_IDS[0])
    written = Entry(1, 2, NOW_MS, MINE, (placed(1), placed(2), expired(1)))
    async with connect(proxy.url) as client:
        journal = RedisJournal(client, EVENT_IDS[0])
        proxy.cut_reply("EVALSHA")
        with pytest.raises(InDoubt):
            await journal.append(written, owner.after)
        await journal.append(written, owner.after)
    assert await catalogue.bookings_of("ann", 9) == [booking_id(2), booking_id(1)]


# -- who needs an owner ----------------------------------------------------------------


async def test_events_are_awake_from_their_claim_until_they_rest(
    redis: Redis, catalogue: Catalogue
) -> None:
    owners = [await created(redis, event_id) for event_id in reversed(EVENT_IDS)]
    assert await catalogue.awake() == EVENT_IDS
    for owner in owners[:15]:
        assert await owner.journal.rest(owner.after)
    assert await catalogue.awake() == EVENT_IDS[:5]


async def test_openings_are_found_from_the_first_to_the_last_instant(
    redis: Redis, catalogue: Catalogue
) -> None:
    for number, event_id in enumerate(EVENT_IDS[:6]):
        await created(redis, event_id, opens_at_ms=NOW_MS + number)
    await created(redis, EVENT_IDS[6])
    assert await catalogue.opening(NOW_MS + 1, NOW_MS + 3) == EVENT_IDS[1:4]
    assert await catalogue.opening(0, 2 * NOW_MS) == EVENT_IDS[:6]
    assert await catalogue.opening(NOW_MS + 6, 2 * NOW_MS) == []


async def test_an_opening_moves_and_goes_with_the_event(redis: Redis, catalogue: Catalogue) -> None:
    owner = await created(redis, EVENT_IDS[0], opens_at_ms=NOW_MS)
    await owner.write(EventAmended(event(EVENT_IDS[0], opens_at_ms=NOW_MS + 5), NOW_MS))
    assert await catalogue.opening(NOW_MS, NOW_MS) == []
    assert await catalogue.opening(NOW_MS + 5, NOW_MS + 5) == [EVENT_IDS[0]]
    await owner.write(EventAmended(event(EVENT_IDS[0]), NOW_MS))
    assert await catalogue.opening(0, 2 * NOW_MS) == []


# -- a store that is away --------------------------------------------------------------


async def test_a_catalogue_whose_store_is_away_says_so(proxy: Proxy) -> None:
    await proxy.refuse()
    async with connect(proxy.url) as client:
        catalogue = Catalogue(client)
        for ask in (
            catalogue.ping(),
            catalogue.event(EVENT_IDS[0]),
            catalogue.events(EVENT_IDS),
            catalogue.upcoming(NOW_MS, 9),
            catalogue.bookings_of("ann", 9),
            catalogue.awake(),
            catalogue.opening(0, NOW_MS),
        ):
            with pytest.raises(Unavailable):
                await ask
        proxy.accept()
        await catalogue.ping()
