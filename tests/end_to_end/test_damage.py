"""Damage in the store: of snapshots (FAULTS.md, 16) and of journals (17)."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from engine.journal.connect import connect
from engine.journal.contract import SnapshotRef
from engine.journal.embedded import EmbeddedStore
from engine.journal.entry import MAGIC
from engine.journal.keys import event_keys
from tests.calls import GRANTED, UNKNOWN
from tests.contract.rigs import flip_bit
from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.by_hand import HandEvent, HandOwner
from tests.end_to_end.service import Service
from tests.end_to_end.verify import verify
from tests.proxy import Proxy

_SNAPSHOT_RECORDS = 5


# -- snapshots -------------------------------------------------------------------------


async def _flip_slice(client: Redis, ref: SnapshotRef) -> None:
    sealed = await client.lindex(ref.key, ref.slices - 1)
    await client.lset(ref.key, ref.slices - 1, flip_bit(sealed, 8 * len(sealed) // 2))


async def _cut_slice(client: Redis, ref: SnapshotRef) -> None:
    sealed = await client.lindex(ref.key, 0)
    await client.lset(ref.key, 0, sealed[: len(sealed) // 2])


async def _lose_slice(client: Redis, ref: SnapshotRef) -> None:
    await client.rpop(ref.key)


async def _slice_of_another_version(client: Redis, ref: SnapshotRef) -> None:
    """What a release to come may write: its checksum fits, and this release cannot read it."""
    await client.lset(ref.key, 0, _of_another_version(await client.lindex(ref.key, 0)))


async def _flip_manifest(client: Redis, ref: SnapshotRef, event_id: str) -> None:
    name, field = event_keys(event_id).snapshots, str(ref.position)
    await client.hset(name, field, flip_bit(await client.hget(name, field), 80))


async def _manifest_of_another_version(client: Redis, ref: SnapshotRef, event_id: str) -> None:
    name, field = event_keys(event_id).snapshots, str(ref.position)
    await client.hset(name, field, _of_another_version(await client.hget(name, field)))


def _of_another_version(sealed: bytes) -> bytes:
    assert sealed.startswith(MAGIC)
    return b"J9" + sealed[len(MAGIC) :]


_IN_SLICES = [_flip_slice, _cut_slice, _lose_slice, _slice_of_another_version]
_IN_THE_MANIFEST = [_flip_manifest, _manifest_of_another_version]


@pytest.mark.parametrize("damage", _IN_SLICES + _IN_THE_MANIFEST)
async def test_a_damaged_snapshot_falls_back_to_the_one_before_and_the_tail(
    by_hand: HandEvent, damage: Callable
):
    first = await by_hand.on_sale(snapshot_records_min=_SNAPSHOT_RECORDS)
    await _two_snapshots(by_hand, first)
    (tail,) = await by_hand.ask(first, by_hand.hold("last"))
    first.kill()
    newest, older = await by_hand.journal.snapshots()
    context = (by_hand.event_id,) if damage in _IN_THE_MANIFEST else ()
    await damage(by_hand.client, newest, *context)

    second = await by_hand.start_owner()
    health = await second.in_phase("serving")
    assert health.sequence == tail.seen.sequence
    assert f'"replayed_records": {health.sequence - older.sequence}' in second.log
    (again,) = await by_hand.ask(second, by_hand.hold("last"))
    assert again.replayed
    assert again.seen == tail.seen
    await by_hand.verify(second)


@pytest.mark.parametrize("step", ["RPUSH", "HDEL", "XTRIM"])
async def test_an_owner_killed_while_it_writes_a_snapshot_leaves_nothing_in_the_way(
    by_hand: HandEvent, store: EmbeddedStore, step: str
):
    async with Proxy(store) as proxy:
        first = await by_hand.on_sale(redis_url=proxy.url, snapshot_records_min=_SNAPSHOT_RECORDS)
        await _two_snapshots(by_hand, first)
        order = proxy.hold_request(step)
        while not order.has_reached.is_set():
            await by_hand.ask(first, by_hand.hold("crowd", str(len(by_hand.calls))))
            await by_hand.entries()
        first.kill()
        order.release()
        second = await by_hand.start_owner(snapshot_records_min=_SNAPSHOT_RECORDS)
        await by_hand.verify(second)
        before = await by_hand.journal.snapshots()
        await _two_snapshots(by_hand, second)
        async with asyncio.timeout(10.0):  # a snapshot is visible before older ones go
            while True:
                snapshots = await by_hand.journal.snapshots()
                kept = {ref.key.encode() for ref in snapshots}
                stored = await by_hand.client.keys(event_keys(by_hand.event_id).snapshot + "*")
                if kept == set(stored) and not set(snapshots) & set(before):
                    break
                await asyncio.sleep(0.02)
        await by_hand.verify(second)


async def _two_snapshots(by_hand: HandEvent, owner: HandOwner) -> None:
    """Have the owner write two further snapshots."""
    await owner.in_phase("serving")
    known = set(await by_hand.journal.snapshots())
    fresh: set[SnapshotRef] = set()
    async with asyncio.timeout(30.0):
        while len(fresh) < 2:
            (call,) = await by_hand.ask(owner, by_hand.hold("crowd", str(len(by_hand.calls))))
            assert call.outcome == GRANTED
            await by_hand.entries()
            fresh |= set(await by_hand.journal.snapshots()) - known


# -- journals --------------------------------------------------------------------------

Entries = dict[bytes, bytes]


def _flip(entries: Entries) -> None:
    entries[b"1-3"] = flip_bit(entries[b"1-3"], 8 * len(entries[b"1-3"]) // 2)


def _lose(entries: Entries) -> None:
    del entries[b"1-3"]


def _double(entries: Entries) -> None:
    entries[b"1-3"] = entries[b"1-2"]


async def test_an_event_with_a_damaged_journal_halts_naming_the_entry_and_the_others_go_on(
    service: Service,
):
    damages = (_flip, _lose, _double)
    named = ("CorruptEntry: 1-3", "SequenceGap: 1-4", "CorruptEntry: 1-3")
    async with AsyncExitStack() as stack, connect(service.store_url) as client:
        healthy = await stack.enter_async_context(on_sale(service, 100))
        events = [await stack.enter_async_context(on_sale(service, 100)) for _ in damages]
        for buyers in (healthy, *events):
            for number in range(4):
                await buyers.held("ann", str(number))
        for buyers, damage in zip(events, damages, strict=True):
            await _change(client, buyers, damage)
            await service.kill_owner(buyers.event_id)
        for buyers, entry in zip(events, named, strict=True):
            halted = await _until_halted(buyers)
            assert halted.code == "event_halted"
            report = await buyers.audit(live=False)
            assert not report["agree"]
            assert any(entry in violation for violation in report["violations"]), report
        assert (await healthy.hold("bob", "1")).outcome == GRANTED
        await verify(healthy)


async def _change(client: Redis, buyers: Buyers, change: Callable[[Entries], None]) -> None:
    """Change what is stored of a journal, in one step."""
    name = event_keys(buyers.event_id).journal
    entries = {row_id: fields[b"e"] for row_id, fields in await client.xrange(name)}
    change(entries)
    async with client.pipeline(transaction=True) as pipeline:
        pipeline.delete(name)
        for row_id, sealed in entries.items():
            pipeline.xadd(name, {"e": sealed}, id=row_id)
        await pipeline.execute()


async def _until_halted(buyers: Buyers):
    """Ask until the event's next owner has read its journal."""
    async with asyncio.timeout(30.0):
        while True:
            call = await buyers.hold("bob", "1")
            assert call.outcome == UNKNOWN, "a damaged event still sells"
            if call.code != "recovering":
                return call
