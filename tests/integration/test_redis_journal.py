"""What only the journal in Redis can get wrong: atomicity, lost and late commands, keys."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from engine.journal.connect import connect
from engine.journal.contract import Fenced, InDoubt, JournalLost, SnapshotRef
from engine.journal.embedded import EmbeddedStore
from engine.journal.entry import START, CorruptEntry, Position
from engine.journal.keys import event_keys
from engine.journal.redis import RedisJournal
from tests.proxy import Proxy
from tests.samples import EVENT_ID, MINE, NOW_MS, THEIRS, entry, one_of_each

KEYS = event_keys(EVENT_ID)
#: Patience of a client whose answer never comes; long enough to connect in.
SHORT_SECONDS = 0.25


@pytest.fixture
def journal(redis: Redis) -> RedisJournal:
    return RedisJournal(redis, EVENT_ID)


async def contents(redis: Redis) -> dict[bytes, bytes]:
    return {key: await redis.dump(key) for key in await redis.keys()}


async def ids(redis: Redis) -> list[str]:
    return [row_id.decode() for row_id, _ in await redis.xrange(KEYS.journal)]


# -- one step, all of it or nothing ----------------------------------------------------


async def test_a_refused_append_touches_no_key(redis: Redis, journal: RedisJournal) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    await journal.append(entry(Position(1, 1), *one_of_each()), claim)
    await RedisJournal(redis, EVENT_ID).claim(THEIRS, NOW_MS)
    size, before = await redis.dbsize(), await contents(redis)
    with pytest.raises(Fenced):
        await journal.append(entry(Position(1, 2), *one_of_each()), Position(1, 1))
    with pytest.raises(JournalLost):
        await journal.append(entry(Position(9, 2), *one_of_each()), Position(9, 1))
    assert await redis.dbsize() == size
    assert await contents(redis) == before


async def test_an_append_for_which_there_is_no_memory_touches_no_key(
    redis: Redis, journal: RedisJournal
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    before = await contents(redis)
    written = entry(Position(1, 1), *one_of_each())
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(InDoubt, match="OutOfMemory"):
            await journal.append(written, claim)
        assert await contents(redis) == before
    finally:
        await redis.config_set("maxmemory", 0)
    await journal.append(written, claim)
    assert await journal.read_back(Position(1, 1)) == written


async def test_everything_of_an_event_lies_under_one_hash_tag(
    redis: Redis, journal: RedisJournal
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    await journal.append(entry(Position(1, 1), *one_of_each()), claim)
    key = await journal.begin_snapshot(Position(1, 1), MINE)
    await journal.write_slice(key, b"slice")
    await journal.finish_snapshot(SnapshotRef(1, 1, key, 1, ""))
    keys = await redis.keys()
    assert len(keys) >= 8, "the history has to use every kind of key"
    assert len({await redis.execute_command("CLUSTER KEYSLOT", key) for key in keys}) == 1


async def test_events_of_one_partition_keep_their_journals_apart(redis: Redis) -> None:
    twins = [f"evt_{number:012d}" for number in range(400)]
    tag = KEYS.journal.partition(":")[0]
    twin = next(name for name in twins if event_keys(name).journal.startswith(tag))
    claim = await RedisJournal(redis, EVENT_ID).claim(MINE, NOW_MS)
    assert await RedisJournal(redis, twin).head() == START
    assert await RedisJournal(redis, twin).claim(THEIRS, NOW_MS) == claim
    await RedisJournal(redis, twin).append(entry(Position(1, 1), nonce=THEIRS), claim)
    assert await RedisJournal(redis, EVENT_ID).head() == claim


# -- commands that are lost, late or overtaken -----------------------------------------


async def test_of_two_claims_in_the_same_moment_one_is_fenced(
    redis: Redis, journal: RedisJournal, proxy: Proxy
) -> None:
    await journal.claim(MINE, NOW_MS)
    async with connect(proxy.url) as client:
        order = proxy.hold_request("EVALSHA")
        slow = asyncio.create_task(RedisJournal(client, EVENT_ID).claim(MINE, NOW_MS))
        await order.reached()
        winner = await journal.claim(THEIRS, NOW_MS)
        order.release()
        with pytest.raises(Fenced) as fenced:
            await slow
    assert fenced.value.args == (winner, winner)
    assert (await journal.read_back(winner)).nonce == THEIRS
    assert await ids(redis) == ["1-0", "2-0"]


async def test_claims_all_at_once_give_every_owner_an_epoch_of_its_own(redis: Redis) -> None:
    nonces = [bytes([number]) * 16 for number in range(20)]
    journals = [RedisJournal(redis, EVENT_ID) for _ in nonces]
    answers = await asyncio.gather(
        *(journal.claim(nonce, NOW_MS) for journal, nonce in zip(journals, nonces, strict=True)),
        return_exceptions=True,
    )
    won = [pair for pair in zip(answers, nonces, strict=True) if isinstance(pair[0], Position)]
    assert all(isinstance(answer, Position | Fenced) for answer in answers), answers
    assert len(won) == await redis.xlen(KEYS.journal)
    for position, nonce in won:
        stored = await journals[0].read_back(position)
        assert stored is not None
        assert stored.nonce == nonce


async def test_an_append_without_an_answer_in_time_is_in_doubt(
    journal: RedisJournal, proxy: Proxy
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    async with connect(proxy.url, timeout_seconds=SHORT_SECONDS) as client:
        slow = RedisJournal(client, EVENT_ID)
        order = proxy.hold_reply("EVALSHA")
        async with asyncio.timeout(10):  # one that waits for ever fails here
            with pytest.raises(InDoubt, match="Timeout"):
                await slow.append(written, claim)
        order.release()
        assert await slow.read_back(written.position) == written


async def test_a_slow_server_is_waited_for(journal: RedisJournal, proxy: Proxy) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    async with connect(proxy.url) as client:
        proxy.latency_seconds = 0.05
        await RedisJournal(client, EVENT_ID).append(written, claim)
    assert await journal.read_back(written.position) == written


async def test_an_append_that_arrives_after_its_repetition_changes_nothing(
    redis: Redis, journal: RedisJournal, proxy: Proxy
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    async with connect(proxy.url, timeout_seconds=SHORT_SECONDS) as client:
        order = proxy.hold_request("EVALSHA")
        with pytest.raises(InDoubt):
            await RedisJournal(client, EVENT_ID).append(written, claim)
        await journal.append(written, claim)
        before = await contents(redis)
        order.release()
        await order.answered()
    assert await contents(redis) == before


async def test_an_append_that_arrives_after_a_newer_claim_changes_nothing(
    redis: Redis, journal: RedisJournal, proxy: Proxy
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    async with connect(proxy.url, timeout_seconds=SHORT_SECONDS) as client:
        order = proxy.hold_request("EVALSHA")
        with pytest.raises(InDoubt):
            await RedisJournal(client, EVENT_ID).append(written, claim)
        await RedisJournal(redis, EVENT_ID).claim(THEIRS, NOW_MS)
        before = await contents(redis)
        order.release()
        await order.answered()
    assert await contents(redis) == before
    with pytest.raises(Fenced):
        await journal.append(written, claim)


async def test_the_answer_of_a_cancelled_append_is_not_taken_for_the_next_one(
    journal: RedisJournal, proxy: Proxy
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    async with connect(proxy.url) as client:
        other = RedisJournal(client, EVENT_ID)
        order = proxy.hold_reply("EVALSHA")
        task = asyncio.create_task(other.append(entry(Position(1, 1)), claim))
        await order.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        order.release()
        assert await other.head() == Position(1, 1)
        await other.append(entry(Position(1, 2)), Position(1, 1))


# -- no client repeats a command by itself ---------------------------------------------


async def append_through_a_cut(client: Redis, proxy: Proxy) -> None:
    """Add to a stream without an explicit id, and lose the reply."""
    await client.ping()
    proxy.cut_reply("XADD")
    await client.xadd("stream", {"field": "value"})


async def test_a_connection_sends_a_command_once_when_its_reply_is_lost(
    redis: Redis, proxy: Proxy
) -> None:
    async with connect(proxy.url) as client:
        with pytest.raises(RedisConnectionError):
            await append_through_a_cut(client, proxy)
    assert proxy.seen["XADD"] == 1
    assert await redis.xlen("stream") == 1


async def test_a_client_that_repeats_commands_would_be_seen_writing_twice(
    redis: Redis, proxy: Proxy
) -> None:
    async with Redis.from_url(proxy.url, retry=Retry(NoBackoff(), 1)) as client:
        await append_through_a_cut(client, proxy)
    assert await redis.xlen("stream") == 2


@pytest.mark.parametrize("loss", [Proxy.cut_reply, Proxy.drop_request], ids=["reply", "request"])
async def test_an_append_is_sent_once_and_never_written_twice(
    loss, redis: Redis, journal: RedisJournal, proxy: Proxy
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    async with connect(proxy.url) as client:
        through = RedisJournal(client, EVENT_ID)
        assert await through.head() == claim
        order = loss(proxy, "EVALSHA")
        with pytest.raises(InDoubt):
            await through.append(written, claim)
        assert order.has_reached.is_set()
        assert proxy.seen["EVALSHA"] == 1
        await through.append(written, claim)
    assert await ids(redis) == ["1-0", "1-1"]


async def test_an_append_is_written_once_though_the_server_has_forgotten_the_script(
    redis: Redis, journal: RedisJournal, proxy: Proxy
) -> None:
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    async with connect(proxy.url) as client:
        through = RedisJournal(client, EVENT_ID)
        for command, entries in (("EVALSHA", 1), ("EVAL", 2)):
            await redis.script_flush()
            proxy.cut_reply(command)
            with pytest.raises(InDoubt):
                await through.append(written, claim)
            assert await redis.xlen(KEYS.journal) == entries
        await redis.script_flush()
        await through.append(written, claim)
    assert await journal.read_back(written.position) == written
    assert await ids(redis) == ["1-0", "1-1"]


# -- what else may stand in a journal --------------------------------------------------


async def test_a_row_without_an_entry_is_damage(redis: Redis, journal: RedisJournal) -> None:
    await redis.xadd(KEYS.journal, {"other": "field"}, id="1-1")
    with pytest.raises(CorruptEntry):
        await journal.read_back(Position(1, 1))
    with pytest.raises(CorruptEntry):
        await anext(journal.replay(START))


async def test_trimming_bears_a_group_that_finishes_in_the_same_moment(
    redis: Redis, proxy: Proxy, journal: RedisJournal
) -> None:
    after = await journal.claim(MINE, NOW_MS)
    for sequence in (1, 2, 3):
        await journal.append(entry(Position(1, sequence)), after)
        after = Position(1, sequence)
    for sequence in (2, 3):
        key = await journal.begin_snapshot(Position(1, sequence), MINE)
        await journal.finish_snapshot(SnapshotRef(1, sequence, key, 0, ""))
    await redis.xgroup_create(KEYS.journal, "readers", id="1-0")
    await redis.xreadgroup("readers", "one", {KEYS.journal: ">"}, count=1)
    async with connect(proxy.url) as client:
        order = proxy.hold_request("XPENDING")
        trimming = asyncio.create_task(RedisJournal(client, EVENT_ID).trim())
        await order.reached()
        await redis.xack(KEYS.journal, "readers", "1-1")
        order.release()
        assert await trimming == Position(1, 1)


async def test_journals_of_one_store_need_no_network(store: EmbeddedStore) -> None:
    assert store.url.startswith("unix://")
    async with connect(store.url) as client:
        assert (await client.config_get("port"))["port"] == "0"
