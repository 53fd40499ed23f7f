"""Batches, not calls: gathers the commands for an event while earlier ones are decided.

A Ray call costs about a millisecond, a decision microseconds. Each event has a lane; a
lane has at most BATCHES_IN_FLIGHT_MAX batches under way, and what comes in meanwhile
makes the next one. Under no load a batch is one command and waits for nothing.
"""

import asyncio
import time
from collections import OrderedDict, deque
from enum import StrEnum
from functools import partial

from actors.contract import OwnerGone, Owners
from actors.wire import (
    Answers,
    Envelope,
    Halted,
    Overloaded,
    Recovering,
    decode_reply,
    encode_batch,
)
from engine.domain.commands import Command, Item, ReadAvailability
from engine.domain.outcomes import Outcome, Refused
from engine.domain.views import Availability
from engine.limits import (
    AVAILABILITY_AGE_MS_MAX,
    BATCH_COMMANDS_MAX,
    BATCHES_IN_FLIGHT_MAX,
    CALL_TURN_SECONDS,
    CALLS_AT_ONCE,
    EVENTS_REMEMBERED_MAX,
    GATEWAY_COMMANDS_MAX,
    LANE_COMMANDS_MAX,
    NEXT_BATCH_COMMANDS_MIN,
    REQUEST_DEADLINE_MS,
)

#: How often a lane looks for commands whose deadline has passed, seconds.
_SWEEP_SECONDS = 0.1
#: Pauses between attempts to reach an owner that restarts, seconds.
_RETRY_SECONDS_MIN, _RETRY_SECONDS_MAX = 0.02, 0.25


class Unanswered(StrEnum):
    """Why there is no outcome; each is the code of a problem."""

    OVERLOADED = "overloaded"
    RECOVERING = "recovering"
    EVENT_HALTED = "event_halted"


#: What came of a command, and the sequence number up to which the owner had decided.
Answer = tuple[Outcome | Unanswered, int]


class Load:
    """What of one gateway is under way, over all its lanes.

    `commands` counts those without an answer. Calls are limited: lanes with more to send
    take turns, and gather meanwhile.
    """

    def __init__(self) -> None:
        self.commands = 0
        self._calls = 0
        self._queue: OrderedDict[Lane, None] = OrderedDict()

    def begin(self, lane: "Lane") -> "_Turn | None":
        """Let a lane begin a call, or have it flush when its turn comes."""
        if self._calls >= CALLS_AT_ONCE:
            self._queue.setdefault(lane)
            return None
        self._calls += 1
        return _Turn(self)

    def ended(self) -> None:
        """Give the turn of a call to the next lanes."""
        self._calls -= 1
        while self._queue and self._calls < CALLS_AT_ONCE:
            lane, _ = self._queue.popitem(last=False)
            lane.flush()


class _Turn:
    """The turn of one call; it ends with the call, or before if that takes long."""

    __slots__ = ("_load", "_timer")

    def __init__(self, load: Load) -> None:
        self._load: Load | None = load
        self._timer = asyncio.get_running_loop().call_later(CALL_TURN_SECONDS, self.end)

    def end(self) -> None:
        load, self._load = self._load, None
        if load is not None:
            self._timer.cancel()
            load.ended()


class _Pending:
    """A command, who waits for it, and until when (monotonic seconds)."""

    __slots__ = ("answer", "command", "deadline", "load")

    def __init__(
        self, command: Command, deadline: float, answer: asyncio.Future[Answer], load: Load
    ) -> None:
        self.command = command
        self.deadline = deadline
        self.answer = answer
        self.load = load
        load.commands += 1

    def resolve(self, outcome: Outcome | Unanswered, sequence: int = 0) -> None:
        if not self.answer.done():
            self.load.commands -= 1
            self.answer.set_result((outcome, sequence))


class Lane:
    """The way to one event's owner."""

    def __init__(self, event_id: str, owners: Owners, load: Load) -> None:
        self.event_id = event_id
        self._load = load
        # Asked for once: finding the running loop costs a system call each time.
        self._loop = asyncio.get_running_loop()
        self.availability: Availability | None = None
        self._seen = 0.0
        self._owners = owners
        self._reading: asyncio.Future[Answer] | None = None
        self._waiting: deque[_Pending] = deque()
        self._in_flight: dict[asyncio.Task[None], list[_Pending]] = {}
        self._flush_due = False
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing waits for an answer."""
        return not self._waiting and not self._in_flight

    def ask(self, command: Command, budget_ms: int = REQUEST_DEADLINE_MS) -> asyncio.Future[Answer]:
        """Queue a command and return the future of its answer; it always comes.

        After `budget_ms` at the latest the answer is an `Unanswered`.
        """
        deadline = time.monotonic() + budget_ms / 1_000
        pending = _Pending(command, deadline, self._loop.create_future(), self._load)
        crowded = self._load.commands > GATEWAY_COMMANDS_MAX
        if crowded or len(self._waiting) >= LANE_COMMANDS_MAX:
            pending.resolve(Unanswered.OVERLOADED)
            return pending.answer
        self._waiting.append(pending)
        if not self._flush_due and self._may_send():
            # At the end of this round of the event loop: what else has arrived by then
            # goes with it.
            self._flush_due = True
            self._loop.call_soon(self.flush)
        if self._sweep is None:
            self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._sweep_up)
        return pending.answer

    def fresh_availability(self) -> Availability | None:
        """Return the availability if it is young enough to refuse from, else None."""
        if (time.monotonic() - self._seen) * 1_000 <= AVAILABILITY_AGE_MS_MAX:
            return self.availability
        return None

    def refusal(self, items: tuple[Item, ...]) -> tuple[Refused, int] | None:
        """Return the refusal of an exhausted stock and its sequence, None to ask the owner."""
        fresh = self.fresh_availability()
        if fresh is None:
            return None
        refused = fresh.refusal(items)
        return None if refused is None else (refused, fresh.sequence)

    async def read_availability(self) -> Availability | Unanswered | None:
        """Return counts that are at most AVAILABILITY_AGE_MS_MAX old; None: no such event.

        Those of an owner that takes longer to answer are no older than the question.
        """
        began = time.monotonic()
        while (fresh := self.fresh_availability()) is None:
            if self._reading is None or self._reading.done():
                # One question serves all who want to know: streams and pollers are many.
                self._reading = self.ask(ReadAvailability())
            outcome, _ = await asyncio.shield(self._reading)
            if isinstance(outcome, Unanswered):
                return outcome
            if self.availability is None or self._seen >= began:
                return self.availability
        return fresh

    # -- under way -----------------------------------------------------------------

    def _may_send(self) -> bool:
        """Tell whether a batch may leave: the next one only if it is worth a call."""
        if not self._in_flight:
            return True
        full = len(self._in_flight) >= BATCHES_IN_FLIGHT_MAX
        return not full and len(self._waiting) >= NEXT_BATCH_COMMANDS_MIN

    def flush(self) -> None:
        """Send what waits, as far as it may be sent."""
        self._flush_due = False
        while self._waiting and self._may_send():
            turn = self._load.begin(self)
            if turn is None:
                self._flush_due = True  # when its turn comes
                return
            count = min(len(self._waiting), BATCH_COMMANDS_MAX)
            batch = [self._waiting.popleft() for _ in range(count)]
            task = self._loop.create_task(self._deliver(batch))
            self._in_flight[task] = batch
            task.add_done_callback(partial(self._landed, turn))

    def _landed(self, turn: _Turn, task: asyncio.Task[None]) -> None:
        for pending in self._in_flight.pop(task):
            pending.resolve(Unanswered.RECOVERING)
        turn.end()
        if self._waiting and not self._flush_due:
            self.flush()
        if not task.cancelled():
            task.result()

    async def _deliver(self, batch: list[_Pending]) -> None:
        """Bring a batch to the owner, through its death and restart if need be.

        What was sent and not answered is sent again: the ids in the commands tell a
        repeat from a new request, so that nothing is done twice.
        """
        pause = _RETRY_SECONDS_MIN
        while batch:
            now = time.monotonic()
            data = encode_batch(
                [Envelope(int((item.deadline - now) * 1_000), item.command) for item in batch]
            )
            asked = now
            try:
                reply = decode_reply(await self._owners.submit(self.event_id, data))
            except OwnerGone:
                reply = Recovering()
            if isinstance(reply, Answers):
                self._take(reply, batch, asked)
                return
            if isinstance(reply, Overloaded | Halted):
                overloaded = isinstance(reply, Overloaded)
                code = Unanswered.OVERLOADED if overloaded else Unanswered.EVENT_HALTED
                for pending in batch:
                    pending.resolve(code)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_SECONDS_MAX)
            batch = [item for item in batch if not item.answer.done()]

    def _take(self, answers: Answers, batch: list[_Pending], asked: float) -> None:
        counts = answers.availability
        sequence = 0 if counts is None else counts.sequence
        if counts is not None and (
            self.availability is None or sequence >= self.availability.sequence
        ):
            # As old as the question, not as the answer: it was true at some time since.
            self._seen = max(self._seen, asked)
            self.availability = counts
        for pending, outcome in zip(batch, answers.outcomes, strict=True):
            pending.resolve(Unanswered.OVERLOADED if outcome is None else outcome, sequence)

    def _sweep_up(self) -> None:
        """Answer what has waited too long, wherever it is."""
        self._sweep = None
        now = time.monotonic()
        while self._waiting and self._waiting[0].deadline <= now:
            self._waiting.popleft().resolve(Unanswered.RECOVERING)
        for batch in self._in_flight.values():
            for pending in batch:
                if pending.deadline <= now:
                    pending.resolve(Unanswered.RECOVERING)
        if self._waiting or self._in_flight:
            self._sweep = self._loop.call_later(_SWEEP_SECONDS, self._sweep_up)


class Batcher:
    """The lanes of one gateway process."""

    def __init__(self, owners: Owners) -> None:
        self.load = Load()
        self._owners = owners
        self._lanes: OrderedDict[str, Lane] = OrderedDict()

    def known_lane(self, event_id: str) -> Lane | None:
        """Return the lane to an event that was asked before."""
        return self._lanes.get(event_id)

    def lane(self, event_id: str) -> Lane:
        """Return the lane to an event; the caller has made sure that there is one."""
        lane = self._lanes.get(event_id)
        if lane is None:
            lane = self._lanes[event_id] = Lane(event_id, self._owners, self.load)
            self._forget_idle()
        return lane

    def _forget_idle(self) -> None:
        for event_id in list(self._lanes):
            if len(self._lanes) <= EVENTS_REMEMBERED_MAX:
                return
            if self._lanes[event_id].idle:
                del self._lanes[event_id]
