"""Short messages: what a webhook behind Apprise gets."""

import asyncio
import json

import pytest

from actors.back_office.channels import Outgoing, TryLater
from actors.back_office.push import AppriseChannel
from engine.letters.render import Letter

#: One of the many libraries behind Apprise has not kept up with Python.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

OUTGOING = Outgoing(
    "k", "bk_1", "ann@example.org", Letter("Tickets", "Confirmed.", "long", "<p>"), (), 0
)


class Service:
    """An HTTP server that notes what is posted to it, and answers with a status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.bodies: list[str] = []

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"json://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def _serve(self, reader, writer) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        self.bodies.append((await reader.readexactly(length)).decode())
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()


async def test_a_webhook_gets_the_short_form_and_no_address() -> None:
    service = Service()
    channel = AppriseChannel([await service.start()])
    try:
        assert await channel.send(OUTGOING) == "json-1"
    finally:
        await service.stop()
    (body,) = service.bodies
    assert json.loads(body)["title"] == "Tickets"
    assert json.loads(body)["message"] == "Confirmed. (bk_1)"
    assert "@" not in body


async def test_the_next_service_is_asked_and_when_none_takes_it_it_is_tried_later() -> None:
    broken, working = Service(500), Service()
    first, second = await broken.start(), await working.start()
    try:
        assert await AppriseChannel([first, second]).send(OUTGOING) == "json-2"
        with pytest.raises(TryLater):
            await AppriseChannel([first]).send(OUTGOING)
    finally:
        await broken.stop()
        await working.stop()
    assert len(working.bodies) == 1
