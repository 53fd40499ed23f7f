"""Expiry against payment: buyers, a small Stripe and an owner, to the millisecond.

Every turn is the product's own, journalled in its own bytes; the owner is killed now and then
and goes on from them. What is between the owner and Stripe loses, repeats and reorders.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from heapq import heappop, heappush
from random import Random

from actors.turn import Turn
from actors.wire import Answers, Envelope
from engine.domain.apply import apply, finish_entry
from engine.domain.booking import Booking
from engine.domain.commands import (
    CancelEvent,
    Command,
    CreateEvent,
    ObserveCharge,
    ObserveDispute,
    ObserveRefund,
)
from engine.domain.outcomes import Outcome, Refused
from engine.domain.payment import PaymentState, Refund
from engine.domain.records import (
    PAYMENT_EFFECTS,
    BookingConfirmed,
    HoldExpired,
    PaymentClosing,
    PaymentReturning,
    Record,
)
from engine.domain.state import EventState
from engine.journal.entry import Entry, Position, decode_entry, encode_entry
from engine.limits import PAYMENT_GRACE_MS
from tests.calls import Violation
from tests.samples import MINE
from tests.simulation.little_stripe import Intent, News
from tests.unit.engine.domain.given import NOW_MS, ORGANIZER, a_type, an_event

TTL_MS = 5_000
#: Troubles end here; then everything is looked at again until nothing changes.
TROUBLED_MS = 120_000
RECONCILE_EVERY_MS = 20_000
#: What happens in one race: a few hundred things.
EVENTS_MAX = 20_000
_Answered = Callable[[Outcome], None]


class Batch:
    """What a turn takes: commands, and who waits for their outcomes."""

    arrived = float("inf")  # nothing here is ever too late

    def __init__(self, wishes: Sequence[tuple[Command, _Answered]]) -> None:
        self.wishes = wishes
        self.envelopes = [Envelope(60_000, command) for command, _ in wishes]

    def answer(self, reply: Answers) -> None:
        for (_, answered), outcome in zip(self.wishes, reply.outcomes, strict=True):
            assert outcome is not None
            answered(outcome)


class Race:
    """One seed: everything that happens to one event, until nothing happens any more."""

    def __init__(self, seed: int, comes: "Callable[[Race, str], None]") -> None:
        self.comes = comes
        self.rng = Random(seed)
        #: What banks decide; by itself, so that it does not change when everything else happens.
        self.banks = Random(f"banks {seed}")
        self.now_ms = NOW_MS
        self.state = EventState()
        self.journal: list[bytes] = []
        self.intents: dict[str, Intent] = {}
        self.seen: Counter[str] = Counter()
        self.refusals: list[tuple[Command, Refused]] = []
        self._happening: list[tuple[int, float, int, Callable[[], None]]] = []
        self._count = 0
        self._undelivered: list[Command] = []
        self._waiting: list[tuple[Command, _Answered]] = []
        self._turn_at_ms = -1
        self._ended_at_ms: dict[str, int] = {}
        self._killings = self.rng.choice([0.0, 0.0, 0.05])
        self._losses = self.rng.choice([0.0, 0.1, 0.5])
        self._refunds_fail = self.rng.choice([0.2, 0.8])
        self._away_ms = self.rng.choice([3, 1_000, 60_000])
        self._manual = self.rng.random() < 0.2
        capacity, self.customers = self.rng.choice([(2, 2), (2, 3), (3, 3), (4, 3)])
        event = an_event(
            a_type(max_per_booking=2),
            capacities={"ga": capacity},
            hold_ttl_ms=TTL_MS,
            max_per_customer=self.rng.choice([None, None, 2]),
            capture_method="manual" if self._manual else "automatic",
            payment_attempts_max=self.rng.choice([1, 2, 3]),
        )
        self.tell(CreateEvent(event))

    # -- time --------------------------------------------------------------------------

    def at(self, at_ms: int, happens: Callable[[], None]) -> None:
        """Have something happen; what falls on one millisecond happens in any order."""
        self._count += 1
        due_ms = max(at_ms, self.now_ms)
        heappush(self._happening, (due_ms, self.rng.random(), self._count, happens))

    def soon(self, happens: Callable[[], None], at_most_ms: int = 3) -> None:
        self.at(self.now_ms + self.rng.randint(0, at_most_ms), happens)

    @property
    def troubled(self) -> bool:
        return self.now_ms < NOW_MS + TROUBLED_MS

    def run(self) -> None:
        """Run the race to its end; what is left open is looked at until nothing is."""
        for number in range(self.customers):
            self.comes(self, f"c{number}")
        if self.rng.random() < 0.15:
            self.at(self.moment(), partial(self.tell, CancelEvent(ORGANIZER)))
        for at_ms in range(RECONCILE_EVERY_MS, TROUBLED_MS * 2, RECONCILE_EVERY_MS):
            self.at(NOW_MS + at_ms, self.reconcile)
        self._go_on()
        for _ in range(5):
            self.reconcile()
            self._go_on()

    def _go_on(self) -> None:
        while self._happening:
            if self._count > EVENTS_MAX:
                raise Violation("I9", "it never comes to rest")
            self.now_ms, _, _, happens = heappop(self._happening)
            happens()

    def moment(self, booking_id: str = "") -> int:
        """Return a moment to be early, late, or exactly there when a hold ends."""
        booking = self.state.bookings.get(booking_id)
        ends_ms = NOW_MS + TTL_MS if booking is None else booking.expires_at_ms
        ends_ms += self.rng.choice([0, 0, 0, 0, PAYMENT_GRACE_MS])
        if self.rng.random() < 0.7:
            return ends_ms + self.rng.choice([-2, -1, 0, 0, 0, 1, 2])
        return self.now_ms + self.rng.randint(0, TTL_MS + 2 * PAYMENT_GRACE_MS)

    # -- the owner ---------------------------------------------------------------------

    def tell(self, command: Command, answered: _Answered | None = None) -> None:
        """Bring a command to the owner, which takes its turn within this millisecond."""
        self._waiting.append((command, answered or (lambda outcome: self._told(command, outcome))))
        self._wake(self.now_ms)

    def tell_all(self, news: Iterable[Command]) -> None:
        for one in news:
            self.tell(one)

    def _told(self, command: Command, outcome: Outcome) -> None:
        if isinstance(outcome, Refused):
            self.refusals.append((command, outcome))
        elif isinstance(command, ObserveCharge | ObserveRefund):
            self._look_closer(command)

    def _wake(self, at_ms: int) -> None:
        if self._turn_at_ms != at_ms:
            self._turn_at_ms = at_ms
            self.at(at_ms, self.take_turn)

    def take_turn(self) -> None:
        self._turn_at_ms = -1
        batch = Batch(self._waiting)
        self._waiting = []
        turn = Turn([batch], self.now_ms)
        turn.run(self.state)
        killed = self.rng.random() < self._killings and self.troubled
        written = bool(turn.records) and not (killed and self.rng.random() < 0.5)
        if written:
            entry = Entry(1, self.state.sequence, self.now_ms, MINE, tuple(turn.records))
            self.journal.append(encode_entry(entry))
            self._watch(turn.records)
        if killed:
            # Nobody was answered; everybody asks the next owner again.
            self.seen["kills"] += 1
            self.state = self.replayed()
            self._waiting = list(batch.wishes)
        else:
            turn.answer(self.state)
        expires_at_ms = self.state.next_expiry_ms()
        if self._waiting or self.state.to_call_off:
            self._wake(self.now_ms)
        elif expires_at_ms is not None:
            self._wake(expires_at_ms)

    def replayed(self) -> EventState:
        """Return the state that the journal gives."""
        state = EventState()
        for sequence, sealed in enumerate(self.journal, start=1):
            entry = decode_entry(Position(1, sequence), sealed)
            for record in entry.records:
                apply(state, record)
            finish_entry(state, entry.sequence, entry.at_ms)
        return state

    def _watch(self, records: Sequence[Record]) -> None:
        """Count what shows that the race was one, and hand on what is to be done at Stripe."""
        for record in records:
            self.seen[type(record).__name__] += 1
            if isinstance(record, PaymentClosing | HoldExpired):
                self._ended_at_ms[record.booking_id] = self.now_ms
            elif isinstance(record, BookingConfirmed | PaymentReturning):
                self._money_came(record)
            if type(record) in PAYMENT_EFFECTS:
                self.soon(partial(self.pursue, record.booking_id), 300)

    def _money_came(self, record: BookingConfirmed | PaymentReturning) -> None:
        if isinstance(record, BookingConfirmed):
            before = self.state.bookings[record.booking_id].history[-2].status
            self.seen[f"confirmed from {before}"] += 1
        else:
            self.seen[f"returned from {self.state.bookings[record.booking_id].status}"] += 1
        if self._ended_at_ms.get(record.booking_id) == self.now_ms:
            self.seen["both in one millisecond"] += 1

    # -- the desk ----------------------------------------------------------------------

    def lost(self) -> bool:
        return self.troubled and self.rng.random() < self._losses

    def _slowness(self) -> int:
        """Return how long a call may take one way, ms; Stripe is away for minutes, too."""
        return self.rng.choice([3, 50, 2_000, self._away_ms])

    def ask_stripe(self, call: Callable[[], News]) -> None:
        """Call Stripe: the request takes a while, and so does the answer; each may be lost."""

        def arrives() -> None:
            answer = call()
            if not self.lost():
                self.soon(lambda: self.tell_all(answer), self._slowness())

        if not self.lost():
            self.soon(arrives, self._slowness())

    def pursue(self, booking_id_: str) -> None:
        """Take the next step of a payment, as `actors.payments.pursuit` does."""
        booking = self.state.bookings[booking_id_]
        payment = booking.payment
        if payment is None or not payment.unsettled:
            return
        intent = self.intent(booking)
        if payment.refunding and payment.refund is not None:
            refund = payment.refund
            self.ask_stripe(lambda: self._refund(intent, refund))
        elif payment.state is PaymentState.CLOSING:
            self.ask_stripe(lambda: self._changed(intent, intent.cancel()))
        elif payment.state is PaymentState.AUTHORISED:
            self.ask_stripe(lambda: self._changed(intent, intent.capture()))
        elif payment.state is not PaymentState.RETURNING:
            self.ask_stripe(intent.news)

    def _look_closer(self, told: ObserveCharge | ObserveRefund) -> None:
        """Ask what Stripe's sum does not show, as `actors.payments.inbox` does."""
        payment = self.state.bookings[told.booking_id].payment
        asked = isinstance(told, ObserveCharge) and told.taken_minor is not None
        if payment is not None and payment.doubtful and not asked:
            self.seen["looked closer"] += 1
            self.ask_stripe(self.intents[told.booking_id].refunds_seen)

    def intent(self, booking: Booking) -> Intent:
        """Return the intent of a booking, opened now if it was not before."""
        if booking.booking_id not in self.intents:
            amount_minor = booking.total_minor
            self.intents[booking.booking_id] = Intent(
                booking.booking_id, booking.customer, amount_minor, self._manual
            )
        return self.intents[booking.booking_id]

    def _changed(self, intent: Intent, changed: bool) -> News:
        if changed:
            self.publish(intent.news())
        return intent.news()

    def _refund(self, intent: Intent, refund: Refund) -> News:
        amount_minor, number = refund.amount_minor, refund.number
        new = number not in intent.refunds
        status = self.rng.choice(["succeeded", "pending"])
        if not intent.refund(number, amount_minor, status):
            failed = ObserveRefund(intent.booking_id, "", number, "failed", amount_minor, "refused")
            return (failed, *intent.refunds_seen())
        if new:
            self.publish(intent.charge())
            self.publish(intent.refund_news(number))
            if status == "pending":
                ends_ms = self.rng.choice([2_000, 60_000])
                self.soon(lambda: self._end_refund(intent, number), ends_ms)
        return intent.refund_news(number)

    def _end_refund(self, intent: Intent, number: int) -> None:
        fails = self.rng.random() < self._refunds_fail
        intent.end_refund(number, "failed" if fails else "succeeded")
        self.publish(intent.refund_news(number))
        if not fails and self.banks.random() < 0.2:
            at_ms = self.now_ms + self.banks.choice([1, 2_000, 60_000])
            self.at(at_ms, lambda: self._bounce(intent, number))

    def _bounce(self, intent: Intent, number: int) -> None:
        """Have a bank send back a refund that was made, if it was the last.

        That of an earlier one is not noticed: see docs/PAYMENTS.md.
        """
        payment = self.state.bookings[intent.booking_id].payment
        last = payment is not None and payment.refund is not None
        if (
            last
            and payment.refund.number == number == max(intent.refunds)
            and not intent.left_minor
        ):
            self.seen["bounced"] += 1
            intent.end_refund(number, "failed")
            self.publish(intent.refund_news(number))

    def publish(self, news: News) -> None:
        """Send webhooks: none, one or several of each, at any time, in any order."""
        for one in news:
            copies = 0 if self.lost() else self.rng.choice([1, 1, 1, 2, 4])
            if not copies:
                self._undelivered.append(one)
            for _ in range(copies):
                if self.rng.random() < 0.5:
                    self.soon(partial(self.deliver, one), self.rng.choice([1, 20, 90_000]))
                else:
                    self.at(self.moment(one.booking_id), partial(self.deliver, one))

    def deliver(self, one: Command) -> None:
        """Bring a webhook, as `actors.payments.inbox` does: a dispute behind its payment."""
        if isinstance(one, ObserveDispute):
            self.tell_all(self.intents[one.booking_id].news())
        self.tell(one)

    def reconcile(self) -> None:
        """Look at everything that waits, take in lost webhooks, tell what Stripe has of all."""
        for one in self._undelivered:
            self.deliver(one)
        self._undelivered.clear()
        for booking_id_ in list(self.state.unsettled):
            self.pursue(booking_id_)
        for intent in self.intents.values():
            payment = self.state.bookings[intent.booking_id].payment
            doubtful = payment is not None and payment.doubtful
            self.ask_stripe(intent.refunds_seen if doubtful else intent.news)
