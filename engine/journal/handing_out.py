"""Which messages a consumer is handed next, whatever the store.

Three things have to be right: what a process took and lost (a restart, an answer that
never came) is handed out again; what this process has in hand is not; and a message that
kills its consumer must not drag into the grave those that were handed out with it.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from engine.journal.stream_fields import TO, Row, decode_delivery
from engine.journal.streams import Delivery, Group
from engine.limits import DELIVERIES_TOGETHER_MAX, STREAM_BLOCK_MS_MAX


class Pending(NamedTuple):
    """One message that a group's consumer was handed and has not finished."""

    message_id: str
    consumer: str
    deliveries: int


class PendingLists(Protocol):
    """What a store keeps of its groups. Every method raises `Unavailable`."""

    async def pending(
        self,
        group: Group,
        after: Mapping[int, str],
        count: int,
        consumer: str | None = None,
        min_idle_ms: int = 0,
    ) -> dict[int, list[Pending]]:
        """Return what is pending behind a message id, by partition."""
        ...

    async def claim(
        self,
        group: Group,
        consumer: str,
        chosen: Mapping[int, Sequence[Pending]],
        min_idle_ms: int,
    ) -> list[Row]:
        """Hand these out to a consumer, and count `deliveries` from now on.

        Left out are those that were handed out or kept more recently, or are no more.
        """
        ...

    async def fresh(
        self, group: Group, consumer: str, partitions: Sequence[int], count: int, block_ms: int
    ) -> list[Row]:
        """Hand out messages that the group has never seen."""
        ...

    async def acknowledge(self, group: Group, messages: Iterable[tuple[int, str]]) -> None:
        """Have the group never see these (partition, message id) again."""
        ...


#: Before the first message of any stream.
_BEGINNING = "0-0"


@dataclass
class _Search:
    """Looking through one partition for what a consumer was handed and does not have.

    `upto` is None once it is done. The first search of a process finds what its
    predecessor died with, and counts that; a later one finds what it never received.
    """

    upto: str | None = _BEGINNING
    counts: bool = True


class HandingOut:
    """The part of `Streams` that remembers what this process has in hand."""

    def __init__(self, lists: PendingLists) -> None:
        self._lists = lists
        self._in_hand: defaultdict[Group, set[tuple[int, str]]] = defaultdict(set)
        self._searches: defaultdict[tuple[Group, str, int], _Search] = defaultdict(_Search)

    async def read(
        self, group: Group, consumer: str, partitions: Sequence[int], count: int, block_ms: int
    ) -> list[Delivery]:
        """See `Streams.read`."""
        if not 0 <= block_ms <= STREAM_BLOCK_MS_MAX:
            raise ValueError(f"block_ms is {block_ms}, at most {STREAM_BLOCK_MS_MAX} is possible")
        with self._searching_again(group, consumer, partitions):
            found = await self._lost(group, consumer, partitions, count)
            if found:
                return found
            rows = await self._lists.fresh(group, consumer, partitions, count, block_ms)
            return await self._take(group, rows, {})

    async def claim_abandoned(
        self, group: Group, consumer: str, partitions: Sequence[int], min_idle_ms: int, count: int
    ) -> list[Delivery]:
        """See `Streams.claim_abandoned`."""
        with self._searching_again(group, consumer, partitions):
            after = dict.fromkeys(partitions, _BEGINNING)
            found = await self._lists.pending(group, after, count, min_idle_ms=min_idle_ms)
            abandoned = {
                partition: [
                    row._replace(deliveries=row.deliveries + 1)
                    for row in rows
                    if row.consumer != consumer
                ]
                for partition, rows in found.items()
            }
            return await self._claim(group, consumer, _together(abandoned), min_idle_ms)

    def put_down(self, group: Group, deliveries: Iterable[Delivery]) -> None:
        """Note that these are no longer in hand."""
        self._in_hand[group].difference_update(
            (delivery.partition, delivery.message_id) for delivery in deliveries
        )

    @contextmanager
    def _searching_again(
        self, group: Group, consumer: str, partitions: Sequence[int]
    ) -> Iterator[None]:
        """Expect, after a failure, that the store has handed out what nobody received."""
        try:
            yield
        except BaseException:  # when cancelled, too
            for partition in partitions:
                self._searches[group, consumer, partition] = _Search(counts=False)
            raise

    async def _lost(
        self, group: Group, consumer: str, partitions: Sequence[int], count: int
    ) -> list[Delivery]:
        """Hand out again what the consumer was handed and this process does not have."""
        while True:
            searches = {
                partition: self._searches[group, consumer, partition] for partition in partitions
            }
            after = {part: search.upto for part, search in searches.items() if search.upto}
            if not after:
                return []
            found = await self._lists.pending(group, after, count, consumer)
            lost = {
                partition: [
                    row._replace(deliveries=row.deliveries + searches[partition].counts)
                    for row in self._not_in_hand(group, partition, rows)
                ]
                for partition, rows in found.items()
            }
            chosen = _together(lost)
            deliveries = await self._claim(group, consumer, chosen, 0)
            for partition in after:
                if partition in chosen:
                    searches[partition].upto = chosen[partition][-1].message_id
                elif not lost.get(partition):
                    rows = found.get(partition, [])
                    full = len(rows) == count
                    searches[partition].upto = rows[-1].message_id if full else None
            if deliveries:
                return deliveries

    def _not_in_hand(self, group: Group, partition: int, rows: Iterable[Pending]) -> list[Pending]:
        in_hand = self._in_hand[group]
        return [row for row in rows if (partition, row.message_id) not in in_hand]

    async def _claim(
        self,
        group: Group,
        consumer: str,
        chosen: Mapping[int, Sequence[Pending]],
        min_idle_ms: int,
    ) -> list[Delivery]:
        if not chosen:
            return []
        rows = await self._lists.claim(group, consumer, chosen, min_idle_ms)
        counts = {
            (partition, row.message_id): row.deliveries
            for partition, pending in chosen.items()
            for row in pending
        }
        return await self._take(group, rows, counts)

    async def _take(
        self, group: Group, rows: Sequence[Row], deliveries: Mapping[tuple[int, str], int]
    ) -> list[Delivery]:
        """Take rows into hand, but for those that were replayed for another group."""
        name = group.name.encode()
        mine = {row[:2]: row for row in rows if row.fields.get(TO, name) == name}
        foreign = [row[:2] for row in rows if row[:2] not in mine]
        if foreign:
            await self._lists.acknowledge(group, foreign)
        self._in_hand[group].update(mine)
        return [
            decode_delivery(group.kind, row, deliveries.get(place, 1))
            for place, row in mine.items()
        ]


def _together(pending: Mapping[int, Sequence[Pending]]) -> dict[int, list[Pending]]:
    """Return what may be handed out at once: all up to a suspect, or one suspect alone."""
    innocent: dict[int, list[Pending]] = {}
    for partition, rows in pending.items():
        before = list(itertools.takewhile(lambda row: not is_suspect(row.deliveries), rows))
        if before:
            innocent[partition] = before
    if innocent:
        return innocent
    return next(({partition: [rows[0]]} for partition, rows in pending.items() if rows), {})


def is_suspect(deliveries: int) -> bool:
    """Tell whether a message has to be handled alone, so that it is found out by its count."""
    return deliveries > DELIVERIES_TOGETHER_MAX
