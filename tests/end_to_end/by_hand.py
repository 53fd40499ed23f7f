"""Owners that a test starts by hand, each in a process of its own, and who asks them."""

import asyncio
import itertools
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

from actors.audit import audit
from actors.wire import (
    Answers,
    Envelope,
    Health,
    LiveFacts,
    Recovering,
    Reply,
    decode_facts,
    decode_health,
    decode_reply,
    encode_batch,
)
from engine.domain.commands import Command, CreateEvent
from engine.journal.entry import Entry, Position
from engine.journal.redis import RedisJournal
from tests import samples
from tests.calls import READ, RELEASE, Call
from tests.end_to_end.asked import Asked, hold_of
from tests.end_to_end.hand_owner import LENGTH, Ask, Spec, Told
from tests.end_to_end.service import ROOT
from tests.end_to_end.verify import check, journalled
from tests.history import STALE_SECONDS, Verdict

#: A process needs half a second to begin, and several times that on a busy machine.
_PATIENCE_SECONDS = 30.0
_DAY_MS = 86_400_000


class Gone(Exception):
    """The owner ended without an answer to this."""


class HandOwner:
    """One owner, as a gateway would see it."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, log: Path) -> None:
        self.process = process
        self._sock = sock
        self._log = log
        self._asked: dict[int, asyncio.Future[bytes | None]] = {}
        self._numbers = itertools.count(1)
        self._listening: asyncio.Task[None] | None = None

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    # -- what is asked -------------------------------------------------------------

    async def submit(self, *commands: Command, budget_ms: int = 5_000) -> Reply:
        """Send a batch. Raises Gone."""
        batch = encode_batch([Envelope(budget_ms, command) for command in commands])
        answer = await self._ask("submit", batch)
        assert answer is not None
        return decode_reply(answer)

    async def answers(self, *commands: Command) -> Answers:
        """Send a batch until it is answered. Raises Gone."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                reply = await self.submit(*commands)
                if not isinstance(reply, Recovering):
                    assert isinstance(reply, Answers), reply
                    return reply
                await asyncio.sleep(0.02)

    async def health(self) -> Health:
        """Ask how it is. Raises Gone."""
        answer = await self._ask("health")
        assert answer is not None
        return decode_health(answer)

    async def live_facts(self) -> LiveFacts:
        """Ask for its whole state, as soon as it serves. Raises Gone."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                answer = await self._ask("live_facts")
                if answer is not None:
                    return decode_facts(answer)
                await asyncio.sleep(0.02)

    async def in_phase(self, phase: str) -> Health:
        """Return its health once it is in this phase. Raises Gone."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                health = await self.health()
                if health.phase == phase:
                    return health
                await asyncio.sleep(0.02)

    # -- what is done to it --------------------------------------------------------

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def ended(self) -> int:
        """Return the status with which it ends: minus the signal, where one ended it."""
        return await asyncio.to_thread(self.process.wait, _PATIENCE_SECONDS)

    # -- the line ------------------------------------------------------------------

    async def connect(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=self._sock)
        self._listening = asyncio.create_task(self._listen())

    async def hang_up(self) -> None:
        assert self._listening is not None
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._writer.transport.abort()

    async def _ask(self, method: str, argument: bytes = b"") -> bytes | None:
        assert self._listening is not None
        if self._listening.done():
            raise Gone
        ask = Ask(next(self._numbers), method, argument)
        answer = self._asked[ask.number] = asyncio.get_running_loop().create_future()
        data = msgspec.msgpack.encode(ask)
        self._writer.write(LENGTH.pack(len(data)) + data)
        return await answer

    async def _listen(self) -> None:
        try:
            while True:
                size = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))[0]
                told = msgspec.msgpack.decode(await self._reader.readexactly(size), type=Told)
                asked = self._asked.pop(told.number)
                if not asked.done():
                    asked.set_result(told.answer)
        except (asyncio.IncompleteReadError, OSError):
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(Gone())


class HandEvent:
    """One event whose owners are started by hand; `calls` is what its buyers did.

    Everything that it has started ends with `close`.
    """

    def __init__(
        self, directory: Path, redis_url: str, client: Redis, event_id: str = samples.EVENT_ID
    ) -> None:
        self.event_id = event_id
        self.journal = RedisJournal(client, event_id)
        self.calls: list[Call] = []
        self._directory = directory
        self._redis_url = redis_url
        self.client = client
        self._seen: dict[Position, Entry] = {}
        self._owners: list[HandOwner] = []

    async def start_owner(self, **different: Any) -> HandOwner:
        """Start an owner; see `Spec` for what may be different about it."""
        ours, theirs = socket.socketpair()
        log = self._directory / f"owner-{len(self._owners)}.log"
        different.setdefault("redis_url", self._redis_url)
        spec = Spec(theirs.fileno(), event_id=self.event_id, **different)
        owner = HandOwner(_run(spec, log), ours, log)
        theirs.close()
        self._owners.append(owner)
        await owner.connect()
        return owner

    async def on_sale(
        self, capacity: int = 100, *, hold_ttl_seconds: int = 600, **different: Any
    ) -> HandOwner:
        """Start an owner and put the event on record; that is the first append."""
        owner = await self.start_owner(**different)
        now_ms = time.time_ns() // 1_000_000
        event = samples.event(
            self.event_id,
            starts_at_ms=now_ms + 30 * _DAY_MS,
            max_per_customer=None,
            ticket_types=(samples.event().ticket_types[0],),
            allotments=(samples.Allotment("ga", capacity),),
            hold_ttl_ms=hold_ttl_seconds * 1_000,
        )
        await owner.answers(CreateEvent(event))
        return owner

    def hold(self, customer: str, key: str = "1", quantity: int = 1) -> Asked:
        return hold_of(self.event_id, customer, key, (("ga", quantity),))

    def release(self, customer: str, key: str = "1") -> Asked:
        return Asked(RELEASE, customer, self.hold(customer, key).booking_id)

    def read(self, customer: str, key: str = "1") -> Asked:
        return Asked(READ, customer, self.hold(customer, key).booking_id)

    async def ask(self, owner: HandOwner, *asked: Asked) -> list[Call]:
        """Send one batch and note what came of it."""
        asked_at = time.monotonic()
        try:
            reply = await owner.submit(*(one.command for one in asked))
        except Gone:
            calls = [one.unanswered(asked_at, time.monotonic()) for one in asked]
        else:
            now = time.monotonic()
            calls = [one.told(asked_at, now, reply, place) for place, one in enumerate(asked)]
        self.calls += calls
        return calls

    async def proofs_are_old(self) -> None:
        """Return when no owner may still rely on having been the only one."""
        await asyncio.sleep(STALE_SECONDS + 0.1)

    async def entries(self) -> list[Entry]:
        """Return everything that the journal holds or has held when it was read before."""
        for entry in await journalled(self.client, self.event_id):
            self._seen[entry.position] = entry
        return [self._seen[position] for position in sorted(self._seen)]

    async def verify(self, owner: HandOwner) -> Verdict:
        """Check the history and the journal, and what this owner knows against both.

        Raises:
            AssertionError: the audit does not agree.
            Violation: a promise is broken.
        """
        report = await audit(self.journal, await owner.live_facts())
        return check(self.calls, await self.entries(), report)

    async def close(self) -> None:
        for owner in self._owners:
            owner.kill()
            await owner.hang_up()


def _run(spec: Spec, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.hand_owner"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[spec.socket_fd],
            cwd=ROOT,
        )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(spec))
    process.stdin.close()
    return process
