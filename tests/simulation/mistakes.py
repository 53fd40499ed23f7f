"""Mistakes to be planted in the product: each must be found, or a simulation proves nothing."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from actors import owner as owner_module
from actors.clock import TurnClock
from actors.owner import EventOwner
from actors.recovery import Recovered, rebuild
from actors.turn import Turn
from engine.domain import decide as decide_module
from engine.domain import holds
from engine.domain.apply import finish_entry
from engine.domain.commands import PlaceHold
from engine.domain.decision import Decision
from engine.domain.state import EventState
from engine.journal.contract import InDoubt, Journal, Unavailable
from engine.journal.entry import Entry, Position, encode_entry
from engine.journal.memory import MemoryJournal


def answer_before_append(patch: pytest.MonkeyPatch) -> None:
    """Buyers are told before the entry is durable."""
    run = Turn.run

    def hasty(turn: Turn, state: EventState) -> None:
        run(turn, state)
        turn.answer(state)

    patch.setattr(Turn, "run", hasty)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """The journal takes every append, whoever owns it by now."""

    def take(journal: MemoryJournal, entry: Entry, _after: Position, _claimant: bytes) -> None:
        if entry.position not in journal._entries:
            journal._entries[entry.position] = encode_entry(entry)

    patch.setattr(MemoryJournal, "_take", take)


def no_dedupe(patch: pytest.MonkeyPatch) -> None:
    """A retry is taken for a new request."""

    class Forgetful:
        def __init__(self, state: EventState) -> None:
            self.bookings: dict[str, Any] = {}
            self._state = state

        def __getattr__(self, name: str) -> Any:
            return getattr(self._state, name)

    def place(state: Any, command: PlaceHold, now_ms: int) -> Decision:
        return holds.place(Forgetful(state), command, now_ms)

    patch.setitem(decide_module._DECIDE, PlaceHold, place)


def no_proof_for_reads(patch: pytest.MonkeyPatch) -> None:
    """A replaced owner goes on answering reads and refusals from what it knew."""

    async def trust(_owner: EventOwner) -> None:
        return

    patch.setattr(EventOwner, "_prove_fence", trust)


def believe_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    """A new owner starts at its machine's time, wherever the journal has arrived."""
    patch.setattr(TurnClock, "not_before", lambda *_: None)


def first_come_first_served(patch: pytest.MonkeyPatch) -> None:
    """Stock comes back behind holds of the same turn that were refused for want of it."""

    def run(turn: Turn, state: EventState) -> None:
        for waiting, outcomes in turn._outcomes:
            for index, envelope in enumerate(waiting.envelopes):
                outcomes[index] = turn._decide(state, envelope.command)
        turn._expire(state)
        if turn.records:
            finish_entry(state, state.sequence + 1, turn.now_ms)

    patch.setattr(Turn, "run", run)


def read_before_claiming(patch: pytest.MonkeyPatch) -> None:
    """The tail is read before the old owner is kept from writing more of it."""

    async def take_over(journal: Journal, nonce: bytes, now_ms: int, claimant: bytes) -> Recovered:
        recovered = await rebuild(journal)
        claim = await journal.claim(nonce, now_ms, claimant)
        recovered.head = Position(claim.epoch, 0)
        return recovered

    patch.setattr(owner_module, "take_over", take_over)


def append_again(patch: pytest.MonkeyPatch) -> None:
    """An append that was not answered is sent once more, under an id of its own."""

    async def commit(journal: Journal, entry: Entry, after: Position) -> None:
        while True:
            try:
                return await journal.append(entry, after)
            except InDoubt:
                await asyncio.sleep(0.1)
            with suppress(Unavailable):
                after = await journal.head()
                entry = replace(entry, sequence=after.sequence + 1)

    patch.setattr(owner_module, "commit", commit)
