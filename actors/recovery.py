"""From the journal back into memory."""

import asyncio
from collections.abc import Sequence

import structlog
from msgspec import Struct

from actors.group_commit import Backoff
from engine.domain.apply import apply, finish_entry
from engine.domain.snapshot import Restoration, SnapshotUnusable
from engine.domain.state import EventState, check_turn
from engine.journal.contract import (
    EpochStray,
    Fenced,
    InDoubt,
    Journal,
    SequenceGap,
    SnapshotRef,
    SnapshotTorn,
    Unavailable,
)
from engine.journal.entry import START, Entry, Position

log = structlog.get_logger(__name__)


class Recovered(Struct):
    """A state, the position of the journal's head, and how far the state was replayed."""

    state: EventState
    head: Position
    replayed_records: int


async def take_over(journal: Journal, nonce: bytes, now_ms: int, claimant: bytes) -> Recovered:
    """Claim the journal and rebuild the state from it, however long the store is away.

    The claim comes first: nothing older can be appended while the tail is read.

    Raises:
        CorruptEntry, SequenceGap, EpochStray: the journal is damaged; argument 0 names where.
        AssertionError: the replayed state breaks an invariant.
    """
    backoff = Backoff()
    while True:
        try:
            claim = await journal.claim(nonce, now_ms, claimant)
            recovered = await rebuild(journal)
        except (InDoubt, Unavailable) as error:
            log.warning("store_unreachable", event_id=journal.event_id, error=str(error))
        except Fenced:
            log.warning("claim_contested", event_id=journal.event_id)
        else:
            recovered.head = Position(claim.epoch, 0)
            return recovered
        await backoff.pause()


async def rebuild(journal: Journal, until: int | None = None) -> Recovered:
    """Read the newest usable snapshot and replay what follows it.

    Args:
        journal: of the event.
        until: last sequence number to replay, for an audit of a live event.

    Raises:
        Unavailable: the store does not answer.
        CorruptEntry, SequenceGap, EpochStray, AssertionError: see `take_over`.
    """
    while True:
        refs = await journal.snapshots()
        try:
            return await _rebuild_from(journal, refs, until)
        except (SequenceGap, EpochStray):
            # Or has an owner of the past just finished a snapshot, and trimmed what it
            # made superfluous while it was read here?
            if await journal.snapshots() == refs:
                raise


async def _rebuild_from(
    journal: Journal, refs: Sequence[SnapshotRef], until: int | None
) -> Recovered:
    state, position = await _newest_usable(journal, refs, until)
    records = 0
    async for entry in journal.replay(position):
        if until is not None and entry.sequence > until:
            break
        replay_entry(state, entry)
        position = entry.position
        records += len(entry.records)
    check_turn(state)
    return Recovered(state, position, records)


def replay_entry(state: EventState, entry: Entry) -> None:
    """Apply the records of one entry."""
    for record in entry.records:
        apply(state, record)
    finish_entry(state, entry.sequence, entry.at_ms)


async def _newest_usable(
    journal: Journal, refs: Sequence[SnapshotRef], until: int | None
) -> tuple[EventState, Position]:
    """Return the newest snapshot that can be used, an empty state if there is none."""
    for ref in refs:
        if until is not None and ref.sequence > until:
            continue
        restoration = Restoration()
        try:
            for data in await journal.read_snapshot(ref):
                restoration.feed(data)
                await asyncio.sleep(0)
            return restoration.finish(), ref.position
        except (SnapshotTorn, SnapshotUnusable) as error:
            log.error(
                "snapshot_unusable",
                event_id=journal.event_id,
                snapshot=str(ref.position),
                error=str(error),
            )
    return EventState(), START
