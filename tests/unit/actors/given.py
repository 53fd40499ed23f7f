"""What the tests of the actors begin with: a store, and owners that come and go over it."""

import asyncio
from collections.abc import Callable
from itertools import count

from actors.clock import TurnClock
from actors.intake import Waiting
from actors.measures import Meter
from actors.owner import EventOwner, Phase
from actors.recovery import replay_entry
from actors.wire import Answers, Envelope, Reply, encode_batch
from engine.domain.booking import Booking
from engine.domain.commands import Caller, Command, CreateEvent, ReadBooking
from engine.domain.outcomes import Granted, Outcome, Shown
from engine.domain.snapshot import digest
from engine.domain.state import EventState
from engine.journal.entry import START, Entry, Position
from engine.journal.memory import MemoryJournal, MemoryStore
from tests.unit.engine.domain.given import EVENT_ID, an_event, booking_id, hold
from tests.virtual_time import VirtualClocks

BUDGET_MS = 5_000


def clock(behind_ms: int = 0) -> TurnClock:
    """Return an owner's clock on a machine whose wall clock is so far behind."""
    return TurnClock(
        lambda: VirtualClocks.time_ns() - behind_ms * 1_000_000, VirtualClocks.monotonic_ns
    )


def envelopes(*commands: Command, budget_ms: int = BUDGET_MS) -> list[Envelope]:
    return [Envelope(budget_ms, command) for command in commands]


class Batch(Waiting):
    """A batch as it stands in the inbox, and what it was `told`."""

    def __init__(self, batch: list[Envelope]) -> None:
        self.told: list[Reply] = []
        super().__init__(batch, self.told.append)

    @property
    def reply(self) -> Reply:
        (reply,) = self.told
        return reply


def waiting(*commands: Command, budget_ms: int = BUDGET_MS) -> Batch:
    """Return a batch as it stands in the inbox."""
    return Batch(envelopes(*commands, budget_ms=budget_ms))


def submitted(
    owner: EventOwner, *commands: Command, budget_ms: int = BUDGET_MS
) -> asyncio.Task[Reply]:
    """Send a batch and return the task that waits for its reply."""
    batch = encode_batch(envelopes(*commands, budget_ms=budget_ms))
    return asyncio.create_task(owner.submit(batch))


async def outcomes(owner: EventOwner, *commands: Command) -> list[Outcome | None]:
    """Return the outcomes of a batch that the test needs to be decided."""
    reply = await submitted(owner, *commands)
    assert isinstance(reply, Answers), f"the test wanted answers, but: {reply}"
    return reply.outcomes


async def held(owner: EventOwner, customer: str, key: str = "1", **quantities: int) -> Booking:
    """Place a hold that the test needs to be granted."""
    (outcome,) = await outcomes(owner, hold(customer, key=key, **quantities))
    assert isinstance(outcome, Granted), f"the test wanted this hold, but: {outcome}"
    return outcome.booking


def read(customer: str, key: str = "1") -> ReadBooking:
    return ReadBooking(booking_id(customer, key), Caller(customer))


async def shown(owner: EventOwner, customer: str, key: str = "1") -> Booking:
    """Read a booking that the test needs to be there."""
    (outcome,) = await outcomes(owner, read(customer, key))
    assert isinstance(outcome, Shown), f"the test wanted to see this booking, but: {outcome}"
    return outcome.booking


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as it is so; where it never is, the loop's life ends."""
    pause = 0.001
    while not condition():
        await asyncio.sleep(pause)
        pause = min(1.01 * pause, 0.25)


class GatedJournal(MemoryJournal):
    """Holds appends before they are written or before they are answered, as the test says."""

    def __init__(self, store: MemoryStore, event_id: str) -> None:
        super().__init__(store, event_id)
        self.appends = 0
        self.before, self.after = asyncio.Event(), asyncio.Event()
        self.before.set()
        self.after.set()

    async def append(self, entry: Entry, after: Position) -> None:
        self.appends += 1
        await self.before.wait()
        await super().append(entry, after)
        await self.after.wait()


class Stage:
    """One store, and the owners of one event over it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.left: list[tuple[EventOwner, Phase]] = []
        self._owners: list[EventOwner] = []
        self._nonces = count(1)

    def journal(self, event_id: str = EVENT_ID) -> MemoryJournal:
        return MemoryJournal(self.store, event_id)

    def owner(
        self,
        journal: MemoryJournal | None = None,
        *,
        behind_ms: int = 0,
        idle_seconds: float = 300.0,
        node: str = "n1",
        meter: Meter | None = None,
    ) -> EventOwner:
        """Return an owner that has not begun to live."""
        owner = EventOwner(
            journal or self.journal(),
            clock(behind_ms),
            next(self._nonces).to_bytes(8, "big"),
            lambda phase: self.left.append((owner, phase)),
            meter=meter,
            node=node,
            idle_seconds=idle_seconds,
        )
        self._owners.append(owner)
        return owner

    async def serving(self, journal: MemoryJournal | None = None, **options) -> EventOwner:
        """Return an owner that serves."""
        owner = self.owner(journal, **options)
        owner.start()
        await until(lambda: owner.phase is Phase.SERVING)
        return owner

    async def on_sale(
        self, journal: MemoryJournal | None = None, *, idle_seconds: float = 300.0, **event
    ) -> EventOwner:
        """Return an owner that serves, with its event on record."""
        owner = await self.serving(journal, idle_seconds=idle_seconds)
        await outcomes(owner, CreateEvent(an_event(**event)))
        return owner

    async def entries(self, event_id: str = EVENT_ID) -> list[Entry]:
        """Return every entry that the journal still holds, claims left out."""
        first = min(self.store.entries[event_id])
        after = first._replace(sequence=first.sequence - 1) if first.sequence else START
        return [entry async for entry in self.journal(event_id).replay(after)]

    async def replayed(self) -> EventState:
        """Return the state that the whole journal gives, without any snapshot."""
        state = EventState()
        async for entry in self.journal().replay(START):
            replay_entry(state, entry)
        return state

    async def assert_agrees(self, owner: EventOwner) -> None:
        """Assert I4: what lives is what the journal says."""
        facts = await owner.live_facts()
        assert facts is not None, "the owner does not serve"
        replayed = await self.replayed()
        assert (facts.sequence, facts.digest) == (replayed.sequence, digest(replayed))

    async def crash(self, owner: EventOwner) -> None:
        """End an owner where it stands."""
        await owner.stop()

    async def strike(self) -> None:
        for owner in self._owners:
            await owner.stop()
