"""What flows between the owners and the world: effects out, an inbox in.

At least once: a message is handed out again until its group has finished it, and whoever
handles it must know it again: an effect by event, entry and index, what came in by the
id that its sender gave it.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from engine.journal.entry import Position


class StreamKind(StrEnum):
    """What a stream carries; every partition has one stream of each kind."""

    #: Records that the world outside the owners must act on, written by the journal.
    EFFECTS = "effects"
    #: What happened at the doors, written by the journal: a stream of its own, so that
    #: whoever follows payments does not read every scan.
    SCANS = "scans"
    #: What the world has sent: Stripe's events, and whatever else an owner must hear of.
    INBOX = "inbox"


class Group(Struct, frozen=True):
    """Readers of one kind of stream that share the work; each group sees every message."""

    name: str
    kind: StreamKind


class Effect(Struct, frozen=True):
    """One effect as the journal wrote it.

    `event_id`, `entry` and `index` (the record's place in its entry) name it for ever;
    `record` is decoded with `engine.journal.projection.decode_record`.
    """

    event_id: str
    entry: Position
    index: int
    record: bytes


class Incoming(Struct, frozen=True):
    """One message from outside.

    `id` is the sender's (Stripe's event id): the same message may stand in the inbox twice.
    `event_id` is the event it is about, "" when that is not known; messages of one event
    are handled in order. `at_ms` is when it was received, Unix milliseconds.
    """

    id: str
    kind: str
    body: bytes
    at_ms: int
    event_id: str = ""


class Unreadable(Struct, frozen=True):
    """A message whose fields are not those of its stream: somebody else wrote it."""

    fields: dict[bytes, bytes]
    event_id: str = ""


Message = Effect | Incoming | Unreadable


class Delivery(Struct, frozen=True):
    """One message, handed to one consumer.

    `deliveries` counts how often it has been handed out, this time included: more than
    once means that whoever had it before perished or lost the answer. `replays` counts
    how often it has come back from the dead letters.
    """

    kind: StreamKind
    partition: int
    message_id: str
    message: Message
    deliveries: int = 1
    replays: int = 0

    @property
    def event_id(self) -> str:
        """The event that the message is about, "" when that is not known."""
        return self.message.event_id


class DeadLetter(Struct, frozen=True):
    """A message that its group has given up on.

    `letter_id` names it within its group; `message_id` is its former place on the stream.
    """

    letter_id: str
    partition: int
    message_id: str
    message: Message
    reason: str
    attempts: int
    at_ms: int
    replays: int = 0


class Lag(Struct, frozen=True):
    """How far a group is behind on one partition; ages in milliseconds since writing."""

    partition: int
    undelivered: int
    pending: int
    oldest_undelivered_ms: int | None
    oldest_pending_ms: int | None


class Streams(Protocol):
    """The streams of all partitions, as one process reads and writes them.

    Every method raises `Unavailable` when the store did not answer; calling again is
    safe, save that `put` may then have written the message twice.
    """

    async def put(self, partition: int, message: Incoming) -> str:
        """Append to a partition's inbox, durable before it returns the message's place."""
        ...

    async def put_many(self, messages: Sequence[tuple[int, Incoming]]) -> list[str]:
        """Append (partition, message) pairs to inboxes in one round trip; see `put`.

        Raises:
            Unavailable: any number of them may have been written.
        """
        ...

    async def ensure_group(self, group: Group, partitions: Sequence[int]) -> None:
        """Have a group begin with the oldest message there is; no change if it exists."""
        ...

    async def groups(self) -> list[Group]:
        """Return every group that any partition knows, in order of kind and name."""
        ...

    async def read(
        self, group: Group, consumer: str, partitions: Sequence[int], count: int, block_ms: int
    ) -> list[Delivery]:
        """Hand out messages, oldest first in each partition.

        What the consumer of this name was handed and never finished comes first, unless
        this object handed it out: after a restart, and after a read whose answer was lost.
        A message that has been handed out DELIVERIES_TOGETHER_MAX times or more comes
        alone, so that one that kills its consumer is found out by its own count.

        Args:
            group: that shares the work; must exist.
            consumer: name that the process keeps over restarts.
            partitions: to read from.
            count: messages of each partition at most.
            block_ms: how long to wait for the first message, milliseconds, at most
                STREAM_BLOCK_MS_MAX; 0 does not wait.
        """
        ...

    async def claim_abandoned(
        self,
        group: Group,
        consumer: str,
        partitions: Sequence[int],
        min_idle_ms: int,
        count: int,
    ) -> list[Delivery]:
        """Take over what other consumers were handed and have not kept for this long.

        Suspicious messages come alone, as in `read`.
        """
        ...

    async def keep(self, group: Group, consumer: str, deliveries: Sequence[Delivery]) -> None:
        """Say that these are still in hand, so that nobody takes them for abandoned."""
        ...

    async def release(self, group: Group, consumer: str, deliveries: Sequence[Delivery]) -> None:
        """Give back what was not handled, as if it had not been handed out this time.

        Others find it abandoned at once; a consumer of this name gets it after a restart.
        """
        ...

    async def finish(self, group: Group, deliveries: Sequence[Delivery]) -> None:
        """Have the group never see these again."""
        ...

    async def bury(self, group: Group, delivery: Delivery, reason: str, attempts: int) -> None:
        """Move a message to the group's dead letters, in one step.

        Does nothing if the group has finished it already.
        """
        ...

    async def dead_letters(
        self, group: Group, limit: int, after: str | None = None
    ) -> list[DeadLetter]:
        """Return dead letters of all partitions, oldest first, behind letter id `after`."""
        ...

    async def dead_letter(self, group: Group, letter_id: str) -> DeadLetter | None:
        """Return one dead letter, None when there is none of this id."""
        ...

    async def replay_dead(self, group: Group, letter_id: str) -> str | None:
        """Put a dead letter back at the end of its stream, in one step, for its group only.

        Returns:
            Its new place on the stream, None when there is no such letter.
        """
        ...

    async def lag(self, group: Group) -> list[Lag]:
        """Return how far the group is behind, for each partition that knows it."""
        ...

    async def trim(self, kind: StreamKind, partition: int, readers: Sequence[str]) -> int:
        """Drop what every group has finished, in one step, and return how many that were.

        Nothing is dropped while no group is known, or one of `readers` is not: whoever
        comes late is to see it all.

        Args:
            kind: of the stream.
            partition: of the stream.
            readers: names of groups that will come, if they have not come yet.
        """
        ...
