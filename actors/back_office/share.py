"""Which partitions a back office reads: its share, by how many there are at the moment.

The place p of n reads the partitions p, p + n, p + 2n and so on: each has exactly one reader,
so that effects of one event stay in order. The number may change while everybody works.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from actors.consumer import Consumer
from actors.group_commit import insist
from engine.journal.contract import Unavailable
from engine.limits import OFFICES_LOOK_SECONDS, PARTITIONS

log = structlog.get_logger(__name__)


class Offices(Protocol):
    """Knows how many back offices there are to be."""

    async def count(self) -> int:
        """Return the number of places, 1 or more. Raises Unavailable."""
        ...


def share(place: int, count: int) -> range:
    """Return the partitions of a place among so many; none if there is no such place."""
    return range(place, PARTITIONS, count) if place < count else range(0)


class Share:
    """Reads the share of one place, whatever that is by now.

    When the number changes, what is being handled is finished and everything else in hand is
    given back: whoever reads its partition from then on takes it for abandoned, as it does what
    somebody has perished with. Until everybody has looked, a partition may have two readers, or
    none, for a moment: books are written so that this does no harm.

    Args:
        offices: knows the number.
        place: from 0.
        consumers: makes readers of these partitions, who remember nothing of former ones: what
            was given back may come back.
    """

    def __init__(
        self, offices: Offices, place: int, consumers: Callable[[range], Sequence[Consumer]]
    ) -> None:
        self._offices = offices
        self._place = place
        self._consumers = consumers

    async def is_there(self) -> bool:
        """Tell whether there is such a place, as soon as the store answers."""
        return bool(share(self._place, await insist(self._offices.count)))

    async def work(self) -> None:
        """Read until cancelled, or until there is no such place any more.

        Raises:
            ExceptionGroup: a mistake in here; what was in hand is handed out again.
        """
        count = await insist(self._offices.count)
        while partitions := share(self._place, count):
            log.info("share_taken", place=self._place, offices=count)
            consumers = self._consumers(partitions)
            async with asyncio.TaskGroup() as reading:
                for consumer in consumers:
                    reading.create_task(consumer.run())
                count = await self._other_than(count)
                for consumer in consumers:
                    reading.create_task(consumer.stop())
        log.info("place_left", place=self._place, offices=count)

    async def _other_than(self, count: int) -> int:
        """Return the number once it is another."""
        while True:
            await asyncio.sleep(OFFICES_LOOK_SECONDS)
            try:
                found = await self._offices.count()
            except Unavailable as error:
                log.warning("store_unreachable", error=str(error))
                continue
            if found != count:
                return found
