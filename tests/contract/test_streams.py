"""What the streams promise: whatever is put is handed out until it is finished."""

import asyncio
from collections.abc import Sequence

import pytest

from engine.journal.contract import Unavailable
from engine.journal.entry import Position
from engine.journal.keys import partition_of
from engine.journal.projection import decode_record
from engine.journal.streams import (
    Delivery,
    Effect,
    Group,
    Incoming,
    StreamKind,
    Streams,
    Unreadable,
)
from engine.limits import ABANDONED_MS, DELIVERIES_TOGETHER_MAX, STREAM_BLOCK_MS_MAX
from tests.contract.stream_rigs import StreamRig
from tests.samples import EVENT_ID, NOW_MS, entry, expired, placed

INBOX = StreamKind.INBOX
PAYMENTS = Group("payments", INBOX)
TICKETS = Group("tickets", StreamKind.EFFECTS)
MAIL = Group("mail", StreamKind.EFFECTS)
ME, YOU = "consumer-0", "consumer-1"


def message(number: int) -> Incoming:
    return Incoming(f"evt_{number}", "payment_intent.succeeded", bytes([number, 0, 255]), NOW_MS)


async def filled(streams: Streams, count: int, partition: int = 3) -> list[Incoming]:
    """Have the group exist and so many messages stand in one inbox."""
    await streams.ensure_group(PAYMENTS, range(8))
    messages = [message(number) for number in range(count)]
    await streams.put_many([(partition, one) for one in messages])
    return messages


async def read(
    streams: Streams,
    consumer: str = ME,
    count: int = 10,
    *,
    group: Group = PAYMENTS,
    partitions: Sequence[int] = range(8),
    block_ms: int = 0,
) -> list[Delivery]:
    return await streams.read(group, consumer, partitions, count, block_ms)


def sent(deliveries: Sequence[Delivery]) -> list[object]:
    return [delivery.message for delivery in deliveries]


def counts(deliveries: Sequence[Delivery]) -> list[int]:
    return [delivery.deliveries for delivery in deliveries]


# -- what is put comes out -------------------------------------------------------------


async def test_what_is_put_is_handed_out_as_it_was(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(PAYMENTS, range(8))
    strange = Incoming("ä\n", "", b"\r\n$5\r\n" + bytes(1_000), 0, EVENT_ID)
    place = await streams.put(5, strange)
    assert await read(streams) == [Delivery(INBOX, 5, place, strange)]
    assert (await read(streams)) == []


async def test_many_are_put_in_order_and_their_places_returned(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(PAYMENTS, range(8))
    places = await streams.put_many([(number % 2, message(number)) for number in range(6)])
    found = await read(streams)
    assert sorted(found, key=lambda one: one.message.id) == [
        Delivery(INBOX, number % 2, places[number], message(number)) for number in range(6)
    ]
    for partition in (0, 1):
        ids = [one.message.id for one in found if one.partition == partition]
        assert ids == sorted(ids), "out of order"
    assert await streams.put_many([]) == []


async def test_an_effect_comes_out_as_the_journal_wrote_it(stream_rig: StreamRig) -> None:
    streams, partition = stream_rig.streams(), partition_of(EVENT_ID)
    written = entry(Position(1, 1), placed(1), expired(1), placed(2), expired(2))
    await stream_rig.append(EVENT_ID, written)
    await streams.ensure_group(TICKETS, [partition])
    found = await read(streams, group=TICKETS, partitions=[partition])
    assert [(one.kind, one.partition) for one in found] == [(TICKETS.kind, partition)] * 2
    for delivery, index in zip(found, (1, 3), strict=True):
        assert isinstance(delivery.message, Effect)
        assert delivery.event_id == EVENT_ID
        assert delivery.message.entry == Position(1, 1)
        assert delivery.message.index == index
        assert decode_record(delivery.message.record) == written.records[index]


@pytest.mark.parametrize(
    "fields", [{b"x": b"y"}, {b"id": b"1", b"kind": b"\xff", b"body": b"", b"at": b"0"}]
)
async def test_what_somebody_else_wrote_does_not_stand_in_the_way(
    stream_rig: StreamRig, fields: dict[bytes, bytes]
) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(PAYMENTS, range(8))
    await stream_rig.add(INBOX, 1, fields)
    await streams.put(1, message(1))
    assert sent(await read(streams)) == [Unreadable(fields), message(1)]


async def test_a_group_begins_with_the_oldest_message_and_only_once(
    stream_rig: StreamRig,
) -> None:
    streams = stream_rig.streams()
    await streams.put(3, message(0))
    messages = await filled(streams, 2)
    assert sent(await read(streams)) == [message(0), *messages]
    await streams.ensure_group(PAYMENTS, range(10))
    assert await read(streams, partitions=range(10)) == []


async def test_every_group_gets_every_message(stream_rig: StreamRig) -> None:
    streams, partition = stream_rig.streams(), partition_of(EVENT_ID)
    await stream_rig.append(EVENT_ID, entry(Position(1, 1), expired(1)))
    found = []
    for group in (TICKETS, MAIL):
        await streams.ensure_group(group, [partition])
        found.append(await read(streams, group=group, partitions=[partition]))
        await streams.finish(group, found[-1])
    assert found[0] == found[1] != []


async def test_groups_are_listed_by_kind_and_name(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    assert await streams.groups() == []
    for group in (TICKETS, PAYMENTS, MAIL):
        await streams.ensure_group(group, [0, 63])
    assert await streams.groups() == [MAIL, TICKETS, PAYMENTS]


async def test_consumers_of_a_group_share_its_messages(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 6)
    mine, yours = stream_rig.streams(), stream_rig.streams()
    taken = [await read(mine, ME, 4), await read(yours, YOU, 4)]
    assert [sent(part) for part in taken] == [messages[:4], messages[4:]]


async def test_a_group_that_does_not_exist_cannot_be_read(stream_rig: StreamRig) -> None:
    with pytest.raises(Unavailable):
        await read(stream_rig.streams())


# -- waiting ---------------------------------------------------------------------------


async def test_a_read_waits_for_the_first_message(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(PAYMENTS, range(8))
    reading = asyncio.create_task(read(streams, block_ms=STREAM_BLOCK_MS_MAX))
    await asyncio.sleep(0.05)
    assert not reading.done()
    await streams.put(6, message(1))  # past the read that waits
    assert sent(await reading) == [message(1)]


async def test_a_read_gives_up_when_its_time_is_over(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(PAYMENTS, range(8))
    assert await read(streams, block_ms=10) == []


@pytest.mark.parametrize("block_ms", [-1, STREAM_BLOCK_MS_MAX + 1])
async def test_no_read_waits_longer_than_its_connection_lives(
    stream_rig: StreamRig, block_ms: int
) -> None:
    with pytest.raises(ValueError, match="block_ms"):
        await read(stream_rig.streams(), block_ms=block_ms)


# -- handed out again ------------------------------------------------------------------


async def test_what_was_not_finished_comes_first_after_a_restart(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 5)
    before = stream_rig.streams()
    found = await read(before, count=3)
    await before.finish(PAYMENTS, found[1:2])
    after = stream_rig.streams()
    again = await read(after)
    assert sent(again) == [messages[0], messages[2]]
    assert counts(again) == [2, 2]
    fresh = await read(after)
    assert sent(fresh) == messages[3:]
    assert counts(fresh) == [1, 1]


async def test_after_a_restart_everything_comes_again_page_by_page(
    stream_rig: StreamRig,
) -> None:
    messages = await filled(stream_rig.streams(), 7)
    await read(stream_rig.streams())
    streams = stream_rig.streams()
    found = []
    while page := await read(streams, count=2):
        assert len(page) <= 2
        found += page
    assert sent(found) == messages


async def test_nothing_in_hand_is_handed_out_again(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await filled(streams, 3)
    assert len(await read(streams, count=2)) == 2
    assert len(await read(streams)) == 1
    assert await read(streams) == []
    assert await streams.claim_abandoned(PAYMENTS, ME, range(8), 0, 10) == []


async def test_what_was_finished_is_never_seen_again(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await filled(streams, 3)
    found = await read(streams)
    await streams.finish(PAYMENTS, found)
    await streams.finish(PAYMENTS, found)
    await streams.finish(PAYMENTS, [])
    assert await read(stream_rig.streams()) == []
    await stream_rig.grow_old(ABANDONED_MS)
    assert await streams.claim_abandoned(PAYMENTS, YOU, range(8), ABANDONED_MS, 10) == []


@pytest.mark.parametrize("lost_twice", [False, True])
async def test_what_was_handed_out_and_never_received_comes_again_uncounted(
    stream_rig: StreamRig, lost_twice: bool
) -> None:
    streams = stream_rig.streams()
    messages = await filled(streams, 4)
    assert sent(await read(streams, count=1)) == messages[:1]
    stream_rig.lose_reply("XREADGROUP")
    with pytest.raises(Unavailable):
        await read(streams, count=2)
    if lost_twice:
        stream_rig.lose_reply("XPENDING")
        with pytest.raises(Unavailable):
            await read(streams)
    again = await read(streams)
    assert sent(again) == messages[1:3], "not what was lost, or what is in hand"
    assert counts(again) == [1, 1]
    assert sent(await read(streams)) == messages[3:]


async def test_what_was_lost_is_found_behind_all_that_is_in_hand(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    messages = await filled(streams, 5)
    for _ in range(3):
        await read(streams, count=1)
    stream_rig.lose_reply("XREADGROUP")
    with pytest.raises(Unavailable):
        await read(streams, count=1)
    assert [sent(await read(streams, count=1)) for _ in range(2)] == [[messages[3]], [messages[4]]]


async def test_a_read_that_was_cancelled_loses_nothing(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(PAYMENTS, range(8))
    assert await read(streams) == []
    reading = asyncio.create_task(read(streams, block_ms=STREAM_BLOCK_MS_MAX))
    await asyncio.sleep(0.05)
    reading.cancel()
    await asyncio.wait([reading])
    await streams.put(3, message(1))
    found = await read(streams) or await read(streams)
    assert sent(found) == [message(1)]


async def test_claims_whose_answer_was_lost_are_not_deliveries(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 2)
    await read(stream_rig.streams())
    streams = stream_rig.streams()
    for _ in range(5):
        stream_rig.lose_reply("XCLAIM")
        with pytest.raises(Unavailable):
            await read(streams)
    found = await read(streams)
    assert sent(found) == messages
    assert max(counts(found)) <= 2


# -- taken over ------------------------------------------------------------------------


async def test_what_nobody_has_kept_is_taken_over(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 4)
    dead, alive = stream_rig.streams(), stream_rig.streams()
    found = await read(dead)
    assert await alive.claim_abandoned(PAYMENTS, YOU, range(8), ABANDONED_MS, 10) == []
    await stream_rig.grow_old(ABANDONED_MS)
    await dead.keep(PAYMENTS, ME, found[:1])
    taken = await alive.claim_abandoned(PAYMENTS, YOU, range(8), ABANDONED_MS, 2)
    assert sent(taken) == messages[1:3]
    assert counts(taken) == [2, 2]
    rest = await alive.claim_abandoned(PAYMENTS, YOU, range(8), ABANDONED_MS, 10)
    assert sent(rest) == messages[3:]
    again = stream_rig.streams()
    assert [sent(await read(again, YOU)) for _ in range(4)] == [
        *([one] for one in messages[1:]),
        [],
    ]


async def test_only_one_takes_over(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 8)
    await read(stream_rig.streams())
    await stream_rig.grow_old(ABANDONED_MS)
    taken = await asyncio.gather(
        *(
            stream_rig.streams().claim_abandoned(PAYMENTS, name, range(8), ABANDONED_MS, 10)
            for name in ("a", "b", "c")
        )
    )
    ids = [one.message.id for part in taken for one in part]
    assert sorted(ids) == [one.id for one in messages]


async def test_keeping_takes_nothing_back_and_counts_nothing(stream_rig: StreamRig) -> None:
    await filled(stream_rig.streams(), 2)
    mine, yours = stream_rig.streams(), stream_rig.streams()
    found = await read(mine)
    await mine.finish(PAYMENTS, found[:1])
    await stream_rig.grow_old(ABANDONED_MS)
    assert len(await yours.claim_abandoned(PAYMENTS, YOU, range(8), ABANDONED_MS, 10)) == 1
    await mine.keep(PAYMENTS, ME, found)
    await mine.keep(PAYMENTS, ME, [])
    assert await read(stream_rig.streams(), ME) == []
    assert counts(await read(stream_rig.streams(), YOU)) == [3]


async def test_nobody_takes_over_from_himself(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 2)
    await read(stream_rig.streams())
    await stream_rig.grow_old(ABANDONED_MS)
    streams = stream_rig.streams()
    assert await streams.claim_abandoned(PAYMENTS, ME, range(8), ABANDONED_MS, 10) == []
    assert sent(await read(streams)) == messages


async def test_a_lost_takeover_is_handed_out_by_the_next_read(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 2)
    await read(stream_rig.streams())
    streams = stream_rig.streams()
    assert await read(streams, YOU) == []
    await stream_rig.grow_old(ABANDONED_MS)
    assert await streams.claim_abandoned(PAYMENTS, YOU, [], ABANDONED_MS, 10) == []
    stream_rig.lose_reply("XPENDING")
    with pytest.raises(Unavailable):
        await streams.claim_abandoned(PAYMENTS, YOU, range(8), ABANDONED_MS, 10)
    taken = await streams.claim_abandoned(PAYMENTS, YOU, range(8), ABANDONED_MS, 10)
    assert sent(taken) == messages


async def test_what_is_given_back_counts_as_never_handed_out(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 3)
    leaving = stream_rig.streams()
    found = await read(leaving)
    await leaving.finish(PAYMENTS, found[:1])
    await leaving.release(PAYMENTS, ME, found[1:])
    other = stream_rig.streams()
    taken = await other.claim_abandoned(PAYMENTS, YOU, range(8), ABANDONED_MS, 1)
    assert len(taken) == 1, "not abandoned at once"
    again = await read(stream_rig.streams(), ME)
    assert sent(taken) + sent(again) == messages[1:]
    assert counts(taken) + counts(again) == [1, 1]


async def test_order_is_kept_whatever_the_counts(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 5)
    streams = stream_rig.streams()
    found = await read(streams)
    await streams.release(PAYMENTS, ME, found[1::2])
    again = await read(stream_rig.streams())
    assert sent(again) == messages
    assert counts(again) == [2, 1, 2, 1, 2]


# -- poison ----------------------------------------------------------------------------


async def test_a_message_that_kills_its_consumer_is_found_out_by_its_own_count(
    stream_rig: StreamRig,
) -> None:
    """Whoever sees message 4 perishes; the others are finished as soon as they are seen."""
    messages = await filled(stream_rig.streams(), 9)
    seen: dict[str, int] = {}
    for _ in range(8):
        streams = stream_rig.streams()
        while found := await read(streams):
            for delivery in found:
                seen[delivery.message.id] = delivery.deliveries
            if messages[4].id in [one.message.id for one in found]:
                break
            await streams.finish(PAYMENTS, found)
        else:
            pytest.fail("the poison was not handed out")
    assert seen.pop(messages[4].id) == 8
    assert max(seen.values()) <= DELIVERIES_TOGETHER_MAX + 1


async def test_what_is_abandoned_over_and_over_is_counted_alike(stream_rig: StreamRig) -> None:
    messages = await filled(stream_rig.streams(), 5)
    seen: dict[str, int] = {}
    await read(stream_rig.streams(), "consumer")
    for number in range(7):
        streams = stream_rig.streams()
        await stream_rig.grow_old(ABANDONED_MS)
        while found := await streams.claim_abandoned(
            PAYMENTS, f"consumer-{number}", range(8), ABANDONED_MS, 10
        ):
            for delivery in found:
                seen[delivery.message.id] = delivery.deliveries
            if messages[2].id in [one.message.id for one in found]:
                break
            await streams.finish(PAYMENTS, found)
    assert seen.pop(messages[2].id) == 8
    assert max(seen.values()) <= DELIVERIES_TOGETHER_MAX + 1


# -- a store that is away --------------------------------------------------------------


async def test_a_store_that_is_away_says_so_everywhere(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    messages = await filled(streams, 2)
    (first,) = await read(streams, count=1)
    await stream_rig.go_away()
    calls = [
        lambda: streams.put(1, message(9)),
        lambda: streams.ensure_group(PAYMENTS, [1]),
        streams.groups,
        lambda: read(streams),
        lambda: read(streams, block_ms=10),
        lambda: streams.claim_abandoned(PAYMENTS, ME, [1], 0, 1),
        lambda: streams.keep(PAYMENTS, ME, [first]),
        lambda: streams.release(PAYMENTS, ME, [first]),
        lambda: streams.finish(PAYMENTS, [first]),
        lambda: streams.bury(PAYMENTS, first, "", 1),
        lambda: streams.dead_letters(PAYMENTS, 1),
        lambda: streams.dead_letter(PAYMENTS, "01-1-1"),
        lambda: streams.replay_dead(PAYMENTS, "01-1-1"),
        lambda: streams.lag(PAYMENTS),
        lambda: streams.trim(INBOX, 1, (PAYMENTS,)),
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            await call()
    await stream_rig.come_back()
    await streams.finish(PAYMENTS, [first])
    assert sent(await read(streams)) == messages[1:]


async def test_a_put_that_was_not_answered_may_stand_twice(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await streams.ensure_group(PAYMENTS, range(8))
    stream_rig.lose_request("XADD")
    with pytest.raises(Unavailable):
        await streams.put(1, message(1))
    stream_rig.lose_reply("XADD")
    with pytest.raises(Unavailable):
        await streams.put(1, message(2))
    await streams.put(1, message(2))
    assert sent(await read(streams)) == [message(2), message(2)]


async def test_a_finish_that_was_not_answered_can_be_repeated(stream_rig: StreamRig) -> None:
    streams = stream_rig.streams()
    await filled(streams, 2)
    found = await read(streams)
    for lose in (stream_rig.lose_request, stream_rig.lose_reply):
        lose("XACK")
        with pytest.raises(Unavailable):
            await streams.finish(PAYMENTS, found)
    await streams.finish(PAYMENTS, found)
    assert await read(stream_rig.streams()) == []
