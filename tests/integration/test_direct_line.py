"""The line to a real server: dialled when it is needed, and again after it was lost."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ServerLost
from redis.exceptions import OutOfMemoryError

from engine.journal.connect import connect
from engine.journal.direct_line import line_of
from engine.journal.embedded import EmbeddedStore
from tests.proxy import Proxy

ECHO = b"*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n"
CLIENT_ID = b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n"


def echo(text: bytes) -> bytes:
    return ECHO % (len(text), text)


async def test_many_ask_over_one_connection_and_get_their_own_replies(redis: Redis):
    before = len(await redis.client_list())
    texts = [b"%d" % number for number in range(100)]
    line = line_of(redis)
    assert await asyncio.gather(*(line.ask(echo(text)) for text in texts)) == texts
    assert len(await redis.client_list()) == before + 1
    assert line_of(redis) is line


async def test_it_is_dialled_again_after_the_server_has_ended_it(redis: Redis):
    line = line_of(redis)
    first = await line.ask(CLIENT_ID)
    asking = asyncio.create_task(line.ask(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nx\r\n$1\r\n0\r\n"))
    await redis.client_kill_filter(_id=first)
    with pytest.raises(ServerLost):
        await asking
    assert await line.ask(CLIENT_ID) != first


async def test_who_leaves_does_not_leave_a_reply_to_the_next(redis: Redis, proxy: Proxy):
    async with connect(proxy.url) as client:
        line = line_of(client)
        order = proxy.hold_reply("ECHO")
        leaving = asyncio.create_task(line.ask(echo(b"old")))
        await order.reached()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        order.release()
        assert await line.ask(echo(b"new")) == b"new"


async def test_a_refusal_has_the_class_that_redis_py_gives_it(redis: Redis):
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            await line_of(redis).ask(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n")
    finally:
        await redis.config_set("maxmemory", 0)


async def test_a_server_that_is_away_is_dialled_again_each_time(own: EmbeddedStore):
    async with connect(own.url) as client:
        line = line_of(client)
        assert await line.ask(echo(b"a")) == b"a"
        own.stop()
        for _ in range(3):
            with pytest.raises((ServerLost, OSError)):
                await line.ask(echo(b"b"))
        own.start()
        assert await line.ask(echo(b"c")) == b"c"
