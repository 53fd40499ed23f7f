"""The crowd counts what really happened, whatever the server does to it."""

import asyncio
import itertools
import json
import re

import pytest
import stripe

from loadtests.crowd import LoadFailed, Request, Result, Spec, Template, Webhooks, run_crowd
from loadtests.crowd.callers import Crowd
from loadtests.crowd.spec import request_bytes
from tests.unit.loadtests.small_server import http, server


async def ask(port: int, count: int = 20, connections: int = 4, **more) -> Result:
    template = Template("POST", "/x", '{"a":1}', ["t1", "t2"], True, count)
    spec = Spec("127.0.0.1", port, template=template, connections=connections, **more)
    return await asyncio.wait_for(Crowd(spec).run(lambda _: None), 20)


def test_every_token_has_its_turn_and_every_request_its_own_key():
    template = Template("POST", "/x", '{"a":1}', ["t1", "t2"], True, 4)
    found = list(request_bytes(Spec("h", 80, template=template)))
    assert len({key for key, _ in found}) == 4
    for number, (key, data) in enumerate(found):
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /x HTTP/1.1\r\nhost: h:80\r\n")
        assert f"authorization: Bearer t{number % 2 + 1}\r\n".encode() in head
        assert f"idempotency-key: {key}".encode() in head
        assert b"content-length: 7" in head
        assert body == b'{"a":1}'


def test_each_body_is_sent_once_by_everybody_in_turn():
    template = Template("POST", "/x", tokens=["t1", "t2"], bodies=["{}", "[]", "1"])
    found = list(request_bytes(Spec("h", 80, template=template)))
    assert [key for key, _ in found] == [None] * 3
    for number, (_, data) in enumerate(found):
        head, _, body = data.partition(b"\r\n\r\n")
        assert f"authorization: Bearer t{number % 2 + 1}\r\n".encode() in head
        assert body.decode() == template.bodies[number]
        assert b"content-length: %d" % len(body) in head


def test_requests_are_sent_word_for_word():
    request = Request("GET", "/y?z=1", {"X-Name": "value", "Idempotency-Key": "k"})
    found = list(request_bytes(Spec("h", 80, requests=[request])))
    assert found == [
        ("k", b"GET /y?z=1 HTTP/1.1\r\nhost: h:80\r\nx-name: value\r\nidempotency-key: k\r\n\r\n")
    ]


def test_webhooks_are_signed_and_each_is_another_event():
    events = ['{"id":"evt_a","data":{"object":"x"}}', '{"id":"evt_b","data":{"id":"evt_b"}}']
    webhooks = Webhooks("/stripe", "whsec_known", events)
    asked = request_bytes(Spec("h", 80, webhooks=webhooks))
    found = list(itertools.islice(asked, 4))
    assert len({event_id for event_id, _ in found}) == 4
    for number, (event_id, data) in enumerate(found):
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /stripe HTTP/1.1\r\nhost: h:80\r\n")
        assert b"content-length: %d" % len(body) in head
        sent = json.loads(events[number % 2])
        assert json.loads(body) == {**sent, "id": event_id}
        signature = re.search(rb"stripe-signature: (t=(\d+),v1=[0-9a-f]{64})\r\n", head)
        assert signature is not None
        # Stripe's own package is what says how it is done.
        stripe.WebhookSignature.verify_header(
            body.decode(), signature[1].decode(), "whsec_known", 10
        )


async def test_answers_are_counted_by_status_and_code():
    async def answer(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        refusal = http(409, b'{"type":"x","code":"sold_out","status":409}')
        writer.write(refusal if number % 4 == 3 else http(201))

    async with server(answer) as port:
        result = await ask(port, 20)
    assert result.requests == 20
    assert result.statuses == {"201": 15, "409": 5}
    assert result.codes == {"sold_out": 5}
    assert result.unknown == 0
    assert 0 < result.latency_ms.p50 <= result.latency_ms.p99 <= result.latency_ms.max


async def test_an_answer_may_come_in_pieces():
    async def answer(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in http(200, b'{"long":"enough"}', b"Content-Type: application/json\r\n"):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with server(answer) as port:
        assert (await ask(port, 3, connections=1)).statuses == {"200": 3}


async def test_a_request_whose_connection_breaks_is_unknown_and_not_repeated():
    seen: list[bytes] = []

    async def answer(number: int, request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        if number % 5 == 4:
            writer.write(http(201)[:20])
            writer.transport.abort()
        else:
            writer.write(http(201))

    async with server(answer) as port:
        result = await ask(port, 20)
    assert result.unknown == 4
    assert result.statuses == {"201": 16}
    assert len(set(seen)) == len(seen) == 20


async def test_a_server_that_takes_leave_loses_nothing():
    async def answer(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        leaves = number % 3 == 2
        writer.write(http(201, extra=b"connection: close\r\n" if leaves else b""))
        if leaves:
            writer.close()

    async with server(answer) as port:
        result = await ask(port, 21)
    assert result.statuses == {"201": 21}
    assert result.unknown == 0


async def test_an_answer_that_does_not_come_is_unknown():
    async def answer(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        if number:
            writer.write(http(201))

    async with server(answer) as port:
        result = await ask(port, 10, answer_seconds=0.5)
    assert result.unknown == 1
    assert result.statuses == {"201": 9}


async def test_time_ends_a_crowd_without_count_and_warmup_is_not_counted():
    asked = 0

    async def answer(_: int, __: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        writer.write(http(200))

    async with server(answer) as port:
        spec = Spec(
            "127.0.0.1",
            port,
            template=Template("GET", "/"),
            connections=3,
            seconds=0.4,
            warmup_seconds=0.4,
        )
        result = await asyncio.wait_for(Crowd(spec).run(lambda _: None), 10)
    assert 0.3 < result.elapsed_s < 0.8
    assert 0 < result.requests < asked


def test_a_crowd_in_a_process_of_its_own_records_what_it_did(tmp_path):
    record = tmp_path / "record.jsonl"
    told: list[int] = []

    async def answer(number: int, _: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(http(409, b'{"code":"not_enough"}') if number else http(201, b'{"id":"b"}'))

    async def run() -> Result:
        async with server(answer) as port:
            template = Template("POST", "/x", "{}", ["t"], True, 3)
            spec = Spec("127.0.0.1", port, template=template, connections=1, record=str(record))
            return await asyncio.to_thread(run_crowd, spec, told.append)

    result = asyncio.run(run())
    assert result.statuses == {"201": 1, "409": 2}
    assert told[-1] == 3
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert [line["number"] for line in lines] == [0, 1, 2]
    assert [line["status"] for line in lines] == [201, 409, 409]
    assert lines[0]["body"] == '{"id":"b"}'
    assert len({line["key"] for line in lines}) == 3
    assert all(line["invoked_ns"] < line["returned_ns"] for line in lines)
    assert lines[0]["returned_ns"] <= lines[1]["invoked_ns"]


def test_nobody_there_is_an_error():
    spec = {"host": "127.0.0.1", "port": 9, "requests": [], "patience_seconds": 0.1}
    with pytest.raises(LoadFailed, match="cannot connect"):
        run_crowd(spec)


def test_a_spec_that_is_not_understood_is_an_error():
    with pytest.raises(LoadFailed, match="unknown field"):
        run_crowd({"host": "127.0.0.1", "port": 9, "speed": 1})
