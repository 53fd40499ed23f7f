"""What goes over one connection, by the bytes: replies in order, or none."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import ConnectionError as ServerLost
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as NoReply

from engine.journal.direct_line import _Talk

#: Longer than anything here takes; where a reply is awaited that never comes, SHORT.
_SECONDS, _SHORT_SECONDS = 30.0, 0.05


class RedisPy(asyncio.Protocol):
    """What redis-py has on a connection before it is taken over."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()

    def connection_lost(self, _error: Exception | None) -> None:
        self.lost.set()


class Line:
    """A talk, the other end of its connection, and who had it before."""

    def __init__(self, talk: _Talk, server: socket.socket, before: RedisPy) -> None:
        self.talk = talk
        self.server = server
        self.before = before

    async def asked(self, *commands: bytes) -> "list[asyncio.Task[object]]":
        """Ask, and return once the server has got it all."""
        asking = [asyncio.create_task(self.talk.ask(command)) for command in commands]
        got = b""
        while len(got) < len(b"".join(commands)):
            got += await asyncio.get_running_loop().sock_recv(self.server, 1_000)
        assert got == b"".join(commands)
        return asking


@pytest.fixture
async def line(request: pytest.FixtureRequest) -> AsyncIterator[Line]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    transport, before = await asyncio.get_running_loop().create_connection(RedisPy, sock=ours)
    with theirs:
        yield Line(_Talk(transport, getattr(request, "param", _SECONDS)), theirs, before)
        transport.abort()
        await before.lost.wait()


async def test_replies_go_to_who_asked_in_the_order_of_asking(line: Line):
    first, second = await line.asked(b"a", b"b")
    line.server.send(b"$1\r\nA\r\n$")
    assert await first == b"A"
    assert not second.done()
    line.server.send(b"1\r\nB\r\n")
    assert await second == b"B"


async def test_a_refusal_is_a_reply(line: Line):
    first, second = await line.asked(b"a", b"b")
    line.server.send(b"-NOSCRIPT no such script\r\n+OK\r\n")
    assert isinstance(await first, NoScriptError)
    assert await second == b"OK"
    assert not line.talk.over


async def test_what_the_server_says_by_itself_is_no_reply(line: Line):
    (asking,) = await line.asked(b"a")
    line.server.send(b">2\r\n+invalidate\r\n*1\r\n+key\r\n+OK\r\n")
    assert await asking == b"OK"


@pytest.mark.parametrize("line", [_SHORT_SECONDS], indirect=True)
async def test_a_reply_that_is_late_ends_the_talk_for_everybody(line: Line):
    for asking in await line.asked(b"a", b"b"):
        with pytest.raises(NoReply, match=f"no reply in {_SHORT_SECONDS} s"):
            await asking
    assert line.talk.over
    await line.before.lost.wait()


@pytest.mark.parametrize("line", [_SHORT_SECONDS], indirect=True)
async def test_while_no_reply_is_waited_for_the_line_may_be_silent(line: Line):
    (asking,) = await line.asked(b"a")
    line.server.send(b"+A\r\n")
    assert await asking == b"A"
    await asyncio.sleep(3 * _SHORT_SECONDS)
    assert not line.talk.over


@pytest.mark.parametrize("line", [_SHORT_SECONDS], indirect=True)
async def test_the_second_reply_is_waited_for_no_longer_than_the_first(line: Line):
    first, second = await line.asked(b"a", b"b")
    line.server.send(b"+A\r\n")
    assert await first == b"A"
    with pytest.raises(NoReply):
        await asyncio.wait_for(second, _SECONDS)


async def test_who_leaves_ends_the_talk_so_that_nobody_gets_the_reply_to_it(line: Line):
    leaving, staying = await line.asked(b"a", b"b")
    leaving.cancel()
    line.server.send(b"+A\r\n+B\r\n")
    with pytest.raises(asyncio.CancelledError):
        await leaving
    with pytest.raises(ServerLost, match="has left"):
        await staying
    assert line.talk.over


async def test_the_end_of_the_connection_is_told_to_everybody(line: Line):
    (asking,) = await line.asked(b"a")
    line.server.close()
    with pytest.raises(ServerLost, match="has ended"):
        await asking
    assert line.talk.over
    await line.before.lost.wait()


@pytest.mark.parametrize("said", [b"+OK\r\n", b"what?\r\n"], ids=["unasked", "garbage"])
async def test_what_cannot_be_a_reply_ends_the_talk(line: Line, said: bytes):
    line.server.send(said)
    await line.before.lost.wait()
    assert line.talk.over
