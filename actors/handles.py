"""How the rest of the product reaches owners: Ray's handles and errors stop here."""

from typing import Any

from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.contract import OwnerGone
from actors.declare import AuditEvent, KillOnNode, OwnerSettings, owner
from actors.owner import Phase
from actors.wire import Health, decode_health


class RayOwners:
    """Owners as named, detached Ray actors."""

    def __init__(self, settings: OwnerSettings) -> None:
        self._settings = settings
        self._handles: dict[str, Any] = {}

    async def submit(self, event_id: str, batch: bytes) -> bytes:
        """See `MortalOwners.submit`."""
        answer: bytes = await self._call(event_id, "submit", batch)
        return answer

    async def health(self, event_id: str) -> Health:
        """See `MortalOwners.health`."""
        return decode_health(await self._call(event_id, "health"))

    async def audit(self, event_id: str) -> dict[str, Any]:
        """See `MortalOwners.audit`."""
        live = await self._call(event_id, "live_facts")
        if live is None and (await self.health(event_id)).phase != Phase.HALTED:
            # Its journal alone would agree with itself. A halted event is audited all the
            # same: the report says what is wrong with it.
            raise OwnerGone("the owner is not serving")
        try:
            report: dict[str, Any] = await AuditEvent.remote(
                self._settings.redis_url, event_id, live
            )
        except RayError as error:
            raise OwnerGone(f"{type(error).__name__}: {error}") from error
        return report

    async def kill(self, health: Health) -> None:
        """See `MortalOwners.kill`.

        A frozen process does not carry out Ray's own order to exit, so it is killed by
        its number on its node.
        """
        strategy = NodeAffinitySchedulingStrategy(health.node, soft=False)
        order = KillOnNode.options(scheduling_strategy=strategy)
        try:
            await order.remote(health.pid, health.process_started)
        except RayError as error:
            raise OwnerGone(str(error)) from error

    async def _call(self, event_id: str, method: str, *args: bytes) -> Any:
        try:
            handle = self._handle(event_id)
            return await getattr(handle, method).remote(*args)
        except (RayError, GetTimeoutError, ConnectionError) as error:
            self._handles.pop(event_id, None)
            raise OwnerGone(f"{type(error).__name__}: {error}") from error

    def _handle(self, event_id: str) -> Any:
        handle = self._handles.get(event_id)
        if handle is None:
            handle = self._handles[event_id] = owner(event_id, self._settings)
        return handle
