"""Where webhooks arrive in tests: checks each signature, keeps each event, answers as told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stripe import Event, Webhook

from tests.stripe_sandbox import WEBHOOK_SECRET


class WebhookInbox:
    """Events in the order of their arrival; every attempt counts.

    Attributes:
        url: of the endpoint.
        events: what arrived, repetitions included.
        status: what every attempt is answered with from now on.
    """

    def __init__(self) -> None:
        self.url = ""
        self.secret = WEBHOOK_SECRET
        self.events: list[Event] = []
        self.status = 200
        self._arrived = asyncio.Condition()
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    def types(self) -> list[str]:
        """Return the types of all that arrived."""
        return [event.type for event in self.events]

    def attempts(self) -> Counter[str]:
        """Return how often each event arrived, by its id."""
        return Counter(event.id for event in self.events)

    async def wait(self, count: int, seconds: float = 5.0) -> list[Event]:
        """Wait until so many have arrived, and return all of them.

        Raises:
            TimeoutError: fewer came in this time.
        """
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.events) >= count)
        return self.events

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take what comes over one connection."""
        self._open[writer] = asyncio.current_task()
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lines = (line.partition(": ") for line in head.split("\r\n")[1:])
                headers = {name.lower(): value for name, _, value in lines}
                body = await reader.readexactly(int(headers["content-length"]))
                signature = headers["stripe-signature"]
                self.events.append(Webhook.construct_event(body, signature, self.secret))
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\n{}" % self.status)
                async with self._arrived:
                    self._arrived.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            del self._open[writer]

    async def close(self) -> None:
        """Close every connection, and wait until they are."""
        for writer in self._open:
            writer.close()
        await asyncio.gather(*(task for task in self._open.values() if task is not None))


@asynccontextmanager
async def webhook_inbox() -> AsyncIterator[WebhookInbox]:
    """Run an inbox; the sandbox takes its `url` as `webhook_url`."""
    inbox = WebhookInbox()
    server = await asyncio.start_server(inbox.serve, "127.0.0.1", 0)
    async with server:
        inbox.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/stripe/events"
        yield inbox
        await inbox.close()
