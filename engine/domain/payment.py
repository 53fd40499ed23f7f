"""The payment of a booking and its refunds: small machines beside the booking's own.

A booking has at most one payment: one PaymentIntent at Stripe, on which a buyer may try
several cards. What Stripe says of it may come late, twice and in any order.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from engine.limits import REFUNDS_REMEMBERED_MAX


class PaymentState(StrEnum):
    """Where the payment of a booking is."""

    __hash__ = str.__hash__

    #: Asked for; Stripe has not told its intent yet.
    OPENING = "opening"
    #: The buyer can pay.
    OPEN = "open"
    #: The money is reserved and has been asked for.
    AUTHORISED = "authorised"
    #: It shall be closed: the time is up, the buyer has left, or too many cards failed.
    CLOSING = "closing"
    #: Closed without money.
    CLOSED = "closed"
    #: The money is there.
    CAPTURED = "captured"
    #: The money came too late for a ticket and goes back.
    RETURNING = "returning"
    #: It went back.
    RETURNED = "returned"


class RefundState(StrEnum):
    """Where a refund is."""

    __hash__ = str.__hash__

    REQUESTED = "requested"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


#: States in which Stripe still has something to say that the booking waits for.
UNSETTLED = frozenset(
    {
        PaymentState.OPENING,
        PaymentState.OPEN,
        PaymentState.AUTHORISED,
        PaymentState.CLOSING,
        PaymentState.RETURNING,
    }
)
#: States in which the buyer can still pay.
PAYABLE = frozenset({PaymentState.OPENING, PaymentState.OPEN})

#: Words of Stripe's for a dispute that is over.
DISPUTE_WON = frozenset({"won", "warning_closed", "prevented"})
DISPUTE_LOST = "lost"
DISPUTE_OVER = DISPUTE_WON | {DISPUTE_LOST}


class Part(Struct, frozen=True, array_like=True, gc=False):
    """Units of one ticket type that are given back."""

    ticket_type: str
    quantity: Annotated[int, Meta(ge=1)]


def quantities(parts: tuple[Part, ...]) -> dict[str, int]:
    """Return the units of each ticket type; one type may stand there twice."""
    counted: dict[str, int] = {}
    for part in parts:
        counted[part.ticket_type] = counted.get(part.ticket_type, 0) + part.quantity
    return counted


class Asked(Struct, frozen=True, array_like=True, gc=False):
    """What was asked for under a key: these units, or everything (`whole`).

    `whole` is None where that was not journalled yet; `parts` are then all that is known.
    """

    key: str
    parts: tuple[Part, ...]
    whole: bool | None = None

    def is_repeated_by(self, parts: tuple[Part, ...]) -> bool:
        """Tell whether a request for these parts, for everything if none, asks for the same."""
        if not parts:
            return self.whole is not False
        return not self.whole and quantities(parts) == quantities(self.parts)


class Refund(Struct, frozen=True, array_like=True, gc=False):
    """Money on its way back, or the last that was.

    `number` counts the refunds of a booking, from 1. `parts` are the units that it gives
    back; none where it is for no units: the money came too late, or was owed. `kept_minor` of
    their price is not given back. `key` names the request for it, if that had a name;
    `whole` says whether it was for everything, None where that was not journalled yet.
    `owed_minor` of its amount had gone back before, for other units, and come back from the
    bank. `attempt` says how often the same money was sent in a row, this time included.
    """

    number: int
    amount_minor: int
    parts: tuple[Part, ...]
    kept_minor: int = 0
    state: RefundState = RefundState.REQUESTED
    refund_id: str = ""
    reason: str = ""
    key: str = ""
    whole: bool | None = None
    owed_minor: int = 0
    attempt: int = 1


class Payment(Struct, frozen=True, array_like=True, gc=False):
    """The payment of one booking, immutable.

    `failures` name the failed attempts that were counted; `given_up`: there were too
    many. `captured_minor - refunded_minor - kept_minor - owed_minor` is the price of what is
    sold; `kept_minor` is what the refund policy lets the organizer keep, or what a partial
    refund made at Stripe's own dashboard took (below zero then). `taken_minor` of
    what was refunded went back without our asking. `disputes` are pairs of id and status.
    `earlier` is what was asked for under a key before `refund` was, oldest first, the
    last REFUNDS_REMEMBERED_MAX. `counted` are the sums of our refunds that Stripe counted
    for a while, until the last of them failed; `refund` left out. `owed_minor` went back for
    units that are free since, came back from the bank and is to be sent once more. Disputes
    that were lost were over `lost_minor`.
    """

    state: PaymentState
    amount_minor: int
    opened_at_ms: int
    intent_id: str = ""
    failures: tuple[str, ...] = ()
    given_up: bool = False
    captured_minor: int = 0
    refunded_minor: int = 0
    kept_minor: int = 0
    refund: Refund | None = None
    disputes: tuple[tuple[str, str], ...] = ()
    taken_minor: int = 0
    earlier: tuple[Asked, ...] = ()
    counted: tuple[int, ...] = ()
    owed_minor: int = 0
    lost_minor: int = 0

    @property
    def unsettled(self) -> bool:
        """Whether Stripe has to be asked if it says nothing."""
        return self.state in UNSETTLED or self.refunding

    @property
    def refunding(self) -> bool:
        """Whether a refund is under way."""
        return self.refund is not None and self.refund.state is RefundState.REQUESTED

    @property
    def left_minor(self) -> int:
        """What is here of the money and not owed: what is sold is paid with it."""
        return self.captured_minor - self.refunded_minor - self.owed_minor

    @property
    def stuck(self) -> bool:
        """Whether money for no units is here, and nothing is under way to send it back.

        While a dispute is open, the bank decides about it.
        """
        stays = self.state is PaymentState.RETURNING or self.owed_minor > 0
        return stays and not self.refunding and not self.disputed

    @property
    def ours_minor(self) -> int:
        """What went back by refunds of ours."""
        return self.refunded_minor - self.taken_minor

    @property
    def doubtful(self) -> bool:
        """Whether a refund of ours was made and has failed.

        Then Stripe's sum of what was given back does not show all that others gave back:
        what they did has to be asked for (`ObserveCharge.taken_minor`).
        """
        refund = self.refund
        if refund is not None and refund.state is RefundState.FAILED and refund.refund_id:
            return True
        return bool(self.counted)

    def gone_minor(self, given_back_minor: int) -> int:
        """Return what must have gone back: what succeeded of ours, and what others did.

        Stripe's sum may be of any time, late or early: a refund under way is in it or not,
        one that has failed after it was made is in it still or not, and nothing shows when it
        was. So of all that Stripe may have counted of ours at some time the most is left out
        for which the sum is large enough. What was lost by disputes is never in it.

        Args:
            given_back_minor: of the charge, in all, as Stripe says.
        """
        ours_minor = self.ours_minor
        possible = (one for one in self._counted() if ours_minor < one <= given_back_minor)
        theirs_minor = given_back_minor - max(possible, default=ours_minor)
        return theirs_minor + ours_minor + self.lost_minor

    def _counted(self) -> tuple[int, ...]:
        """Return the sums of our refunds that Stripe may have counted without their success."""
        refund = self.refund
        if refund is None or refund.state is RefundState.SUCCEEDED:
            return self.counted
        if not (self.refunding or refund.refund_id):
            return self.counted
        sum_minor = self.ours_minor + refund.amount_minor
        return self.counted if sum_minor in self.counted else (*self.counted, sum_minor)

    def asked_under(self, key: str) -> Asked | None:
        """Return what was asked for under a key, None if nothing was."""
        last = self.refund
        if not key:
            return None
        if last is not None and last.key == key:
            return Asked(key, last.parts, last.whole)
        return next((asked for asked in self.earlier if asked.key == key), None)

    def refunded_next(self, refund: Refund) -> "Payment":
        """Return the payment with another refund; what is to be known of the last is remembered."""
        last, earlier = self.refund, self.earlier
        if last is not None and last.key:
            earlier = (*earlier, Asked(last.key, last.parts, last.whole))[-REFUNDS_REMEMBERED_MAX:]
        return replace(self, refund=refund, earlier=earlier, counted=self._counted())

    def settled(self, refund_id: str) -> "Payment":
        """Return the payment with the refund under way made."""
        refund = self.refund
        assert refund is not None, "a refund was settled before it began"
        gone_minor = self.refunded_minor + refund.amount_minor
        # More than there was cannot go back: then something that others gave back has failed.
        failed_minor = max(0, gone_minor - self.captured_minor)
        # Some of what was owed may have gone back another way meanwhile.
        paid_minor = min(refund.owed_minor, self.owed_minor)
        twice_minor = refund.owed_minor - paid_minor
        return replace(
            self,
            refunded_minor=gone_minor - failed_minor,
            taken_minor=self.taken_minor - failed_minor,
            kept_minor=self.kept_minor + refund.kept_minor + failed_minor - twice_minor,
            owed_minor=self.owed_minor - paid_minor,
            refund=replace(refund, state=RefundState.SUCCEEDED, refund_id=refund_id),
        )

    @property
    def bounced_minor(self) -> int:
        """What is here again if the last refund, which was made, has come back from the bank.

        That is its amount, but for what a lost dispute has taken instead.
        """
        assert self.refund is not None, "a refund came back before it began"
        ours_minor = self.ours_minor - self.refund.amount_minor
        lost_minor = min(ours_minor + self.lost_minor, self.captured_minor)
        gone_minor = max(self.refunded_minor - self.refund.amount_minor, lost_minor)
        return max(0, self.refunded_minor - gone_minor)

    def bounced(self, owed_minor: int | None) -> "Payment":
        """Return the payment with the last refund, which was made, sent back by the bank."""
        assert self.refund is not None, "a refund came back before it began"
        amount_minor = self.refund.amount_minor
        if owed_minor is None:  # journalled when such money was kept
            return replace(
                self,
                refunded_minor=self.refunded_minor - amount_minor,
                kept_minor=self.kept_minor + amount_minor,
            )
        after = replace(
            self,
            refunded_minor=self.refunded_minor - owed_minor,
            taken_minor=self.taken_minor + amount_minor - owed_minor,
        )
        if not owed_minor:
            return after
        if self.state is PaymentState.RETURNED:
            kept_minor = -after.refunded_minor
            return replace(after, state=PaymentState.RETURNING, kept_minor=kept_minor)
        return replace(after, owed_minor=self.owed_minor + owed_minor)

    def taken_back(self, refunded_minor: int) -> "Payment":
        """Return the payment of which so much has gone back in all, the last by others."""
        more_minor = refunded_minor - self.refunded_minor
        after = replace(
            self, refunded_minor=refunded_minor, taken_minor=self.taken_minor + more_minor
        )
        if refunded_minor < self.captured_minor:
            # What was owed has gone first. For the rest nobody knows which units it was for:
            # the price of what is sold stays the same.
            owed_minor = max(0, self.owed_minor - more_minor)
            kept_minor = self.kept_minor - more_minor + self.owed_minor - owed_minor
            return replace(after, kept_minor=kept_minor, owed_minor=owed_minor)
        if self.refunding and self.refund is not None:
            overtaken = replace(self.refund, state=RefundState.FAILED, reason="taken_back")
            after = replace(after, refund=overtaken)
        if self.state is PaymentState.RETURNING:
            after = replace(after, state=PaymentState.RETURNED)
        return replace(after, kept_minor=0, owed_minor=0)

    @property
    def disputed(self) -> bool:
        """Whether a cardholder's dispute is open."""
        return any(status not in DISPUTE_OVER for _, status in self.disputes)

    def dispute(self, dispute_id: str) -> str | None:
        """Return the status of a dispute, None if it is unknown."""
        return dict(self.disputes).get(dispute_id)

    def with_dispute(self, dispute_id: str, status: str, lost_minor: int = 0) -> "Payment":
        """Return the payment with a dispute in its new status, which may have lost money."""
        known = dict(self.disputes)
        known[dispute_id] = status
        lost_minor += self.lost_minor
        return replace(self, disputes=tuple(known.items()), lost_minor=lost_minor)
