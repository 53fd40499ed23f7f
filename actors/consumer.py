"""Carrying facts on: reads one group's messages and sees each through to its end.

At least once, and in order for each event: a message is finished after its side effect,
so that whoever dies in between leaves it to be handled again.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice, takewhile

import structlog

from actors.group_commit import Backoff
from actors.measures import BURIED, HANDLED, Meter, Unmetered
from engine.journal.contract import Unavailable
from engine.journal.handing_out import is_suspect
from engine.journal.streams import Delivery, Group, Streams, Unreadable
from engine.limits import (
    ABANDONED_MS,
    ATTEMPT_PAUSE_SECONDS_MAX,
    ATTEMPT_PAUSE_SECONDS_MIN,
    ATTEMPTS_MAX,
    CONSUMER_BATCH_MAX,
    CONSUMER_EVENTS_MAX,
    CONSUMER_HANDLE_SECONDS_MAX,
    CONSUMER_MESSAGES_MAX,
    CONSUMER_PAUSE_SECONDS,
    CONSUMER_WAITING_MAX,
    DELIVERIES_MAX,
    KEEP_SECONDS,
    PARTITIONS,
    READ_MESSAGES_MAX,
    STREAM_BLOCK_MS_MAX,
)

log = structlog.get_logger(__name__)

#: Handles messages of one event, oldest first, and returns when all of them are done.
#: If it raises, each is handled again, alone.
Handler = Callable[[Sequence[Delivery]], Awaitable[None]]


class RetryLater(Exception):
    """Trouble that was to be expected; it does not count as an attempt.

    Arguments: seconds to wait, why.
    """

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(seconds, reason)
        self.seconds = seconds
        self.reason = reason


class Hopeless(Exception):
    """Trying again cannot help: the message goes to the dead letters. Argument: why."""


class _Lane:
    """What is in hand of one event, oldest first. Pausing: it waits for its next attempt."""

    def __init__(self) -> None:
        self.messages: deque[Delivery] = deque()
        self.pausing = False


class Consumer:
    """One consumer of a group: a plain loop around a handler.

    Order is kept among what one consumer reads. Consumers that share a partition share
    its messages, too: two of one event may then be handled at the same time, so replicas
    that need the order divide the partitions among them.

    Args:
        streams: where the messages are.
        group: that this consumer belongs to; created if need be.
        name: of this consumer in its group; the same after a restart, and nobody else's.
        handle: see `Handler`. It is called for several events at once, for each event
            only when the call before has returned. It knows a message that it has handled
            before, and it raises `RetryLater` when it has to wait for something.
        partitions: that it reads.
        batch_max: messages of one call; 1 for a handler that takes them one by one.
        pause_seconds: after a read that found little; see CONSUMER_PAUSE_SECONDS.
        meter: takes what is measured.
    """

    def __init__(  # noqa: PLR0913 - readers differ in each of these
        self,
        streams: Streams,
        group: Group,
        name: str,
        handle: Handler,
        *,
        partitions: Sequence[int] = range(PARTITIONS),
        batch_max: int = CONSUMER_BATCH_MAX,
        pause_seconds: float = CONSUMER_PAUSE_SECONDS,
        meter: Meter | None = None,
    ) -> None:
        self._streams = streams
        self._group = group
        self._name = name
        self._handle = handle
        self._partitions = partitions
        self._batch_max = batch_max
        self._meter = meter or Unmetered()
        self._labels = {"group": group.name}
        self._pause_seconds = pause_seconds
        self._lanes: dict[tuple[int, str], _Lane] = {}
        self._places = asyncio.Semaphore(CONSUMER_EVENTS_MAX)
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._ended.set()
        self._claim_at = 0.0
        self._log = log.bind(group=group.name, consumer=name)

    async def run(self) -> None:
        """Read and handle until `stop`, through outages of the store.

        Raises:
            ExceptionGroup: a mistake in here. What was in hand is handed out again.
        """
        self._ended.clear()
        try:
            async with asyncio.TaskGroup() as beside:
                keeping = beside.create_task(self._keep())
                async with asyncio.TaskGroup() as lanes:
                    await self._read(lanes)
                keeping.cancel()
            await self._give_back()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Read no more, return when what is being handled is finished; the rest is given back."""
        self._stopping.set()
        self._changed.set()
        await self._ended.wait()

    # -- reading -------------------------------------------------------------------

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        ready, backoff = False, Backoff()
        self._claim_at = asyncio.get_running_loop().time() + KEEP_SECONDS
        while not self._stopping.is_set():
            try:
                if not ready:
                    await self._streams.ensure_group(self._group, self._partitions)
                ready, found = True, await self._next()
            except Unavailable as error:
                # It may have come back empty, without the group.
                ready = False
                self._log.warning("store_unreachable", error=str(error))
                await backoff.pause()
                continue
            backoff = Backoff()
            if any(is_suspect(delivery.deliveries) for delivery in found):
                # Comes alone, and is tried alone: if the process dies of it, no other pays.
                await self._until(self._is_calm)
                self._take(tasks, found)
                await self._until(self._is_calm)
            else:
                self._take(tasks, found)
                await self._until(self._has_room)
                if 0 < len(found) < READ_MESSAGES_MAX:
                    await self._wait(self._pause_seconds)  # others may be close behind

    async def _next(self) -> list[Delivery]:
        """Return new messages, and now and then those that another consumer has abandoned."""
        now = asyncio.get_running_loop().time()
        if now >= self._claim_at:
            found = await self._streams.claim_abandoned(
                self._group, self._name, self._partitions, ABANDONED_MS, READ_MESSAGES_MAX
            )
            if found:
                return found  # there may be more
            self._claim_at = now + KEEP_SECONDS
        return await self._streams.read(
            self._group, self._name, self._partitions, READ_MESSAGES_MAX, STREAM_BLOCK_MS_MAX
        )

    def _take(self, tasks: asyncio.TaskGroup, deliveries: Sequence[Delivery]) -> None:
        """Put each message behind those of its event."""
        for delivery in deliveries:
            key = (delivery.partition, delivery.event_id)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = _Lane()
                tasks.create_task(self._work(key, lane))
            lane.messages.append(delivery)

    def _is_calm(self) -> bool:
        return all(lane.pausing for lane in self._lanes.values())

    def _has_room(self) -> bool:
        working = sum(len(lane.messages) for lane in self._lanes.values() if not lane.pausing)
        waiting = sum(len(lane.messages) for lane in self._lanes.values() if lane.pausing)
        return working < CONSUMER_MESSAGES_MAX and waiting < CONSUMER_WAITING_MAX

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until this is so, or everything has to end."""
        while not condition() and not self._stopping.is_set():
            self._changed.clear()
            await self._changed.wait()

    # -- handling ------------------------------------------------------------------

    async def _work(self, key: tuple[int, str], lane: _Lane) -> None:
        """See one event's messages through until there are none, or everything has to end."""
        while lane.messages and not self._stopping.is_set():
            first = lane.messages[0]
            hopeless = _why_hopeless(first)
            if hopeless is not None:
                await self._bury(lane, first, hopeless, first.deliveries - 1)
                continue
            batch = takewhile(lambda one: _why_hopeless(one) is None, lane.messages)
            await self._see_through(lane, list(islice(batch, self._batch_max)))
        if not lane.messages:
            del self._lanes[key]
        self._changed.set()

    async def _see_through(self, lane: _Lane, batch: list[Delivery]) -> None:
        """Handle the first messages of a lane until they are finished or buried."""
        attempts = 0
        while not self._stopping.is_set():
            trouble = await self._try(batch)
            if trouble is None:
                await self._settle(lambda: self._streams.finish(self._group, batch))
                self._meter.add(HANDLED, len(batch), self._labels)
                self._drop(lane, len(batch))
                return
            if isinstance(trouble, RetryLater):
                await self._pause(lane, trouble.seconds)
                continue
            if isinstance(trouble, Hopeless) and len(batch) == 1:
                await self._bury(lane, batch[0], str(trouble), attempts + 1)
                return
            self._log.warning(
                "handler_failed",
                event_id=batch[0].event_id,
                messages=[delivery.message_id for delivery in batch],
                exc_info=trouble,
            )
            if len(batch) > 1:
                for delivery in batch:
                    await self._see_through(lane, [delivery])
                return
            attempts += 1
            if attempts >= ATTEMPTS_MAX:
                await self._bury(lane, batch[0], _in_words(trouble), attempts)
                return
            doubled = ATTEMPT_PAUSE_SECONDS_MIN * 2 ** (attempts - 1)
            await self._pause(lane, min(doubled, ATTEMPT_PAUSE_SECONDS_MAX))

    async def _try(self, batch: list[Delivery]) -> BaseException | None:
        """Call the handler once and return what went wrong."""
        try:
            async with self._places:
                if self._stopping.is_set():
                    return RetryLater(0, "stopping")
                async with asyncio.timeout(CONSUMER_HANDLE_SECONDS_MAX):
                    await self._handle(batch)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return error  # something that the handler waited for was cancelled
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this batch's trouble
            return error
        return None

    async def _pause(self, lane: _Lane, seconds: float) -> None:
        """Have a lane wait for its next attempt, less long if everything has to end."""
        lane.pausing = True
        self._changed.set()
        await self._wait(seconds)
        lane.pausing = False

    async def _wait(self, seconds: float) -> None:
        """Wait, less long if everything has to end."""
        with suppress(TimeoutError):
            # Not `wait_for`, which in Python 3.11 may lose a cancellation.
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _bury(self, lane: _Lane, delivery: Delivery, reason: str, attempts: int) -> None:
        self._log.critical(
            "message_buried",
            event_id=delivery.event_id,
            partition=delivery.partition,
            message_id=delivery.message_id,
            reason=reason,
        )
        await self._settle(lambda: self._streams.bury(self._group, delivery, reason, attempts))
        self._meter.add(BURIED, 1, self._labels)
        self._drop(lane, 1)

    def _drop(self, lane: _Lane, count: int) -> None:
        for _ in range(count):
            lane.messages.popleft()
        self._changed.set()

    # -- with the store ------------------------------------------------------------

    async def _settle(self, call: Callable[[], Awaitable[None]]) -> None:
        """Have the store note an end, however long it takes to answer.

        When everything has to end and the store is away, it is handed out again later.
        """
        backoff = Backoff()
        while True:
            try:
                return await call()
            except Unavailable as error:
                self._log.warning("store_unreachable", error=str(error))
                if self._stopping.is_set():
                    return None
                await backoff.pause()

    async def _keep(self) -> None:
        """Say what is in hand, so that nobody takes it for abandoned."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            try:
                await self._streams.keep(self._group, self._name, self._in_hand())
            except Unavailable as error:
                self._log.warning("store_unreachable", error=str(error))

    async def _give_back(self) -> None:
        """Leave to others what was not handled."""
        left = self._in_hand()
        self._lanes.clear()
        try:
            await self._streams.release(self._group, self._name, left)
        except Unavailable as error:
            self._log.warning("not_given_back", messages=len(left), error=str(error))

    def _in_hand(self) -> list[Delivery]:
        return [delivery for lane in self._lanes.values() for delivery in lane.messages]


def _why_hopeless(delivery: Delivery) -> str | None:
    """Return why a message is not worth trying, None if it is."""
    if isinstance(delivery.message, Unreadable):
        return "unreadable: somebody else wrote it"
    if delivery.deliveries > DELIVERIES_MAX:
        return f"handed out {delivery.deliveries - 1} times, and its consumer perished each time"
    return None


def _in_words(trouble: BaseException) -> str:
    return f"{type(trouble).__name__}: {trouble}"
