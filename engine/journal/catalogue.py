"""Read models beside the journals: which events there are, and whose bookings.

Written by the append script, so they are never ahead of or behind the journal.
"""

import heapq
from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from engine.domain.event import Event
from engine.domain.ids import event_of_booking
from engine.domain.outcomes import Cancellation
from engine.journal.contract import Unavailable
from engine.journal.entry import Position
from engine.journal.keys import event_keys, partition_keys, partition_of
from engine.journal.projection import (
    booking_of_member,
    decode_cancellation,
    decode_event,
    event_member,
    event_of_member,
)
from engine.limits import PARTITIONS

#: Members of an index looked through at a time: well below a millisecond of the server's.
_SCAN_MEMBERS = 1_000
_PARTITIONS = [partition_keys(number) for number in range(PARTITIONS)]


class EventDocument(Struct, frozen=True):
    """An event as its owner last journalled it; `sequence` is that of the last change."""

    event: Event
    paused: bool
    sequence: int
    cancellation: Cancellation | None = None


class Catalogue:
    """Reads what the owners of all events have written. Never starts an owner.

    Every method raises `Unavailable` when the server does not answer.
    """

    def __init__(self, client: Redis) -> None:
        self._redis = client

    async def ping(self) -> None:
        """Return if the server answers."""
        try:
            await self._redis.ping()
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    async def event(self, event_id: str) -> EventDocument | None:
        """Return one event, None when there is none."""
        return (await self.events([event_id]))[0]

    async def events(self, event_ids: Iterable[str]) -> list[EventDocument | None]:
        """Return the events of these ids, in this order."""
        keys = [event_keys(event_id).document for event_id in event_ids]
        return [
            _document(fields) for fields in await self._pipeline(("HGETALL", key) for key in keys)
        ]

    async def upcoming(
        self, now_ms: int, limit: int, after: EventDocument | None = None
    ) -> list[EventDocument]:
        """Return events that have not started, soonest first, behind `after`."""
        low = "[" + event_member(now_ms, "")
        if after is not None:
            member = event_member(after.event.starts_at_ms, after.event.event_id)
            low = max(low, "(" + member, key=lambda bound: bound[1:])
        pages = await self._pipeline(
            ("ZRANGEBYLEX", keys.events, low, "+", "LIMIT", 0, limit) for keys in _PARTITIONS
        )
        members = heapq.nsmallest(limit, (member.decode() for page in pages for member in page))
        found = await self.events(map(event_of_member, members))
        return [document for document in found if document is not None]

    async def bookings_of(self, customer: str, limit: int, before: str | None = None) -> list[str]:
        """Return ids of a customer's bookings over all events, newest first.

        Args:
            customer: the customer's id.
            limit: length of the answer at most.
            before: index member (`booking_member`) behind which to begin.
        """
        high = "+" if before is None else f"({before}"
        pages = await self._pipeline(
            ("ZREVRANGEBYLEX", keys.bookings + customer, high, "-", "LIMIT", 0, limit)
            for keys in _PARTITIONS
        )
        members = heapq.nlargest(limit, (member.decode() for page in pages for member in page))
        return [booking_of_member(member) for member in members]

    async def place_of(self, customer: str, booking_id: str) -> str | None:
        """Return the index member of a customer's booking, None if it is none of theirs.

        For where its owner cannot be asked: it looks through all of theirs in one partition.
        """
        keys = _PARTITIONS[partition_of(event_of_booking(booking_id))]
        key = keys.bookings + customer
        cursor = 0
        while True:
            command = ("ZSCAN", key, cursor, "MATCH", f"*{booking_id}", "COUNT", _SCAN_MEMBERS)
            ((cursor, found),) = await self._pipeline([command])
            if found:
                member: bytes = found[0][0]
                return member.decode()
            if cursor == 0:
                return None

    async def claimant(self, event_id: str) -> bytes | None:
        """Return who claimed the event's journal last, in the claimant's own words."""
        answer = await self._pipeline([("HGET", event_keys(event_id).document, "owner")])
        return answer[0] or None

    async def sign(self, name: str, claimant: bytes) -> None:
        """Have `claimant` say who does the work of this name, which is not that of an event."""
        await self._pipeline([("HSET", event_keys(name).document, "owner", claimant)])

    async def awake(self) -> list[str]:
        """Return the ids of all events that need an owner, in order."""
        pages = await self._pipeline(("SMEMBERS", keys.awake) for keys in _PARTITIONS)
        return sorted(member.decode() for page in pages for member in page)

    async def opening(self, from_ms: int, until_ms: int) -> list[str]:
        """Return the ids of events whose sale opens in this time, in order."""
        pages = await self._pipeline(
            ("ZRANGEBYSCORE", keys.openings, from_ms, until_ms) for keys in _PARTITIONS
        )
        return sorted(member.decode() for page in pages for member in page)

    async def _pipeline(self, commands: Iterable[tuple[str | int | bytes, ...]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            return list(await pipeline.execute())
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from error


def _document(fields: object) -> EventDocument | None:
    assert isinstance(fields, dict)
    if b"event" not in fields:
        return None
    position = Position.parse(fields[b"at"].decode())
    paused = fields.get(b"paused", b"0") == b"1"
    cancelled = fields.get(b"cancelled")
    cancellation = None if cancelled is None else decode_cancellation(cancelled)
    return EventDocument(decode_event(fields[b"event"]), paused, position.sequence, cancellation)
