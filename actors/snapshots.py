"""Writing a snapshot in slices, between the turns."""

import asyncio
import hashlib

from engine.domain.snapshot import Capture, encode_slices
from engine.journal.contract import Journal, SnapshotRef
from engine.journal.entry import Position
from engine.limits import SNAPSHOT_SLICE_PAUSE_SECONDS


async def write_snapshot(
    journal: Journal, picture: Capture, position: Position, nonce: bytes
) -> SnapshotRef:
    """Store a picture of the state, make it visible, and trim what it replaces.

    Raises:
        Unavailable: the store did not answer; the snapshot stays invisible.
        Fenced: a newer owner has taken over; the snapshot stays invisible.
    """
    key = await journal.begin_snapshot(position, nonce)
    running = hashlib.blake2b(digest_size=16)
    slices = 0
    for data in encode_slices(picture):
        running.update(data)
        slices += 1
        await journal.write_slice(key, data)
        await asyncio.sleep(SNAPSHOT_SLICE_PAUSE_SECONDS)
    ref = SnapshotRef(position.epoch, position.sequence, key, slices, running.hexdigest())
    await journal.finish_snapshot(ref)
    await journal.trim()
    return ref


async def digest_slowly(picture: Capture) -> str:
    """Return the digest of a picture without holding up the turns."""
    running = hashlib.blake2b(digest_size=16)
    for data in encode_slices(picture):
        running.update(data)
        await asyncio.sleep(0)
    return running.hexdigest()
