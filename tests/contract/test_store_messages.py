"""What the back office promises of messages, in every database."""

import asyncio
from collections import Counter

from sqlalchemy import select, text

from engine.back_office_limits import STORE_ERROR_CHARS_MAX
from engine.store.contract import (
    EMAIL,
    PUSH,
    Message,
    MessageKind,
    MessageStatus,
    NewMessage,
    Tally,
    Writes,
)
from engine.store.schema import PENDING, UNTOLD, messages
from engine.store.sql import SqlBackOffice
from tests.contract.store_rigs import SqliteRig, StoreRig
from tests.samples import EVENT_ID, NOW_MS, booking_id, event

LEASE_MS = 60_000
OTHER_EVENT = "evt_0000000000bb"


def message(number: int, **changes) -> NewMessage:
    fields = {
        "dedupe_key": f"confirmation:{number}",
        "kind": MessageKind.CONFIRMATION,
        "channel": "email",
        "event_id": EVENT_ID,
        "booking_id": booking_id(number),
        "created_ms": NOW_MS + number,
        "facts": b'{"reason":"\xc3\xa4"}',
        **changes,
    }
    return NewMessage(**fields)


async def filled(rig: StoreRig, *new: NewMessage) -> SqlBackOffice:
    store = rig.store()
    await store.migrate()
    await store.write(Writes(messages=list(new)))
    return store


async def take(
    store: SqlBackOffice, worker: str = "a", now_ms: int = NOW_MS + 99, limit: int = 10
) -> list[Message]:
    return await store.due(worker, now_ms, LEASE_MS, {EMAIL: limit})


def keys(messages: list[Message]) -> list[str]:
    return [one.dedupe_key for one in messages]


async def test_the_last_of_what_is_named_alike_is_found(store_rig: StoreRig) -> None:
    named = [(kind, number, of) for kind in ("a", "b") for number in (1, 2, 3) for of in "xy"]
    keyed = [
        message(number, dedupe_key=f"{kind}:{booking_id(number)}:{of}")
        for kind, number, of in named
        if (number, of) != (3, "y")
    ]
    store = await filled(store_rig, *keyed, message(4, dedupe_key="a:bk_1000000000aa:x"))
    assert await store.last_named(f"a:bk_{EVENT_ID[4:]}", ":x") == booking_id(3)
    assert await store.last_named(f"a:bk_{EVENT_ID[4:]}", ":y") == booking_id(2)
    assert await store.last_named(f"a:bk_{OTHER_EVENT[4:]}", ":x") is None
    assert await store.last_named(f"c:bk_{EVENT_ID[4:]}", ":x") is None
    assert await store.last_named(f"a:bk_{EVENT_ID[4:]}", "%") is None


async def test_a_message_begins_pending_and_due_at_once(store_rig: StoreRig) -> None:
    store = await filled(store_rig, message(3))
    assert await take(store, now_ms=NOW_MS + 2) == []
    (found,) = await take(store, now_ms=NOW_MS + 3)
    assert found == Message(
        found.message_id,
        "confirmation:3",
        MessageKind.CONFIRMATION,
        "email",
        EVENT_ID,
        booking_id(3),
        NOW_MS + 3,
        b'{"reason":"\xc3\xa4"}',
        MessageStatus.PENDING,
        0,
        NOW_MS + 3,
        None,
        None,
        None,
        told=False,
    )
    assert await store.messages(booking_id(3)) == [found]
    assert await store.messages(booking_id(4)) == []


async def test_there_is_never_a_second_one_of_a_key(store_rig: StoreRig) -> None:
    store = await filled(store_rig, message(1), message(1, channel="sms"))
    (before,) = await take(store)
    await store.sent([before.message_id], "smtp", NOW_MS)
    await store.write(Writes(messages=[message(1), message(2, dedupe_key="confirmation:1")]))
    (after,) = await store.messages(booking_id(1))
    assert after.status is MessageStatus.SENT
    assert after.channel == "email"
    assert await store.messages(booking_id(2)) == []


async def test_the_oldest_are_taken_first(store_rig: StoreRig) -> None:
    store = await filled(store_rig, *(message(number) for number in (3, 1, 2)))
    assert keys(await take(store, limit=2)) == ["confirmation:1", "confirmation:2"]


async def test_each_channel_is_taken_by_itself(store_rig: StoreRig) -> None:
    pushed = [message(number, channel=PUSH, dedupe_key=f"push:{number}") for number in range(5)]
    store = await filled(store_rig, *pushed, *(message(number) for number in (7, 6)))
    assert await store.pending_channels() == [EMAIL, PUSH]
    found = await store.due("a", NOW_MS + 99, LEASE_MS, {EMAIL: 9, PUSH: 2})
    assert keys(found) == ["confirmation:6", "confirmation:7", "push:0", "push:1"]
    assert keys(await store.due("b", NOW_MS + 99, LEASE_MS, {PUSH: 2})) == ["push:2", "push:3"]
    assert await store.due("b", NOW_MS + 99, LEASE_MS, {"fax": 2}) == []
    await store.sent([one.message_id for one in found if one.channel == EMAIL], "smtp", NOW_MS)
    assert await store.pending_channels() == [PUSH]


async def test_what_one_has_in_hand_no_other_is_given(store_rig: StoreRig) -> None:
    store = await filled(store_rig, message(1), message(2))
    other = store_rig.store()
    assert keys(await take(store, "a", limit=1)) == ["confirmation:1"]
    assert keys(await take(other, "b")) == ["confirmation:2"]
    assert await take(other, "c") == []
    assert keys(await take(other, "a")) == ["confirmation:1"], "after a restart"


async def test_a_lease_ends(store_rig: StoreRig) -> None:
    store = await filled(store_rig, message(1))
    await take(store, "a", NOW_MS + 1)
    assert await take(store, "b", NOW_MS + LEASE_MS) == []
    assert len(await take(store, "b", NOW_MS + 1 + LEASE_MS)) == 1
    assert await take(store, "a", NOW_MS + 1 + LEASE_MS) == [], "it has another owner now"


async def test_many_workers_never_get_the_same_message(store_rig: StoreRig) -> None:
    await filled(store_rig, *(message(number) for number in range(60)))
    stores = [store_rig.store() for _ in range(4)]

    async def work(number: int) -> list[str]:
        seen: list[str] = []
        # Another name each time: what is in hand already must not be given again.
        for turn in range(12):
            seen += keys(await take(stores[number], f"{number}-{turn}", limit=3))
        return seen

    seen = Counter(key for part in await asyncio.gather(*map(work, range(4))) for key in part)
    assert len(seen) == 60
    assert set(seen.values()) == {1}


async def test_what_was_sent_is_over(store_rig: StoreRig) -> None:
    store = await filled(store_rig, message(1), message(2))
    first, second = await take(store)
    await store.sent([first.message_id], "smtp.example.org", NOW_MS + 500)
    await store.sent([first.message_id], "another", NOW_MS + 600)
    await store.failed(first.message_id, "too late to say", NOW_MS)
    await store.sent([], "nobody", NOW_MS)
    (after,) = await store.messages(booking_id(1))
    assert after.status is MessageStatus.SENT
    assert (after.attempts, after.provider, after.error) == (1, "smtp.example.org", None)
    assert after.sent_ms == NOW_MS + 500
    assert keys(await take(store, "a")) == [second.dedupe_key]


async def test_a_failed_attempt_is_repeated_when_its_time_comes(store_rig: StoreRig) -> None:
    store = await filled(store_rig, message(1))
    (found,) = await take(store)
    await store.failed(found.message_id, "450 greylisted" + "x" * 1_000, NOW_MS + 5_000)
    assert await take(store, "a", NOW_MS + 4_999) == []
    (again,) = await take(store, "b", NOW_MS + 5_000)
    assert (again.attempts, again.next_attempt_ms) == (1, NOW_MS + 5_000)
    assert again.error is not None
    assert again.error.startswith("450 greylisted")
    assert len(again.error) == STORE_ERROR_CHARS_MAX
    await store.sent([again.message_id], "smtp", NOW_MS)
    (sent,) = await store.messages(booking_id(1))
    assert (sent.attempts, sent.error) == (2, None)


async def test_what_is_not_needed_is_no_failure_and_never_handed_out_again(
    store_rig: StoreRig,
) -> None:
    store = await filled(store_rig, message(1), message(2))
    first, second = await take(store)
    await store.not_needed(first.message_id, "no address")
    await store.sent([second.message_id], "smtp", NOW_MS)
    await store.not_needed(second.message_id, "too late to say")
    found = [(await store.messages(booking_id(number)))[0] for number in (1, 2)]
    assert [one.status for one in found] == [MessageStatus.NOT_NEEDED, MessageStatus.SENT]
    assert (found[0].attempts, found[0].error, found[1].error) == (0, "no address", None)
    assert await take(store, "b", NOW_MS + 10 * LEASE_MS) == []
    assert {(one.status, one.count) for one in await store.statistics(None)} == {
        (MessageStatus.NOT_NEEDED, 1),
        (MessageStatus.SENT, 1),
    }


async def test_what_was_given_up_stays_so_unless_it_arrived(store_rig: StoreRig) -> None:
    store = await filled(store_rig, message(1))
    (found,) = await take(store)
    await store.failed(found.message_id, "550 no such user", None)
    await store.failed(found.message_id, "another worker's", NOW_MS)
    (after,) = await store.messages(booking_id(1))
    assert after.status is MessageStatus.PERMANENTLY_FAILED
    assert (after.attempts, after.error) == (1, "550 no such user")
    assert await take(store, "b", NOW_MS + 10 * LEASE_MS) == []
    await store.sent([found.message_id], "smtp", NOW_MS)
    (after,) = await store.messages(booking_id(1))
    assert after.status is MessageStatus.SENT


async def test_what_brought_tickets_is_untold_until_the_owner_knows(store_rig: StoreRig) -> None:
    expired = message(3, kind=MessageKind.EXPIRED, dedupe_key="expired:3")
    pushed = message(1, channel=PUSH, dedupe_key="confirmation:1:push")
    store = await filled(store_rig, pushed, message(1), message(2), message(4), expired)
    taken = {one.dedupe_key: one.message_id for one in await take(store)}
    assert await store.untold(10) == []
    await store.sent([*taken.values()], "smtp", NOW_MS)
    assert keys(await store.untold(2)) == ["confirmation:1", "confirmation:2"]
    await store.told([taken["confirmation:1"], taken["expired:3"]])
    assert keys(await store.untold(10)) == ["confirmation:2", "confirmation:4"]
    told = {one.channel: one.told for one in await store.messages(booking_id(1))}
    assert told == {EMAIL: True, PUSH: False}


async def test_what_is_untold_or_due_is_found_by_its_index(sqlite_rig: SqliteRig) -> None:
    store = await filled(sqlite_rig)
    found = select(messages.c.message_id)
    queries = {
        "ix_messages_untold": found.where(UNTOLD).order_by(messages.c.message_id),
        "ix_messages_pending (channel=? AND next_attempt_ms<?)": found.where(
            PENDING, messages.c.channel == EMAIL, messages.c.next_attempt_ms <= NOW_MS
        ).order_by(messages.c.next_attempt_ms, messages.c.message_id),
    }
    async with store.database.reading() as connection:
        for index, query in queries.items():
            written = query.compile(connection.engine, compile_kwargs={"literal_binds": True})
            plan = await connection.execute(text(f"EXPLAIN QUERY PLAN {written}"))
            (step,) = [row.detail for row in plan]
            assert index in step


async def test_messages_are_counted_by_state(store_rig: StoreRig) -> None:
    store = await filled(
        store_rig,
        message(1),
        message(2),
        message(3, kind=MessageKind.REFUNDED, dedupe_key="refund:3"),
        message(4, event_id=OTHER_EVENT),
    )
    await store.write(Writes(events=[(event(), 1), (event(OTHER_EVENT, organizer="others"), 1)]))
    (first,) = await take(store, limit=1)
    await store.sent([first.message_id], "smtp", NOW_MS)
    confirmation, email = MessageKind.CONFIRMATION, "email"
    mine = [
        Tally(confirmation, email, MessageStatus.PENDING, 1),
        Tally(confirmation, email, MessageStatus.SENT, 1),
        Tally(MessageKind.REFUNDED, email, MessageStatus.PENDING, 1),
    ]
    assert await store.statistics("acme") == mine
    assert await store.statistics("others") == [
        Tally(confirmation, email, MessageStatus.PENDING, 1)
    ]
    assert await store.statistics(None) == [
        Tally(confirmation, email, MessageStatus.PENDING, 2),
        *mine[1:],
    ]
    assert await store.statistics("nobody") == []
