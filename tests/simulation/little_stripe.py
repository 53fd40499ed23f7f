"""Stripe, as small as a race needs it: one intent for each booking, its refunds, its dispute.

It is instant and has no opinion on what follows from anything: who calls, when the answer
arrives and which news is lost are for the race to say.
"""

from dataclasses import dataclass, field

from engine.domain.commands import (
    Command,
    ObserveCharge,
    ObserveDispute,
    ObservePayment,
    ObserveRefund,
)

News = tuple[Command, ...]
#: A buyer cannot pay an intent any more that is in one of these.
_OVER = ("succeeded", "canceled", "processing", "requires_capture")


@dataclass
class Intent:
    """One PaymentIntent, with everything that came of it."""

    booking_id: str
    customer: str
    amount_minor: int
    manual: bool
    status: str = "requires_payment_method"
    failures: list[str] = field(default_factory=list)
    failed_last: bool = False
    captured_minor: int = 0
    refunded_minor: int = 0
    #: Amount and status of each refund of ours, by its number.
    refunds: dict[int, tuple[int, str]] = field(default_factory=dict)
    #: Numbers of those that could not be made.
    refused: set[int] = field(default_factory=set)
    dispute: str = ""
    disputed_minor: int = 0

    @property
    def intent_id(self) -> str:
        return f"pi_{self.booking_id}"

    @property
    def gone_minor(self) -> int:
        """What is not with us any more of what was captured."""
        return self.captured_minor - self.left_minor

    @property
    def left_minor(self) -> int:
        """What of the captured money is with us."""
        lost_minor = self.disputed_minor if self.dispute == "lost" else 0
        return max(0, self.captured_minor - self.refunded_minor - lost_minor)

    # -- what Stripe says of it --------------------------------------------------------

    def news(self) -> News:
        """Return what a look at the intent tells."""
        payment = ObservePayment(
            self.booking_id,
            self.intent_id,
            self.status,
            self.amount_minor,
            self.captured_minor,
            "EUR",
            self.customer,
            self.failures[-1] if self.failed_last else "",
        )
        return (payment, *self.charge()) if self.refunded_minor else (payment,)

    def charge(self, taken_minor: int | None = None) -> News:
        return (
            ObserveCharge(
                self.booking_id,
                self.intent_id,
                self.captured_minor,
                self.refunded_minor,
                "EUR",
                taken_minor=taken_minor,
            ),
        )

    def refunds_seen(self) -> News:
        """Return what a look at the intent and at the list of its refunds tells."""
        ours_minor = sum(amount for amount, status in self.refunds.values() if status != "failed")
        payment, *_ = self.news()
        return (payment, *self.charge(self.refunded_minor - ours_minor))

    def refund_news(self, number: int) -> News:
        amount_minor, status = self.refunds[number]
        return (ObserveRefund(self.booking_id, f"re_{number}", number, status, amount_minor),)

    def dispute_news(self) -> News:
        about = (self.booking_id, self.intent_id, "dp_1")
        return (ObserveDispute(*about, self.dispute, self.disputed_minor, "EUR"),)

    # -- what its buyer does -----------------------------------------------------------

    def pay(self, how: str) -> bool:
        """Try to pay: `fails`, `succeeds`, or is `processing`. Tells whether it could be tried."""
        if self.status in _OVER:
            return False
        self.failed_last = how == "fails"
        if how == "fails":
            self.failures.append(f"ch_{len(self.failures)}")
            self.status = "requires_payment_method"
        elif how == "processing":
            self.status = "processing"
        else:
            self.arrive()
        return True

    def arrive(self) -> None:
        """Have the money be there, or be reserved."""
        self.status = "requires_capture" if self.manual else "succeeded"
        self.captured_minor = 0 if self.manual else self.amount_minor

    # -- what we ask for ---------------------------------------------------------------

    def cancel(self) -> bool:
        if self.status in ("succeeded", "canceled", "processing"):
            return False
        self.status = "canceled"
        return True

    def capture(self) -> bool:
        if self.status != "requires_capture":
            return False
        self.status, self.captured_minor = "succeeded", self.amount_minor
        return True

    def refund(self, number: int, amount_minor: int, status: str) -> bool:
        """Give money back, False if it cannot be. The same number again has the same answer.

        That is what Stripe makes of an idempotency key, whatever has changed meanwhile.
        """
        if number in self.refunds:
            return True
        if not self._can_give_back(amount_minor) or number in self.refused:
            self.refused.add(number)
            return False
        self.refunds[number] = amount_minor, status
        self.refunded_minor += amount_minor
        return True

    def end_refund(self, number: int, status: str) -> None:
        amount_minor, _ = self.refunds[number]
        self.refunds[number] = amount_minor, status
        if status == "failed":
            self.refunded_minor -= amount_minor

    # -- what others do ----------------------------------------------------------------

    def refund_by_hand(self, amount_minor: int) -> bool:
        if not self._can_give_back(amount_minor):
            return False
        self.refunded_minor += amount_minor
        return True

    def _can_give_back(self, amount_minor: int) -> bool:
        return amount_minor <= self.left_minor and self.dispute in ("", "won", "lost")

    def dispute_it(self, amount_minor: int) -> bool:
        if not self.left_minor or self.dispute:
            return False
        self.dispute, self.disputed_minor = "needs_response", amount_minor
        return True
