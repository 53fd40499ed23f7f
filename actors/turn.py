"""One turn: decide and apply, command after command, nothing awaited in between."""

import time

from actors.intake import Waiting
from actors.wire import Answers, Envelope
from engine.domain.apply import apply, finish_entry
from engine.domain.cancellation import call_off
from engine.domain.commands import Command, PlaceHold
from engine.domain.decide import decide
from engine.domain.holds import next_due
from engine.domain.outcomes import Outcome
from engine.domain.records import Record
from engine.domain.state import EventState, check_turn, fetch_ahead
from engine.domain.views import availability
from engine.limits import TURN_EXPIRIES_MAX


class Turn:
    """What a turn has decided: records for the journal, a reply for each batch.

    The state already includes the records; the replies may be given once they are
    durable, not before.
    """

    def __init__(self, batches: list[Waiting], now_ms: int) -> None:
        self.now_ms = now_ms
        self.records: list[Record] = []
        self._outcomes: list[tuple[Waiting, list[Outcome | None]]] = [
            (waiting, [None] * len(waiting.envelopes)) for waiting in batches
        ]
        #: How many holds were decided.
        self.holds = 0

    def run(self, state: EventState) -> None:
        """Take the turn.

        Due holds are expired first and holds are placed last, so that nothing comes back
        into stock behind a hold that was refused: at the sequence number stamped on a
        `sold_out` the stock really is gone.

        Raises:
            AssertionError: an invariant is broken; nothing of this turn may be journalled.
        """
        self._expire(state)
        for record in call_off(state, self.now_ms):
            self._keep(state, record)
        arrived_ms = time.monotonic()
        holds: list[tuple[list[Outcome | None], int, PlaceHold]] = []
        for waiting, outcomes in self._outcomes:
            waited_ms = (arrived_ms - waiting.arrived) * 1_000
            for index, envelope in enumerate(waiting.envelopes):
                if _too_late(envelope, waited_ms):
                    continue
                if type(envelope.command) is PlaceHold:
                    holds.append((outcomes, index, envelope.command))
                else:
                    outcomes[index] = self._decide(state, envelope.command)
        fetch_ahead(state, {command.booking_id for _, _, command in holds})
        for outcomes, index, command in holds:
            outcomes[index] = self._decide(state, command)
        self.holds = len(holds)
        check_turn(state)
        if self.records:
            finish_entry(state, state.sequence + 1, self.now_ms)

    def answer(self, state: EventState) -> None:
        """Give every batch its reply. The records must be durable by now."""
        counts = availability(state, self.now_ms)
        for waiting, outcomes in self._outcomes:
            waiting.answer(Answers(outcomes, counts))

    def _decide(self, state: EventState, command: Command) -> Outcome:
        outcome, records = decide(state, command, self.now_ms)
        for record in records:
            self._keep(state, record)
        return outcome

    def _keep(self, state: EventState, record: Record) -> None:
        apply(state, record)
        self.records.append(record)

    def _expire(self, state: EventState) -> None:
        for _ in range(TURN_EXPIRIES_MAX):
            command = next_due(state, self.now_ms)
            if command is None:
                return
            self._decide(state, command)


def _too_late(envelope: Envelope, waited_ms: float) -> bool:
    return waited_ms > envelope.budget_ms
