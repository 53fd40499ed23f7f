"""Manifests and slices of a snapshot: sound, or noticed."""

import pytest

from engine.journal.contract import SnapshotRef, SnapshotTorn
from engine.journal.entry import seal
from engine.journal.sealed import open_manifest, open_slices, seal_manifest

REF = SnapshotRef(2, 41, "key", 2, "0123456789abcdef")


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert open_manifest(seal_manifest(REF)) == REF


def test_a_manifest_with_any_bit_flipped_is_as_good_as_absent() -> None:
    sealed = seal_manifest(REF)
    for bit in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        assert open_manifest(bytes(damaged)) is None, f"bit {bit}"


@pytest.mark.parametrize("sealed", [b"", b"J1", seal(b""), seal(b"\x80"), seal(b"\x93\1\2\3")])
def test_what_is_no_manifest_is_as_good_as_absent(sealed: bytes) -> None:
    assert open_manifest(sealed) is None


def test_slices_are_read_in_their_order() -> None:
    assert open_slices(REF, [seal(b"first"), seal(b"second")]) == [b"first", b"second"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_slices_is_torn(count: int) -> None:
    with pytest.raises(SnapshotTorn, match=f"{count} of 2 slices"):
        open_slices(REF, [seal(b"slice")] * count)


def test_a_damaged_slice_is_torn() -> None:
    with pytest.raises(SnapshotTorn):
        open_slices(REF, [seal(b"first"), seal(b"second")[:-1]])
