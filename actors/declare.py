"""Every Ray actor of the product, with all options written out and a reason for each."""

import asyncio
import hashlib
from typing import Any

import ray

from actors.audit import audit
from actors.back_office.settings import BackOfficeSettings
from actors.contract import MortalOwners, Owners, back_office_name
from actors.process import kill_process
from actors.processes import (
    BackOfficeActor,
    OwnerActor,
    OwnerSettings,
    PaymentActor,
    PaymentSettings,
    WardenActor,
)
from actors.ray_environment import NO_ACTORS
from actors.wire import decode_facts
from engine.journal.connect import connect
from engine.journal.redis import RedisJournal

#: Ray namespace of everything that belongs to the product.
NAMESPACE = "onsale"

#: Ray's types know only some of its options.
_remote: Any = ray.remote


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
