"""What an owner counts, once for each turn: for its metrics, and for who asks how it fares."""

import time
from collections import Counter, deque

from actors.intake import Waiting
from actors.measures import (
    ADMITTED,
    BOOKING_SECONDS,
    CONFIRMED,
    HOLDS_EXPIRED,
    INVARIANT_VIOLATIONS,
    OWNER_APPEND_SECONDS,
    OWNER_HALTED,
    OWNER_HOLDS,
    OWNER_INBOX,
    OWNER_STALL_SECONDS,
    OWNER_TURN_COMMANDS,
    PAYMENT_SECONDS,
    PAYMENTS_FAILED,
    REFUNDS,
    REVENUE,
    Meter,
)
from actors.turn import Turn
from engine.domain.booking import Status
from engine.domain.records import (
    BookingConfirmed,
    HoldExpired,
    HoldPlaced,
    PaymentFailed,
    PaymentGivenUp,
    Record,
    RefundFailed,
    RefundSettled,
    TicketScanned,
)
from engine.domain.state import EventState
from engine.journal.pulses import Pulse
from engine.limits import TURNS_REMEMBERED_MAX

#: Turns are measured so often at most, seconds: Ray takes ten microseconds for each number, and
#: a turn of one hold takes a hundred. What is left over is measured at the owner's next tick.
_MEASURE_EVERY_SECONDS = 1.0

_GRANTED, _NOT_GRANTED = {"outcome": "granted"}, {"outcome": "not_granted"}


class _Since:
    """What has come since it was last measured.

    All holds; the longest stall; of the last turn with commands how many, and of its append.
    """

    __slots__ = ("append_seconds", "commands", "granted", "refused", "stall_seconds")

    def __init__(self) -> None:
        self.granted = self.refused = self.commands = 0
        self.stall_seconds = 0.0
        self.append_seconds: float | None = None


class Tally:
    """The counts of one owner's life; what is replayed from the journal is not in them."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._granted = self._refused = self._expired = 0
        self._took: deque[float] = deque(maxlen=TURNS_REMEMBERED_MAX)
        self._measured = 0.0
        self._since = _Since()
        meter.set(OWNER_HALTED, 0)
        meter.set(INVARIANT_VIOLATIONS, 0)

    def append(self, seconds: float) -> None:
        """Count the time until an entry was durable."""
        self._since.append_seconds = seconds

    def turn(
        self, turn: Turn, state: EventState, batches: list[Waiting], stalled: float, inbox: int
    ) -> None:
        """Count a turn that has been answered.

        Args:
            turn: with its outcomes.
            state: after it.
            batches: that it has answered.
            stalled: for how long nothing else of the owner ran, seconds.
            inbox: commands that wait for the next turn.
        """
        now = time.monotonic()
        since = self._since
        if batches:
            self._took.append(now - batches[0].arrived)
            since.commands = sum(len(one.envelopes) for one in batches)
            since.stall_seconds = max(since.stall_seconds, stalled)
        # Not one by one: what is counted in C costs a fifteenth of the decision.
        kinds = list(map(type, turn.records))
        granted = kinds.count(HoldPlaced)
        refused = turn.holds - granted
        self._granted += granted
        self._refused += refused
        since.granted += granted
        since.refused += refused
        if len(turn.records) > granted:
            self._records(turn.records, Counter(kinds), state)
        if now - self._measured >= _MEASURE_EVERY_SECONDS:
            self._measured = now
            self._since = _Since()
            self._measure(since, inbox)

    def _measure(self, since: "_Since", inbox: int) -> None:
        meter = self._meter
        if since.commands:
            meter.observe(OWNER_TURN_COMMANDS, since.commands)
            meter.observe(OWNER_STALL_SECONDS, since.stall_seconds)
        if since.append_seconds is not None:
            meter.observe(OWNER_APPEND_SECONDS, since.append_seconds)
        meter.set(OWNER_INBOX, inbox)
        meter.add(OWNER_HOLDS, since.granted, _GRANTED)
        meter.add(OWNER_HOLDS, since.refused, _NOT_GRANTED)

    def halted(self, error: BaseException) -> None:
        """Say that the event stands still."""
        self._meter.set(OWNER_HALTED, 1)
        self._meter.set(INVARIANT_VIOLATIONS, isinstance(error, AssertionError))

    def pulse(self, event_id: str, state: EventState, inbox: int) -> Pulse:
        """Return how the event fares."""
        stocks = state.stocks.values()
        took = sorted(self._took)
        p99 = took[len(took) * 99 // 100] if took else 0.0
        return Pulse(
            event_id,
            self._granted,
            self._refused,
            self._expired,
            sum(stock.available for stock in stocks),
            state.held_units,
            state.sold_units,
            inbox,
            round(p99 * 1_000_000),
        )

    def _records(
        self, records: list[Record], kinds: Counter[type[Record]], state: EventState
    ) -> None:
        expired = kinds[HoldExpired]
        self._expired += expired
        self._meter.add(HOLDS_EXPIRED, expired)
        self._meter.add(PAYMENTS_FAILED, kinds[PaymentFailed] + kinds[PaymentGivenUp])
        self._meter.add(REFUNDS, kinds[RefundSettled], {"end": "settled"})
        self._meter.add(REFUNDS, kinds[RefundFailed], {"end": "failed"})
        if kinds[BookingConfirmed] or kinds[TicketScanned]:
            for record in records:
                if isinstance(record, BookingConfirmed):
                    self._confirmed(record, state)
                elif isinstance(record, TicketScanned):
                    self._meter.add(ADMITTED, record.entry and record.scan.admitted)

    def _confirmed(self, record: BookingConfirmed, state: EventState) -> None:
        assert state.event is not None, "a booking was confirmed of no event"
        booking = state.bookings[record.booking_id]
        self._meter.add(CONFIRMED)
        self._meter.add(REVENUE, record.captured_minor, {"currency": state.event.currency})
        self._meter.observe(BOOKING_SECONDS, (record.at_ms - booking.held_at_ms) / 1_000)
        for moment in booking.later:
            if moment.status is Status.PAYMENT_PENDING:
                self._meter.observe(PAYMENT_SECONDS, (record.at_ms - moment.at_ms) / 1_000)
                break
