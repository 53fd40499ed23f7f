"""Journal entries and their bytes.

Layout, version 1: two bytes `J1`, four bytes CRC-32 of the rest (big endian), then the
entry as a MessagePack array. Every version that was ever released can be read for ever:
golden files in the tests hold one of each.
"""

import struct
import zlib
from typing import NamedTuple

import msgspec
from msgspec import Struct

from engine.domain.records import Record

MAGIC = b"J1"
_CHECKSUM = struct.Struct(">I")
_BODY_AT = len(MAGIC) + _CHECKSUM.size


class Position(NamedTuple):
    """Place of an entry in its journal. Sequence 0 is the claim of an epoch."""

    epoch: int
    sequence: int

    def __str__(self) -> str:
        """Return the entry's id in Redis."""
        return f"{self.epoch}-{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return the position that an entry id names."""
        epoch, _, sequence = text.partition("-")
        return cls(int(epoch), int(sequence))


#: Before the first claim.
START = Position(0, 0)


class Entry(Struct, frozen=True, array_like=True):
    """All records of one turn, or the claim of an epoch (sequence 0, no records).

    Sequences count on over all epochs: entry n + 1 follows entry n whoever wrote it.

    Args:
        at_ms: time of the turn, Unix milliseconds.
        nonce: of the owner's incarnation; tells own entries from those of another owner.
    """

    epoch: int
    sequence: int
    at_ms: int
    nonce: bytes
    records: tuple[Record, ...] = ()

    @property
    def position(self) -> Position:
        """Place of this entry in its journal."""
        return Position(self.epoch, self.sequence)


class CorruptEntry(Exception):
    """An entry's bytes are not what was written. Arguments: position, reason."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def seal(body: bytes) -> bytes:
    """Return `body` behind the format's version and a checksum."""
    return MAGIC + _CHECKSUM.pack(zlib.crc32(body)) + body


def unseal(sealed: bytes) -> memoryview:
    """Return the body of what `seal` made.

    Raises:
        ValueError: another version, or the checksum does not fit.
    """
    if sealed[: len(MAGIC)] != MAGIC:
        raise ValueError(f"unknown format {bytes(sealed[: len(MAGIC)])!r}")
    if len(sealed) < _BODY_AT:
        raise ValueError("cut short")
    body = memoryview(sealed)[_BODY_AT:]
    if _CHECKSUM.unpack_from(sealed, len(MAGIC))[0] != zlib.crc32(body):
        raise ValueError("checksum does not fit")
    return body


def encode_entry(entry: Entry) -> bytes:
    """Return the entry as it is stored."""
    return seal(_encode(entry))


def decode_entry(position: Position, sealed: bytes) -> Entry:
    """Return the entry stored at `position`.

    Raises:
        CorruptEntry: the bytes are damaged, or belong to another position.
    """
    try:
        entry = _decode(unseal(sealed))
    except (ValueError, msgspec.MsgspecError) as error:
        raise CorruptEntry(position, str(error)) from error
    if entry.position != position:
        raise CorruptEntry(position, f"holds the entry {entry.position}")
    return entry
