"""Making a turn durable, through lost replies and outages of the store."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from engine.journal.contract import InDoubt, Journal, Unavailable
from engine.journal.entry import Entry, Position
from engine.limits import REDIS_RETRY_SECONDS_MAX, REDIS_RETRY_SECONDS_MIN

log = structlog.get_logger(__name__)

_Answer = TypeVar("_Answer")


class Backoff:
    """Pauses between attempts to reach the store, doubling up to a limit."""

    def __init__(self) -> None:
        self._seconds = REDIS_RETRY_SECONDS_MIN

    async def pause(self) -> None:
        """Wait before the next attempt."""
        await asyncio.sleep(self._seconds)
        self._seconds = min(2 * self._seconds, REDIS_RETRY_SECONDS_MAX)


async def insist(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Return what the store answers, however long it is away.

    Args:
        call: asks it, and may be repeated.
    """
    backoff = Backoff()
    while True:
        try:
            return await call()
        except Unavailable as error:
            log.warning("store_unreachable", error=str(error))
            await backoff.pause()


async def commit(journal: Journal, entry: Entry, after: Position) -> None:
    """Return when `entry` is durable behind `after`, however long that takes.

    A turn whose append was not answered is in doubt. The same entry is sent again: the
    journal takes it if it is absent, finds it by its position and nonce if it is there,
    and refuses it if another owner has taken over.

    Raises:
        Fenced: a newer owner has taken over. The caller must stop, its state is void.
        JournalLost: the journal ends before `after`.
    """
    backoff = Backoff()
    while True:
        try:
            await journal.append(entry, after)
        except InDoubt as doubt:
            log.warning(
                "append_in_doubt",
                event_id=journal.event_id,
                entry=str(entry.position),
                error=str(doubt),
            )
            await backoff.pause()
        else:
            return
