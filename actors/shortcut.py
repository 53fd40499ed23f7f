"""The shortcut between two processes of one machine: calls over a socket.

A Ray call costs each side a quarter to a whole millisecond of CPU, whatever it carries. On
one machine the same bytes go over a Unix socket for a tenth of that. Everything else stays
Ray's: it starts owners, says where they are, starts them again, and carries every call from
another machine.

The socket has no file that a killed process could leave behind (Linux: an abstract name), and
each end makes sure that the other one is a process of the same user. A message is its length,
the number of its call, which its answer repeats, and the bytes.
"""

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import structlog

from engine.limits import SHORTCUT_MESSAGE_BYTES_MAX, SHORTCUT_SILENCE_SECONDS

log = structlog.get_logger(__name__)

_HEAD = struct.Struct(">II")
_CREDENTIALS = struct.Struct("3i")


class WrongPeer(ConnectionError):
    """The other end is of another user, or sends what cannot be a message. Argument: which."""


class _Messages:
    """Puts messages together from what arrives."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield number and bytes of each message that is complete now.

        Raises:
            WrongPeer: a message is longer than any of ours.
        """
        rest = self._rest
        rest += data
        start = 0
        while len(rest) - start >= _HEAD.size:
            length, number = _HEAD.unpack_from(rest, start)
            if length > SHORTCUT_MESSAGE_BYTES_MAX:
                raise WrongPeer(f"a message of {length} bytes")
            end = start + _HEAD.size + length
            if len(rest) < end:
                break
            yield number, bytes(memoryview(rest)[start + _HEAD.size : end])
            start = end
        del rest[:start]


class _End(asyncio.Protocol):
    """What both ends do.

    Args:
        received: takes the number and the bytes of each message.
    """

    def __init__(self, received: Callable[[int, bytes], None]) -> None:
        self._received = received
        self._messages = _Messages()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take nothing from anybody else's process."""
        # uvloop's transports are of no class of asyncio's.
        both_ways = cast("asyncio.Transport", transport)
        try:
            _check_user(both_ways)
        except WrongPeer as error:
            log.error("shortcut_refused", error=str(error))
            both_ways.abort()
        else:
            self._transport = both_ways

    def data_received(self, data: bytes) -> None:
        """Take what is complete."""
        if self._transport is None:
            return  # refused
        try:
            for number, message in self._messages.take(data):
                self._received(number, message)
        except WrongPeer as error:
            log.error("shortcut_refused", error=str(error))
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Send nothing any more."""
        self._transport = None

    def _send(self, number: int, message: bytes) -> None:
        if self._transport is not None:
            self._transport.write(_HEAD.pack(len(message), number) + message)


#: Takes a message, and what is to be called with the reply to it.
Answer = Callable[[bytes, Callable[[bytes], None]], None]


class Reception:
    """The end that answers: an owner.

    Args:
        answer: sees to it that a message is replied to; whatever it raises ends the connection,
            so that nobody waits for what will not come.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Task[asyncio.Server] | None = None
        self._address = f"\0onsale-{os.getpid()}-{secrets.token_hex(8)}"

    async def address(self) -> str | None:
        """Take connections from now on, and return where; None where that does not work."""
        if self._server is None:
            self._server = asyncio.create_task(self._open())
        try:
            await asyncio.shield(self._server)
        except OSError as error:
            log.warning("no_shortcut", error=str(error))
            return None
        return self._address

    async def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            (await self._server).close()

    async def _open(self) -> asyncio.Server:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self._address)
        return await asyncio.get_running_loop().create_unix_server(
            lambda: _Answering(self._answer), sock=listening
        )


class _Answering(_End):
    """A connection to somebody who asks."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(self._asked)
        self._answer = answer

    def _asked(self, number: int, message: bytes) -> None:
        try:
            self._answer(message, partial(self._send, number))
        except Exception:
            log.exception("shortcut_call_failed")
            if self._transport is not None:
                self._transport.abort()


class Shortcut(_End):
    """The end that asks: one connection, any number of calls under way.

    Args:
        on_silence: called every SHORTCUT_SILENCE_SECONDS in which calls were under way and
            none was answered. Whoever is there may be frozen, and another one in its place.
        on_end: called once the connection has ended.
    """

    def __init__(
        self, on_silence: Callable[["Shortcut"], None], on_end: Callable[["Shortcut"], None]
    ) -> None:
        super().__init__(self._told)
        self._on_silence = on_silence
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._calls: dict[int, asyncio.Future[bytes]] = {}
        self._heard = False
        self._listening: asyncio.TimerHandle | None = None

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._transport is None

    async def call(self, message: bytes) -> bytes:
        """Return the reply to a message.

        Raises:
            ConnectionError: none will come. It may or may not have been acted on.
        """
        if self._transport is None:
            raise ConnectionResetError("the shortcut has ended")
        self._number = number = (self._number + 1) & 0xFFFFFFFF
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._calls[number] = reply
        self._send(number, message)
        if self._listening is None:
            self._heard = True
            self._listen()
        return await reply

    def end(self) -> None:
        """Give all calls under way up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Let nobody wait for a reply that will not come."""
        super().connection_lost(error)
        if self._listening is not None:
            self._listening.cancel()
        for reply in self._calls.values():
            if not reply.done():
                reply.set_exception(ConnectionResetError("the shortcut has ended"))
        self._calls.clear()
        self._on_end(self)

    def _told(self, number: int, message: bytes) -> None:
        self._heard = True
        reply = self._calls.pop(number, None)
        if reply is not None and not reply.done():
            reply.set_result(message)

    def _listen(self) -> None:
        self._listening = None
        if not self._calls:
            return
        if not self._heard:
            self._on_silence(self)
        self._heard = False
        self._listening = self._loop.call_later(SHORTCUT_SILENCE_SECONDS, self._listen)


async def connect_shortcut(
    address: str,
    on_silence: Callable[[Shortcut], None],
    on_end: Callable[[Shortcut], None],
) -> Shortcut:
    """Connect to a reception of this machine.

    Raises:
        ConnectionError: nobody is there, or somebody of another user.
    """
    connected = socket.socket(socket.AF_UNIX)
    try:
        # At once or not at all, on a machine's own sockets; uvloop takes no abstract names.
        connected.setblocking(False)
        connected.connect(address)
    except OSError as error:
        connected.close()
        raise ConnectionRefusedError(f"{address!r}: {error}") from error
    _, shortcut = await asyncio.get_running_loop().create_unix_connection(
        lambda: Shortcut(on_silence, on_end), sock=connected
    )
    if shortcut.lost:
        raise WrongPeer("another user's process is there")
    return shortcut


def _check_user(transport: asyncio.Transport) -> None:
    """Raise WrongPeer unless the process at the other end is of the same user."""
    other: socket.socket = transport.get_extra_info("socket")
    raw = other.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    if user != os.geteuid():
        raise WrongPeer(f"a process of user {user}")
