"""The warden: sees to it that every event that needs an owner has one that answers.

It starts the owners of events with unfinished business (after a cold restart nobody else
would), of events whose sale opens soon, and has owners killed that do not answer: a
process that is frozen or caught in a loop looks alive to Ray.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from actors.contract import MortalOwners, OwnerGone
from actors.measures import SILENT, WATCHED, Meter, Unmetered
from actors.wire import decode_health
from engine.journal.contract import Unavailable
from engine.journal.pulses import Pulse
from engine.limits import (
    HOT_EVENTS_MAX,
    PROBE_EVERY_SECONDS,
    PROBE_FAILURES_MAX,
    PROBE_TIMEOUT_SECONDS,
    WARM_UP_SECONDS,
)

log = structlog.get_logger(__name__)


class EventsInNeed(Protocol):
    """The part of the catalogue that the warden reads."""

    async def awake(self) -> list[str]:
        """Return events with unfinished business. Raises Unavailable."""
        ...

    async def opening(self, from_ms: int, until_ms: int) -> list[str]:
        """Return events whose sale opens in this time. Raises Unavailable."""
        ...

    async def claimant(self, event_id: str) -> bytes | None:
        """Return who claimed an event's journal last, as its `Health`. Raises Unavailable."""
        ...


class Board(Protocol):
    """Where operators see how the busiest events fare."""

    async def put(self, pulses: Sequence[Pulse]) -> None:
        """Show these instead of all others. Raises Unavailable."""
        ...


class _Watch:
    """What the warden knows of one owner; `rate` is of its holds, per second."""

    def __init__(self) -> None:
        self.failures = 0
        self.probe: asyncio.Task[None] | None = None
        self.pulse: Pulse | None = None
        self.rate = 0.0
        self._felt = 0.0

    def feel(self, pulse: Pulse | None, now: float) -> None:
        """Take note of a pulse, and of how much has happened since the last one."""
        if pulse is not None and self.pulse is not None and now > self._felt:
            holds = pulse.granted + pulse.refused - self.pulse.granted - self.pulse.refused
            # An owner that was started anew counts from nothing.
            self.rate = max(0, holds) / (now - self._felt)
        self.pulse, self._felt = pulse, now


async def _nobody() -> Sequence[str]:
    return ()


class Warden:
    """Probes owners every PROBE_EVERY_SECONDS, all at once.

    Args:
        desks: returns names that `owners` and `catalogue` know beside those of events, of
            everybody who is needed whatever happens. Raises Unavailable.
        board: shows the busiest events; None for nobody who looks.
        meter: takes what is measured.
    """

    def __init__(
        self,
        owners: MortalOwners,
        catalogue: EventsInNeed,
        desks: Callable[[], Awaitable[Sequence[str]]] = _nobody,
        board: Board | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._desks = desks
        self._board = board
        self._meter = meter or Unmetered()
        self._owners = owners
        self._catalogue = catalogue
        self._watched: dict[str, _Watch] = {}

    async def watch(self) -> None:
        """Go round until cancelled."""
        while True:
            await self.round()
            await asyncio.sleep(PROBE_EVERY_SECONDS)

    async def round(self) -> None:
        """Look after every event in need once; slow probes go on into the next round."""
        try:
            needed = await self._needed()
        except Unavailable as error:
            log.warning("store_unreachable", error=str(error))
            needed = list(self._watched)
        for event_id in self._watched.keys() - set(needed):
            del self._watched[event_id]
        for event_id in needed:
            watch = self._watched.setdefault(event_id, _Watch())
            if watch.probe is None or watch.probe.done():
                watch.probe = asyncio.create_task(self._probe(event_id, watch))
        self._meter.set(WATCHED, len(self._watched))
        await self._show()

    async def _show(self) -> None:
        """Show the events on which most happens, by what their owners said last."""
        if self._board is None:
            return
        felt = [(watch.rate, watch.pulse) for watch in self._watched.values() if watch.pulse]
        felt.sort(key=lambda one: (-one[0], -one[1].held, one[1].event_id))
        try:
            await self._board.put([pulse for _, pulse in felt[:HOT_EVENTS_MAX]])
        except Unavailable as error:
            log.warning("store_unreachable", error=str(error))

    async def _needed(self) -> list[str]:
        now_ms = time.time_ns() // 1_000_000
        awake = await self._catalogue.awake()
        opening = await self._catalogue.opening(now_ms, now_ms + WARM_UP_SECONDS * 1_000)
        return sorted({*awake, *opening, *await self._desks()})

    async def _probe(self, event_id: str, watch: _Watch) -> None:
        """Ask an owner how it is, at once again if it says nothing, and have it killed then."""
        while True:
            try:
                health = await asyncio.wait_for(
                    self._owners.health(event_id), PROBE_TIMEOUT_SECONDS
                )
            except OwnerGone:
                watch.failures = 0  # Ray has noticed it too and starts another one
                return
            except TimeoutError:
                watch.failures += 1
                if watch.failures >= PROBE_FAILURES_MAX:
                    await self._kill(event_id)
                    return
            else:
                watch.failures = 0
                watch.feel(health.pulse, asyncio.get_running_loop().time())
                return

    async def _kill(self, event_id: str) -> None:
        """Have the process killed that claimed the event's journal last.

        One that is starting has not claimed yet: what is named then is its predecessor,
        which is no longer there to be killed.
        """
        try:
            claimant = await self._catalogue.claimant(event_id)
            if claimant is None:
                return
            health = decode_health(claimant)
            log.error("owner_silent", event_id=event_id, pid=health.pid, node=health.node)
            await self._owners.kill(health)
            self._meter.add(SILENT)
        except (Unavailable, OwnerGone) as error:
            log.warning("owner_not_killed", event_id=event_id, error=str(error))
