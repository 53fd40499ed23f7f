"""Short messages: what a webhook behind Apprise gets, and what one that is silent keeps."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from email.headerregistry import Address
from pathlib import Path

import pytest

from actors.back_office import push as module
from actors.back_office.channels import ChannelAway, Outgoing, TryLater
from actors.back_office.mailbox import FileChannel
from actors.back_office.postman import Postman
from actors.back_office.push import AppriseChannel
from engine.back_office_limits import PUSH_AT_ONCE_MAX
from engine.letters.render import Letter
from engine.store.contract import EMAIL, PUSH
from tests.back_office import read_mails
from tests.unit.actors.back_office.fake_books import FakeBooks, FakePapers
from tests.virtual_time import now_ms

#: One of the many libraries behind Apprise has not kept up with Python.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

OUTGOING = Outgoing(
    "k", "bk_1", "ann@example.org", Letter("Tickets", "Confirmed.", "long", "<p>"), (), 0
)


class Service:
    """An HTTP server that notes what is posted to it, and answers with a status, or never."""

    def __init__(self, status: int | None = 200) -> None:
        self.status = status
        self.bodies: list[str] = []
        self._open: list[asyncio.StreamWriter] = []

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"json://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def _serve(self, reader, writer) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        self.bodies.append((await reader.readexactly(length)).decode())
        if self.status is None:
            self._open.append(writer)
            return
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async def stop(self) -> None:
        for writer in self._open:
            writer.close()
        self._server.close()
        await self._server.wait_closed()


Start = Callable[..., Awaitable[tuple[Service, str]]]


@pytest.fixture
async def services() -> AsyncIterator[Start]:
    started: list[Service] = []

    async def start(status: int | None = 200) -> tuple[Service, str]:
        service = Service(status)
        started.append(service)
        return service, await service.start()

    yield start
    for service in started:
        await service.stop()


async def test_a_webhook_gets_the_short_form_and_no_address(services) -> None:
    service, url = await services()
    assert await AppriseChannel([url]).send(OUTGOING) == "json-1"
    (body,) = service.bodies
    assert json.loads(body)["title"] == "Tickets"
    assert json.loads(body)["message"] == "Confirmed. (bk_1)"
    assert "@" not in body


async def test_the_next_service_is_asked_and_when_none_takes_it_it_is_tried_later(services) -> None:
    _, first = await services(500)
    working, second = await services()
    assert await AppriseChannel([first, second]).send(OUTGOING) == "json-2"
    with pytest.raises(TryLater) as caught:
        await AppriseChannel([first]).send(OUTGOING)
    assert not isinstance(caught.value, ChannelAway)
    assert len(working.bodies) == 1


async def test_a_service_that_does_not_answer_is_left_alone_for_a_while(
    services, monkeypatch
) -> None:
    monkeypatch.setattr(module, "PUSH_TIMEOUT_SECONDS", 0.3)
    silent, url = await services(None)
    channel = AppriseChannel([url])
    letters = [channel.send(OUTGOING) for _ in range(3 * PUSH_AT_ONCE_MAX)]
    ends = await asyncio.gather(*letters, return_exceptions=True)
    away = [end for end in ends if isinstance(end, ChannelAway)]
    # What it was handed counts as tried: it may have taken it.
    assert {type(end) for end in ends if end not in away} == {TryLater}
    assert len(ends) - len(away) == PUSH_AT_ONCE_MAX
    assert all(0 < end.seconds <= module.PUSH_AWAY_SECONDS for end in away)
    assert len(silent.bodies) <= PUSH_AT_ONCE_MAX, "the others need not try"
    with pytest.raises(ChannelAway):
        await channel.send(OUTGOING)
    assert len(silent.bodies) <= PUSH_AT_ONCE_MAX
    await channel.close()


async def test_another_service_stands_in_for_one_that_does_not_answer(
    services, monkeypatch
) -> None:
    monkeypatch.setattr(module, "PUSH_TIMEOUT_SECONDS", 1.5)
    monkeypatch.setattr(module, "PUSH_AWAY_SECONDS", 3.0)
    silent, first = await services(None)
    working, second = await services()
    channel = AppriseChannel([first, second])
    for _ in range(3):
        assert await channel.send(OUTGOING) == "json-2"
    assert (len(silent.bodies), len(working.bodies)) == (1, 3)
    silent.status = 200
    await asyncio.sleep(3.1)
    assert await channel.send(OUTGOING) == "json-1"
    await channel.close()


async def test_a_service_that_never_answers_holds_up_no_mail(services, tmp_path: Path) -> None:
    silent, url = await services(None)
    books = FakeBooks()
    for number in range(200):
        books.put(number, channel=PUSH)
    for number in range(200):
        books.put(number)
    mail = FileChannel(tmp_path, Address("Tickets", addr_spec="tickets@example.org"))
    push = AppriseChannel([url])

    async def tell(event_id: str, booking_ids) -> None: ...

    async def ask(booking_id: str) -> None: ...

    channels = {PUSH: push, EMAIL: mail}
    postman = Postman(books, channels, FakePapers(), tell, ask, "p1", now_ms=now_ms)
    began = time.monotonic()
    working = asyncio.create_task(postman.work())
    try:
        while books.statuses().count("SENT") < 200:
            assert time.monotonic() - began < 8.0, "mails wait for short messages"
            await asyncio.sleep(0.05)
        assert len(read_mails(tmp_path)) == 200
        assert silent.bodies
        assert time.monotonic() - began < module.PUSH_TIMEOUT_SECONDS
    finally:
        working.cancel()
        await asyncio.wait([working])
        await push.close()
