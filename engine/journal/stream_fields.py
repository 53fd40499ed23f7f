"""Messages as the fields of a Redis stream, and what bookkeeping adds to them."""

from typing import NamedTuple

from engine.journal.entry import Position
from engine.journal.keys import partition_keys
from engine.journal.streams import (
    DeadLetter,
    Delivery,
    Effect,
    Group,
    Incoming,
    Message,
    StreamKind,
    Unreadable,
)

#: Fields as the store keeps them.
Fields = dict[bytes, bytes]

#: On a message that was replayed: the only group that it is for, and how often it was.
TO = b"to"
REPLAYS = b"replays"
#: Before the fields of a dead message: why, and what it was.
DEAD_ID = b"dead:id"
DEAD_REASON = b"dead:reason"
DEAD_ATTEMPTS = b"dead:attempts"

_NOT_OF_THE_MESSAGE = (TO, REPLAYS, DEAD_ID, DEAD_REASON, DEAD_ATTEMPTS)


class Row(NamedTuple):
    """One message as it stands on the stream of its partition."""

    partition: int
    message_id: str
    fields: Fields


def stream_key(kind: StreamKind, partition: int) -> str:
    """Return the key of a stream."""
    keys = partition_keys(partition)
    if kind is StreamKind.INBOX:
        return keys.inbox
    return keys.effects if kind is StreamKind.EFFECTS else keys.scans


def dead_key(group: Group, partition: int) -> str:
    """Return the key of a group's dead letters."""
    return partition_keys(partition).dead + group.name


def encode_incoming(message: Incoming) -> Fields:
    """Return the fields of a message for the inbox."""
    return {
        b"id": message.id.encode(),
        b"kind": message.kind.encode(),
        b"body": message.body,
        b"at": str(message.at_ms).encode(),
        b"event": message.event_id.encode(),
    }


def decode_message(kind: StreamKind, fields: Fields) -> Message:
    """Return the message of these fields, `Unreadable` if they are not those of its kind."""
    try:
        if kind is not StreamKind.INBOX:
            return Effect(
                fields[b"event"].decode(),
                Position.parse(fields[b"entry"].decode()),
                int(fields[b"n"]),
                fields[b"r"],
            )
        return Incoming(
            fields[b"id"].decode(),
            fields[b"kind"].decode(),
            fields[b"body"],
            int(fields[b"at"]),
            fields[b"event"].decode(),
        )
    except (KeyError, ValueError):
        own = {name: value for name, value in fields.items() if name not in _NOT_OF_THE_MESSAGE}
        return Unreadable(own)


def decode_delivery(kind: StreamKind, row: Row, deliveries: int) -> Delivery:
    """Return what the consumer is handed of a row."""
    return Delivery(
        kind,
        row.partition,
        row.message_id,
        decode_message(kind, row.fields),
        deliveries,
        int(row.fields.get(REPLAYS, 0)),
    )


def decode_letter(kind: StreamKind, row: Row) -> DeadLetter:
    """Return the dead letter of a row; it was buried when the store gave it its place."""
    fields = row.fields
    return DeadLetter(
        f"{row.partition:02d}-{row.message_id}",
        row.partition,
        fields[DEAD_ID].decode(),
        decode_message(kind, fields),
        fields[DEAD_REASON].decode(),
        int(fields[DEAD_ATTEMPTS]),
        Position.parse(row.message_id).epoch,
        int(fields.get(REPLAYS, 0)),
    )


def split_letter_id(letter_id: str) -> tuple[int, str]:
    """Return partition and place of a dead letter.

    Raises:
        ValueError: it is not the id of a dead letter.
    """
    partition, _, place = letter_id.partition("-")
    try:
        return int(partition), str(Position.parse(place))
    except ValueError as error:
        raise ValueError(f"{letter_id!r} is not the id of a dead letter") from error


def letter_order(letter: DeadLetter) -> tuple[Position, int]:
    """Return what dead letters of all partitions are sorted by: oldest first."""
    partition, place = split_letter_id(letter.letter_id)
    return Position.parse(place), partition
