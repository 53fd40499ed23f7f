"""How many messages to buyers wait, and how many nobody will get: for operators."""

import asyncio

import structlog

from actors.measures import LETTERS, Meter
from engine.back_office_limits import LETTERS_COUNTED_EVERY_SECONDS
from engine.store.contract import BackOffice, MessageStatus, StoreAway

log = structlog.get_logger(__name__)

#: Those that an operator may have to look after.
_STATUSES = (MessageStatus.PENDING, MessageStatus.PERMANENTLY_FAILED)


class LetterCounter:
    """Counts in the books now and then; one process does it for all."""

    def __init__(self, store: BackOffice, meter: Meter) -> None:
        self._store = store
        self._meter = meter

    async def work(self) -> None:
        """Count until cancelled, through outages of the database."""
        while True:
            try:
                await self.count()
            except StoreAway as error:
                log.warning("back_office_unreachable", error=str(error))
            await asyncio.sleep(LETTERS_COUNTED_EVERY_SECONDS)

    async def count(self) -> None:
        """Count once. Raises StoreAway."""
        counts = dict.fromkeys(_STATUSES, 0)
        for tally in await self._store.statistics(None):
            if tally.status in counts:
                counts[tally.status] += tally.count
        for status, count in counts.items():
            self._meter.set(LETTERS, count, {"status": status.value.lower()})
