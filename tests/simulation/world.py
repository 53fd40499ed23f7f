"""The world of a simulation: one store, and owners that are started, killed and doubled.

It stands in for Ray and the gateway: owners start on first touch, a killed one starts
again, and calls to a dead one end in `OwnerGone`.
"""

import asyncio
from collections import defaultdict
from contextlib import suppress
from itertools import count
from random import Random

from actors.audit import audit
from actors.clock import TurnClock
from actors.contract import OwnerGone
from actors.owner import EventOwner, Phase
from actors.wire import Reply
from engine.domain.commands import PlaceHold
from engine.domain.ids import event_id as make_event_id
from engine.journal.contract import Unavailable
from engine.journal.memory import MemoryStore
from tests.calls import Call
from tests.simulation.far_journal import Archive, FarJournal
from tests.virtual_time import VirtualClocks

KEY = b"the key of the simulation"
#: Ray takes this long to start an owner, seconds.
_START_SECONDS = (0.05, 0.8)
#: From a gateway to an owner and back, seconds each.
_CALL_SECONDS = (0.0001, 0.004)


class Process:
    """An owner in a process of its own, which may end at any moment."""

    def __init__(self, world: "World", event_id: str) -> None:
        rng = world.rng
        self.event_id = event_id
        self.alive = True
        self.journal = FarJournal(world.store, event_id, rng)
        self._leaving: asyncio.Task[None] | None = None
        #: In order, so that everybody hears of the end in the same order every time.
        self._pending: dict[asyncio.Future[Reply], None] = {}
        self.owner = EventOwner(
            self.journal,
            TurnClock(world.wall_ns, VirtualClocks.monotonic_ns),
            rng.randbytes(8),
            self._leave,
            idle_seconds=world.idle_seconds,
        )
        self.owner.start()

    async def submit(self, batch: bytes) -> Reply:
        """Send a batch; raises OwnerGone when the process ends before it has answered."""
        if not self.alive:
            raise OwnerGone("no such process")
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[reply] = None
        deciding = asyncio.create_task(self.owner.submit(batch))
        deciding.add_done_callback(lambda task: self._answer(reply, task))
        try:
            return await reply
        finally:
            self._pending.pop(reply, None)

    async def kill(self) -> None:
        """End the process where it stands: nobody hears of it again."""
        self._end()
        await self.owner.stop()

    def _answer(self, reply: asyncio.Future[Reply], task: asyncio.Task[Reply]) -> None:
        if not task.cancelled() and not reply.done():
            reply.set_result(task.result())

    def _leave(self, _phase: Phase) -> None:
        # What was answered before is on its way; whoever asks now finds nobody.
        self._leaving = asyncio.create_task(self.kill())

    def _end(self) -> None:
        self.alive = False
        for reply in self._pending:
            if not reply.done():
                reply.set_exception(OwnerGone("the process has ended"))


class World:
    """Everything of one simulation; the same seed gives the same world to the last byte."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.store = MemoryStore()
        self.events = [
            make_event_id(KEY, "acme", str(number)) for number in range(self.rng.randint(1, 2))
        ]
        for event_id in self.events:
            self.store.entries[event_id] = Archive()
        self.idle_seconds = self.rng.choice([1.0, 4.0, 300.0])
        #: Share of the batches that go to any living owner, be it a replaced one.
        self.astray = self.rng.choice([0.0, 0.05, 0.5])
        self.clocks_behind_ms = 0
        self.keys = count()
        #: Every hold that was ever asked for, with its key.
        self.asked: dict[str, list[tuple[str, PlaceHold]]] = defaultdict(list)
        #: Events of which a snapshot was damaged.
        self.damaged: set[str] = set()
        #: Events that an owner has given up, and why.
        self.halted: dict[str, str] = {}
        self.calls: dict[str, list[Call]] = defaultdict(list)
        self.digests: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self.processes: list[Process] = []
        self._serving: dict[str, Process] = {}
        self._starting: dict[str, asyncio.Task[Process]] = {}

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def wall_ns(self) -> int:
        """Return what the wall clocks of all machines show."""
        return VirtualClocks.time_ns() - self.clocks_behind_ms * 1_000_000

    def archive(self, event_id: str) -> Archive:
        archive = self.store.entries[event_id]
        assert isinstance(archive, Archive)
        return archive

    def living(self, event_id: str | None = None) -> list[Process]:
        return [
            process
            for process in self.processes
            if process.alive and event_id in (None, process.event_id)
        ]

    async def submit(self, event_id: str, batch: bytes) -> Reply:
        """Bring a batch to an owner of the event, now and then to one that was replaced."""
        living = self.living(event_id)
        if len(living) > 1 and self.rng.random() < self.astray:
            process = self.rng.choice(living)
        else:
            process = await self.serving(event_id)
        return await self.submit_to(process, batch)

    async def submit_to(self, process: Process, batch: bytes) -> Reply:
        """Bring a batch to this very process, as a gateway with an old handle does."""
        await asyncio.sleep(self.rng.uniform(*_CALL_SECONDS))
        reply = await process.submit(batch)
        await asyncio.sleep(self.rng.uniform(*_CALL_SECONDS))
        return reply

    async def serving(self, event_id: str) -> Process:
        """Return the process that the event's name stands for, started if need be."""
        process = self._serving.get(event_id)
        if process is not None and process.alive:
            return process
        if event_id not in self._starting:
            self._starting[event_id] = asyncio.create_task(self.start(event_id))
        return await asyncio.shield(self._starting[event_id])

    async def start(self, event_id: str) -> Process:
        """Start an owner; from now on the event's name stands for it."""
        await asyncio.sleep(self.rng.uniform(*_START_SECONDS))
        process = Process(self, event_id)
        self.processes.append(process)
        self._serving[event_id] = process
        self._starting.pop(event_id, None)
        return process

    async def look(self, process: Process) -> None:
        """Note the digest of what a process knows, to be compared with the journal's (I4)."""
        facts = await process.owner.live_facts()
        if facts is None or facts.availability is None:
            return
        assert facts.availability.sequence == facts.sequence, "facts of two moments"
        self.digests[process.event_id].append((facts.sequence, facts.digest))

    async def audit(self, process: Process) -> None:
        """Assert that the product's own audit finds nothing to complain of."""
        facts = await process.owner.live_facts()
        if facts is None or self.store.away:
            return
        journal = FarJournal(self.store, process.event_id, self.rng)
        with suppress(Unavailable):
            report = await audit(journal, facts)
            # A snapshot that was damaged is worth a complaint.
            assert report["agree"] or process.event_id in self.damaged, report["violations"]
