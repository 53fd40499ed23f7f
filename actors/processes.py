"""What is wired together in the process of each actor; `actors.declare` has their options."""

import asyncio
import os
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Self

import ray
import structlog
from msgspec import Struct
from ray.actor import ActorClass

from actors.back_office.settings import BackOfficeSettings
from actors.clock import TurnClock
from actors.contract import DESK, MortalOwners, Owners, back_office_name
from actors.group_commit import insist
from actors.measures import STRIPE_CALL_SECONDS, STRIPE_WAIT_SECONDS
from actors.owner import EventOwner, Phase
from actors.parking import Parking
from actors.payments.account import open_account
from actors.payments.desk import PaymentDesk, decode_unsettled, encode_opened, encode_report
from actors.prescaling import Prescaling
from actors.process import (
    configure_logging,
    leave_a_core,
    preempt_nobody,
    process_started,
    take_over_oom_score,
    tune_interpreter,
)
from actors.ray_meter import RayMeter
from actors.shortcut import Reception
from actors.warden import Warden
from actors.wire import ASK_HEALTH, Health, encode_facts, encode_reply
from engine.journal.catalogue import Catalogue
from engine.journal.connect import connect
from engine.journal.offices import Offices
from engine.journal.pulses import Pulses
from engine.journal.redis import RedisJournal
from engine.journal.redis_streams import RedisStreams
from engine.limits import OFFICES_LEAVE_SECONDS_MAX

log = structlog.get_logger(__name__)

#: Niceness of the back office beside that of owners and gateways. Drawing, four fifths of its
#: work, has a process of its own that gives way to everybody (`engine.tickets.draftsman`). What
#: is left must be done in time: whoever does not answer is taken for frozen, and killed.
_BACK_OFFICE_NICENESS = 5


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

    _parking: Parking

    def __new__(cls, *_args: object) -> Self:
        """Be made in Ray's own thread; the constructor runs in that of the loop.

        Where the actor is declared Ray makes one as well, to ask it for new ones.
        """
        self = super().__new__(cls)
        if not isinstance(self, ActorClass):
            self._parking = Parking()
        return self

    def __init__(self, event_id: str, settings: OwnerSettings) -> None:
        configure_logging()
        # Not the other actors: when memory is short, they go before the event does.
        take_over_oom_score()
        preempt_nobody()
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
        self._reception = Reception(_PastRay(self._owner, self._parking).take)
        tune_interpreter()
        self._owner.start()

    def __repr__(self) -> str:
        return f"EventOwner({self._event_id})"

    async def reception(self) -> tuple[str, str | None]:
        """Return the node, and where processes of this machine may send messages there.

        They are answered as `submit` answers, ASK_HEALTH as `health` does.
        """
        return this_node(), await self._reception.address()

    async def submit(self, batch: bytes) -> bytes:
        """See `EventOwner.submit`."""
        self._parking.batch_by_ray()
        return encode_reply(await self._owner.submit(batch))

    async def health(self) -> bytes:
        """See `EventOwner.health`."""
        return encode_reply(self._owner.health())

    async def live_facts(self) -> bytes | None:
        """See `EventOwner.live_facts`."""
        facts = await self._owner.live_facts()
        return None if facts is None else encode_facts(facts)

    async def depart(self) -> None:
        """End the process so that Ray does not start it again."""
        ray.actor.exit_actor()  # type: ignore[no-untyped-call]

    def _leave(self, phase: Phase) -> None:
        self._parking.end()
        if phase is Phase.RESTING:
            ray.get_runtime_context().current_actor.depart.remote()
        else:
            # Fenced: a newer owner lives. Ray may be out of reach, so the process ends
            # itself; what it knew is void.
            asyncio.get_running_loop().call_soon(os._exit, 1)


class _PastRay:
    """What comes to an owner over the shortcut.

    Not the actor itself: Ray puts a function of its own around each method of one, with a frame
    more for every call.
    """

    def __init__(self, owner: EventOwner, parking: Parking) -> None:
        self._owner = owner
        self._parking = parking
        self._beside_gateway = False

    def take(self, message: bytes, answer: Callable[[bytes], None]) -> None:
        """Have a batch decided, or tell how the owner is."""
        if message == ASK_HEALTH:
            answer(encode_reply(self._owner.health()))
            return
        self._parking.batch_past_ray()
        if not self._beside_gateway:
            # Only now: to start and to recover, it has had all cores.
            self._beside_gateway = True
            leave_a_core()
        self._owner.take(message, lambda reply: answer(encode_reply(reply)))


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


def this_node() -> str:
    """Return the id of the node that this process is on."""
    node: str = ray.get_runtime_context().get_node_id()
    return node
