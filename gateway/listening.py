"""Taking new connections, also while there is more to do than can be done.

libuv takes one connection in each round of the event loop. Under load a round is long, so
that newcomers, and the operator's probes among them, would wait for seconds.
"""

import asyncio
import socket
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

#: Connections taken in one round: those there are must be served too, and other gateways
#: on the same socket get their share.
_ROUND_MAX = 16
#: Pause where the process has no file left for a connection, seconds.
_PAUSE_SECONDS = 0.5


class Listening:
    """Takes connections from a listening socket until it is ended.

    Args:
        make_protocol: called for every connection.
    """

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener = listener
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[object]] = set()
        self._resumption: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._resume()

    def end(self) -> None:
        """Take those who have come already, and no more: the kernel refuses them then."""
        while self._take_one():
            pass
        if self._resumption is not None:
            self._resumption.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _resume(self) -> None:
        self._loop.add_reader(self._listener, self._take)

    def _take(self) -> None:
        for _ in range(_ROUND_MAX):
            if not self._take_one():
                return

    def _take_one(self) -> bool:
        """Take a connection; False if there is none, or no file for it."""
        try:
            connection, _address = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            log.warning("connections_not_taken", error=str(error))
            self._loop.remove_reader(self._listener)
            self._resumption = self._loop.call_later(_PAUSE_SECONDS, self._resume)
            return False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = self._loop.create_task(self._open(connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError:
            connection.close()  # the client has left already
