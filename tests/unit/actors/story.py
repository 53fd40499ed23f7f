"""A sale with its journal and snapshots, for what begins with recovering it."""

from actors.recovery import Recovered
from actors.snapshots import write_snapshot
from engine.domain.commands import ExpireHold
from engine.domain.snapshot import capture, digest
from engine.domain.state import check_fully
from engine.journal.contract import SnapshotRef
from engine.journal.entry import Entry, Position
from engine.journal.memory import MemoryJournal, MemoryStore
from tests.samples import MINE, NOW_MS
from tests.unit.engine.domain.given import EVENT_ID, TTL_MS, Sale, hold, release

#: Sequences of the snapshots in `Story`, and its last one.
OLDER, NEWER, LAST = 8, 16, 22


class Story:
    """A sale, its journal, and snapshots of it on the way."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.sale = Sale(capacities={"ga": 100})
        self.journal = MemoryJournal(self.store, EVENT_ID)
        self._head = Position(0, 0)

    async def begin(self, snapshots_at: tuple[int, ...] = (OLDER, NEWER)) -> "Story":
        self._head = await self.journal.claim(MINE, NOW_MS)
        await self.write_down()
        for sequence in range(2, LAST + 1):
            self.go_on(sequence)
            await self.write_down()
            if sequence in snapshots_at:
                await self.snapshot()
        assert self.sale.state.sequence == LAST
        return self

    def go_on(self, sequence: int) -> None:
        """Take the turn that becomes this entry."""
        if sequence % 5 == 0:
            self.sale.ask(release(f"c{sequence - 1}"))
        elif sequence == 12:
            self.sale.wait(TTL_MS)
            standing = self.sale.state.bookings.values()
            self.sale.ask(*(ExpireHold(booking.booking_id) for booking in standing))
        else:
            self.sale.ask(hold(f"c{sequence}", ga=1 + sequence % 3))

    async def write_down(self) -> None:
        """Append what the sale has decided since the last time."""
        for turn in self.sale.entries:
            if turn.sequence > self._head.sequence:
                entry = Entry(1, turn.sequence, turn.at_ms, MINE, turn.records)
                await self.journal.append(entry, self._head)
                self._head = entry.position

    async def snapshot(self, journal: MemoryJournal | None = None) -> SnapshotRef:
        picture = capture(self.sale.state)
        return await write_snapshot(journal or self.journal, picture, self._head, MINE)

    async def newest(self) -> SnapshotRef:
        return (await self.journal.snapshots())[0]

    def tells(self, recovered: Recovered, replayed_since: int) -> None:
        """Assert that the recovered state is that of the sale, and from where it was read."""
        assert digest(recovered.state) == digest(self.sale.state)
        check_fully(recovered.state)
        since = [turn for turn in self.sale.entries if turn.sequence > replayed_since]
        assert recovered.replayed_records == sum(len(turn.records) for turn in since)
