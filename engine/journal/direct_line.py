"""A line to the store for what is asked at every turn.

redis-py leads a command through its pool, locks, streams, time limits and metrics. That was a
fifth of the CPU that a turn of 26 holds costs its owner, and the next decision is found in
colder caches after it. Here redis-py dials, says who calls and chooses the database; from then
on what arrives comes to a protocol of ours.
"""

import asyncio
from collections import deque
from typing import cast
from weakref import WeakKeyDictionary

import hiredis
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as ServerLost
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as NoReply

from engine.alarm import Alarm

_lines: WeakKeyDictionary[Redis, "DirectLine"] = WeakKeyDictionary()


def line_of(client: Redis) -> "DirectLine":
    """Return a client's line: it has one, however many journals it is used for."""
    return _lines.setdefault(client, DirectLine(client.connection_pool))


class DirectLine:
    """One connection of a pool, dialled when it is needed, and again after it was lost.

    The pool ends it like every other one.

    Args:
        pool: whose connection is used, with its limit on the time in which nothing comes.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._dialling = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._talk: _Talk | None = None

    async def ask(self, command: bytes) -> object:
        """Send a packed command once and return the reply.

        Raises:
            RedisError, OSError: the server's refusal, or that no reply will come: then it may
                or may not have been carried out.
        """
        talk = self._talk
        if talk is None or talk.over:
            talk = await self._dial()
        answer = await talk.ask(command)
        if isinstance(answer, RedisError):
            raise answer
        return answer

    async def _dial(self) -> "_Talk":
        async with self._dialling:
            if self._talk is not None and not self._talk.over:
                return self._talk  # somebody else has dialled meanwhile
            if self._connection is None:
                self._connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            else:
                await self._connection.disconnect(nowait=True)
                await self._connection.connect()  # type: ignore[no-untyped-call]
            seconds = self._connection.socket_timeout
            writer = self._connection._writer  # noqa: SLF001 - redis-py names it nowhere else
            assert writer is not None, "redis-py has connected without a connection"
            assert seconds is not None, "a client that would wait for ever"
            self._talk = _Talk(cast("asyncio.Transport", writer.transport), seconds)
            return self._talk


class _Talk(asyncio.Protocol):
    """What goes over one connection.

    Replies come in the order of what was asked. One that is missing or not waited for ends
    the talk, so that none is ever taken for another one.

    Args:
        transport: connected, and silent. Whose it was is told when it ends.
        seconds: for how long nothing may come while a reply is waited for.
    """

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self.over = False
        self._seconds = seconds
        self._transport = transport
        self._before = transport.get_protocol()
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=DefaultParser.parse_error
        )
        self._waiting: deque[asyncio.Future[object]] = deque()
        self._loop = asyncio.get_running_loop()
        self._silence = Alarm(self._give_up)
        transport.set_protocol(self)

    async def ask(self, command: bytes) -> object:
        """Send a command and return its reply, or the server's refusal.

        Raises:
            RedisError: no reply will come.
        """
        reply: asyncio.Future[object] = self._loop.create_future()
        self._waiting.append(reply)
        self._transport.write(command)
        if len(self._waiting) == 1:
            self._silence.set(self._seconds)
        try:
            return await reply
        except asyncio.CancelledError:
            self._end(ServerLost("somebody who had asked before has left"))
            raise

    def data_received(self, data: bytes) -> None:
        """Hand out the replies that are complete."""
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                if isinstance(answer, hiredis.PushNotification):
                    continue
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
            if self._waiting:
                self._silence.set(self._seconds)
            else:
                self._silence.off()
        except (InvalidResponse, IndexError) as error:
            self._end(ServerLost(f"the server answers what nobody has asked: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        """Let nobody wait for what will not come; redis-py waits for the end as well."""
        self._end(ServerLost(f"the connection has ended: {error or 'closed'}"))
        self._before.connection_lost(error)

    def _give_up(self) -> None:
        self._end(NoReply(f"no reply in {self._seconds} s"))

    def _end(self, error: RedisError) -> None:
        self.over = True
        self._silence.off()
        self._transport.abort()
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(error)
