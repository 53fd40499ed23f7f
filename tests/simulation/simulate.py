"""One simulation from a seed: minutes of a sale gone wrong, in a fraction of a second."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

import pytest

from actors import owner as owner_module
from actors import turn as turn_module
from actors.owner import Phase
from engine.domain import snapshot as snapshot_module
from engine.domain.records import HoldExpired, HoldPlaced
from tests.calls import Violation
from tests.history import Verdict, verify
from tests.simulation.shoppers import Organizer, Shopper, look_on
from tests.simulation.troubles import Troubles
from tests.simulation.world import World
from tests.virtual_time import VirtualLoop, let_time_be_virtual

#: A mistake to be planted in the product: patches what it breaks.
Plant = Callable[[pytest.MonkeyPatch], None]

_SHOPPERS, _BATCHES, _CHANGES = 8, 30, 6
#: Holds last 15 s at most; owners look for a successor every 5 s.
_SETTLED_SECONDS = 40.0


@dataclass(frozen=True)
class Run:
    """What a simulation has shown; `fingerprint` covers every entry and every answer."""

    verdicts: list[Verdict]
    fingerprint: str
    owners: int
    fenced: int
    log: list[str]


def simulate(seed: int, plant: Plant | None = None) -> Run:
    """Run one simulation and check its history.

    Raises:
        Violation: a promise is broken; a note names the seed.
    """
    with pytest.MonkeyPatch.context() as patch:
        log = let_time_be_virtual(patch)
        if plant is not None:
            plant(patch)
        try:
            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                return runner.run(_run(seed, patch, log))
        except BaseException as error:
            error.add_note(f"to repeat it: tests.simulation.simulate.simulate({seed})")
            raise


async def _run(seed: int, patch: pytest.MonkeyPatch, log: list) -> Run:
    world = World(seed)
    _make_limits_small(world, patch)
    failures: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(context.get("exception") or Exception(str(context)))
    )
    organizer, troubles = Organizer(world, _CHANGES), Troubles(world)
    await organizer.put_on_sale()
    aside = [
        asyncio.create_task(doing)
        for doing in (troubles.make(), _look_around(world), look_on(world), look_on(world))
    ]
    shoppers = [Shopper(world, _BATCHES) for _ in range(_SHOPPERS)]
    await asyncio.gather(organizer.meddle(), *(shopper.shop() for shopper in shoppers))
    for task in aside:
        task.cancel()
    failures += [
        ended
        for ended in await asyncio.gather(*aside, return_exceptions=True)
        if isinstance(ended, Exception)
    ]
    troubles.heal()
    await organizer.touch()
    await asyncio.sleep(_SETTLED_SECONDS)
    owners = [len(world.living(event_id)) for event_id in world.events]
    await organizer.touch()
    await _look_at_last(world)
    verdicts = [_verify(world, event_id) for event_id in world.events]
    if world.halted:
        raise Violation("17", f"halted without damage: {world.halted}")
    if max(owners) > 1:
        raise Violation("3", f"so many owners live on: {owners}")
    for event_id in world.events:
        await world.audit(await world.serving(event_id))
    for failure in failures:
        raise failure
    fenced = sum(process.owner.phase is Phase.FENCED for process in world.processes)
    return Run(
        verdicts,
        _fingerprint(world),
        len(world.processes),
        fenced,
        [line["event"] for line in log],
    )


def _make_limits_small(world: World, patch: pytest.MonkeyPatch) -> None:
    """Bring every limit within reach of a few hundred commands."""
    choose = world.rng.choice
    patch.setattr(owner_module, "SNAPSHOT_RECORDS_MIN", choose([4, 20, 1_000]))
    patch.setattr(snapshot_module, "SNAPSHOT_SLICE_BOOKINGS", choose([1, 3, 50]))
    patch.setattr(owner_module, "INBOX_COMMANDS_MAX", choose([5, 4_096]))
    patch.setattr(owner_module, "TURN_COMMANDS_MAX", choose([3, 2_048]))
    patch.setattr(turn_module, "TURN_EXPIRIES_MAX", choose([1, 1_000]))


async def _look_around(world: World) -> None:
    while True:
        await asyncio.sleep(world.rng.expovariate(0.5))
        for process in world.living():
            try:
                async with asyncio.timeout(1.0):
                    await world.look(process)
                    if world.rng.random() < 0.3:
                        await world.audit(process)
            except TimeoutError:
                continue  # it waits for the store


async def _look_at_last(world: World) -> None:
    for event_id in world.events:
        await world.look(await world.serving(event_id))


def _verify(world: World, event_id: str) -> Verdict:
    archive = world.archive(event_id)
    for_ever = None if event_id in world.halted else 1 << 62
    verdict = verify(
        world.calls[event_id],
        archive.entries(),
        digests=world.digests[event_id] + archive.snapshots,
        settled_at_ms=for_ever,
    )
    _check_expiries(world, event_id)
    return verdict


def _check_expiries(world: World, event_id: str) -> None:
    """Check that no hold ended before its time, by a clock that no owner can see."""
    archive = world.archive(event_id)
    placed: dict[str, tuple[float, float]] = {}
    for entry in archive.entries():
        sent = archive.first_sent.get((entry.position, entry.nonce), 0.0)
        for record in entry.records:
            if isinstance(record, HoldPlaced):
                booking = record.booking
                lasts = (booking.expires_at_ms - booking.held_at_ms) / 1_000
                placed[booking.booking_id] = (sent, lasts)
            elif isinstance(record, HoldExpired):
                since, lasts = placed[record.booking_id]
                if sent - since < lasts - 0.002:
                    raise Violation("22", f"{record} after {sent - since} of {lasts} seconds")


def _fingerprint(world: World) -> str:
    running = blake2b(digest_size=16)
    for event_id in world.events:
        for position, sealed in world.archive(event_id).written:
            running.update(str(position).encode() + sealed)
        running.update(repr(world.calls[event_id]).encode())
    return running.hexdigest()
