"""The shortcuts of one process to the owners of its machine: found once, watched, forgotten."""

import asyncio
from collections.abc import Awaitable, Callable

from actors.contract import OwnerGone
from actors.shortcut import Shortcut, connect_shortcut

#: The node of an owner, and where it takes calls there; None if nowhere.
Place = tuple[str, str | None]


class Shortcuts:
    """Shortcuts by event; owners that have none are known as well.

    Args:
        here: tells which node this process is on.
        ask: asks an owner for its place, the long way. Raises OwnerGone.
    """

    def __init__(self, here: Callable[[], str], ask: Callable[[str], Awaitable[Place]]) -> None:
        self._here = here
        self._ask = ask
        self._known: dict[str, Shortcut | None] = {}
        self._finding: dict[str, asyncio.Task[Shortcut | None]] = {}
        self._suspected: dict[Shortcut, asyncio.Task[None]] = {}

    async def find(self, event_id: str) -> Shortcut | None:
        """Return the shortcut to an owner, None if the long way is the only one.

        Raises:
            OwnerGone: nobody is there.
        """
        try:
            return self._known[event_id]
        except KeyError:
            finding = self._finding.get(event_id)
        if finding is None:
            finding = asyncio.create_task(self._connect(event_id))
            self._finding[event_id] = finding
            finding.add_done_callback(lambda _: self._finding.pop(event_id))
        # Whoever asks again waits for the same one.
        return await asyncio.shield(finding)

    def forget(self, event_id: str) -> None:
        """Look anew at the next call: the owner may be on another node now."""
        known = self._known.pop(event_id, None)
        if known is not None:
            known.end()

    async def _connect(self, event_id: str) -> Shortcut | None:
        node, address = await self._ask(event_id)
        if address is None or node != self._here():
            self._known[event_id] = None
            return None

        def suspect(silent: Shortcut) -> None:
            if silent not in self._suspected:
                asking = asyncio.create_task(self._make_sure(event_id, address, silent))
                self._suspected[silent] = asking
                asking.add_done_callback(lambda _: self._suspected.pop(silent))

        def lost(shortcut: Shortcut) -> None:
            if self._known.get(event_id) is shortcut:
                del self._known[event_id]

        try:
            shortcut = await connect_shortcut(address, suspect, lost)
        except ConnectionError as error:
            raise OwnerGone(f"{type(error).__name__}: {error}") from error
        self._known[event_id] = shortcut
        return shortcut

    async def _make_sure(self, event_id: str, address: str, silent: Shortcut) -> None:
        """End a shortcut whose owner is no longer the one that the long way leads to.

        An owner that waits for its store answers nothing and is still the one. A frozen one
        may have been replaced on another node; its connection stands until it is killed.
        """
        try:
            _, now_at = await self._ask(event_id)
        except OwnerGone:
            now_at = None
        if now_at != address:
            silent.end()
