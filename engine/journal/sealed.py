"""How a snapshot is kept: its manifest and its slices as sealed bytes."""

from collections.abc import Sequence

import msgspec

from engine.journal.contract import SnapshotRef, SnapshotTorn
from engine.journal.entry import seal, unseal

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SnapshotRef).decode


def seal_manifest(ref: SnapshotRef) -> bytes:
    """Return the manifest of a finished snapshot as it is stored."""
    return seal(_encode(ref))


def open_manifest(sealed: bytes) -> SnapshotRef | None:
    """Return the snapshot that a manifest names, None when it is damaged.

    A damaged manifest is as good as absent: recovery falls back to the one before.
    """
    try:
        return _decode(unseal(sealed))
    except (ValueError, msgspec.MsgspecError):
        return None


def open_slices(ref: SnapshotRef, stored: Sequence[bytes]) -> list[bytes]:
    """Return the slices of a snapshot.

    Raises:
        SnapshotTorn: a slice is missing or damaged.
    """
    if len(stored) != ref.slices:
        raise SnapshotTorn(f"{len(stored)} of {ref.slices} slices")
    try:
        return [bytes(unseal(data)) for data in stored]
    except ValueError as error:
        raise SnapshotTorn(str(error)) from error
