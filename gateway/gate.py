"""The gate before new holds: what operators have set, as one gateway process applies it.

Looked up in the background: a hold that nobody hinders passes by one comparison.
"""

import asyncio
import time

import structlog

from engine.journal.contract import Unavailable
from engine.journal.controls import Controlled, Controls
from engine.limits import CONTROLS_EVERY_SECONDS
from gateway.problems import Problem, jittered

log = structlog.get_logger(__name__)

#: What is due so soon is due: what sums of floats may be off by.
_SOON_SECONDS = 1e-6


class Pace:
    """Lets so many through a second, up to one second's worth at once: a token bucket."""

    def __init__(self) -> None:
        self._next = 0.0

    def wait(self, per_second: float, now: float) -> float:
        """Return how long it would be until the next one may pass, seconds; 0: now."""
        wait = self._next - self._slack(per_second) - now
        return wait if wait > _SOON_SECONDS else 0.0

    def take(self, per_second: float, now: float) -> None:
        """Count one that passes."""
        self._next = max(self._next, now) + 1 / per_second

    @staticmethod
    def _slack(per_second: float) -> float:
        return max(1.0 - 1 / per_second, 0.0)


class Gate:
    """What hinders new holds at this moment.

    Args:
        known: False where nobody has said yet what is set: then nothing passes.
    """

    def __init__(self, controlled: Controlled, paces: dict[str, Pace], *, known: bool) -> None:
        self._controlled = controlled
        self._paces = paces
        self._known = known

    def pass_hold(self, event_id: str) -> None:
        """Return if a hold may be placed.

        Raises:
            Problem: `sales_stopped`, `throttled`, `store_unavailable`; nothing was asked.
        """
        if not self._known:
            raise Problem("store_unavailable")
        controlled = self._controlled
        if controlled.stopped:
            raise Problem("sales_stopped")
        now = time.monotonic()
        shares = max(1, controlled.gateways)
        passed = []
        for name, per_second in (
            ("", controlled.holds_per_second),
            (event_id, controlled.events.get(event_id)),
        ):
            if per_second is None:
                continue
            pace = self._paces.setdefault(name, Pace())
            wait = pace.wait(per_second / shares, now)
            if wait > 0:
                raise Problem("throttled", retry_after=jittered(wait))
            passed.append((pace, per_second / shares))
        for pace, per_second in passed:
            pace.take(per_second, now)


class Gatekeeper:
    """Keeps the gate as operators want it.

    Args:
        controls: where they say so.
        gateway: name of this process among those that share a pace.
    """

    def __init__(self, controls: Controls, gateway: str) -> None:
        self.controls = controls
        #: None where nothing hinders a hold.
        self.gate: Gate | None = None
        #: What was set when it was last looked up.
        self.controlled = Controlled()
        self._gateway = gateway
        self._paces: dict[str, Pace] = {}
        self._known = True

    async def open(self) -> None:
        """Look for the first time; until that has succeeded, nothing passes."""
        self._known = False
        await self._try()

    async def watch(self) -> None:
        """Look every CONTROLS_EVERY_SECONDS, until cancelled. What was set stays so meanwhile."""
        while True:
            await asyncio.sleep(CONTROLS_EVERY_SECONDS)
            await self._try()

    async def look(self) -> Controlled:
        """Look now, and return what is set. Raises Unavailable."""
        controlled = await self.controls.look(self._gateway)
        self._known = True
        self._set(controlled)
        return controlled

    async def _try(self) -> None:
        try:
            await self.look()
        except Unavailable as error:
            log.warning("controls_unknown", error=str(error))
            self._set(self.controlled)

    def _set(self, controlled: Controlled) -> None:
        if controlled != self.controlled:
            log.warning("controls_changed", stopped=controlled.stopped)
        self.controlled = controlled
        wanted = {"", *controlled.events}
        for name in self._paces.keys() - wanted:
            del self._paces[name]
        paced = controlled.holds_per_second is not None or controlled.events
        free = self._known and not controlled.stopped and not paced
        self.gate = None if free else Gate(controlled, self._paces, known=self._known)
