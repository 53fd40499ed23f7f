"""What a gateway needs for payments: the desk, the inbox, and what browsers may know."""

import asyncio
from collections import deque
from contextlib import suppress

import structlog

from actors.payments.contract import Payments
from engine.journal.contract import Unavailable
from engine.journal.keys import partition_of
from engine.journal.streams import Incoming, Streams
from engine.limits import (
    INBOX_ENOUGH,
    INBOX_PAUSE_SECONDS,
    INBOX_WAITING_MAX,
    INBOX_WRITE_MAX,
)
from gateway.problems import Problem

log = structlog.get_logger(__name__)


class InboxWriter:
    """Writes messages to the inbox: those that come close behind a write make the next one.

    A write is one round trip and one fsync however many messages it carries.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._waiting: deque[tuple[Incoming, asyncio.Future[bool]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()

    async def put(self, message: Incoming) -> None:
        """Return when the message is durable.

        Raises:
            Problem: `overloaded`, `store_unavailable`; the sender has to send it again.
        """
        if len(self._waiting) >= INBOX_WAITING_MAX:
            raise Problem("overloaded")
        written: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, written))
        if len(self._waiting) >= INBOX_ENOUGH:
            self._enough.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        if not await written:
            raise Problem("store_unavailable")

    async def _write(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), INBOX_WRITE_MAX)
            batch = [self._waiting.popleft() for _ in range(count)]
            kept = False
            try:
                await self._streams.put_many(
                    [(partition_of(message.event_id), message) for message, _ in batch]
                )
                kept = True
            except Unavailable as error:
                log.warning("store_unreachable", error=str(error))
            except Exception:
                # A mistake in here: whoever waits for the next write must not wait for ever.
                log.exception("inbox_not_written")
            finally:
                for _, written in batch:
                    if not written.done():
                        written.set_result(kept)
            if len(self._waiting) < INBOX_ENOUGH:
                self._enough.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), INBOX_PAUSE_SECONDS)


class Paying:
    """The parts of payment in one gateway.

    Args:
        webhook_secrets: of the webhook endpoint; two while they are rotated.
        publishable_key: Stripe's key for browsers.
    """

    def __init__(
        self,
        payments: Payments,
        streams: Streams,
        webhook_secrets: tuple[str, ...],
        publishable_key: str,
    ) -> None:
        self.payments = payments
        self.inbox = InboxWriter(streams)
        self.webhook_secrets = webhook_secrets
        self.publishable_key = publishable_key
