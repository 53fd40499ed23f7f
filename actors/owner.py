"""The event owner: the only writer of one event's inventory.

A plain class. `actors.processes` gives it a process as a Ray actor; tests run it as it is.
"""

import asyncio
import os
import time
from collections.abc import Callable
from enum import StrEnum

import structlog

from actors.clock import TurnClock
from actors.group_commit import Backoff, commit
from actors.intake import Intake, ReplyTo, Waiting
from actors.measures import Meter, Unmetered
from actors.recovery import take_over
from actors.snapshots import digest_slowly, write_snapshot
from actors.tally import Tally
from actors.turn import Turn
from actors.wire import (
    Halted,
    Health,
    LiveFacts,
    Overloaded,
    Recovering,
    Reply,
    decode_batch,
    encode_reply,
)
from engine.domain.snapshot import Capture, capture
from engine.domain.state import EventState
from engine.domain.views import Availability, availability
from engine.journal.contract import Fenced, Journal, JournalLost, Unavailable
from engine.journal.entry import Entry, Position
from engine.limits import (
    FENCE_CHECK_MS,
    IDLE_SECONDS,
    INBOX_COMMANDS_MAX,
    SNAPSHOT_RECORDS_MIN,
    TURN_COMMANDS_MAX,
    WARM_UP_SECONDS,
)

log = structlog.get_logger(__name__)

#: Longest sleep of an owner without work, seconds: it looks for a newer owner then.
_TICK_SECONDS = 5.0

#: How long it is waited for a task that was told to end, before it is told again, seconds.
_INSIST_SECONDS = 1.0

#: The state between two turns, and what is free in it.
_Picture = tuple[Capture, Availability | None]


class Phase(StrEnum):
    """Where an owner is in its life."""

    RECOVERING = "recovering"
    SERVING = "serving"
    RESTING = "resting"
    FENCED = "fenced"
    HALTED = "halted"


class EventOwner:
    """Decides about one event, turn by turn.

    Every turn gathers what has come in, decides and applies it, appends one entry to the
    journal, and answers when that is durable. While the append is under way the next
    turn gathers.

    Args:
        leave: called once the owner has nothing more to say: a newer one has taken over,
            or the event went to rest. It ends the process; in tests it takes note.
        meter: takes what is measured.
        process_started: start time of this process as the kernel counts it.
    """

    def __init__(  # noqa: PLR0913 - each differs between a cluster and a test
        self,
        journal: Journal,
        clock: TurnClock,
        nonce: bytes,
        leave: Callable[[Phase], None],
        *,
        meter: Meter | None = None,
        node: str = "",
        process_started: int = 0,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.event_id = journal.event_id
        self.phase = Phase.RECOVERING
        self.state = EventState()
        self._journal = journal
        self._clock = clock
        self._nonce = nonce
        self._leave = leave
        self._node = node
        self._process_started = process_started
        self._idle_seconds = idle_seconds
        self._head = Position(0, 0)
        self._halted_because = ""
        self._intake = Intake(INBOX_COMMANDS_MAX)
        self._tally = Tally(meter or Unmetered())
        self._pictures_wanted: list[asyncio.Future[_Picture | None]] = []
        self._records_since_snapshot = 0
        self._snapshot: asyncio.Task[None] | None = None
        self._life: asyncio.Task[None] | None = None
        self._last_command = time.monotonic()
        self._fence_proven = 0.0

    def __repr__(self) -> str:
        return f"EventOwner({self.event_id})"

    # -- what others call ----------------------------------------------------------

    def start(self) -> None:
        """Begin to live, if not begun: recover, then serve. Needs a running loop."""
        if self._life is None:
            self._life = asyncio.create_task(self._live(), name=repr(self))

    def take(self, batch: bytes, reply_to: ReplyTo) -> None:
        """Decide a batch of commands; the reply is durable when it is given, which is once."""
        self.start()
        if self.phase is Phase.HALTED:
            reply_to(Halted(self._halted_because))
        elif self.phase is not Phase.SERVING:
            reply_to(Recovering())
        elif not self._intake.offer(decode_batch(batch), reply_to):
            reply_to(Overloaded())

    async def submit(self, batch: bytes) -> Reply:
        """Return the reply to a batch of commands; see `take`."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def reply_to(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.take(batch, reply_to)
        return await answer

    def health(self) -> Health:
        """Say who and how one is; answered in every phase."""
        self.start()
        return Health(
            self._nonce.hex(),
            self._node,
            os.getpid(),
            self._process_started,
            self.phase,
            self._head.epoch,
            self.state.sequence,
            len(self.state.bookings),
            self._tally.pulse(self.event_id, self.state, self._intake.commands),
        )

    async def live_facts(self) -> LiveFacts | None:
        """Return the digest of the whole state between two turns; None if not serving."""
        self.start()
        if self.phase is not Phase.SERVING:
            return None
        wanted: asyncio.Future[_Picture | None] = asyncio.get_running_loop().create_future()
        self._pictures_wanted.append(wanted)
        self._intake.poke()
        taken = await wanted
        if taken is None:
            return None
        picture, counts = taken
        digest = await digest_slowly(picture)
        return LiveFacts(self._head.epoch, picture.head.sequence, digest, counts)

    async def stop(self) -> None:
        """End without ceremony; everything that was answered is in the journal."""
        for task in (self._snapshot, self._life):
            while task is not None and not task.done():
                # Again and again: libraries lose one that comes together with a timeout.
                task.cancel()
                await asyncio.wait([task], timeout=_INSIST_SECONDS)
        self._dismiss(Recovering())

    # -- one life ------------------------------------------------------------------

    async def _live(self) -> None:
        try:
            await self._recover()
            await self._serve()
        except Fenced as fenced:
            log.warning("fenced", event_id=self.event_id, own=str(fenced.args[0]))
            self._end(Phase.FENCED, Recovering())
        except Exception as error:
            # Damage in the journal, a broken invariant, or an error of ours: an owner that
            # has lost its life must not go on looking as if it were serving.
            self._halted_because = f"{type(error).__name__}: {', '.join(map(str, error.args))}"
            log.critical(
                "halted", event_id=self.event_id, reason=self._halted_because, exc_info=True
            )
            self._tally.halted(error)
            self._end(Phase.HALTED, Halted(self._halted_because))

    async def _recover(self) -> None:
        began = time.monotonic()
        claimant = encode_reply(self.health())
        recovered = await take_over(self._journal, self._nonce, self._clock.now_ms(), claimant)
        self.state = recovered.state
        self._head = recovered.head
        self._records_since_snapshot = recovered.replayed_records
        self._clock.not_before(self.state.now_ms)
        # As old as the claim may be: reading a long journal takes time.
        self._fence_proven = began
        self._last_command = time.monotonic()
        self.phase = Phase.SERVING
        log.info(
            "recovered",
            event_id=self.event_id,
            pid=os.getpid(),
            node=self._node,
            epoch=self._head.epoch,
            sequence=self.state.sequence,
            bookings=len(self.state.bookings),
            replayed_records=recovered.replayed_records,
            took_ms=round((time.monotonic() - began) * 1_000),
        )

    async def _serve(self) -> None:
        while self.phase is Phase.SERVING:
            batches = await self._intake.take(TURN_COMMANDS_MAX, self._patience())
            if not all(map(Waiting.is_routine, batches)):
                self._last_command = time.monotonic()
            try:
                await self._turn(batches)
            except BaseException:
                for waiting in batches:
                    waiting.answer(Recovering())
                raise
            self._between_turns()
            if not batches and self._idle():
                await self._rest()

    async def _turn(self, batches: list[Waiting]) -> None:
        """Decide, make durable, answer: the heart of the product."""
        asked = time.monotonic()
        turn = Turn(batches, self._clock.now_ms())
        turn.run(self.state)
        decided = time.monotonic()
        if turn.records:
            entry = Entry(
                self._head.epoch,
                self.state.sequence,
                turn.now_ms,
                self._nonce,
                tuple(turn.records),
            )
            await commit(self._journal, entry, self._head)
            self._tally.append(time.monotonic() - decided)
            self._head = entry.position
            # Not the time of the answer: it may be the one to a repeat, long after the entry
            # was taken and another owner came.
            self._fence_proven = asked
            self._records_since_snapshot += len(turn.records)
        else:
            await self._prove_fence()
        turn.answer(self.state)
        self._tally.turn(turn, self.state, batches, decided - asked, self._intake.commands)

    async def _prove_fence(self) -> None:
        """Make sure that a turn of mere reads is not answered by an owner of the past.

        Raises:
            Fenced: a newer owner has claimed the journal.
            JournalLost: the journal no longer ends where this owner has left it.
        """
        backoff = Backoff()
        asked = time.monotonic()
        while (asked - self._fence_proven) * 1_000 > FENCE_CHECK_MS:
            try:
                head = await self._journal.head()
            except Unavailable:
                await backoff.pause()
                asked = time.monotonic()
                continue
            if head.epoch > self._head.epoch:
                raise Fenced(self._head, head)
            if head != self._head:
                raise JournalLost(self._head, head)
            self._fence_proven = asked

    def _patience(self) -> float:
        """Return how long the intake may wait: until the next hold expires."""
        if self.state.to_call_off:
            return 0
        next_expiry_ms = self.state.next_expiry_ms()
        if next_expiry_ms is None:
            return min(_TICK_SECONDS, self._idle_seconds)
        return min(_TICK_SECONDS, max(0, next_expiry_ms - self._clock.now_ms()) / 1_000)

    def _end(self, phase: Phase, reply: Reply) -> None:
        self.phase = phase
        self._dismiss(reply)
        if phase is not Phase.HALTED:
            self._leave(phase)

    def _dismiss(self, reply: Reply) -> None:
        """Let nobody wait for what will not come."""
        self._intake.answer_all(reply)
        self._hand_out(None)

    # -- between two turns ---------------------------------------------------------

    def _between_turns(self) -> None:
        """Do what needs a state that is durable and at rest for a moment."""
        if self._pictures_wanted:
            counts = availability(self.state, self._clock.now_ms())
            self._hand_out((capture(self.state), counts))
        enough = max(SNAPSHOT_RECORDS_MIN, len(self.state.bookings) // 2)
        running = self._snapshot is not None and not self._snapshot.done()
        if self._records_since_snapshot >= enough and not running:
            self._records_since_snapshot = 0
            self._snapshot = asyncio.create_task(self._write_snapshot(capture(self.state)))

    def _hand_out(self, picture: _Picture | None) -> None:
        for wanted in self._pictures_wanted:
            if not wanted.done():
                wanted.set_result(picture)
        self._pictures_wanted.clear()

    async def _write_snapshot(self, picture: Capture) -> None:
        position = Position(self._head.epoch, picture.head.sequence)
        began = time.monotonic()
        try:
            ref = await write_snapshot(self._journal, picture, position, self._nonce)
        except (Unavailable, Fenced) as error:
            # The next trigger tries again, or the next turn learns of the newer owner;
            # recovery replays a longer tail until then.
            log.warning("snapshot_abandoned", event_id=self.event_id, error=str(error))
            return
        log.info(
            "snapshot",
            event_id=self.event_id,
            sequence=ref.sequence,
            bookings=picture.head.booking_count,
            slices=ref.slices,
            took_ms=round((time.monotonic() - began) * 1_000),
        )

    # -- rest ----------------------------------------------------------------------

    def _idle(self) -> bool:
        """Tell whether nothing has happened, nothing is under way and nothing opens soon."""
        if time.monotonic() - self._last_command < self._idle_seconds:
            return False
        if self.state.held_units or self.state.unsettled or self.state.to_call_off:
            return False
        if self._intake.commands:
            return False  # it came while the store was slow to prove that nobody else owns
        opens_in_ms = self.state.opens_at_ms - self._clock.now_ms()
        return not 0 < opens_in_ms < (WARM_UP_SECONDS + self._idle_seconds) * 1_000

    async def _rest(self) -> None:
        """Write a snapshot and leave: an idle event costs no process."""
        self.phase = Phase.RESTING
        if self._snapshot is not None:
            await self._snapshot
        if self._records_since_snapshot:
            self._records_since_snapshot = 0
            await self._write_snapshot(capture(self.state))
        try:
            rests = await self._journal.rest(self._head)
        except Unavailable:
            rests = False
        if not rests:
            self.phase = Phase.SERVING
            self._last_command = time.monotonic()
            return
        log.info("resting", event_id=self.event_id, sequence=self.state.sequence)
        self._end(Phase.RESTING, Recovering())
