"""A proxy before Valkey or Redis that loses, holds and refuses on demand.

It reads what the client sends command by command, so that a test can say which one is hit:

    async with Proxy(store) as proxy:
        client = connect(proxy.url)
        proxy.cut_reply("EVALSHA")

Each order is carried out once, at the next command of that name whose bytes contain what the
order is about; orders for the same command queue up.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from engine.journal.embedded import EmbeddedStore

_CHUNK_BYTES = 65_536
#: A test waits this long for a command that does not come, seconds.
_PATIENCE_SECONDS = 10.0


class _Wish(Enum):
    CUT_REPLY = auto()
    DROP_REQUEST = auto()
    HOLD_REQUEST = auto()
    HOLD_REPLY = auto()


class Order:
    """What becomes of one command, and how far it has come."""

    def __init__(self, wish: _Wish, about: str) -> None:
        self.wish = wish
        self.about = about.encode()
        self.has_reached = asyncio.Event()
        self.is_answered = asyncio.Event()
        self._released = asyncio.Event()

    async def reached(self) -> None:
        """Wait until the command, or its reply, has arrived here and goes no further."""
        await asyncio.wait_for(self.has_reached.wait(), _PATIENCE_SECONDS)

    async def answered(self) -> None:
        """Wait until the server has carried the command out."""
        await asyncio.wait_for(self.is_answered.wait(), _PATIENCE_SECONDS)

    def release(self) -> None:
        """Let what is held pass. It passes even if the client has long gone."""
        self._released.set()

    async def hold(self) -> None:
        self.has_reached.set()
        await self._released.wait()


class Proxy:
    """Listens on a loopback port and passes commands on to the store's socket.

    `seen` counts the commands that clients have sent, by name, whatever became of them.
    `latency_seconds` is added before every reply. While it is `mute`, the server carries out
    what it is asked and nobody hears of it.
    """

    def __init__(self, store: EmbeddedStore) -> None:
        self.seen: Counter[str] = Counter()
        self.latency_seconds = 0.0
        self.mute = False
        self._upstream = Path(unquote(urlsplit(store.url).path))
        self._orders: dict[str, list[Order]] = defaultdict(list)
        self._links: set[asyncio.Task[None]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._refusing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        await self.refuse()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut_reply(self, command: str, about: str = "") -> Order:
        """Pass the command on, wait until it is carried out, then cut the connection."""
        return self._order(command, _Wish.CUT_REPLY, about)

    def drop_request(self, command: str, about: str = "") -> Order:
        """Cut the connection instead of passing the command on."""
        return self._order(command, _Wish.DROP_REQUEST, about)

    def hold_request(self, command: str, about: str = "") -> Order:
        """Keep the command back until it is released."""
        return self._order(command, _Wish.HOLD_REQUEST, about)

    def hold_reply(self, command: str, about: str = "") -> Order:
        """Pass the command on and keep its reply back until it is released."""
        return self._order(command, _Wish.HOLD_REPLY, about)

    async def refuse(self) -> None:
        """Cut every connection and take no new one, until `accept`."""
        self._refusing = True
        await self._cut_all()

    def accept(self) -> None:
        self._refusing = False

    def _order(self, command: str, wish: _Wish, about: str) -> Order:
        order = Order(wish, about)
        self._orders[command].append(order)
        return order

    def _order_for(self, command: str, raw: bytes) -> Order | None:
        """Take the first order that this command is meant by."""
        orders = self._orders[command]
        order = next((order for order in orders if order.about in raw), None)
        if order is not None:
            orders.remove(order)
        return order

    async def _cut_all(self) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._links)

    def _take(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        link = asyncio.create_task(self._link(client, to_client))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _link(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Serve one connection until either side, or an order, ends it."""
        async with AsyncExitStack() as ending:
            ending.push_async_callback(_abort, to_client)
            try:
                server, to_server = await asyncio.open_unix_connection(self._upstream)
            except OSError:
                return  # the server is away, and so is the proxy
            ending.push_async_callback(_abort, to_server)
            if self._refusing:
                return
            asked: deque[Order] = deque()
            pumps = {
                asyncio.create_task(self._requests(client, to_server, asked)),
                asyncio.create_task(self._replies(server, to_client, asked)),
            }
            self._pumps |= pumps
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            for end in await asyncio.gather(*pumps, return_exceptions=True):
                assert end is None or isinstance(end, OSError | asyncio.CancelledError), end
            self._pumps -= pumps

    async def _requests(
        self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter, asked: deque[Order]
    ) -> None:
        async for name, raw in _commands(client):
            self.seen[name] += 1
            order = self._order_for(name, raw)
            if order is not None and order.wish is _Wish.DROP_REQUEST:
                order.has_reached.set()
                return
            if order is not None and order.wish is _Wish.HOLD_REQUEST:
                await order.hold()
            if order is not None:
                asked.append(order)
            to_server.write(raw)
            await to_server.drain()
            if order is not None:
                await order.is_answered.wait()

    async def _replies(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter, asked: deque[Order]
    ) -> None:
        while data := await server.read(_CHUNK_BYTES):
            if asked:
                order = asked.popleft()
                if order.wish is _Wish.CUT_REPLY:
                    order.has_reached.set()
                    order.is_answered.set()
                    return
                if order.wish is _Wish.HOLD_REPLY:
                    await order.hold()
                order.is_answered.set()
            if self.latency_seconds:
                await asyncio.sleep(self.latency_seconds)
            if self.mute:
                continue
            with suppress(OSError):  # the client has lost patience; the command stands
                to_client.write(data)
                await to_client.drain()


async def _commands(client: asyncio.StreamReader) -> AsyncIterator[tuple[str, bytes]]:
    """Yield what the client sends: the command's name in capitals, and its bytes."""
    with suppress(asyncio.IncompleteReadError, OSError):
        while True:
            raw = [await client.readuntil(b"\r\n")]
            assert raw[0][:1] == b"*", f"not a command: {raw[0]!r}"
            for _ in range(int(raw[0][1:])):
                header = await client.readuntil(b"\r\n")
                raw += [header, await client.readexactly(int(header[1:]) + 2)]
            yield raw[2].strip().decode().upper(), b"".join(raw)


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
