"""A booking and the one table of the moves it may make."""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from engine.domain.admission import Admission, Passage
from engine.domain.payment import Part, Payment, PaymentState, Refund, RefundState


class Status(StrEnum):
    """State of a booking; RESERVED is a hold."""

    #: Enum hashes in Python; the tables below are looked up for every booking replayed.
    __hash__ = str.__hash__

    RESERVED = "RESERVED"
    PAYMENT_PENDING = "PAYMENT_PENDING"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    CONFIRMED = "CONFIRMED"
    TICKETS_DELIVERED = "TICKETS_DELIVERED"
    REFUND_REQUESTED = "REFUND_REQUESTED"
    REFUND_DENIED = "REFUND_DENIED"
    REFUNDED = "REFUNDED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class Move(StrEnum):
    """What may happen to a booking after it was placed."""

    __hash__ = str.__hash__

    START_PAYMENT = "start_payment"
    CONFIRM = "confirm"
    FAIL_PAYMENT = "fail_payment"
    GIVE_UP = "give_up"
    RELEASE = "release"
    EXPIRE = "expire"
    REINSTATE = "reinstate"
    DELIVER_TICKETS = "deliver_tickets"
    REQUEST_REFUND = "request_refund"
    REFUND = "refund"
    REFUND_PART = "refund_part"
    REFUND_DELIVERED_PART = "refund_delivered_part"
    DENY_REFUND = "deny_refund"
    TAKE_BACK = "take_back"


#: Every legal move, and nothing else is: (state, move) -> next state.
#: CONFIRM from RESERVED is a free booking, from PAYMENT_FAILED a card that was tried again
#: on the same intent. REINSTATE is a payment that succeeded after the hold had ended while
#: the stock was still there. TAKE_BACK is money that went back without our asking: a
#: refund made at Stripe, a dispute that was lost.
TRANSITIONS: dict[tuple[Status, Move], Status] = {
    (Status.RESERVED, Move.START_PAYMENT): Status.PAYMENT_PENDING,
    (Status.RESERVED, Move.CONFIRM): Status.CONFIRMED,
    (Status.RESERVED, Move.RELEASE): Status.CANCELLED,
    (Status.RESERVED, Move.EXPIRE): Status.EXPIRED,
    (Status.PAYMENT_PENDING, Move.CONFIRM): Status.CONFIRMED,
    (Status.PAYMENT_PENDING, Move.FAIL_PAYMENT): Status.PAYMENT_FAILED,
    (Status.PAYMENT_PENDING, Move.GIVE_UP): Status.CANCELLED,
    (Status.PAYMENT_PENDING, Move.RELEASE): Status.CANCELLED,
    (Status.PAYMENT_PENDING, Move.EXPIRE): Status.EXPIRED,
    (Status.PAYMENT_FAILED, Move.START_PAYMENT): Status.PAYMENT_PENDING,
    (Status.PAYMENT_FAILED, Move.CONFIRM): Status.CONFIRMED,
    (Status.PAYMENT_FAILED, Move.FAIL_PAYMENT): Status.PAYMENT_FAILED,
    (Status.PAYMENT_FAILED, Move.GIVE_UP): Status.CANCELLED,
    (Status.PAYMENT_FAILED, Move.RELEASE): Status.CANCELLED,
    (Status.PAYMENT_FAILED, Move.EXPIRE): Status.EXPIRED,
    (Status.EXPIRED, Move.REINSTATE): Status.CONFIRMED,
    (Status.CANCELLED, Move.REINSTATE): Status.CONFIRMED,
    (Status.CONFIRMED, Move.DELIVER_TICKETS): Status.TICKETS_DELIVERED,
    (Status.CONFIRMED, Move.REQUEST_REFUND): Status.REFUND_REQUESTED,
    (Status.CONFIRMED, Move.TAKE_BACK): Status.REFUNDED,
    (Status.TICKETS_DELIVERED, Move.REQUEST_REFUND): Status.REFUND_REQUESTED,
    (Status.TICKETS_DELIVERED, Move.TAKE_BACK): Status.REFUNDED,
    (Status.REFUND_REQUESTED, Move.REFUND): Status.REFUNDED,
    (Status.REFUND_REQUESTED, Move.REFUND_PART): Status.CONFIRMED,
    (Status.REFUND_REQUESTED, Move.REFUND_DELIVERED_PART): Status.TICKETS_DELIVERED,
    (Status.REFUND_REQUESTED, Move.DENY_REFUND): Status.REFUND_DENIED,
    (Status.REFUND_REQUESTED, Move.TAKE_BACK): Status.REFUNDED,
    (Status.REFUND_DENIED, Move.REQUEST_REFUND): Status.REFUND_REQUESTED,
    (Status.REFUND_DENIED, Move.TAKE_BACK): Status.REFUNDED,
}


class Share(StrEnum):
    """Where the units of a booking are counted."""

    __hash__ = str.__hash__

    HELD = "held"
    SOLD = "sold"
    NONE = "none"


#: In which count of its allotment a booking's units stand, by state. Total, and a test says so.
SHARE: dict[Status, Share] = {
    Status.RESERVED: Share.HELD,
    Status.PAYMENT_PENDING: Share.HELD,
    Status.PAYMENT_FAILED: Share.HELD,
    Status.CONFIRMED: Share.SOLD,
    Status.TICKETS_DELIVERED: Share.SOLD,
    Status.REFUND_REQUESTED: Share.SOLD,
    Status.REFUND_DENIED: Share.SOLD,
    Status.REFUNDED: Share.NONE,
    Status.EXPIRED: Share.NONE,
    Status.CANCELLED: Share.NONE,
}

#: States that end by themselves when `expires_at_ms` passes.
EXPIRING = frozenset(status for status in Status if (status, Move.EXPIRE) in TRANSITIONS)


class Line(Struct, frozen=True, array_like=True, gc=False):
    """Units of one ticket type at the price that was frozen when they were held."""

    ticket_type: str
    quantity: int
    unit_price_minor: int
    seats: tuple[str, ...] = ()


class Moment(Struct, frozen=True, array_like=True, gc=False):
    """When a booking came into a state, Unix milliseconds."""

    status: Status
    at_ms: int


class Booking(Struct, frozen=True, array_like=True, gc=False):
    """What a buyer has. Immutable: a move puts a new one in its place.

    `sequence` is that of the journal entry which placed the hold, `later` every state
    after RESERVED. `expires_at_ms` moves when a payment is begun, opened or closed, `lines` lose
    what was given back of them: `held_until_ms` and `placed` are what they were when the
    hold was placed, 0 and empty if they have not changed. `admissions` are those of its
    tickets that have been scanned.
    """

    booking_id: str
    customer: str
    lines: tuple[Line, ...]
    units: int
    held_at_ms: int
    expires_at_ms: int
    sequence: int
    status: Status = Status.RESERVED
    later: tuple[Moment, ...] = ()
    payment: Payment | None = None
    held_until_ms: int = 0
    placed: tuple[Line, ...] = ()
    admissions: tuple[Admission, ...] = ()

    @property
    def total_minor(self) -> int:
        """What the whole booking costs."""
        return sum(line.quantity * line.unit_price_minor for line in self.lines)

    @property
    def own_end_ms(self) -> int:
        """When the hold ends by its own time, whatever its payment has made of that."""
        return self.held_until_ms or self.expires_at_ms

    @property
    def history(self) -> tuple[Moment, ...]:
        """Every state the booking has been in, oldest first."""
        return (Moment(Status.RESERVED, self.held_at_ms), *self.later)

    def moved(self, status: Status, at_ms: int) -> "Booking":
        """Return the booking as it is after a move to `status`."""
        return replace(self, status=status, later=(*self.later, Moment(status, at_ms)))

    def expiring(self, expires_at_ms: int) -> "Booking":
        """Return the booking with another time at which it ends."""
        return replace(self, expires_at_ms=expires_at_ms, held_until_ms=self.own_end_ms)

    def refunding(self, refund: Refund, at_ms: int) -> "Booking":
        """Return the booking with a refund asked for; a free one gets books of its own."""
        payment = self.payment or Payment(PaymentState.CAPTURED, 0, at_ms)
        # What is owed for units that are free since is sent without them.
        over = self.status is Status.REFUNDED
        asked = self if over else self.moved(Status.REFUND_REQUESTED, at_ms)
        return replace(asked, payment=payment.refunded_next(refund))

    def returning(self, refund: Refund, captured_minor: int) -> "Booking":
        """Return the booking whose money, for which it has no units, is sent back."""
        assert self.payment is not None, "money is sent back that was never asked for"
        payment = replace(
            self.payment.refunded_next(refund),
            state=PaymentState.RETURNING,
            captured_minor=captured_minor,
        )
        return replace(self, payment=payment)

    def refunded(self, refund_id: str, at_ms: int) -> "Booking":
        """Return the booking with the refund under way made, and without the units it was for."""
        assert self.payment is not None, "a booking was refunded that was not paid"
        assert self.payment.refund is not None, "a refund was made before it was asked for"
        parts, payment = self.payment.refund.parts, self.payment.settled(refund_id)
        if payment.state is PaymentState.RETURNING:
            return replace(self, payment=replace(payment, state=PaymentState.RETURNED))
        if self.status is Status.REFUNDED:
            return replace(self, payment=payment)
        rest, left_minor = self.without(parts), payment.left_minor
        if not rest.units or (rest.total_minor and not left_minor):
            # That was all of it, or others have given back what was left.
            payment = replace(payment, kept_minor=left_minor)
            return replace(self.moved(Status.REFUNDED, at_ms), payment=payment)
        delivered = any(moment.status is Status.TICKETS_DELIVERED for moment in self.later)
        status = Status.TICKETS_DELIVERED if delivered else Status.CONFIRMED
        return replace(rest.moved(status, at_ms), payment=payment)

    def refund_failed(
        self, refund_id: str, reason: str, owed_minor: int | None, at_ms: int
    ) -> "Booking":
        """Return the booking with the last refund failed; see `RefundFailed`."""
        payment = self.payment
        assert payment is not None, "a refund failed of what was not paid"
        assert payment.refund is not None, "a refund failed before it began"
        state = payment.refund.state
        refund = replace(
            payment.refund, state=RefundState.FAILED, refund_id=refund_id, reason=reason
        )
        after = self
        if state is RefundState.SUCCEEDED:
            # The money is here again, and nothing is sold for it.
            payment = payment.bounced(owed_minor)
        elif (self.status, Move.DENY_REFUND) in TRANSITIONS:
            after = self.moved(Status.REFUND_DENIED, at_ms)
        return replace(after, payment=replace(payment, refund=refund))

    def taken_back(self, refunded_minor: int, at_ms: int) -> "Booking":
        """Return the booking of which so much has gone back in all, the last by others."""
        assert self.payment is not None, "money was taken back that was never there"
        payment = self.payment.taken_back(refunded_minor)
        status = TRANSITIONS.get((self.status, Move.TAKE_BACK))
        whole = refunded_minor >= payment.captured_minor
        after = self if status is None or not whole else self.moved(status, at_ms)
        return replace(after, payment=payment)

    def without(self, parts: tuple[Part, ...]) -> "Booking":
        """Return the booking without units that were given back."""
        back: dict[str, int] = {}
        for part in parts:
            back[part.ticket_type] = back.get(part.ticket_type, 0) + part.quantity
        lines: list[Line] = []
        for line in self.lines:
            gone = min(line.quantity, back.get(line.ticket_type, 0))
            if gone:
                back[line.ticket_type] -= gone
            if gone < line.quantity:
                lines.append(replace(line, quantity=line.quantity - gone) if gone else line)
        return replace(
            self,
            lines=tuple(lines),
            units=sum(line.quantity for line in lines),
            placed=self.placed or self.lines,
        )

    def admission(self, place: int) -> Admission | None:
        """Return what has happened at the doors to the ticket of this place, None if nothing."""
        return next((one for one in self.admissions if one.place == place), None)

    def passed(self, place: int, passage: Passage) -> "Booking":
        """Return the booking after its ticket of this place has gone through a door."""
        before = self.admission(place)
        if before is None:
            return replace(self, admissions=(*self.admissions, Admission(place, (passage,))))
        after = before.passed(passage)
        return replace(
            self, admissions=tuple(after if one is before else one for one in self.admissions)
        )

    def not_passed(self, place: int) -> "Booking":
        """Return the booking without the last passage of the ticket of this place."""
        before = self.admission(place)
        assert before is not None, "a passage was undone that never was"
        after = (replace(before, passages=before.passages[:-1]),) if before.passages[1:] else ()
        others = (one for one in self.admissions if one is not before)
        return replace(self, admissions=(*others, *after))

    def as_placed(self) -> "Booking":
        """Return the booking as it was when the hold was placed."""
        units = sum(line.quantity for line in self.placed) or self.units
        return Booking(
            self.booking_id,
            self.customer,
            self.placed or self.lines,
            units,
            self.held_at_ms,
            self.own_end_ms,
            self.sequence,
        )
