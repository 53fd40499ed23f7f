"""How the rest of the product reaches owners: Ray's handles and errors stop here."""

from typing import Any

from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.contract import DESK, OwnerGone, Owners
from actors.declare import (
    AuditEvent,
    KillOnNode,
    OwnerSettings,
    PaymentSettings,
    owner,
    the_payments,
)
from actors.owner import Phase
from actors.payments.contract import Declined, DeskGone, NotNow, Opened, Report
from actors.payments.desk import decode_opened, decode_report, encode_unsettled
from actors.wire import Health, decode_health
from engine.domain.outcomes import UnsettledPayment

#: How long the payment desk takes to be there again, seconds.
_RESTART_SECONDS = 2.0


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
            handle = self._handles[event_id] = self._start(event_id)
        return handle

    def _start(self, event_id: str) -> Any:
        return owner(event_id, self._settings)


class RayPayments:
    """The payment desk as a named, detached Ray actor; keeps `Payments`."""

    def __init__(self, settings: PaymentSettings, owners: Owners) -> None:
        self._settings = settings
        self._owners = owners
        self._handle: Any = None

    def start(self) -> None:
        """Have the desk started if it is not there: webhooks may be waiting for it."""
        if self._handle is None:
            self._handle = the_payments(self._settings, self._owners)

    async def open(self, unsettled: UnsettledPayment) -> Opened | NotNow | Declined:
        """See `Payments.open`."""
        try:
            answer = await self._call("open", encode_unsettled(unsettled))
        except DeskGone:
            return NotNow(_RESTART_SECONDS)
        opened: Opened | NotNow | Declined = decode_opened(answer)
        return opened

    async def reconcile(self, since: int | None) -> Report:
        """See `Payments.reconcile`."""
        return decode_report(await self._call("reconcile", since))

    async def _call(self, method: str, argument: bytes | int | None) -> bytes:
        try:
            self.start()
            answer: bytes = await getattr(self._handle, method).remote(argument)
        except RayTaskError as error:
            # The desk says why; Ray would add the trace of its process.
            raise DeskGone(str(error.cause)) from error
        except (RayError, ConnectionError) as error:
            self._handle = None
            raise DeskGone(f"{type(error).__name__}: {error}") from error
        return answer


class RayWards(RayOwners):
    """Whom the warden looks after: the owners, and the payment desk by a name of its own."""

    def __init__(self, settings: OwnerSettings, payments: PaymentSettings) -> None:
        super().__init__(settings)
        self._payments = payments

    def _start(self, name: str) -> Any:
        if name == DESK:
            return the_payments(self._payments, RayOwners(self._settings))
        return super()._start(name)
