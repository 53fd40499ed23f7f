"""An event owner in a process of its own, started by hand: no Ray, and no gateway before it.

`python -m tests.end_to_end.hand_owner` reads a `Spec` from its standard input and serves
the other end of a socket. `tests.end_to_end.by_hand` is that other end.
"""

import asyncio
import os
import secrets
import signal
import socket
import struct
import sys
import time
from enum import StrEnum

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from actors import owner as owner_module
from actors.clock import TurnClock
from actors.group_commit import commit
from actors.intake import Waiting
from actors.owner import EventOwner, Phase
from actors.process import configure_logging, process_started
from actors.turn import Turn
from actors.wire import encode_facts, encode_reply
from engine.journal.connect import connect
from engine.journal.contract import Fenced
from engine.journal.entry import Entry, Position
from engine.journal.redis import RedisJournal

#: Of a frame: how many bytes follow.
LENGTH = struct.Struct(">I")


class Moment(StrEnum):
    """When the process kills itself: kill -9, at exactly this point."""

    BEFORE_APPEND = "before the append"
    AFTER_APPEND = "after the append"
    AFTER_ANSWER = "after the answer"


class Bug(StrEnum):
    """An error that is planted, to see that it would be found."""

    ANSWER_BEFORE_APPEND = "answers before it appends"
    NO_FENCE = "does not stop when it was fenced"


class Spec(Struct):
    """What is different about this owner.

    `dies_at_append` counts appends from 1; its machine's clock is wrong by `clock_seconds`.
    """

    socket_fd: int
    redis_url: str
    event_id: str
    idle_seconds: float = 300.0
    dies: Moment | None = None
    dies_at_append: int = 0
    bug: Bug | None = None
    snapshot_records_min: int | None = None
    clock_seconds: int = 0


class Ask(Struct, array_like=True):
    """One question over the socket."""

    number: int
    method: str
    argument: bytes = b""


class Told(Struct, array_like=True):
    """One answer over the socket."""

    number: int
    answer: bytes | None


class MortalJournal(RedisJournal):
    """Ends the process where the spec says."""

    spec: Spec
    appends = 0

    def dies_now(self, moment: Moment) -> bool:
        return self.spec.dies is moment and self.appends == self.spec.dies_at_append

    async def append(self, entry: Entry, after: Position) -> None:
        self.appends += 1
        if self.dies_now(Moment.BEFORE_APPEND):
            die()
        await super().append(entry, after)
        if self.dies_now(Moment.AFTER_APPEND):
            die()


class UnfencedJournal(MortalJournal):
    """Appends whoever owns the journal: behind whatever is there, in whosever name."""

    async def head(self) -> Position:
        """Never say that somebody else was there."""
        return self._own

    async def claim(self, nonce: bytes, at_ms: int, claimant: bytes = b"") -> Position:
        self._own = await super().head()
        self._own = await super().claim(nonce, at_ms, claimant)
        return self._own

    async def append(self, entry: Entry, after: Position) -> None:
        try:
            await super().append(entry, after)
        except Fenced as fenced:
            there: Position = fenced.args[1]
            sequence = max(there.sequence + 1, entry.sequence)
            await super().append(replace(entry, epoch=there.epoch, sequence=sequence), there)
        self._own = entry.position


class HastyOwner(EventOwner):
    """Answers before it appends."""

    async def _turn(self, batches: list[Waiting]) -> None:
        turn = Turn(batches, self._clock.now_ms())
        turn.run(self.state)
        turn.answer(self.state)
        await asyncio.sleep(0.05)  # time enough for the answer to get out
        if turn.records:
            entry = Entry(
                self._head.epoch,
                self.state.sequence,
                turn.now_ms,
                self._nonce,
                tuple(turn.records),
            )
            await commit(self._journal, entry, self._head)
            self._head = entry.position


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(phase: Phase) -> None:
    """End the process as `actors.processes` does."""
    os._exit(0 if phase is Phase.RESTING else 1)


class Line:
    """Serves the socket."""

    def __init__(
        self, owner: EventOwner, journal: MortalJournal, writer: asyncio.StreamWriter
    ) -> None:
        self._owner = owner
        self._journal = journal
        self._writer = writer
        self._answering: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        while True:
            size = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
            ask = msgspec.msgpack.decode(await reader.readexactly(size), type=Ask)
            task = asyncio.create_task(self._answer(ask))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, ask: Ask) -> None:
        told = msgspec.msgpack.encode(Told(ask.number, await self._ask(ask)))
        self._writer.write(LENGTH.pack(len(told)) + told)
        await self._writer.drain()
        if self._journal.dies_now(Moment.AFTER_ANSWER):
            die()

    async def _ask(self, ask: Ask) -> bytes | None:
        if ask.method == "submit":
            return encode_reply(await self._owner.submit(ask.argument))
        if ask.method == "health":
            return encode_reply(self._owner.health())
        assert ask.method == "live_facts"
        facts = await self._owner.live_facts()
        return None if facts is None else encode_facts(facts)


async def main(spec: Spec) -> None:
    configure_logging()
    if spec.snapshot_records_min is not None:
        owner_module.SNAPSHOT_RECORDS_MIN = spec.snapshot_records_min
    journal_class = UnfencedJournal if spec.bug is Bug.NO_FENCE else MortalJournal
    owner_class = HastyOwner if spec.bug is Bug.ANSWER_BEFORE_APPEND else EventOwner
    journal = journal_class(connect(spec.redis_url), spec.event_id)
    journal.spec = spec
    owner = owner_class(
        journal,
        TurnClock(lambda: time.time_ns() + spec.clock_seconds * 1_000_000_000),
        secrets.token_bytes(8),
        leave,
        process_started=process_started(os.getpid()),
        idle_seconds=spec.idle_seconds,
    )
    owner.start()
    sock = socket.socket(fileno=spec.socket_fd)
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        await Line(owner, journal, writer).serve(reader)
    except (asyncio.IncompleteReadError, OSError):
        os._exit(0)  # nobody is there any more


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Spec)))
