"""What goes wrong in a simulation, and how it is made good again at its end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from actors.owner import Phase
from engine.domain.snapshot import SnapshotUnusable, restore
from engine.journal.contract import SnapshotTorn
from engine.journal.memory import Fault, MemoryJournal
from tests.contract.rigs import flip_bit
from tests.simulation.world import Process, World

#: Nobody would get anything done in a world where there is trouble for ever.
_TROUBLED_SECONDS = 60.0


class Troubles:
    """Every few moments one of the troubles that this seed has chosen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng
        every: list[Callable[[], Awaitable[None]]] = [
            self.lose_requests,
            self.lose_replies,
            self.go_away,
            self.kill,
            self.kill_during_an_append,
            self.start_a_second,
            self.cut_off,
            self.cut_off_during_an_append,
            self.set_clocks_back,
            self.damage_a_snapshot,
        ]
        # Some seeds see little of everything, others much of one thing.
        self.chosen = self._rng.sample(every, self._rng.randint(2, len(every)))
        self._every_seconds = self._rng.choice([0.2, 1.0, 3.0])

    async def make(self) -> None:
        """Make trouble for a while, or until cancelled."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_TROUBLED_SECONDS):
                while True:
                    await asyncio.sleep(self._rng.expovariate(1 / self._every_seconds))
                    await self._rng.choice(self.chosen)()
        self.heal()

    def heal(self) -> None:
        """Have nothing go wrong any more; what has gone wrong stays so."""
        self._world.store.away = False
        self._world.store.faults.clear()
        for process in self._world.processes:
            process.journal.cut = False

    async def lose_requests(self) -> None:
        self._world.store.faults.extend([Fault.REQUEST_LOST] * self._rng.randint(1, 3))

    async def lose_replies(self) -> None:
        self._world.store.faults.extend([Fault.REPLY_LOST] * self._rng.randint(1, 3))

    async def go_away(self) -> None:
        if self._rng.random() < 0.5:
            self._world.store.faults.append(Fault.AWAY)
        else:
            self._world.store.away = True
        await asyncio.sleep(self._rng.choice([0.1, 2.0, 12.0]))
        self._world.store.away = False

    async def kill(self) -> None:
        living = self._world.living()
        if living:
            process = self._rng.choice(living)
            await process.kill()
            if self._rng.random() < 0.7:  # Ray notices; else the next buyer does
                await self._world.serving(process.event_id)

    async def kill_during_an_append(self) -> None:
        """Kill an owner that has written and has told nobody."""
        process = await self._writer()
        if process is not None:
            await process.kill()

    async def start_a_second(self) -> None:
        living = self._world.living()
        if living:
            await self._world.start(self._rng.choice(living).event_id)

    async def cut_off(self) -> None:
        living = self._world.living()
        if living:
            await self._cut_off(self._rng.choice(living))

    async def cut_off_during_an_append(self) -> None:
        """Cut an owner off from the answer to what it has written."""
        process = await self._writer()
        if process is not None:
            await self._cut_off(process)

    async def _cut_off(self, process: Process) -> None:
        """Cut an owner off from the store; others cannot know, and start another."""
        process.journal.cut = True
        await asyncio.sleep(self._rng.choice([0.1, 1.5]))
        await self._world.start(process.event_id)
        await asyncio.sleep(self._rng.choice([0.1, 1.5, 4.0]))
        process.journal.cut = False

    async def _writer(self) -> Process | None:
        """Wait for the next entry and return who wrote it, before the answer has arrived."""
        event_id = self._rng.choice(self._world.events)
        writer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._world.archive(event_id).curious.append(writer)
        with suppress(TimeoutError):
            nonce = await asyncio.wait_for(writer, 1.0)
            for process in self._world.living(event_id):
                if process.owner._nonce == nonce:
                    return process
        return None

    async def set_clocks_back(self) -> None:
        """Set every wall clock back. Not while an owner starts that has looked at its own.

        Of two owners whose machines disagree, the second may end a hold of the first early:
        nothing but the journal's last instant tells it what the first took for the time.
        """
        if any(process.owner.phase is Phase.RECOVERING for process in self._world.living()):
            return
        self._world.clocks_behind_ms += self._rng.choice([1, 900, 600_000, 3_600_000])

    async def damage_a_snapshot(self) -> None:
        """Flip a bit in the newest snapshot, if the previous one is there to fall back to."""
        store, event_id = self._world.store, self._rng.choice(self._world.events)
        if store.away:
            return
        journal = MemoryJournal(store, event_id)
        refs = await journal.snapshots()
        for ref in refs[1:]:
            try:
                restore(await journal.read_snapshot(ref))
            except (SnapshotTorn, SnapshotUnusable):
                return
        if len(refs) > 1:
            self._world.damaged.add(event_id)
            slices = store.slices[refs[0].key]
            index = self._rng.randrange(len(slices))
            slices[index] = flip_bit(slices[index], self._rng.randrange(8 * len(slices[index])))
