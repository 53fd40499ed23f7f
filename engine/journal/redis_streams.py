"""The streams in Redis or Valkey."""

import heapq
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from engine.journal.contract import Unavailable
from engine.journal.entry import Position
from engine.journal.handing_out import HandingOut, Pending
from engine.journal.stream_fields import (
    Row,
    dead_key,
    decode_letter,
    encode_incoming,
    letter_order,
    split_letter_id,
    stream_key,
)
from engine.journal.stream_scripts import BURY, HOLD, LAG, REPLAY, TRIM
from engine.journal.streams import DeadLetter, Delivery, Group, Incoming, Lag, StreamKind
from engine.limits import ABANDONED_MS, HELD_PAGE_MESSAGES, LAG_COUNTED_MAX, PARTITIONS


class RedisStreams:
    """Keeps `engine.journal.streams.Streams`.

    A read asks for all its partitions in one XREADGROUP. Redis Cluster takes only keys of
    one hash tag in one command: there, each partition needs a reader of its own. While a
    read waits it keeps one connection of the client's pool to itself, and no longer than
    the client waits for any answer (STREAM_BLOCK_MS_MAX).
    """

    def __init__(self, client: Redis) -> None:
        self._redis = client
        self._handing_out = HandingOut(_RedisPending(client))
        self._bury = client.register_script(BURY)
        self._replay = client.register_script(REPLAY)
        self._hold = client.register_script(HOLD)
        self._trim = client.register_script(TRIM)
        self._lag = client.register_script(LAG)

    # -- writing -------------------------------------------------------------------

    async def put(self, partition: int, message: Incoming) -> str:
        """See `Streams.put`."""
        return (await self.put_many([(partition, message)]))[0]

    async def put_many(self, messages: Sequence[tuple[int, Incoming]]) -> list[str]:
        """See `Streams.put_many`."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition, message in messages:
            fields: dict[Any, Any] = {**encode_incoming(message)}
            pipeline.xadd(stream_key(StreamKind.INBOX, partition), fields)
        return [place.decode() for place in await _carry_out(pipeline)]

    # -- handing out ---------------------------------------------------------------

    async def ensure_group(self, group: Group, partitions: Sequence[int]) -> None:
        """See `Streams.ensure_group`."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in partitions:
            key = stream_key(group.kind, partition)
            pipeline.xgroup_create(key, group.name, id="0", mkstream=True)
        await _carry_out(pipeline, tolerated="BUSYGROUP")

    async def groups(self) -> list[Group]:
        """See `Streams.groups`."""
        asked = [(kind, number) for kind in StreamKind for number in range(PARTITIONS)]
        pipeline = self._redis.pipeline(transaction=False)
        for kind, partition in asked:
            pipeline.xinfo_groups(stream_key(kind, partition))
        answers = await _carry_out(pipeline, tolerated="no such key")
        found = {
            (kind, facts["name"].decode())
            for (kind, _), answer in zip(asked, answers, strict=True)
            for facts in answer or ()
        }
        return [Group(name, kind) for kind, name in sorted(found)]

    async def read(
        self, group: Group, consumer: str, partitions: Sequence[int], count: int, block_ms: int
    ) -> list[Delivery]:
        """See `Streams.read`."""
        return await self._handing_out.read(group, consumer, partitions, count, block_ms)

    async def claim_abandoned(
        self, group: Group, consumer: str, partitions: Sequence[int], min_idle_ms: int, count: int
    ) -> list[Delivery]:
        """See `Streams.claim_abandoned`."""
        return await self._handing_out.claim_abandoned(
            group, consumer, partitions, min_idle_ms, count
        )

    async def keep(self, group: Group, consumer: str, deliveries: Sequence[Delivery]) -> None:
        """See `Streams.keep`."""
        await self._set(group, consumer, 0, [(delivery, "") for delivery in deliveries])

    async def release(self, group: Group, consumer: str, deliveries: Sequence[Delivery]) -> None:
        """See `Streams.release`."""
        counts = [(delivery, str(delivery.deliveries - 1)) for delivery in deliveries]
        await self._set(group, consumer, ABANDONED_MS, counts)
        self._handing_out.put_down(group, deliveries)

    async def finish(self, group: Group, deliveries: Sequence[Delivery]) -> None:
        """See `Streams.finish`."""
        messages = [(delivery.partition, delivery.message_id) for delivery in deliveries]
        await _acknowledge(self._redis, group, messages)
        self._handing_out.put_down(group, deliveries)

    async def _set(
        self, group: Group, consumer: str, idle_ms: int, counts: Iterable[tuple[Delivery, str]]
    ) -> None:
        """Set idle time and, but where it is "", delivery count of what is in hand."""
        held: defaultdict[int, list[str]] = defaultdict(list)
        for delivery, count in counts:
            held[delivery.partition] += (delivery.message_id, count)
        pipeline = self._redis.pipeline(transaction=False)
        for partition, pairs in held.items():
            keys = [stream_key(group.kind, partition)]
            for start in range(0, len(pairs), 2 * HELD_PAGE_MESSAGES):
                page = pairs[start : start + 2 * HELD_PAGE_MESSAGES]
                args: list[str | int] = [group.name, consumer, idle_ms, *page]
                await self._hold(keys=keys, args=args, client=pipeline)
        await _carry_out(pipeline)

    # -- dead letters --------------------------------------------------------------

    async def bury(self, group: Group, delivery: Delivery, reason: str, attempts: int) -> None:
        """See `Streams.bury`."""
        partition = delivery.partition
        keys = [stream_key(group.kind, partition), dead_key(group, partition)]
        args: list[str | int] = [group.name, delivery.message_id, reason, attempts]
        await _ask(lambda: self._bury(keys=keys, args=args))
        self._handing_out.put_down(group, [delivery])

    async def dead_letters(
        self, group: Group, limit: int, after: str | None = None
    ) -> list[DeadLetter]:
        """See `Streams.dead_letters`."""
        last, place = (-1, "0-0") if after is None else split_letter_id(after)
        pipeline = self._redis.pipeline(transaction=False)
        for partition in range(PARTITIONS):
            start = place if partition > last else f"({place}"
            pipeline.xrange(dead_key(group, partition), start, "+", count=limit)
        pages = await _carry_out(pipeline)
        letters = [
            decode_letter(group.kind, Row(partition, letter_id.decode(), fields))
            for partition, page in enumerate(pages)
            for letter_id, fields in page
        ]
        return heapq.nsmallest(limit, letters, key=letter_order)

    async def dead_letter(self, group: Group, letter_id: str) -> DeadLetter | None:
        """See `Streams.dead_letter`."""
        partition, place = split_letter_id(letter_id)
        key = dead_key(group, partition)
        rows = await _ask(lambda: self._redis.xrange(key, place, place))
        return decode_letter(group.kind, Row(partition, place, rows[0][1])) if rows else None

    async def replay_dead(self, group: Group, letter_id: str) -> str | None:
        """See `Streams.replay_dead`."""
        partition, place = split_letter_id(letter_id)
        keys = [dead_key(group, partition), stream_key(group.kind, partition)]
        new = await _ask(lambda: self._replay(keys=keys, args=[place, group.name]))
        return None if new is None else new.decode()

    # -- housekeeping --------------------------------------------------------------

    async def lag(self, group: Group) -> list[Lag]:
        """See `Streams.lag`."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in range(PARTITIONS):
            keys = [stream_key(group.kind, partition)]
            await self._lag(keys=keys, args=[group.name, LAG_COUNTED_MAX], client=pipeline)
        answers = await _carry_out(pipeline)
        return [
            Lag(partition, found[0], found[1], _age(found[2]), _age(found[3]))
            for partition, found in enumerate(answers)
            if found is not None
        ]

    async def trim(self, kind: StreamKind, partition: int, readers: Sequence[str]) -> int:
        """See `Streams.trim`."""
        keys, args = [stream_key(kind, partition)], [*readers]
        return int(await _ask(lambda: self._trim(keys=keys, args=args)))


class _RedisPending:
    """The groups as Redis keeps them; keeps `PendingLists`."""

    def __init__(self, client: Redis) -> None:
        self._redis = client

    async def pending(
        self,
        group: Group,
        after: Mapping[int, str],
        count: int,
        consumer: str | None = None,
        min_idle_ms: int = 0,
    ) -> dict[int, list[Pending]]:
        pipeline = self._redis.pipeline(transaction=False)
        for partition, place in after.items():
            key = stream_key(group.kind, partition)
            idle = min_idle_ms or None
            pipeline.xpending_range(key, group.name, f"({place}", "+", count, consumer, idle)
        answers = await _carry_out(pipeline)
        return {
            partition: [
                Pending(
                    row["message_id"].decode(), row["consumer"].decode(), row["times_delivered"]
                )
                for row in rows
            ]
            for partition, rows in zip(after, answers, strict=True)
        }

    async def claim(
        self,
        group: Group,
        consumer: str,
        chosen: Mapping[int, Sequence[Pending]],
        min_idle_ms: int,
    ) -> list[Row]:
        wanted: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
        for partition, pending in chosen.items():
            for one in pending:
                wanted[partition, one.deliveries].append(one.message_id)
        pipeline = self._redis.pipeline(transaction=False)
        for (partition, deliveries), ids in wanted.items():
            key = stream_key(group.kind, partition)
            ids_given: list[Any] = [*ids]
            pipeline.xclaim(
                key, group.name, consumer, min_idle_ms, ids_given, retrycount=deliveries
            )
        answers = await _carry_out(pipeline)
        rows = [
            Row(partition, place.decode(), fields)
            for (partition, _), answer in zip(wanted, answers, strict=True)
            for place, fields in answer
        ]
        return sorted(rows, key=lambda row: (row.partition, Position.parse(row.message_id)))

    async def fresh(
        self, group: Group, consumer: str, partitions: Sequence[int], count: int, block_ms: int
    ) -> list[Row]:
        of_key = {stream_key(group.kind, partition): partition for partition in partitions}
        streams: dict[Any, Any] = dict.fromkeys(of_key, ">")
        found = await _ask(
            lambda: self._redis.xreadgroup(
                group.name, consumer, streams, count=count, block=block_ms or None
            )
        )
        return [
            Row(of_key[key.decode()], place.decode(), fields)
            for key, rows in found
            for place, fields in rows
        ]

    async def acknowledge(self, group: Group, messages: Iterable[tuple[int, str]]) -> None:
        await _acknowledge(self._redis, group, messages)


async def _acknowledge(client: Redis, group: Group, messages: Iterable[tuple[int, str]]) -> None:
    ids: defaultdict[int, list[str]] = defaultdict(list)
    for partition, message_id in messages:
        ids[partition].append(message_id)
    pipeline = client.pipeline(transaction=False)
    for partition, of_partition in ids.items():
        pipeline.xack(stream_key(group.kind, partition), group.name, *of_partition)
    await _carry_out(pipeline)


async def _carry_out(pipeline: Pipeline, tolerated: str | None = None) -> list[Any]:
    """Return the answers of a pipeline, None for each error of the tolerated kind."""
    answers = await _ask(lambda: pipeline.execute(raise_on_error=False))
    for index, answer in enumerate(answers):
        if isinstance(answer, Exception):
            if tolerated is None or tolerated not in str(answer):
                raise Unavailable(f"{type(answer).__name__}: {answer}") from answer
            answers[index] = None
    return list(answers)


async def _ask(call: Callable[[], Awaitable[Any]]) -> Any:
    """Await an answer.

    Raises:
        Unavailable: there was none, or the server refuses for a reason of its own.
    """
    try:
        return await call()
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error


def _age(found: int) -> int | None:
    return None if found < 0 else found
