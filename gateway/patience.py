"""How long a gateway waits for its clients, and how many of them it has at once.

One look over all connections each second, and no timer for any of them: what a request
costs here is noting when it began. Times are those of the latest look, so that a deadline is
up to a second late, and never early.
"""

import asyncio
import resource
from collections.abc import Collection
from enum import IntEnum
from typing import Protocol

import structlog

from engine.limits import (
    CONNECTION_IDLE_SECONDS,
    CONNECTION_STUCK_SECONDS,
    CONNECTIONS_GIVE_WAY_SHARE,
    CONNECTIONS_MAX,
    FILES_RESERVED,
    REQUEST_READ_SECONDS,
)

log = structlog.get_logger(__name__)

#: How often all connections are looked at, seconds.
LOOK_SECONDS = 1.0
#: Connections looked at before others get their turn: a fraction of a millisecond.
_SLICE = 1_000


class Part(IntEnum):
    """What of a request a connection waits for."""

    NOTHING_YET = 0
    HEAD = 1
    BODY = 2
    #: Read whole: it waits for us.
    OURS = 3


class Connection(Protocol):
    """What is looked at."""

    waits_for: Part
    since: float

    @property
    def kept_waiting(self) -> bool:
        """Whether the client waits for us, whatever it has sent."""

    def unread(self) -> int:
        """Return the bytes that were written and not taken."""

    def give_up(self) -> None:
        """Tell the client that its request took too long, and close."""

    def close(self) -> None:
        """Close in good order."""

    def abort(self) -> None:
        """Close at once, whatever was not sent."""


class Patience:
    """Looks after the connections of one gateway process.

    Args:
        connections: those there are; protocols add and remove themselves.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connections: Collection[Connection]
    ) -> None:
        self.loop = loop
        #: Monotonic seconds at the latest look.
        self.now = loop.time()
        self.room = _room()
        self._connections = connections
        self._looking: asyncio.Task[None] | None = None
        #: Bytes that clients did not take, and since when they are so many.
        self._stuck: dict[Connection, tuple[int, float]] = {}

    def looks_after(
        self, loop: asyncio.AbstractEventLoop, connections: Collection[Connection]
    ) -> bool:
        """Tell whether these are its connections."""
        return self.loop is loop and self._connections is connections

    def welcome(self, newest: Connection) -> bool:
        """Take note of a new connection, one of all; False if there is no room for it."""
        if self._looking is None:
            self.now = self.loop.time()
            self._looking = self.loop.create_task(self._watch())
        return len(self._connections) <= self.room or self._make_room(newest)

    async def _watch(self) -> None:
        """Look every second for as long as there is anything to look at."""
        try:
            while self._connections:
                await asyncio.sleep(LOOK_SECONDS)
                self.now = self.loop.time()
                stuck: dict[Connection, tuple[int, float]] = {}
                for number, connection in enumerate(list(self._connections), 1):
                    unread = connection.unread()
                    if unread:
                        stuck[connection] = self._not_taken(connection, unread)
                    else:
                        self._look(connection)
                    if number % _SLICE == 0:
                        await asyncio.sleep(0)
                self._stuck = stuck
        finally:
            self._stuck.clear()
            self._looking = None

    def _not_taken(self, connection: Connection, unread: int) -> tuple[int, float]:
        """Cut a client off that takes nothing; return how much waits for it, and since when."""
        before, since = self._stuck.get(connection, (0, self.now))
        if unread != before:
            return unread, self.now
        if self.now - since > CONNECTION_STUCK_SECONDS:
            connection.abort()
        return unread, since

    def _look(self, connection: Connection) -> None:
        waits_for = connection.waits_for
        if waits_for is Part.OURS:
            return
        if waits_for is Part.NOTHING_YET:
            if self.now - connection.since > CONNECTION_IDLE_SECONDS + LOOK_SECONDS:
                connection.close()
        elif connection.kept_waiting:
            connection.since = self.now
        elif self.now - connection.since > REQUEST_READ_SECONDS + LOOK_SECONDS:
            connection.give_up()

    def _make_room(self, newest: Connection) -> bool:
        """Close some that have waited longest for their clients; False if there are none."""
        waiting = [
            one
            for one in self._connections
            if one is not newest and one.waits_for is not Part.OURS and not one.kept_waiting
        ]
        waiting.sort(key=lambda one: one.since)
        closing = waiting[: max(1, int(self.room * CONNECTIONS_GIVE_WAY_SHARE))]
        for connection in closing:
            if connection.unread():
                connection.abort()
            else:
                connection.close()
        if closing:
            log.warning("connections_gave_way", count=len(closing), room=self.room)
        return bool(closing)


def _room() -> int:
    """Return how many connections this process may have."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MAX
    return max(1, min(CONNECTIONS_MAX, files - FILES_RESERVED))
