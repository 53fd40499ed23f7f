"""The checks every entry passes on its way back into memory."""

from engine.journal.contract import EpochStray, SequenceGap
from engine.journal.entry import Entry, Position


class EntryOrder:
    """Follows the entries of a journal and refuses the first that is out of order.

    Sequences are contiguous, epochs never decrease, and an epoch begins with its claim.
    """

    def __init__(self, after: Position) -> None:
        self.position = after

    def accept(self, entry: Entry) -> bool:
        """Check the next entry; True if it carries records, False if it is a claim.

        Raises:
            SequenceGap: an entry is missing or stands twice.
            EpochStray: an entry of an epoch that was not claimed, or no longer in force.
        """
        position = entry.position
        if position.sequence == 0:
            if position.epoch <= self.position.epoch:
                raise EpochStray(position, self.position.epoch)
            self.position = Position(position.epoch, self.position.sequence)
            return False
        if position.sequence != self.position.sequence + 1:
            raise SequenceGap(position, self.position.sequence + 1)
        if position.epoch != self.position.epoch:
            raise EpochStray(position, self.position.epoch)
        self.position = position
        return True
