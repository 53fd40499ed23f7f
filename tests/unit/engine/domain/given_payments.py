"""What the tests of payments begin with: what is asked and what Stripe says, in few words.

Unless told otherwise it is about ann, who holds two `ga` for 9 000, and about `pi_1`.
"""

from engine.domain.booking import Booking, Status
from engine.domain.cancellation import call_off
from engine.domain.commands import (
    Caller,
    CancelEvent,
    Command,
    ObserveCharge,
    ObserveDispute,
    ObservePayment,
    ObserveRefund,
    OpenPayment,
    RequestRefund,
)
from engine.domain.outcomes import DONE, Outcome, PaymentShown
from engine.domain.payment import Part, Payment
from engine.domain.records import Record
from engine.domain.state import check_fully
from tests.unit.engine.domain.given import ORGANIZER, TTL_MS, Sale, booking_id, release

PRICE_MINOR = 9_000
CANCEL = CancelEvent(ORGANIZER)


def intent_of(customer: str) -> str:
    return "pi_1" if customer == "ann" else f"pi_{customer}"


def pay(customer: str = "ann", key: str = "1") -> OpenPayment:
    return OpenPayment(booking_id(customer, key), Caller(customer))


def said(
    status: str,
    customer: str = "ann",
    *,
    failure: str = "",
    intent_id: str | None = None,
    amount_minor: int = PRICE_MINOR,
    received_minor: int | None = None,
    currency: str = "EUR",
    payer: str | None = None,
) -> ObservePayment:
    """Return what Stripe says of a payment; all of it was received if it has succeeded."""
    if received_minor is None:
        received_minor = amount_minor if status == "succeeded" else 0
    return ObservePayment(
        booking_id(customer),
        intent_id or intent_of(customer),
        status,
        amount_minor,
        received_minor,
        currency,
        payer or customer,
        failure,
    )


def failed(charge: str = "ch_1", customer: str = "ann") -> ObservePayment:
    return said("requires_payment_method", customer, failure=charge)


OPENED = said("requires_payment_method")
SUCCEEDED = said("succeeded")
CANCELED = said("canceled")
AUTHORISED = said("requires_capture")


def charged(
    refunded_minor: int,
    customer: str = "ann",
    *,
    captured_minor: int = PRICE_MINOR,
    taken_minor: int | None = None,
) -> ObserveCharge:
    """Return what Stripe says of a charge of which so much has been given back in all."""
    return ObserveCharge(
        booking_id(customer),
        intent_of(customer),
        captured_minor,
        refunded_minor,
        "EUR",
        taken_minor=taken_minor,
    )


def refund_said(
    status: str,
    amount_minor: int = PRICE_MINOR,
    number: int = 1,
    *,
    customer: str = "ann",
    refund_id: str | None = None,
    reason: str = "",
) -> ObserveRefund:
    known_as = f"re_{number}" if refund_id is None else refund_id
    return ObserveRefund(booking_id(customer), known_as, number, status, amount_minor, reason)


def disputed(
    status: str = "needs_response",
    dispute_id: str = "dp_1",
    customer: str = "ann",
    *,
    amount_minor: int | None = None,
    currency: str = "EUR",
) -> ObserveDispute:
    """Return what Stripe says of a dispute, over everything if it has no amount."""
    intent_id = intent_of(customer)
    return ObserveDispute(
        booking_id(customer), intent_id, dispute_id, status, amount_minor, currency
    )


def refund(
    customer: str = "ann", caller: Caller | None = None, key: str = "", **parts: int
) -> RequestRefund:
    """Return the command `refund("ann", ga=1)`; without parts it is about everything."""
    given_back = tuple(Part(code, quantity) for code, quantity in parts.items())
    return RequestRefund(booking_id(customer), caller or Caller(customer), given_back, key)


class BoxOffice(Sale):
    """A sale with payments; every turn leaves books that agree."""

    def ask(self, *commands: Command) -> Outcome:
        outcome = super().ask(*commands)
        check_fully(self.state)
        return outcome

    def hear(self, *news: Command) -> None:
        """Hear what Stripe says, each in a turn of its own; it may not be refused."""
        for one in news:
            assert self.ask(one) == DONE, one

    def opened(self, customer: str = "ann", **quantities: int) -> Booking:
        """Place a hold and open its payment."""
        booking = self.placed(customer, **(quantities or {"ga": 2}))
        assert isinstance(self.ask(pay(customer)), PaymentShown)
        self.hear(self._priced(said("requires_payment_method", customer), booking))
        return self.booking(customer)

    def bought(self, customer: str = "ann", **quantities: int) -> Booking:
        """Place a hold and pay for it."""
        booking = self.opened(customer, **quantities)
        self.hear(self._priced(said("succeeded", customer), booking))
        assert self.booking(customer).status is Status.CONFIRMED
        return self.booking(customer)

    def expired(self) -> None:
        """Have the time of ann's hold be up, and its grace, too."""
        self.wait(2 * TTL_MS)
        self.expire_due()
        self.wait(TTL_MS)
        self.expire_due()
        assert self.status() is Status.EXPIRED

    def released(self) -> None:
        self.ask(release("ann"))

    def call_off(self) -> None:
        """Cancel the event and see to all its bookings, as the turns of an owner do."""
        self.ask(CANCEL)
        while self.state.to_call_off:
            self.take(*call_off(self.state, self.now_ms))

    def status(self, customer: str = "ann") -> Status:
        return self.booking(customer).status

    def payment(self, customer: str = "ann") -> Payment:
        payment = self.booking(customer).payment
        assert payment is not None
        return payment

    def money(self, customer: str = "ann") -> tuple[int, int, int]:
        """Return what was captured, refunded and kept."""
        payment = self.payment(customer)
        return payment.captured_minor, payment.refunded_minor, payment.kept_minor

    def last(self) -> tuple[Record, ...]:
        """Return the records of the last turn that left any."""
        return self.entries[-1].records

    @staticmethod
    def _priced(news: ObservePayment, booking: Booking) -> ObservePayment:
        return said(news.status, booking.customer, amount_minor=booking.total_minor)
