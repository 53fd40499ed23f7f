"""A crowd that asks by the clock does not wait for the server, and says what that costs."""

import asyncio
import time

from loadtests.crowd import Result, Spec, Template
from loadtests.crowd.callers import Crowd
from loadtests.crowd.spec import request_bytes
from tests.unit.loadtests.small_server import http, server


async def ask(port: int, connections: int, per_second: float, seconds: float, **more) -> Result:
    spec = Spec(
        "127.0.0.1",
        port,
        template=Template("POST", "/x", "{}", ["t"], True),
        connections=connections,
        per_second=per_second,
        seconds=seconds,
        **more,
    )
    return await asyncio.wait_for(Crowd(spec).run(lambda _: None), 20)


async def test_who_finds_no_connection_free_is_skipped():
    asked: list[bytes] = []
    enough = asyncio.Event()
    asyncio.get_running_loop().call_later(0.6, enough.set)

    async def answer(_: int, request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        await enough.wait()
        writer.write(http(201))

    async with server(answer) as port:
        result = await ask(port, connections=2, per_second=200, seconds=0.3)
    assert len(asked) == result.requests == 2
    assert result.skipped > 10
    assert result.unknown == 0


async def test_nobody_is_skipped_while_connections_are_free():
    async def answer(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(http(201))

    async with server(answer) as port:
        result = await ask(port, connections=100, per_second=100, seconds=0.3)
    assert result.skipped == 0
    # As many as the clock says, however quickly they are answered.
    assert 3 < result.requests <= 1 + 100 * result.elapsed_s


async def test_latency_counts_from_when_a_request_was_due():
    """A server that stands still delays also those who would have come meanwhile."""
    stood_still = False

    async def answer(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal stood_still
        if not stood_still:
            stood_still = True
            time.sleep(0.3)  # noqa: ASYNC251 - the crowd's own loop, too: nobody sends
        writer.write(http(201))

    async with server(answer) as port:
        result = await ask(port, connections=100, per_second=100, seconds=0.4)
    assert result.requests > 20
    # All but the first were sent afterwards, and were answered at once.
    assert result.latency_ms.p50 > 20
    assert result.latency_ms.p90 > 150


async def test_a_connection_that_breaks_is_made_again_and_used():
    async def answer(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if number == 2:
            writer.transport.abort()
        else:
            writer.write(http(201))

    async with server(answer) as port:
        result = await ask(port, connections=1, per_second=100, seconds=0.5)
    assert result.unknown == 1
    assert result.statuses["201"] > 3


async def test_grants_of_the_warm_up_are_told_and_not_measured():
    asked = 0

    async def answer(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(http(201))

    async with server(answer) as port:
        result = await ask(port, 20, per_second=100, seconds=0.3, warmup_seconds=0.3)
    assert result.warmup_statuses["201"] > 3
    assert result.granted == asked == result.statuses["201"] + result.warmup_statuses["201"]
    assert result.requests == result.statuses["201"]


async def test_refusals_are_no_part_of_the_latency_of_the_admitted():
    async def answer(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if number % 2:
            await asyncio.sleep(0.1)
            writer.write(http(503, b'{"code":"overloaded"}'))
        else:
            writer.write(http(201))

    async with server(answer) as port:
        result = await ask(port, connections=50, per_second=100, seconds=0.4)
    assert result.codes == {"overloaded": result.statuses["503"]}
    assert result.latency_ms.max >= 100
    assert result.granted_ms.p50 < result.latency_ms.max
    granted = result.statuses["201"]
    assert granted > 3
    assert result.granted_per_second < result.rate


def test_paths_take_turns():
    template = Template("POST", "/0", "{}", ["a", "b"], True, 5, more_paths=["/1", "/2"])
    found = [data.split(b"\r\n") for _, data in request_bytes(Spec("h", 80, template=template))]
    assert [lines[0] for lines in found] == [
        f"POST /{number % 3} HTTP/1.1".encode() for number in range(5)
    ]
    assert [lines[2] for lines in found] == [
        f"authorization: Bearer {'ab'[number % 2]}".encode() for number in range(5)
    ]
