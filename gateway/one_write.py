"""Every answer in one write, and all answers of a round of the event loop together.

uvicorn hands head and body of an answer to the transport one after the other, and uvloop
sends each at once: two system calls and two wake-ups of the client for a few hundred
bytes. A batch answers hundreds of clients in one round: sent one after the other at its
end, none of them comes back with its next request before the others have their answer.
Measured on the hot route: 63 microseconds of the gateway a hold before, 55 after.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _Round:
    """The transports that have something to send at the end of this round."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: list[_Gathering] = []

    def add(self, gathering: "_Gathering") -> None:
        if not self._due:
            self.loop.call_soon(self._send)
        self._due.append(gathering)

    def _send(self) -> None:
        due, self._due = self._due, []
        for gathering in due:
            gathering.send()


class _Gathering:
    """A transport that sends what was written at the end of the event loop's round."""

    __slots__ = ("_closing", "_parts", "_round", "_transport")

    def __init__(self, transport: asyncio.Transport, this_round: _Round) -> None:
        self._transport = transport
        self._round = this_round
        self._parts: list[bytes] = []
        self._closing = False

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._round.add(self)
        self._parts.append(data)

    def send(self) -> None:
        parts, self._parts = self._parts, []
        if not self._transport.is_closing():
            self._transport.write(b"".join(parts))
        if self._closing:
            self._transport.close()

    def close(self) -> None:
        self._closing = True
        if not self._parts:
            self._transport.close()

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a transport that gathers."""

    _round: _Round | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection."""
        cls = type(self)
        if cls._round is None or cls._round.loop is not self.loop:
            cls._round = _Round(self.loop)
        super().connection_made(_Gathering(transport, cls._round))  # type: ignore[arg-type]
