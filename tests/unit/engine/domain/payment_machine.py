"""One sale with payments as a random history: Stripe says anything, at any time, in any order."""

from collections import Counter
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, initialize, invariant, multiple, rule
from msgspec.structs import replace

from engine.domain.booking import Booking
from engine.domain.cancellation import call_off
from engine.domain.commands import (
    Caller,
    CancelEvent,
    Command,
    CreateEvent,
    ObserveCharge,
    ObserveDispute,
    ObservePayment,
    ObserveRefund,
    OpenPayment,
    PlaceHold,
    ReadPayments,
    RequestRefund,
)
from engine.domain.event import Event, RefundPolicy
from engine.domain.outcomes import Granted
from engine.domain.payment import Part
from tests.unit.engine.domain.given import NOW_MS, ORGANIZER, Item, hold
from tests.unit.engine.domain.naive import Facts
from tests.unit.engine.domain.naive_payments import NaiveBoxOffice
from tests.unit.engine.domain.sale_machine import CALLERS, SaleMachine, small_event

STATUSES = st.sampled_from(
    ("succeeded",) * 4
    + ("requires_payment_method",) * 4
    + ("canceled", "requires_capture", "requires_action", "processing")
)
FAILURES = st.sampled_from(("", "ch_1", "ch_2", "ch_3"))
#: Mostly the truth: what does not belong to the booking is refused, and that is soon known.
INTENTS = st.sampled_from(("pi",) * 15 + ("another",))
OFF_BY = st.sampled_from((0,) * 15 + (1,))
BACK = st.sampled_from((0, 1, 500, 3_000, None, None))
DISPUTES = st.sampled_from(("needs_response", "under_review", "won", "lost"))


#: On sale all the time: the opening and the closing have a machine of their own.
ON_SALE = st.builds(
    small_event,
    limit_per_booking=st.just(3),
    capacities=st.fixed_dictionaries(dict.fromkeys(("ga", "vip", "floor"), st.integers(2, 5))),
    hold_ttl_ms=st.sampled_from((1_000, 5_000)),
    max_per_customer=st.sampled_from((None, None, 3)),
)
#: Half of them so long that there is somebody to buy when a payment has come too late.
LONG_ON_SALE = ON_SALE | ON_SALE.map(lambda event: replace(event, starts_at_ms=NOW_MS + 600_000))


class PaymentMachine(SaleMachine):
    """A sale on which Stripe has something to say; its rules and its naive model go together."""

    met: ClassVar[Counter[str]] = Counter()

    # What the machine without payments does often enough would only crowd these out.
    rush = repeat = amend = amend_what_is_held = pause_or_resume = hold_at_the_closing = None
    read_and_release_for_another = None

    def __init__(self) -> None:
        super().__init__()
        self.naive = NaiveBoxOffice()

    @initialize(
        target=SaleMachine.placed,
        event=LONG_ON_SALE,
        attempts_max=st.integers(1, 3),
        policy=st.sampled_from((None, RefundPolicy(0, 100), RefundPolicy(0, 70))),
    )
    def create(
        self, event: Event, attempts_max: int, policy: RefundPolicy | None
    ) -> MultipleResults[PlaceHold]:
        self.event = replace(event, payment_attempts_max=attempts_max, refund_policy=policy)
        self.ask(CreateEvent(self.event))
        first = (
            hold("ann", ga=2),
            hold("bob", vip=1, early=1),
            hold("cid", Item("late", 1), Item("ga", 1), Item("late", 1)),
        )
        return multiple(*(command for command in first if isinstance(self.ask(command), Granted)))

    # -- buyers and organizers -----------------------------------------------------------

    @rule(command=SaleMachine.placed)
    def pay(self, command: PlaceHold) -> None:
        self.ask(OpenPayment(command.booking_id, Caller(command.customer)))

    @rule(command=SaleMachine.placed, caller=CALLERS)
    def pay_for_another(self, command: PlaceHold, caller: Caller) -> None:
        self.ask(OpenPayment(command.booking_id, caller))

    @rule(command=SaleMachine.placed, before=st.lists(STATUSES, max_size=2))
    def buy(self, command: PlaceHold, before: list[str]) -> None:
        self.pay(command)
        for status in before:
            self.hear(command, status, "", "pi", 0)
        self.hear(command, "succeeded", "", "pi", 0)

    @rule(
        command=SaleMachine.placed,
        caller=st.none() | CALLERS,
        quantities=st.lists(st.integers(1, 2), max_size=3),
        code=st.sampled_from((0, 0, 0, "nosuch")),
        key=st.sampled_from(("", "", "k1", "k2")),
    )
    def refund(
        self,
        command: PlaceHold,
        caller: Caller | None,
        quantities: list[int],
        code: str | int,
        key: str = "",
    ) -> None:
        ticket_type = code or command.items[-1].ticket_type
        parts = tuple(Part(ticket_type, quantity) for quantity in quantities)
        caller = caller or Caller(command.customer)
        self.ask(RequestRefund(command.booking_id, caller, parts, key))

    @rule(caller=CALLERS, what=st.sampled_from(("no", "no", "no", "no", "begin", "end")))
    def cancel(self, caller: Caller, what: str) -> None:
        if what != "no":
            self.ask(CancelEvent(caller))
        if what == "end":
            self.see_to_bookings()

    @rule(
        command=SaleMachine.placed,
        grace=st.booleans(),
        news=STATUSES | st.none(),
        left_ms=st.sampled_from((1, 500, 60_000)),
        wait_ms=st.sampled_from((0, 0, 1, 500, 29_999, 30_000)),
    )
    def run_out_of_time(
        self,
        command: PlaceHold,
        grace: bool,
        news: str | None,
        left_ms: int = 60_000,
        wait_ms: int = 0,
    ) -> None:
        booking = self.state.bookings[command.booking_id]
        self.wait(max(0, booking.expires_at_ms - left_ms - self.now_ms))
        self.pay(command)
        self.wait(wait_ms)  # for Stripe to open the payment
        self.expire_due()
        self.pay(command)
        self.hear(command, "processing", "", "pi", 0)
        for _ in range(1 + grace):  # the hold, and what it waits for Stripe
            self.wait_for_its_expiry(command, 0)
            self.expire_due()
        if news is not None:
            self.hear(command, news, "ch_1", "pi", 0)

    @rule(command=SaleMachine.placed)
    def come_too_late(self, command: PlaceHold) -> None:
        self.run_out_of_time(command, grace=True, news=None)
        for code, allotment in (("ga", "ga"), ("vip", "vip"), ("late", "floor")):
            for number in range(self.naive.free(allotment)):
                self.ask(hold(f"{code} {number}", key=str(self.now_ms), **{code: 1}))
        self.hear(command, "succeeded", "", "pi", 0)

    @rule(
        command=SaleMachine.placed,
        charges=st.lists(FAILURES, min_size=1, max_size=4),
        again=st.booleans(),
    )
    def try_cards(self, command: PlaceHold, charges: list[str], again: bool) -> None:
        for charge in charges:
            self.hear(command, "requires_payment_method", charge, "pi", 0)
            if again:
                self.pay(command)

    @rule(command=SaleMachine.placed, status=STATUSES, ending=STATUSES)
    def authorise(self, command: PlaceHold, status: str, ending: str) -> None:
        for news in (status, "requires_capture", ending):
            self.hear(command, news, "ch_1", "pi", 0)

    @rule(command=SaleMachine.placed, news=STATUSES, really=st.sampled_from((False, False, True)))
    def leave(self, command: PlaceHold, news: str, really: bool) -> None:
        if not really:
            return
        self.pay(command)
        self.hear(command, "processing", "", "pi", 0)
        self.release(command)
        self.hear(command, news, "ch_1", "pi", 0)

    @rule(
        command=SaleMachine.placed,
        quantities=st.lists(st.just(1), max_size=1),
        ending=st.sampled_from(("succeeded", "failed")),
        charge_first=st.booleans(),
        back=BACK,
    )
    def buy_and_get_money_back(
        self,
        command: PlaceHold,
        quantities: list[int],
        ending: str,
        charge_first: bool,
        back: int | None,
    ) -> None:
        self.buy(command, [])
        self.refund(command, ORGANIZER, quantities, 0)
        if charge_first:
            self.hear_of_the_charge(command, back, "pi", 0)
        self.hear_of_the_refund(command, ending, "re_1", 0, 0)

    @rule(
        command=SaleMachine.placed,
        quantities=st.lists(st.just(1), max_size=1),
        endings=st.lists(st.sampled_from(("succeeded", "failed")), min_size=2, max_size=9),
        back=BACK,
        again=st.booleans(),
    )
    def buy_and_have_the_bank_send_money_back(
        self,
        command: PlaceHold,
        quantities: list[int],
        endings: list[str],
        back: int | None,
        again: bool,
    ) -> None:
        self.buy_and_get_money_back(command, quantities, "succeeded", False, 0)
        for ending in ("failed", *endings):
            self.hear_of_the_refund(command, ending, "re_1", 0, 0)
        self.hear_of_the_charge(command, back, "pi", 0)
        if again:
            self.refund(command, ORGANIZER, [], 0)

    @rule()
    def look(self) -> None:
        self.ask(ReadPayments())

    # -- Stripe --------------------------------------------------------------------------

    @rule(
        command=SaleMachine.placed,
        status=STATUSES,
        failure=FAILURES,
        intent_id=INTENTS,
        off_by=OFF_BY,
    )
    def hear(
        self, command: PlaceHold, status: str, failure: str, intent_id: str, off_by: int
    ) -> None:
        if intent_id == "pi" and self.naive.find(command.booking_id).status == "RESERVED":
            self.pay(command)
        price = self.price(command)
        received = price if status == "succeeded" else 0
        self.tell(
            ObservePayment(
                command.booking_id,
                intent_id,
                status,
                price + off_by,
                received,
                "EUR",
                command.customer,
                failure,
            )
        )

    @rule(
        command=SaleMachine.placed,
        back=BACK,
        intent_id=INTENTS,
        off_by=OFF_BY,
        taken=st.sampled_from((None, None, None, 0, 500)),
    )
    def hear_of_the_charge(
        self,
        command: PlaceHold,
        back: int | None,
        intent_id: str,
        off_by: int,
        taken: int | None = None,
    ) -> None:
        price = self.price(command)
        gone = price if back is None else min(back, price)
        captured = price + off_by
        self.tell(
            ObserveCharge(command.booking_id, intent_id, captured, gone, "EUR", taken_minor=taken)
        )

    @rule(
        command=SaleMachine.placed,
        status=st.sampled_from(("succeeded", "succeeded", "failed", "canceled", "pending")),
        refund_id=st.sampled_from(("re_1", "")),
        behind=st.sampled_from((0, 0, 0, 0, 1, -1)),
        off_by=OFF_BY,
    )
    def hear_of_the_refund(
        self, command: PlaceHold, status: str, refund_id: str, behind: int, off_by: int
    ) -> None:
        till = self.naive.tills.get(command.booking_id)
        refunds = till.refunds if till else []
        amount = refunds[-1].amount if refunds else 0
        number = len(refunds) - behind
        self.tell(ObserveRefund(command.booking_id, refund_id, number, status, amount + off_by))

    @rule(
        command=SaleMachine.placed,
        intent_id=INTENTS,
        dispute_id=st.sampled_from(("dp_1", "dp_2")),
        status=DISPUTES,
        amount=st.sampled_from((None, 1, 500, 3_000, 1_000_000)),
        currency=st.sampled_from(("EUR", "EUR", "EUR", "USD")),
        behind_its_payment=st.booleans(),
    )
    def hear_of_a_dispute(
        self,
        command: PlaceHold,
        intent_id: str,
        dispute_id: str,
        status: str,
        amount: int | None = None,
        currency: str = "EUR",
        behind_its_payment: bool = True,
    ) -> None:
        if behind_its_payment:
            self.hear(command, "succeeded", "", intent_id, 0)
        news = (command.booking_id, intent_id, dispute_id, status, amount, currency)
        self.tell(ObserveDispute(*news))

    def tell(self, news: Command) -> None:
        self.ask(news)
        self.ask(news)

    def price(self, command: PlaceHold) -> int:
        booking = self.naive.find(command.booking_id)
        assert booking is not None
        return sum(quantity * each for _, quantity, each in booking.rows_asked())

    # -- the owner's own work --------------------------------------------------------------

    @rule()
    def see_to_bookings(self) -> None:
        if self.state.to_call_off:
            self.keep(call_off(self.state, self.now_ms))
            assert self.state.to_call_off == 0
            self.naive.see_to_everything(self.now_ms)
            self.met["called off"] += 1

    # -- after every step ------------------------------------------------------------------

    @invariant()
    def the_books_are_those_of_the_model(self) -> None:
        for booking_id, booking in self.state.bookings.items():
            till = self.naive.tills.get(booking_id)
            expected = None if till is None else till.facts()
            assert books(booking) == expected, f"{booking} has other books than {till}"
            if till is not None:
                self.met[f"{booking.status} {till.phase}"] += 1
        waiting = {name for name, till in self.naive.tills.items() if till.waits}
        assert set(self.state.unsettled) == waiting


def books(booking: Booking) -> Facts | None:
    """Return the payment of a booking in the naive model's words."""
    payment = booking.payment
    if payment is None:
        return None
    refund = payment.refund
    refunds = []
    if refund is not None:
        refunds = [(refund.amount_minor, refund.kept_minor, refund.state, refund.owed_minor)]
    return (
        (payment.state, payment.intent_id, list(payment.failures), payment.given_up),
        (
            payment.captured_minor,
            payment.refunded_minor,
            payment.kept_minor,
            payment.taken_minor,
            payment.owed_minor,
            payment.lost_minor,
        ),
        (0 if refund is None else refund.number, refunds),
        dict(payment.disputes),
    )
