"""Who takes part in a race for units: buyers who pay to the millisecond, and what comes after."""

from functools import partial

from engine.domain.booking import SHARE, Booking, Share, Status
from engine.domain.commands import Caller, OpenPayment, ReleaseHold, RequestRefund
from engine.domain.outcomes import Granted, Outcome, PaymentShown
from engine.domain.payment import Part, PaymentState, RefundState
from engine.domain.snapshot import digest
from engine.domain.state import check_fully
from engine.limits import RETURN_ATTEMPTS_MAX
from tests.calls import Violation
from tests.simulation.little_stripe import Intent
from tests.simulation.race import Race
from tests.unit.engine.domain.given import ORGANIZER, hold

#: Holds one customer asks for until one is granted.
_TRIES = 8
#: Looks at a payment that is being opened: about 10 s, less than a hold waits for Stripe. And at
#: a refund: longer than it can take.
_LOOKS = 100


class Buyer:
    """Wants one or two units; whoever comes too late tries again when a hold may have ended."""

    def __init__(self, race: Race, name: str) -> None:
        self._race = race
        self._rng = race.rng
        self._name = name
        self._units = self._rng.randint(1, 2)
        self._tries = 0

    def come(self) -> None:
        self._race.soon(self._hold, 40)

    def _hold(self) -> None:
        self._tries += 1
        command = hold(self._name, key=str(self._tries), ga=self._units)
        self._race.tell(command, self._held)

    def _held(self, outcome: Outcome) -> None:
        race = self._race
        if not isinstance(outcome, Granted):
            if self._tries < _TRIES:
                race.at(race.moment(race.rng.choice(["", *race.state.bookings])), self._hold)
            return
        booking = outcome.booking
        race.soon(lambda: self._pay(booking), 4_000)
        if self._rng.random() < 0.1:
            caller = Caller(self._name)
            command = ReleaseHold(booking.booking_id, caller)
            race.at(race.moment(booking.booking_id), lambda: race.tell(command, _whatever))

    def _pay(self, booking: Booking, attempts: int = 0) -> None:
        command = OpenPayment(booking.booking_id, Caller(self._name))
        self._race.tell(command, lambda outcome: self._shown(outcome, booking, attempts))

    def _shown(self, outcome: Outcome, booking: Booking, attempts: int) -> None:
        if isinstance(outcome, PaymentShown):
            self._race.soon(lambda: self._opened(booking, attempts), 30)

    def _opened(self, booking: Booking, attempts: int) -> None:
        race = self._race
        intent = race.intent(booking)
        race.ask_stripe(intent.news)
        wanted = self._rng.choice([1, 1, 1, 2, 4]) - attempts
        self._choose_moments(booking, intent, wanted, self._rng.choice([0] + 4 * [_LOOKS]))

    def _choose_moments(self, booking: Booking, intent: Intent, wanted: int, looks: int) -> None:
        """Choose when to try cards: once Stripe has answered, or, out of patience, before."""
        race = self._race
        payment = race.state.bookings[booking.booking_id].payment
        if looks and payment is not None and payment.state is PaymentState.OPENING:
            look = partial(self._choose_moments, booking, intent, wanted, looks - 1)
            race.soon(look, 200)
            return
        for _ in range(wanted):
            at_once = self._rng.random() < 0.2
            moment = race.now_ms if at_once else race.moment(booking.booking_id)
            race.at(moment, lambda: self._try_card(booking, intent))

    def _try_card(self, booking: Booking, intent: Intent) -> None:
        race = self._race
        how = self._rng.choice(["succeeds"] * 5 + ["fails"] * 3 + ["processing"] * 2)
        if not intent.pay(how):
            return
        race.seen[how] += 1
        race.publish(intent.news())
        if how == "fails" and self._rng.random() < 0.5:
            self._pay(booking, attempts=1)
        elif how == "processing":
            race.at(race.moment(booking.booking_id), lambda: self._arrives(intent))
        elif self._rng.random() < 0.4:
            race.soon(lambda: After(race, intent).happens(), 60_000)

    def _arrives(self, intent: Intent) -> None:
        intent.arrive()
        self._race.publish(intent.news())


def _whatever(_outcome: Outcome) -> None:
    """Take any answer."""


class After:
    """What may become of a payment that was made: refunds of all kinds, a dispute."""

    def __init__(self, race: Race, intent: Intent) -> None:
        self._race = race
        self._intent = intent

    def happens(self) -> None:
        what = self._race.rng.choice(
            [
                self._refund,
                self._refund_and_again,
                self._refund_and_again,
                self._refund_a_part,
                self._by_hand,
                self._by_hand_in_part,
                self._dispute,
            ]
        )
        what()

    def _refund(self, parts: tuple[Part, ...] = ()) -> None:
        command = RequestRefund(self._intent.booking_id, ORGANIZER, parts)
        self._race.tell(command, _whatever)

    def _refund_and_again(self) -> None:
        self._refund()
        self._race.soon(lambda: self._once_it_failed(_LOOKS), 1_000)

    def _once_it_failed(self, looks: int) -> None:
        """Give a part back, or all of it by hand, when a refund that was made has failed."""
        race = self._race
        booking = race.state.bookings[self._intent.booking_id]
        failed = any(status == "failed" for _, status in self._intent.refunds.values())
        if failed and booking.status is Status.REFUND_DENIED:
            race.seen["again after a refund failed"] += 1
            race.rng.choice([self._refund_a_part, self._refund_a_part, self._by_hand])()
        elif looks:
            race.soon(lambda: self._once_it_failed(looks - 1), 2_000)

    def _refund_a_part(self) -> None:
        self._refund((Part("ga", 1),))
        if self._race.rng.random() < 0.5:
            self._by_hand_in_part()

    def _by_hand(self) -> None:
        self._give_back(self._intent.left_minor)

    def _by_hand_in_part(self) -> None:
        self._give_back(500)

    def _give_back(self, amount_minor: int) -> None:
        if amount_minor and self._intent.refund_by_hand(amount_minor):
            self._race.seen["refunds by hand"] += 1
            self._race.publish(self._intent.charge())

    def _dispute(self) -> None:
        whole_minor = self._intent.captured_minor
        if self._intent.dispute_it(self._race.banks.choice([whole_minor, whole_minor, 700])):
            self._race.seen["disputes"] += 1
            self._race.publish(self._intent.dispute_news())
            self._race.soon(self._decide, 60_000)

    def _decide(self) -> None:
        self._intent.dispute = self._race.rng.choice(["lost", "won"])
        self._race.publish(self._intent.dispute_news())


def run_race(seed: int) -> Race:
    """Run the race of a seed and check how it ends.

    Raises:
        Violation: a promise is broken; a note names the seed.
    """
    race = Race(seed, lambda race, name: Buyer(race, name).come())
    try:
        try:
            race.run()
            check_fully(race.state)
        except AssertionError as error:
            invariant, _, what = str(error).partition(": ")
            raise Violation(invariant, what) from error
        check_end(race)
    except BaseException as error:
        error.add_note(f"to repeat it: tests.simulation.racers.run_race({seed})")
        raise
    return race


def check_end(race: Race) -> None:
    """Check that exactly one has won each unit, and that the losers have their money."""
    if digest(race.replayed()) != digest(race.state):
        raise Violation("I4", "the journal does not give the live state")
    if race.refusals:
        raise Violation("7", f"Stripe was not believed: {race.refusals[0]}")
    if race.state.held_units:
        raise Violation("I9", f"{race.state.held_units} units are held for ever")
    for booking in race.state.bookings.values():
        intent = race.intents.get(booking.booking_id)
        if intent is None:
            if booking.payment is not None:
                raise Violation("I7", f"a payment that Stripe does not know: {booking}")
        else:
            _check_payment(race, booking, intent)


def _check_payment(race: Race, booking: Booking, intent: Intent) -> None:
    payment = booking.payment
    if payment is None:
        raise Violation("I7", f"a payment that the owner does not know: {intent}")
    both = f"{booking}, at Stripe {intent}"
    if (payment.captured_minor, payment.refunded_minor) != (
        intent.captured_minor,
        intent.gone_minor,
    ):
        raise Violation("I7", f"books that differ: {both}")
    if len(set(payment.failures)) < len(payment.failures):
        raise Violation("I6", f"a failure was counted twice: {both}")
    if not set(payment.failures) <= set(intent.failures):
        raise Violation("I3", f"a failure that never was: {both}")
    refund_failed = payment.refund is not None and payment.refund.state is RefundState.FAILED
    sold = SHARE[booking.status] is Share.SOLD
    if payment.unsettled:
        given_up = refund_failed and payment.refund.number >= RETURN_ATTEMPTS_MAX
        if not (payment.state is PaymentState.RETURNING and given_up):
            raise Violation("I9", f"never settled: {both}")
    elif payment.captured_minor > payment.refunded_minor and not sold:
        if refund_failed and payment.stuck and payment.refund.attempt >= RETURN_ATTEMPTS_MAX:
            return  # for an operator
        raise Violation("I7", f"money kept without a unit: {both}")
    if race.state.cancelled_at_ms is not None and sold and not (refund_failed or payment.disputed):
        raise Violation("I7", f"kept though the event was called off: {both}")
