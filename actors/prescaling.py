"""Machines for a sale before it opens: Ray's autoscaler is asked for cores in time.

Owners ask Ray for no resources, so that its autoscaler sees no demand in a crowd. For scheduled
openings an operator says how many cores are to be there; the autoscaler starts what is missing,
and may take it away when the sale is no longer new.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from engine.journal.contract import Unavailable
from engine.limits import PRESCALE_AFTER_SECONDS, PRESCALE_BEFORE_SECONDS, PRESCALE_LOOK_SECONDS

log = structlog.get_logger(__name__)


class Openings(Protocol):
    """The part of the catalogue that tells when sales open."""

    async def opening(self, from_ms: int, until_ms: int) -> list[str]:
        """Return events whose sale opens in this time. Raises Unavailable."""
        ...


class Prescaling:
    """Has `cores` cores kept ready around every scheduled opening.

    Args:
        openings: tells when sales open.
        cores: how many are to be there, over all nodes; 0 asks for nothing, ever.
        request: tells the autoscaler how many are wanted; it replaces what was asked before.
            It may block, and raises ConnectionError or RuntimeError while Ray is away.
    """

    def __init__(self, openings: Openings, cores: int, request: Callable[[int], None]) -> None:
        self._openings = openings
        self._cores = cores
        self._request = request
        self._requested: int | None = None

    async def watch(self) -> None:
        """Look every PRESCALE_LOOK_SECONDS until cancelled."""
        while self._cores:
            await self.look()
            await asyncio.sleep(PRESCALE_LOOK_SECONDS)

    async def look(self) -> None:
        """Ask for what is needed now, if that has changed."""
        now_ms = time.time_ns() // 1_000_000
        try:
            opening = await self._openings.opening(
                now_ms - PRESCALE_AFTER_SECONDS * 1_000, now_ms + PRESCALE_BEFORE_SECONDS * 1_000
            )
        except Unavailable as error:
            log.warning("store_unreachable", error=str(error))
            return  # what was asked for stands
        wanted = self._cores if opening else 0
        if wanted == self._requested:
            return
        try:
            await asyncio.to_thread(self._request, wanted)
        except (ConnectionError, RuntimeError) as error:
            log.warning("autoscaler_unreachable", error=str(error))
            return
        self._requested = wanted
        log.info("cores_requested", cores=wanted, openings=len(opening))
