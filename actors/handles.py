"""How the rest of the product reaches owners: Ray's handles and errors stop here."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray.exceptions import ActorUnavailableError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.back_office.settings import BackOfficeSettings
from actors.contract import DESK, OwnerGone, Owners, back_office_place
from actors.declare import (
    AuditEvent,
    KillOnNode,
    back_office,
    owner,
    the_payments,
)
from actors.owner import Phase
from actors.payments.contract import Declined, DeskGone, NotNow, Opened, Report
from actors.payments.desk import decode_opened, decode_report, encode_unsettled
from actors.processes import OwnerSettings, PaymentSettings, this_node
from actors.shortcut import Shortcut
from actors.shortcuts import Place, Shortcuts
from actors.wire import ASK_HEALTH, Health, decode_health
from engine.domain.outcomes import UnsettledPayment
from engine.limits import HANDLE_LOOKUPS_MAX, HANDLE_SECONDS_MAX

#: How long the payment desk takes to be there again, seconds.
_RESTART_SECONDS = 2.0


class RayOwners:
    """Owners as named, detached Ray actors.

    Handles are looked up in threads: Ray's control service answers in a millisecond, but
    while it is away the question hangs for a minute, and with it would hang the calls of
    all owners whose handles are at hand, which do not need it.
    """

    def __init__(self, settings: OwnerSettings) -> None:
        self._settings = settings
        self._handles: dict[str, Any] = {}
        self._looking: dict[str, asyncio.Future[Any]] = {}
        self._threads = ThreadPoolExecutor(HANDLE_LOOKUPS_MAX, "handles")
        self._shortcuts = Shortcuts(this_node, self._reception)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes as settings alone."""
        return type(self), (self._settings,)

    async def submit(self, event_id: str, batch: bytes) -> bytes:
        """See `MortalOwners.submit`."""
        shortcut = await self._shortcuts.find(event_id)
        if shortcut is None:
            answer: bytes = await self._call(event_id, "submit", batch)
            return answer
        return await _ask(shortcut, batch)

    async def health(self, event_id: str) -> Health:
        """See `MortalOwners.health`.

        Not by Ray if it can be helped: the warden asks every owner every second, and of
        sixty-four on two cores that took a twentieth.
        """
        shortcut = await self._shortcuts.find(event_id)
        if shortcut is None:
            return decode_health(await self._call(event_id, "health"))
        return decode_health(await _ask(shortcut, ASK_HEALTH))

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

    async def _reception(self, event_id: str) -> Place:
        place: Place = await self._call(event_id, "reception")
        return place

    async def _call(self, event_id: str, method: str, *args: bytes) -> Any:
        handle = self._handles.get(event_id) or await self._look_up(event_id)
        try:
            return await getattr(handle, method).remote(*args)
        except ActorUnavailableError as error:
            # It restarts: the handle leads to where it will be, even if nobody can be asked.
            self._shortcuts.forget(event_id)
            raise OwnerGone(f"{type(error).__name__}: {error}") from error
        except (RayError, ConnectionError) as error:
            self._shortcuts.forget(event_id)
            if self._handles.get(event_id) is handle:
                del self._handles[event_id]
            raise OwnerGone(f"{type(error).__name__}: {error}") from error

    async def _look_up(self, event_id: str) -> Any:
        looking = self._looking.get(event_id)
        if looking is None:
            loop = asyncio.get_running_loop()
            looking = loop.run_in_executor(self._threads, self._start, event_id)
            self._looking[event_id] = looking
            looking.add_done_callback(lambda found: self._found(event_id, found))
        try:
            # Whoever asks again waits for the same answer.
            return await asyncio.wait_for(asyncio.shield(looking), HANDLE_SECONDS_MAX)
        except TimeoutError as error:
            raise OwnerGone("Ray does not tell where the owner is") from error
        except (RayError, ConnectionError, ValueError) as error:
            # A ValueError: it was there when it was to be started, and gone when looked for.
            raise OwnerGone(f"{type(error).__name__}: {error}") from error

    def _found(self, event_id: str, found: "asyncio.Future[Any]") -> None:
        del self._looking[event_id]
        if found.exception() is None:
            self._handles[event_id] = found.result()

    def _start(self, event_id: str) -> Any:
        return owner(event_id, self._settings)


async def _ask(shortcut: Shortcut, message: bytes) -> bytes:
    try:
        return await shortcut.call(message)
    except ConnectionError as error:
        raise OwnerGone(f"{type(error).__name__}: {error}") from error


class RayPayments:
    """The payment desk as a named, detached Ray actor; keeps `Payments`."""

    def __init__(self, settings: PaymentSettings, owners: Owners) -> None:
        self._settings = settings
        self._owners = owners
        self._handle: Any = None
        self._thread = ThreadPoolExecutor(1, "desk")

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
            if self._handle is None:
                await asyncio.get_running_loop().run_in_executor(self._thread, self.start)
            answer: bytes = await getattr(self._handle, method).remote(argument)
        except RayTaskError as error:
            # The desk says why; Ray would add the trace of its process.
            raise DeskGone(str(error.cause)) from error
        except (RayError, ConnectionError, ValueError) as error:
            self._handle = None
            raise DeskGone(f"{type(error).__name__}: {error}") from error
        return answer


class RayWards(RayOwners):
    """Whom the warden looks after: the owners, and the desks by names of their own."""

    def __init__(
        self, settings: OwnerSettings, payments: PaymentSettings, offices: BackOfficeSettings
    ) -> None:
        super().__init__(settings)
        self._payments = payments
        self._offices = offices

    def __reduce__(self) -> tuple[Any, ...]:
        """See `RayOwners`."""
        return type(self), (self._settings, self._payments, self._offices)

    async def _reception(self, name: str) -> Place:
        # Desks take no batches.
        desk = name == DESK or back_office_place(name) is not None
        return ("", None) if desk else await super()._reception(name)

    def _start(self, name: str) -> Any:
        if name == DESK:
            return the_payments(self._payments, RayOwners(self._settings))
        place = back_office_place(name)
        if place is not None:
            return back_office(self._offices, RayOwners(self._settings), place)
        return super()._start(name)
