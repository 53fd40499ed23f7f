"""What a journal promises. One contract suite holds every implementation to it."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from engine.journal.entry import Entry, Position


class Fenced(Exception):
    """A newer owner has claimed the journal; nothing was written. The caller must stop.

    Arguments: own position, the position at the journal's head.
    """


class InDoubt(Exception):
    """The answer was lost: written or not, nobody knows. Resolve with `read_back`.

    Argument: what happened.
    """


class Unavailable(Exception):
    """The journal cannot be read just now. Argument: what happened."""


class JournalLost(Exception):
    """The journal ends before entries that were durable. Arguments: expected, found."""


class SequenceGap(Exception):
    """An entry does not follow the one before. Arguments: position found, expected sequence."""


class EpochStray(Exception):
    """An entry stands behind the claim of a newer epoch. Arguments: position, epoch in force."""


class SnapshotTorn(Exception):
    """A snapshot's bytes are incomplete or damaged. Argument: what is wrong."""


def refusal(entry: Entry, after: Position, found: Position) -> Fenced | JournalLost:
    """Return why a journal whose head is `found` does not take `entry` behind `after`."""
    if found.epoch > entry.epoch or found >= entry.position:
        return Fenced(entry.position, found)
    return JournalLost(after, found)


class SnapshotRef(Struct, frozen=True):
    """A finished snapshot: the state after the entry at (epoch, sequence)."""

    epoch: int
    sequence: int
    key: str
    slices: int
    digest: str

    @property
    def position(self) -> Position:
        """Place of the last entry that the snapshot includes."""
        return Position(self.epoch, self.sequence)


class Journal(Protocol):
    """The durable log of one event."""

    event_id: str

    async def head(self) -> Position:
        """Return the position of the newest entry, START when there is none.

        Raises:
            Unavailable: the store did not answer.
        """
        ...

    async def claim(self, nonce: bytes, at_ms: int, claimant: bytes = b"") -> Position:
        """Open a new epoch: from now on, every append of an older one is refused.

        Args:
            nonce: of the claiming incarnation.
            at_ms: Unix milliseconds.
            claimant: who claims, in the claimant's own words; kept beside the journal.

        Returns:
            The position of the claim.

        Raises:
            Fenced: somebody else claimed in the same moment.
            InDoubt: the answer was lost; claiming again is safe.
        """
        ...

    async def append(self, entry: Entry, after: Position) -> None:
        """Append one entry behind `after` and make it durable before returning.

        Effects and read models of its records are written in the same atomic step.

        Raises:
            Fenced: a newer epoch owns the journal; nothing was written.
            JournalLost: the journal ends before `after`; nothing was written.
            InDoubt: the answer was lost; resolve with `read_back` before anything else.
        """
        ...

    async def read_back(self, position: Position) -> Entry | None:
        """Return the entry at `position`, None when there is none.

        Raises:
            Unavailable: the store did not answer.
            CorruptEntry: there is one, and it is damaged.
        """
        ...

    def replay(self, after: Position) -> AsyncIterator[Entry]:
        """Yield every entry behind `after`, claims left out, checked one by one.

        Raises:
            Unavailable: the store did not answer.
            CorruptEntry, SequenceGap, EpochStray: the journal is damaged at that entry.
        """
        ...

    async def snapshots(self) -> Sequence[SnapshotRef]:
        """Return the finished snapshots, newest first."""
        ...

    async def read_snapshot(self, ref: SnapshotRef) -> list[bytes]:
        """Return the slices of a snapshot.

        Raises:
            SnapshotTorn: a slice is missing or damaged.
        """
        ...

    async def begin_snapshot(self, position: Position, nonce: bytes) -> str:
        """Announce a snapshot and return the key to write it under."""
        ...

    async def write_slice(self, key: str, data: bytes) -> None:
        """Store the next slice of a snapshot that was begun."""
        ...

    async def finish_snapshot(self, ref: SnapshotRef) -> None:
        """Make a snapshot visible; drop all but the newest SNAPSHOTS_KEPT and unfinished ones.

        Raises:
            Fenced: a newer epoch owns the journal; the snapshot stays invisible, and no
                other is dropped. Its slices may be gone: they were unfinished to others.
            Unavailable: the store did not answer.
        """
        ...

    async def trim(self) -> Position:
        """Drop entries that neither the older snapshot nor a consumer group needs.

        Returns:
            The position of the oldest entry that is kept.
        """
        ...

    async def rest(self, at: Position) -> bool:
        """Note that the event needs no owner until it is touched; False if the head moved."""
        ...
