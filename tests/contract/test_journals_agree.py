"""The journal in memory stands in for the one in Redis: random histories, the same answers.

A seed names its history; the failing test's id repeats it.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from engine.journal.contract import (
    EpochStray,
    Fenced,
    InDoubt,
    Journal,
    JournalLost,
    SequenceGap,
    SnapshotRef,
)
from engine.journal.entry import Entry, Position
from tests.contract.rigs import MemoryRig, RedisRig, replayed
from tests.samples import NOW_MS, expired, placed

STEPS = 40


class Refused(NamedTuple):
    kind: str
    args: tuple[object, ...]


class Owner:
    """One incarnation: where it believes the journal to end, and what it sent last."""

    def __init__(self, nonce: bytes, head: Position, sequence: int) -> None:
        self.nonce = nonce
        self.head = head
        self.sequence = sequence
        self.last: tuple[Entry, Position] | None = None


class Both:
    """Takes every step with both journals and compares what comes of it."""

    def __init__(self, seed: int, memory: MemoryRig, redis: RedisRig) -> None:
        self.chance = random.Random(seed)
        self.rigs = (memory, redis)
        self.owners: list[Owner] = []
        self.sequence = 0
        self.refused: set[str] = set()

    async def ask(self, step: Callable[[Journal], Awaitable[Any]]) -> Any:
        """Return what both answer; an exception is an answer."""
        answers = [await _answer(step, rig.journal()) for rig in self.rigs]
        assert answers[0] == answers[1]
        if isinstance(answers[0], Refused):
            self.refused.add(answers[0].kind)
        return answers[0]

    def lose(self) -> bool:
        """Have the next write go wrong, sometimes."""
        loss = self.chance.choice(["", "", "", "reply", "request"])
        for rig in self.rigs:
            if loss == "reply":
                rig.lose_reply()
            elif loss == "request":
                rig.lose_request()
        return bool(loss)

    async def claim(self) -> None:
        nonce = self.chance.randbytes(16)
        self.lose()
        answer = await self.ask(lambda journal: journal.claim(nonce, NOW_MS, b"by " + nonce))
        if isinstance(answer, Position):
            self.owners.append(Owner(nonce, answer, self.sequence))

    async def append(self) -> None:
        if not self.owners:
            return
        owner = self.chance.choice(self.owners[-2:])
        if owner.last is None or self.chance.random() < 0.8:
            position = Position(owner.head.epoch, owner.sequence + 1)
            records = (placed(position.sequence), expired(position.sequence))
            written = Entry(*position, NOW_MS, owner.nonce, records[: self.chance.randint(1, 2)])
            owner.last = written, owner.head
        entry, after = owner.last
        self.lose()
        answer = await self.ask(lambda journal: journal.append(entry, after))
        if answer is None and owner.sequence < entry.sequence:
            owner.head, owner.sequence = entry.position, entry.sequence
            self.sequence = max(self.sequence, entry.sequence)

    async def read(self) -> None:
        at = self.somewhere()
        await self.ask(lambda journal: journal.head())
        await self.ask(lambda journal: journal.read_back(at))
        await self.ask(lambda journal: replayed(journal, at))

    async def snapshot(self) -> None:
        at, nonce = self.somewhere(), self.chance.randbytes(2)
        slices = [self.chance.randbytes(9) for _ in range(self.chance.randint(0, 3))]
        unfinished = self.chance.random() < 0.2

        async def write(journal: Journal) -> list[Position]:
            key = await journal.begin_snapshot(at, nonce)
            for data in slices:
                await journal.write_slice(key, data)
            if not unfinished:
                await journal.finish_snapshot(SnapshotRef(*at, key, len(slices), ""))
            return [ref.position for ref in await journal.snapshots()]

        await self.ask(write)
        await self.ask(_snapshots)

    async def trim(self) -> None:
        await self.ask(lambda journal: journal.trim())

    async def rest(self) -> None:
        at = self.somewhere()
        await self.ask(lambda journal: journal.rest(at))

    def somewhere(self) -> Position:
        if self.owners and self.chance.random() < 0.7:
            return self.chance.choice(self.owners[-2:]).head
        return Position(self.chance.randint(0, 3), self.chance.randint(0, self.sequence + 1))

    async def compare(self) -> None:
        memory, redis = self.rigs
        assert await memory.effects() == await redis.effects()
        assert await memory.is_awake() == await redis.is_awake()
        assert await memory.claimant() == await redis.claimant()
        stored: list[dict[Position, bytes]] = []
        for rig in self.rigs:
            await rig.change_entries(lambda entries: stored.append(dict(entries)))
        assert stored[0] == stored[1]


async def _answer(step: Callable[[Journal], Awaitable[Any]], journal: Journal) -> Any:
    try:
        return await step(journal)
    except InDoubt:
        return Refused("InDoubt", ())  # what each of them says about it is its own
    except (Fenced, JournalLost, SequenceGap, EpochStray) as error:
        return Refused(type(error).__name__, error.args)


async def _snapshots(journal: Journal) -> list[list[bytes]]:
    return [await journal.read_snapshot(ref) for ref in await journal.snapshots()]


@pytest.mark.parametrize("seed", range(30))
async def test_both_journals_give_the_same_answers(seed: int, redis_rig: RedisRig) -> None:
    both = Both(seed, MemoryRig(), redis_rig)
    while not both.owners:
        await both.claim()
    steps = [both.claim, both.append, both.read, both.snapshot, both.trim, both.rest]
    for step in both.chance.choices(steps, weights=[2, 10, 2, 2, 1, 1], k=STEPS):
        await step()
    await both.compare()
    assert "InDoubt" in both.refused, "a history in which nothing goes wrong proves little"
