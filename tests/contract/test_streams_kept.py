"""What the streams promise about what lies there: dead letters, arrears, and trimming."""

import asyncio

import pytest
from redis.asyncio import Redis

from engine.journal.contract import Unavailable
from engine.journal.streams import Delivery, Group, Incoming, StreamKind, Streams, Unreadable
from engine.limits import ABANDONED_MS, PARTITIONS
from tests.contract.stream_rigs import RedisStreamRig, StreamRig
from tests.contract.test_streams import (
    INBOX,
    PAYMENTS,
    YOU,
    counts,
    filled,
    message,
    read,
    sent,
)

AUDIT = Group("audit", INBOX)


async def buried(streams: Streams, count: int, partition: int = 3) -> list[Delivery]:
    """Fill an inbox, bury it all, and return what was handed out."""
    await streams.ensure_group(PAYMENTS, [partition])
    await filled(streams, count, partition)
    found = await read(streams, partitions=[partition])
    for delivery in found:
        await streams.bury(PAYMENTS, delivery, f"no use for {delivery.message.id}", 4)
    return found


# -- dead letters ----------------------------------------------------------------------


async def test_what_is_buried_is_never_handed_out_and_says_why(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    (delivery,) = await buried(streams, 1)
    (letter,) = await streams.dead_letters(PAYMENTS, 10)
    assert (letter.partition, letter.message_id) == (3, delivery.message_id)
    assert letter.message == message(0)
    assert (letter.reason, letter.attempts, letter.replays) == ("no use for evt_0", 4, 0)
    assert letter.at_ms >= int(delivery.message_id.partition("-")[0])
    assert await streams.dead_letter(PAYMENTS, letter.letter_id) == letter
    assert await read(stream_rig.streams()) == []
    assert (await streams.lag(PAYMENTS))[3].pending == 0
    assert await stream_rig.length(INBOX, 3) == 1, "other groups may need it"


async def test_burying_twice_leaves_one_letter(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await filled(streams, 1)
    (delivery,) = await read(streams)
    for lose in (stream_rig.lose_request, stream_rig.lose_reply):
        lose("EVALSHA")
        with pytest.raises(Unavailable):
            await streams.bury(PAYMENTS, delivery, "first", 1)
    await streams.bury(PAYMENTS, delivery, "second", 2)
    assert [one.reason for one in await streams.dead_letters(PAYMENTS, 10)] == ["first"]


async def test_what_another_consumer_has_finished_is_not_buried(stream_rig: StreamRig) -> None:
    slow, quick = stream_rig.streams(), stream_rig.streams()
    await filled(slow, 1)
    (delivery,) = await read(slow)
    await stream_rig.grow_old(ABANDONED_MS)
    taken = await quick.claim_abandoned(PAYMENTS, YOU, [3], ABANDONED_MS, 1)
    await quick.finish(PAYMENTS, taken)
    await slow.bury(PAYMENTS, delivery, "too late", 1)
    assert await slow.dead_letters(PAYMENTS, 10) == []


async def test_groups_have_their_own_dead_letters(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(AUDIT, range(8))
    await buried(streams, 1)
    assert await streams.dead_letters(AUDIT, 10) == []
    assert sent(await read(streams, group=AUDIT)) == [message(0)]


async def test_an_unreadable_message_is_buried_with_all_it_says(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(PAYMENTS, range(8))
    await stream_rig.add(INBOX, 1, {b"what": b"\xff\0"})
    await streams.bury(PAYMENTS, (await read(streams))[0], "unreadable", 0)
    (letter,) = await streams.dead_letters(PAYMENTS, 10)
    assert letter.message == Unreadable({b"what": b"\xff\0"})
    await streams.replay_dead(PAYMENTS, letter.letter_id)
    assert sent(await read(streams)) == [letter.message]


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_dead_letters_of_all_partitions_come_oldest_first_page_by_page(
    stream_rig: StreamRig, limit: int
) -> None:
    streams = stream_rig.streams()
    partitions = (7, 0, PARTITIONS - 1, 7)
    expected = []
    for partition in partitions:
        expected += [one.message_id for one in await buried(streams, 3, partition)]
        await asyncio.sleep(0.002)
        await stream_rig.grow_old(1)
    found: list[str] = []
    after = None
    while page := await streams.dead_letters(PAYMENTS, limit, after):
        assert len(page) <= limit
        found += [letter.message_id for letter in page]
        after = page[-1].letter_id
        assert len(found) <= len(expected), "the pages never end"
    assert found == expected


async def test_a_replayed_letter_comes_back_once_and_notes_it(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await buried(streams, 1)
    for replays in (1, 2):
        (letter,) = await streams.dead_letters(PAYMENTS, 10)
        place = await streams.replay_dead(PAYMENTS, letter.letter_id)
        assert await streams.dead_letters(PAYMENTS, 10) == []
        assert await streams.replay_dead(PAYMENTS, letter.letter_id) is None
        assert await streams.dead_letter(PAYMENTS, letter.letter_id) is None
        found = await read(streams)
        assert found == [Delivery(INBOX, 3, place, message(0), 1, replays)]
        await streams.bury(PAYMENTS, found[0], "again", 1)
        (letter,) = await streams.dead_letters(PAYMENTS, 10)
        assert letter.replays == replays


async def test_a_replay_is_for_the_group_that_had_buried_it(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(AUDIT, range(8))
    await buried(streams, 1)
    assert sent(await read(streams, group=AUDIT)) == [message(0)]
    (letter,) = await streams.dead_letters(PAYMENTS, 10)
    await streams.replay_dead(PAYMENTS, letter.letter_id)
    await streams.put(3, message(1))
    assert sent(await read(streams, group=AUDIT)) == [message(1)]
    assert sent(await read(stream_rig.streams(), group=AUDIT)) == [message(0), message(1)]
    assert sent(await read(streams)) == [message(0), message(1)]


async def test_a_lost_answer_about_anothers_replay_loses_nothing(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(AUDIT, range(8))
    await buried(streams, 1)
    await streams.finish(AUDIT, await read(streams, group=AUDIT))
    (letter,) = await streams.dead_letters(PAYMENTS, 10)
    await streams.replay_dead(PAYMENTS, letter.letter_id)
    await streams.put(3, message(1))
    stream_rig.lose_reply("XREADGROUP")
    with pytest.raises(Unavailable):
        await read(streams, group=AUDIT)
    stream_rig.lose_request("XPENDING")
    with pytest.raises(Unavailable):
        await read(streams, group=AUDIT)
    found = await read(streams, group=AUDIT)
    assert sent(found) == [message(1)]
    assert counts(found) == [1]
    assert (await streams.lag(AUDIT))[3].pending == 1


@pytest.mark.parametrize("letter_id", ["", "x", "3", "03-", "03-1-x"])
async def test_what_is_not_the_id_of_a_letter_is_told_apart(
    stream_rig: StreamRig, letter_id: str
) -> None:
    with pytest.raises(ValueError, match="dead letter"):
        await stream_rig.streams().dead_letter(PAYMENTS, letter_id)


# -- arrears ---------------------------------------------------------------------------


async def test_lag_counts_what_is_undelivered_and_what_is_pending(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    assert await streams.lag(PAYMENTS) == []
    await filled(streams, 5)
    found = await read(streams, count=3)
    await streams.finish(PAYMENTS, found[:1])
    await asyncio.sleep(0.02)
    await stream_rig.grow_old(20)
    lags = await streams.lag(PAYMENTS)
    assert [lag.partition for lag in lags] == list(range(8))
    behind = lags[3]
    assert (behind.undelivered, behind.pending) == (2, 2)
    assert behind.oldest_pending_ms >= 20
    assert behind.oldest_undelivered_ms >= 20
    assert max(behind.oldest_pending_ms, behind.oldest_undelivered_ms) < 60_000
    idle = lags[4]
    assert (idle.undelivered, idle.pending) == (0, 0)
    assert (idle.oldest_pending_ms, idle.oldest_undelivered_ms) == (None, None)


async def test_lag_is_right_after_trimming_and_replays(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await buried(streams, 4)
    await streams.trim(INBOX, 3, ())
    letters = await streams.dead_letters(PAYMENTS, 10)
    await streams.replay_dead(PAYMENTS, letters[0].letter_id)
    await streams.put(3, message(9))
    lag = (await streams.lag(PAYMENTS))[3]
    assert (lag.undelivered, lag.pending) == (2, 0)


async def test_lag_is_counted_where_the_server_has_lost_count(
    redis_stream_rig: RedisStreamRig, redis: Redis
) -> None:
    streams = redis_stream_rig.streams()
    await filled(streams, 6)
    await read(streams, count=2)
    rows = await redis.xrange("{p03}:inbox")
    await redis.xdel("{p03}:inbox", rows[4][0])
    groups = await redis.xinfo_groups("{p03}:inbox")
    assert groups[0]["lag"] is None, "it has not lost count"
    assert (await streams.lag(PAYMENTS))[3].undelivered == 3


# -- trimming --------------------------------------------------------------------------


async def test_nothing_is_trimmed_while_nobody_has_come_to_read(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    assert await streams.trim(INBOX, 3, ()) == 0
    await streams.put_many([(3, message(1)), (3, message(2))])
    assert await streams.trim(INBOX, 3, ()) == 0
    assert await stream_rig.length(INBOX, 3) == 2
    await streams.ensure_group(PAYMENTS, [3])
    assert await streams.trim(INBOX, 3, ()) == 0
    assert sent(await read(streams, partitions=[3])) == [message(1), message(2)]


async def test_what_all_have_finished_is_trimmed_but_for_the_last(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    messages = await filled(streams, 6)
    await streams.finish(PAYMENTS, await read(streams, count=4))
    assert await streams.trim(INBOX, 3, ()) == 3
    assert await streams.trim(INBOX, 3, ()) == 0
    assert await stream_rig.length(INBOX, 3) == 3
    assert sent(await read(streams)) == messages[4:]


async def test_trimming_never_outruns_the_slowest_group(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    messages = await filled(streams, 6)
    await streams.ensure_group(AUDIT, range(8))
    await streams.finish(PAYMENTS, await read(streams))
    assert await streams.trim(INBOX, 3, ()) == 0, "the other group has read nothing"
    found = await read(streams, group=AUDIT, count=5)
    await streams.finish(AUDIT, found[:2] + found[3:])
    assert await streams.trim(INBOX, 3, ()) == 2, "the third is still in hand"
    assert sent(await read(stream_rig.streams(), group=AUDIT)) == [messages[2]]
    await streams.finish(AUDIT, found)
    assert await streams.trim(INBOX, 3, ()) == 2
    assert sent(await read(streams, group=AUDIT)) == messages[5:]


async def test_nothing_is_trimmed_before_every_known_reader_has_come(
    stream_rig: StreamRig,
) -> None:
    """One group has finished everything before another one, that is expected, exists."""
    streams = stream_rig.streams()
    messages = await filled(streams, 3)
    await streams.finish(PAYMENTS, await read(streams))
    expected = (PAYMENTS.name, AUDIT.name)
    assert await streams.trim(INBOX, 3, expected) == 0
    await streams.ensure_group(AUDIT, [2, 3])
    assert await streams.trim(INBOX, 3, expected) == 0
    found = await read(streams, group=AUDIT, partitions=[2, 3])
    assert sent(found) == messages, "it has not seen it all"
    await streams.finish(AUDIT, found)
    assert await streams.trim(INBOX, 3, expected) == 2


async def test_trimming_counts_places_as_numbers(stream_rig: StreamRig) -> None:
    """Ten in one millisecond: as text, its tenth would come before its second."""
    streams = stream_rig.streams()
    messages = await filled(streams, 40)
    found = await read(streams, count=40)
    await streams.ensure_group(AUDIT, range(8))
    others = await read(streams, group=AUDIT, count=40)
    await streams.finish(PAYMENTS, found)
    for done, delivery in enumerate(others[:-1], start=1):
        await streams.finish(AUDIT, [delivery])
        await streams.trim(INBOX, 3, ())
        assert await stream_rig.length(INBOX, 3) == len(messages) - done


async def test_streams_are_trimmed_one_by_one(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await filled(streams, 3, partition=3)
    await streams.put_many([(4, Incoming("x", "", b"", 0)), (4, message(2))])
    await streams.finish(PAYMENTS, await read(streams))
    assert await streams.trim(INBOX, 3, ()) == 2
    assert await streams.trim(StreamKind.EFFECTS, 3, ()) == 0
    assert await stream_rig.length(INBOX, 4) == 2
