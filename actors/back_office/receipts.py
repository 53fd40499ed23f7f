"""Telling owners that the tickets of their bookings were handed over."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from engine.back_office_limits import POST_UNTOLD_MAX, POST_UNTOLD_SECONDS
from engine.store.contract import BackOffice, Message, StoreAway

log = structlog.get_logger(__name__)

#: Tells the owner of an event that the tickets of these bookings were handed over. Whatever
#: it raises, they are told again later.
Tell = Callable[[str, Sequence[str]], Awaitable[None]]


class Receipts:
    """Tells owners at once, and now and then what somebody died over.

    Telling them twice is the same as once.

    Args:
        store: knows which owners were told.
        tell: see `Tell`.
    """

    def __init__(self, store: BackOffice, tell: Tell) -> None:
        self._store = store
        self._tell = tell
        self._fresh: list[Message] = []
        self._changed = asyncio.Event()

    def put(self, handed_over: Sequence[Message]) -> None:
        """Have owners told of messages that brought tickets, and are noted as sent."""
        self._fresh += handed_over
        self._changed.set()

    async def work(self) -> None:
        """Work until cancelled, through outages of the database."""
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            messages, self._fresh = self._fresh, []
            self._changed.clear()
            try:
                if loop.time() >= look_at:
                    look_at = loop.time() + POST_UNTOLD_SECONDS
                    messages = await self._store.untold(POST_UNTOLD_MAX)
                await self._tell_owners(messages)
            except StoreAway as error:
                log.warning("back_office_unreachable", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._changed.wait()

    async def _tell_owners(self, messages: Sequence[Message]) -> None:
        by_event: dict[str, list[Message]] = {}
        for message in messages:
            by_event.setdefault(message.event_id, []).append(message)
        told = await asyncio.gather(*(self._tell_one(*item) for item in by_event.items()))
        ids = [message.message_id for of_event in told for message in of_event]
        if ids:
            await self._store.told(ids)

    async def _tell_one(self, event_id: str, messages: list[Message]) -> list[Message]:
        """Return the messages of which the owner knows now."""
        booking_ids = list(dict.fromkeys(message.booking_id for message in messages))
        try:
            await self._tell(event_id, booking_ids)
        except Exception as error:  # noqa: BLE001 - one event's trouble must not stop the others
            log.warning(
                "owner_not_told", event_id=event_id, bookings=len(booking_ids), error=repr(error)
            )
            return []
        return messages
