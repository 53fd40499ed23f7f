"""Bytes of an entry: what was written is read, and whatever else stands there is noticed."""

import msgspec
import pytest

from engine.journal.entry import (
    MAGIC,
    START,
    CorruptEntry,
    Entry,
    Position,
    decode_entry,
    encode_entry,
    seal,
    unseal,
)
from tests.samples import MINE, NOW_MS, entry, expired, one_of_each

AT = Position(3, 41)


def test_positions_are_ordered_as_redis_orders_their_ids() -> None:
    texts = ["0-0", "0-7", "1-0", "1-9", "1-10", "2-0", "9-1", "10-0"]
    positions = [Position.parse(text) for text in texts]
    assert positions == sorted(positions)
    assert [str(position) for position in positions] == texts
    assert positions[0] == START


@pytest.mark.parametrize("body", [b"", b"\0", b"J1", bytes(range(256)) * 300])
def test_what_is_sealed_is_unsealed_as_it_was(body: bytes) -> None:
    assert unseal(seal(body)) == body
    assert unseal(memoryview(seal(body))) == body


@pytest.mark.parametrize(
    "written",
    [entry(AT, *one_of_each()), Entry(*AT, NOW_MS, MINE), Entry(2**40, 2**40, 0, b"", ())],
    ids=["every record", "no record", "far on"],
)
def test_an_entry_is_read_as_it_was_written(written: Entry) -> None:
    assert decode_entry(written.position, encode_entry(written)) == written


def test_every_single_flipped_bit_of_an_entry_is_noticed() -> None:
    sealed = encode_entry(entry(AT, expired(1)))
    for bit in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptEntry) as corrupt:
            decode_entry(AT, bytes(damaged))
        assert corrupt.value.args[0] == AT, f"bit {bit}"


def test_an_entry_cut_anywhere_is_noticed() -> None:
    sealed = encode_entry(entry(AT, expired(1)))
    for length in range(len(sealed)):
        with pytest.raises(CorruptEntry):
            decode_entry(AT, sealed[:length])
    with pytest.raises(CorruptEntry):
        decode_entry(AT, sealed + b"\0")


@pytest.mark.parametrize("at", [START, Position(3, 40), Position(2, 41), Position(41, 3)], ids=str)
def test_an_entry_that_stands_elsewhere_is_noticed(at: Position) -> None:
    with pytest.raises(CorruptEntry, match="holds the entry 3-41"):
        decode_entry(at, encode_entry(entry(AT)))


@pytest.mark.parametrize("magic", [b"J0", b"J2", b"j1", b"\0\0"])
def test_another_version_is_named_instead_of_guessed_at(magic: bytes) -> None:
    sealed = encode_entry(entry(AT))
    assert sealed.startswith(MAGIC)
    with pytest.raises(CorruptEntry) as corrupt:
        decode_entry(AT, magic + sealed[2:])
    assert corrupt.value.args == (AT, f"unknown format {magic!r}")


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        msgspec.msgpack.encode({"epoch": 3}),
        msgspec.msgpack.encode([3, 41, NOW_MS]),
        msgspec.msgpack.encode([3, 41, "now", MINE, []]),
        msgspec.msgpack.encode([3, 41, NOW_MS, MINE, [["unheard of", 1]]]),
        msgspec.msgpack.encode([3, 41, NOW_MS, MINE, [["expired", "bk_", 1]]]).replace(
            b"bk_", b"bk\xff"
        ),
    ],
    ids=["not MessagePack", "a map", "too short", "wrong type", "unknown record", "not text"],
)
def test_sound_bytes_that_are_no_entry_are_damage_too(body: bytes) -> None:
    with pytest.raises(CorruptEntry) as corrupt:
        decode_entry(AT, seal(body))
    assert corrupt.value.args[0] == AT


def test_a_field_that_a_later_release_adds_does_not_hide_the_entry() -> None:
    later = [3, 41, NOW_MS, MINE, [["expired", "bk_1", NOW_MS, "why"]], "of a later release"]
    found = decode_entry(AT, seal(msgspec.msgpack.encode(later)))
    assert (found.sequence, found.records[0].booking_id) == (41, "bk_1")
