"""Who asks: buyers with a small memory and little patience, and an organizer."""

import asyncio

from actors.contract import OwnerGone
from actors.wire import Answers, Envelope, Halted, encode_batch
from engine.domain import ids
from engine.domain.commands import (
    AmendEvent,
    Caller,
    Changes,
    Command,
    CreateEvent,
    Item,
    PauseSale,
    PlaceHold,
    ReadAvailability,
    ReadBooking,
    ReleaseHold,
    ResumeSale,
)
from engine.domain.event import Allotment, Event, TicketType
from engine.domain.outcomes import Granted, Outcome, Refused, Shown
from tests.calls import GRANTED, HOLD, READ, REFUSED, RELEASE, UNKNOWN, Call, Seen
from tests.simulation.world import KEY, Process, World
from tests.virtual_time import EPOCH_MS

_ORGANIZER = Caller("otto", organizer="acme")
_PATIENCE_SECONDS = 5.0
_CUSTOMERS = [f"c{number}" for number in range(8)]


async def ask(
    world: World, event_id: str, commands: list[Command], patience_seconds: float
) -> tuple[list[Outcome | None], int | None]:
    """Send one batch until it is answered, and return None for what is not known in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    pause = 0.02
    try:
        async with asyncio.timeout_at(deadline):
            while True:
                budget_ms = int((deadline - loop.time()) * 1_000)
                batch = encode_batch([Envelope(budget_ms, command) for command in commands])
                try:
                    reply = await world.submit(event_id, batch)
                except OwnerGone:
                    reply = None
                if isinstance(reply, Answers):
                    counts = reply.availability
                    return reply.outcomes, None if counts is None else counts.sequence
                if isinstance(reply, Halted):
                    world.halted[event_id] = reply.reason
                    break
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.25)
    except TimeoutError:
        pass
    return [None] * len(commands), None


class Shopper:
    """Sends one batch after the other, each of one to four wishes of several customers."""

    def __init__(self, world: World, batches: int) -> None:
        self._world = world
        self._rng = world.rng
        self._batches = batches

    async def shop(self) -> None:
        for _ in range(self._batches):
            await asyncio.sleep(self._rng.expovariate(2.0))
            event_id = self._rng.choice(self._world.events)
            await self.send(event_id, [self._wish(event_id) for _ in range(self._size())])

    async def send(self, event_id: str, wishes: list[tuple[str, str, Command]]) -> None:
        """Send wishes as (key, customer, command) and note what came of each."""
        asked_at = self._world.now()
        patience = self._rng.choice([_PATIENCE_SECONDS] * 5 + [0.004, 0.5])
        commands = [command for _, _, command in wishes]
        outcomes, sequence = await ask(self._world, event_id, commands, patience)
        answered_at = self._world.now()
        for (key, customer, command), outcome in zip(wishes, outcomes, strict=True):
            call = _call(key, customer, command, asked_at, answered_at, outcome, sequence)
            self._world.calls[event_id].append(call)

    def _size(self) -> int:
        return self._rng.choice([1, 1, 1, 2, 4])

    def _wish(self, event_id: str) -> tuple[str, str, Command]:
        asked = self._world.asked[event_id]
        choice = self._rng.random()
        if choice < 0.5 or not asked:
            return self._new_hold(event_id)
        key, earlier = self._rng.choice(asked)
        if choice < 0.6:
            return key, earlier.customer, earlier
        if choice < 0.63:
            return key, earlier.customer, self._hold(earlier.booking_id, earlier.customer)
        if choice < 0.85:
            caller = Caller(earlier.customer)
            return key, earlier.customer, ReleaseHold(earlier.booking_id, caller)
        customer = earlier.customer if choice < 0.98 else "a stranger"
        return key, customer, ReadBooking(earlier.booking_id, Caller(customer))

    def _new_hold(self, event_id: str) -> tuple[str, str, Command]:
        customer = self._rng.choice(_CUSTOMERS)
        key = str(next(self._world.keys))
        command = self._hold(ids.booking_id(KEY, event_id, customer, key), customer)
        self._world.asked[event_id].append((key, command))
        return key, customer, command

    def _hold(self, booking_id: str, customer: str) -> PlaceHold:
        codes = self._rng.choice([["ga"], ["ga"], ["vip"], ["ga", "vip"], ["crew"]])
        items = tuple(Item(code, self._rng.randint(1, 4)) for code in codes)
        return PlaceHold(booking_id, customer, items)


async def look_on(world: World) -> None:
    """Read bookings from one process for as long as it lives, whether it was replaced or not."""
    while True:
        await asyncio.sleep(world.rng.expovariate(1.0))
        living = world.living()
        if not living:
            continue
        process = world.rng.choice(living)
        while process.alive:
            await asyncio.sleep(world.rng.expovariate(5.0))
            asked = world.asked[process.event_id]
            if asked:
                key, hold = world.rng.choice(asked)
                await _look_at(world, process, key, hold)


async def _look_at(world: World, process: Process, key: str, hold: PlaceHold) -> None:
    command = ReadBooking(hold.booking_id, Caller(hold.customer))
    asked_at = world.now()
    try:
        reply = await world.submit_to(process, encode_batch([Envelope(5_000, command)]))
    except OwnerGone:
        return
    if isinstance(reply, Answers):
        (outcome,), counts = reply.outcomes, reply.availability
        sequence = None if counts is None else counts.sequence
        call = _call(key, hold.customer, command, asked_at, world.now(), outcome, sequence)
        world.calls[process.event_id].append(call)


def _call(
    key: str,
    customer: str,
    command: Command,
    asked_at: float,
    answered_at: float,
    outcome: Outcome | None,
    sequence: int | None,
) -> Call:
    assert isinstance(command, PlaceHold | ReleaseHold | ReadBooking)
    what = {PlaceHold: HOLD, ReleaseHold: RELEASE, ReadBooking: READ}[type(command)]
    items = command.items if isinstance(command, PlaceHold) else ()
    return Call(
        what,
        customer,
        asked_at,
        answered_at,
        {Granted: GRANTED, Shown: GRANTED, Refused: REFUSED}.get(type(outcome), UNKNOWN),
        key,
        tuple((item.ticket_type, item.quantity) for item in items),
        command.booking_id,
        Seen.of(outcome.booking) if isinstance(outcome, Granted | Shown) else None,
        outcome.code if isinstance(outcome, Refused) else None,
        sequence if outcome is not None else None,
        replayed=isinstance(outcome, Granted) and outcome.replayed,
    )


class Organizer:
    """Puts the events on sale, and cannot leave them alone."""

    def __init__(self, world: World, changes: int) -> None:
        self._world = world
        self._rng = world.rng
        self._changes = changes

    async def put_on_sale(self) -> None:
        for event_id in self._world.events:
            await self._insist(event_id, CreateEvent(self._event(event_id)))

    async def meddle(self) -> None:
        for _ in range(self._changes):
            await asyncio.sleep(self._rng.expovariate(0.3))
            event_id = self._rng.choice(self._world.events)
            if self._rng.random() < 0.3:
                await self._insist(event_id, PauseSale(_ORGANIZER))
                await asyncio.sleep(self._rng.uniform(0.0, 1.0))
                await self._insist(event_id, ResumeSale(_ORGANIZER))
            else:
                capacity = self._rng.choice([0, 5, 10, 20, 40])
                changes = Changes(capacities={self._rng.choice(["ga", "vip"]): capacity})
                await self._insist(event_id, AmendEvent(_ORGANIZER, changes))

    async def touch(self) -> None:
        """See that every event answers; an owner starts where there is none."""
        for event_id in self._world.events:
            outcomes, _ = await ask(self._world, event_id, [ReadAvailability()], 10.0)
            answered = outcomes != [None] or event_id in self._world.halted
            assert answered, f"{event_id} does not answer though nothing is wrong"

    async def _insist(self, event_id: str, command: Command) -> None:
        outcomes: list[Outcome | None] = [None]
        while outcomes == [None] and event_id not in self._world.halted:
            outcomes, _ = await ask(self._world, event_id, [command], 60.0)

    def _event(self, event_id: str) -> Event:
        kinds = (("ga", "ga", 4), ("crew", "ga", 2), ("vip", "vip", 4))
        return Event(
            event_id,
            "acme",
            "Night of Strings",
            EPOCH_MS + 30 * 86_400_000,
            "EUR",
            tuple(TicketType(code, code, 4_500, stock, most) for code, stock, most in kinds),
            (
                Allotment("ga", self._rng.choice([4, 15, 40])),
                Allotment("vip", self._rng.choice([0, 2, 10])),
            ),
            self._rng.choice([2_000, 6_000, 15_000]),
            max_per_customer=self._rng.choice([None, 6]),
        )
