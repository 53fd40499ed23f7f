"""Every Ray actor of the product, with all options written out and a reason for each."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Coroutine
from typing import Any

import ray
import structlog
from msgspec import Struct

from actors.audit import audit
from actors.back_office.settings import BackOfficeSettings
from actors.clock import TurnClock
from actors.contract import DESK, MortalOwners, Owners, back_office_name
from actors.group_commit import insist
from actors.measures import STRIPE_CALL_SECONDS, STRIPE_WAIT_SECONDS
from actors.owner import EventOwner, Phase
from actors.payments.account import open_account
from actors.payments.desk import PaymentDesk, decode_unsettled, encode_opened, encode_report
from actors.prescaling import Prescaling
from actors.process import (
    configure_logging,
    kill_process,
    process_started,
    take_over_oom_score,
    tune_interpreter,
)
from actors.ray_environment import NO_ACTORS
from actors.ray_meter import RayMeter
from actors.shortcut import Reception
from actors.warden import Warden
from actors.wire import Health, decode_facts, encode_facts, encode_reply
from engine.journal.catalogue import Catalogue
from engine.journal.connect import connect
from engine.journal.offices import Offices
from engine.journal.pulses import Pulses
from engine.journal.redis import RedisJournal
from engine.journal.redis_streams import RedisStreams
from engine.limits import OFFICES_LEAVE_SECONDS_MAX

log = structlog.get_logger(__name__)

#: Ray namespace of everything that belongs to the product.
NAMESPACE = "onsale"

#: Niceness of the back office beside that of owners and gateways. Drawing, four fifths of its
#: work, has a process of its own that gives way to everybody (`engine.tickets.draftsman`). What
#: is left must be done in time: whoever does not answer is taken for frozen, and killed.
_BACK_OFFICE_NICENESS = 5

#: Ray's types know only some of its options.
_remote: Any = ray.remote


class OwnerSettings(Struct, frozen=True):
    """What an owner needs to know; must be the same in every gateway of a deployment."""

    redis_url: str
    idle_seconds: float


class OwnerActor:
    """An `EventOwner` in a process of its own.

    The constructor neither raises nor waits: in Ray an exception here would make the
    actor dead for good. It begins to recover at once, so that an owner that Ray has
    restarted ends its expired holds even if nobody asks for it.
    """

    def __init__(self, event_id: str, settings: OwnerSettings) -> None:
        configure_logging()
        # Not the other actors: when memory is short, they go before the event does.
        take_over_oom_score()
        self._event_id = event_id
        self._owner = EventOwner(
            RedisJournal(connect(settings.redis_url), event_id),
            TurnClock(),
            secrets.token_bytes(8),
            self._leave,
            meter=RayMeter(),
            node=this_node(),
            process_started=process_started(os.getpid()),
            idle_seconds=settings.idle_seconds,
        )
        self._reception = Reception(self.submit)
        tune_interpreter()
        self._owner.start()

    def __repr__(self) -> str:
        return f"EventOwner({self._event_id})"

    async def reception(self) -> tuple[str, str | None]:
        """Return the node, and where processes of this machine may call `submit` there."""
        return this_node(), await self._reception.address()

    async def submit(self, batch: bytes) -> bytes:
        """See `EventOwner.submit`."""
        return encode_reply(await self._owner.submit(batch))

    async def health(self) -> bytes:
        """See `EventOwner.health`."""
        return encode_reply(await self._owner.health())

    async def live_facts(self) -> bytes | None:
        """See `EventOwner.live_facts`."""
        facts = await self._owner.live_facts()
        return None if facts is None else encode_facts(facts)

    async def depart(self) -> None:
        """End the process so that Ray does not start it again."""
        ray.actor.exit_actor()  # type: ignore[no-untyped-call]

    def _leave(self, phase: Phase) -> None:
        if phase is Phase.RESTING:
            ray.get_runtime_context().current_actor.depart.remote()
        else:
            # Fenced: a newer owner lives. Ray may be out of reach, so the process ends
            # itself; what it knew is void.
            asyncio.get_running_loop().call_soon(os._exit, 1)


class WardenActor:
    """A `Warden` in a process of its own."""

    def __init__(self, owners: MortalOwners, redis_url: str, prescale_cores: int) -> None:
        configure_logging()
        client = connect(redis_url)
        catalogue, offices = Catalogue(client), Offices(client)

        async def desks() -> list[str]:
            return [DESK, *map(back_office_name, range(await offices.count()))]

        warden = Warden(owners, catalogue, desks, Pulses(client), RayMeter())
        prescaling = Prescaling(catalogue, prescale_cores, _request_cores)
        self._watching = asyncio.get_running_loop().create_task(
            _together(warden.watch(), prescaling.watch())
        )
        self._watching.add_done_callback(_end_process)

    def __repr__(self) -> str:
        return "Warden"

    async def watching(self) -> bool:
        """Tell whether it goes round. Without an async method Ray gives an actor no loop."""
        return not self._watching.done()


class PaymentSettings(Struct, frozen=True):
    """What the payment desk needs to know; must be the same in every gateway.

    Args:
        api_base: where Stripe, or a double of it, listens; None for Stripe itself.
    """

    redis_url: str
    api_key: str
    api_base: str | None
    account_per_second: float
    endpoint_per_second: float


class _Signed:
    """A process that the warden knows by a name that is not an event's."""

    def __init__(self, name: str, catalogue: Catalogue) -> None:
        self._name = name
        self._signed_in = catalogue
        self._nonce = secrets.token_bytes(8)

    async def health(self) -> bytes:
        """Say who one is; see `Health`."""
        pid = os.getpid()
        return encode_reply(
            Health(self._nonce.hex(), this_node(), pid, process_started(pid), "working", 0, 0, 0)
        )

    async def _sign(self) -> None:
        """Say whom to kill if this process answers nothing any more."""
        claimant = await self.health()
        await insist(lambda: self._signed_in.sign(self._name, claimant))


class PaymentActor(_Signed):
    """A `PaymentDesk` in a process of its own."""

    def __init__(self, settings: PaymentSettings, owners: Owners) -> None:
        configure_logging()
        catalogue = Catalogue(connect(settings.redis_url))
        super().__init__(DESK, catalogue)
        self._meter = RayMeter()
        self._desk = PaymentDesk(
            open_account(
                settings.api_key,
                settings.api_base,
                settings.account_per_second,
                settings.endpoint_per_second,
                self._note_wait,
                self._note_end,
            ),
            owners,
            catalogue,
            RedisStreams(connect(settings.redis_url)),
            self._meter,
        )
        self._working = asyncio.get_running_loop().create_task(self._work())
        self._working.add_done_callback(_end_process)

    def __repr__(self) -> str:
        return "Payments"

    async def _work(self) -> None:
        await self._sign()
        await self._desk.work()

    def _note_wait(self, operation: str, seconds: float) -> None:
        self._meter.observe(STRIPE_WAIT_SECONDS, seconds, {"operation": operation})

    def _note_end(self, operation: str, end: str, seconds: float) -> None:
        self._meter.observe(STRIPE_CALL_SECONDS, seconds, {"operation": operation, "end": end})

    async def open(self, unsettled: bytes) -> bytes:
        """See `PaymentDesk.open`."""
        return encode_opened(await self._desk.open(decode_unsettled(unsettled)))

    async def reconcile(self, since: int | None) -> bytes:
        """See `PaymentDesk.reconcile`."""
        return encode_report(await self._desk.reconcile(since))


class BackOfficeActor(_Signed):
    """A `BackOfficeDesk` in a process of its own, which yields to sales.

    Args:
        place: which of the processes that share the work this one is, from 0.
    """

    def __init__(self, settings: BackOfficeSettings, owners: Owners, place: int) -> None:
        # Only here: what keeps books takes a second and 55 MB to import, and the process of every
        # owner imports this file.
        from actors.back_office.desk import BackOfficeDesk  # noqa: PLC0415

        configure_logging()
        os.nice(_BACK_OFFICE_NICENESS)
        super().__init__(back_office_name(place), Catalogue(connect(settings.redis_url)))
        self._place = place
        self._desk = BackOfficeDesk(settings, owners, place, RayMeter(), self._leaving)
        self._working = asyncio.get_running_loop().create_task(self._work())
        self._working.add_done_callback(_end_process)

    def __repr__(self) -> str:
        return f"BackOffice({self._place})"

    async def depart(self) -> None:
        """End the process so that Ray does not start it again."""
        ray.actor.exit_actor()  # type: ignore[no-untyped-call]

    def _leaving(self) -> None:
        """See to it that the process ends, whatever its work still waits for.

        Ray starts another one then, which finds out for itself whether its place is needed.
        """
        asyncio.get_running_loop().call_later(OFFICES_LEAVE_SECONDS_MAX, os._exit, 1)

    async def _work(self) -> None:
        await self._sign()
        await self._desk.work()
        # There is no such place any more.
        ray.get_runtime_context().current_actor.depart.remote()
        await asyncio.sleep(OFFICES_LEAVE_SECONDS_MAX)


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    await asyncio.gather(*work)


def _request_cores(count: int) -> None:
    # Only here: it takes a tenth of a second to import, and the process of every owner imports
    # this file.
    from ray.autoscaler.sdk import request_resources  # noqa: PLC0415

    request_resources(num_cpus=count)


def _end_process(task: asyncio.Task[None]) -> None:
    """End with the task that is the process' whole work: Ray starts another one."""
    log.critical("work_ended", exc_info=task.exception())
    os._exit(1)


def _audit_event(redis_url: str, event_id: str, live: bytes | None) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        client = connect(redis_url)
        try:
            journal = RedisJournal(client, event_id)
            return await audit(journal, None if live is None else decode_facts(live))
        finally:
            await client.aclose()

    return asyncio.run(run())


def _kill_on_this_node(pid: int, started: int) -> bool:
    return kill_process(pid, started)


#: Which nodes get an actor: those that take any, each with the same chance. Owners that Ray would
#: pack onto one node would share its cores and its end.
_SPREAD: Any = {
    "scheduling_strategy": "SPREAD",
    "label_selector": {label: f"!{value}" for label, value in NO_ACTORS.items()},
}

#: How an actor lives that the service needs: each takes up its work again by itself.
_LASTING: Any = {
    # Its work is short turns and waiting; a CPU reserved for each would allow two on two cores.
    "num_cpus": 0,
    # It rebuilds itself, or is handed again what it had in hand, as often as it takes.
    "max_restarts": -1,
    # Whoever asks repeats what was not answered; Ray must not do so behind their back.
    "max_task_retries": 0,
    # It outlives the gateway that touched it first.
    "lifetime": "detached",
    "namespace": NAMESPACE,
    # A task event for each batch would cost as much as the batch.
    "enable_task_events": False,
    **_SPREAD,
}

#: One owner for each event. Its inbox bounds what the calls carry that wait for their turn.
_Owner: Any = _remote(max_concurrency=1_000, **_LASTING)(OwnerActor)

#: One for the whole cluster: without it, a frozen owner stays frozen.
_Warden: Any = _remote(max_concurrency=10, **_LASTING)(WardenActor)

#: One for the whole cluster: Stripe's limits are those of the account. So many buyers may wait
#: for Stripe at once.
_Payments: Any = _remote(max_concurrency=1_000, **_LASTING)(PaymentActor)

#: Tickets, messages, announcements: each process has a share of the partitions, and is at work
#: when nobody buys; see `BackOfficeActor`.
_BackOffice: Any = _remote(max_concurrency=10, **_LASTING)(BackOfficeActor)

#: Ends a process that answers nothing, not even Ray: on its own node, by its number.
KillOnNode: Any = _remote(
    num_cpus=0,
    # Killing twice is harmless, the second finds nothing: but the warden asks again itself.
    max_retries=0,
)(_kill_on_this_node)


#: Replays an event's journal away from gateways and owners: it takes seconds of a core.
AuditEvent: Any = _remote(
    num_cpus=0,
    # Reading twice is harmless.
    max_retries=1,
    **_SPREAD,
)(_audit_event)


def this_node() -> str:
    """Return the id of the node that this process is on."""
    node: str = ray.get_runtime_context().get_node_id()
    return node


def owner(event_id: str, settings: OwnerSettings) -> Any:
    """Return the handle of an event's owner; the first touch of many at once starts it."""
    return _Owner.options(name=f"event:{event_id}", get_if_exists=True).remote(event_id, settings)


def the_warden(owners: MortalOwners, redis_url: str, prescale_cores: int) -> Any:
    """Return the handle of the warden; whoever asks first gets it started."""
    options = _Warden.options(name="warden", get_if_exists=True)
    return options.remote(owners, redis_url, prescale_cores)


def the_payments(settings: PaymentSettings, owners: Owners) -> Any:
    """Return the handle of the payment desk; whoever asks first gets it started.

    Another account, or another place of it, is another desk.
    """
    place = f"{settings.api_key}@{settings.api_base}".encode()
    name = f"payments:{hashlib.blake2b(place, digest_size=6).hexdigest()}"
    return _Payments.options(name=name, get_if_exists=True).remote(settings, owners)


def back_office(settings: BackOfficeSettings, owners: Owners, place: int) -> Any:
    """Return the handle of one process of the back office; whoever asks first starts it."""
    options = _BackOffice.options(name=back_office_name(place), get_if_exists=True)
    return options.remote(settings, owners, place)
