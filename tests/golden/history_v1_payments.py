"""A history of every record about payments that release 0.2 journals. Never changed again.

`journal-v1-payments.hex` holds its bytes as that release wrote them: the format is still that
of version 1, the records and the fields at the end of old ones are new.
"""

import hashlib
import json

from engine.domain.booking import Booking, Line
from engine.domain.event import Allotment, Event, RefundPolicy, TicketType
from engine.domain.payment import Part, Refund
from engine.domain.records import (
    BookingConfirmed,
    CallingOff,
    DisputeNoted,
    EventCancelled,
    EventCreated,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    IntentOpened,
    MoneyTakenBack,
    PaymentAuthorised,
    PaymentClosed,
    PaymentClosing,
    PaymentFailed,
    PaymentGivenUp,
    PaymentRetried,
    PaymentReturning,
    PaymentStarted,
    RefundFailed,
    RefundRequested,
    RefundSettled,
)
from engine.domain.state import EventState
from engine.journal.contract import SnapshotRef
from engine.journal.entry import Entry, Position
from tests.golden.history_v1 import AT_MS, EVENT_ID, FIRST_OWNER, SECOND_OWNER
from tests.golden.history_v1 import facts as facts_of_0_1

_EVENT = Event(
    event_id=EVENT_ID,
    organizer="acme",
    name="Night",
    starts_at_ms=AT_MS + 86_400_000,
    currency="EUR",
    ticket_types=(TicketType("ga", "Stehplatz", 4_500, "floor", 6),),
    allotments=(Allotment("floor", 100),),
    hold_ttl_ms=600_000,
    refund_policy=RefundPolicy(48, 80),
    created_at_ms=AT_MS,
    capture_method="manual",
    payment_attempts_max=2,
)
_PRICE_MINOR = 9_000


def _id(number: int) -> str:
    return f"bk_0123456789ab{number:016d}"


def _booking(number: int, price_minor: int = 4_500) -> Booking:
    return Booking(
        booking_id=_id(number),
        customer=f"customer {number}",
        lines=(Line("ga", 2, price_minor),),
        units=2,
        held_at_ms=AT_MS + 1_000,
        expires_at_ms=AT_MS + 601_000,
        sequence=2,
    )


#: What becomes of each: see the entries below.
FREE, LEFT, EXPIRED, LATE, GIVEN_UP, REFUNDED, IN_PART, DENIED, LOST, DASHBOARD, LAST = range(1, 12)
_PAYING = (LEFT, EXPIRED, LATE, GIVEN_UP, REFUNDED, IN_PART, DENIED, LOST, DASHBOARD, LAST)
_PAID = (REFUNDED, IN_PART, DENIED, LOST, DASHBOARD)
_2_S, _3_S, _4_S, _5_S, _6_S = (AT_MS + seconds * 1_000 for seconds in range(2, 7))
_WHOLE, _HALF = (Part("ga", 2),), (Part("ga", 1),)
_TIME_UP_MS = AT_MS + 602_000

HISTORY = (
    Entry(1, 0, AT_MS, FIRST_OWNER),
    Entry(1, 1, AT_MS, FIRST_OWNER, (EventCreated(_EVENT),)),
    Entry(
        1,
        2,
        AT_MS + 1_000,
        FIRST_OWNER,
        (HoldPlaced(_booking(FREE, 0)), *(HoldPlaced(_booking(number)) for number in _PAYING)),
    ),
    Entry(
        1,
        3,
        _2_S,
        FIRST_OWNER,
        (
            BookingConfirmed(_id(FREE), 0, _2_S),
            *(PaymentStarted(_id(number), _PRICE_MINOR, _2_S) for number in _PAYING),
        ),
    ),
    Entry(
        1,
        4,
        _3_S,
        FIRST_OWNER,
        tuple(IntentOpened(_id(number), f"pi_{number}", AT_MS + 602_000) for number in _PAYING),
    ),
    Entry(
        1,
        5,
        _4_S,
        FIRST_OWNER,
        (
            PaymentFailed(_id(GIVEN_UP), "ch_1", _4_S),
            PaymentRetried(_id(GIVEN_UP), _4_S),
            PaymentGivenUp(_id(GIVEN_UP), "ch_2", _4_S),
            HoldReleased(_id(LEFT), _4_S),
            PaymentClosing(_id(LEFT), AT_MS + 602_000),
            PaymentClosed(_id(LEFT)),
            PaymentAuthorised(_id(REFUNDED), _4_S),
            *(BookingConfirmed(_id(number), _PRICE_MINOR, _4_S) for number in _PAID),
        ),
    ),
    Entry(2, 0, _5_S, SECOND_OWNER),
    Entry(
        2,
        6,
        _5_S,
        SECOND_OWNER,
        (
            RefundRequested(_id(REFUNDED), Refund(1, 7_200, _WHOLE, 1_800), _5_S),
            RefundRequested(_id(IN_PART), Refund(1, 4_500, _HALF), _5_S),
            RefundRequested(_id(DENIED), Refund(1, 9_000, _WHOLE), _5_S),
            DisputeNoted(_id(LOST), "dp_1", "needs_response", _5_S),
            MoneyTakenBack(_id(DASHBOARD), 1_000, _5_S),
        ),
    ),
    Entry(
        2,
        7,
        _6_S,
        SECOND_OWNER,
        (
            RefundSettled(_id(REFUNDED), "re_1", _6_S),
            RefundSettled(_id(IN_PART), "re_2", _6_S),
            RefundFailed(_id(DENIED), "re_3", "expired_or_canceled_card", _6_S),
            DisputeNoted(_id(LOST), "dp_1", "lost", _6_S),
            MoneyTakenBack(_id(LOST), _PRICE_MINOR, _6_S),
        ),
    ),
    Entry(
        2,
        8,
        _TIME_UP_MS,
        SECOND_OWNER,
        (
            PaymentClosing(_id(EXPIRED), _TIME_UP_MS + 30_000),
            HoldExpired(_id(LATE), _TIME_UP_MS),
            PaymentReturning(_id(LATE), Refund(1, 9_000, ()), _PRICE_MINOR, _TIME_UP_MS),
            EventCancelled(_TIME_UP_MS, 11),
        ),
    ),
    Entry(
        2,
        9,
        _TIME_UP_MS + 30_000,
        SECOND_OWNER,
        (
            PaymentClosed(_id(EXPIRED)),
            HoldExpired(_id(EXPIRED), _TIME_UP_MS + 30_000),
            RefundFailed(_id(LATE), "", "charge_disputed", _TIME_UP_MS + 30_000),
            HoldReleased(_id(LAST), _TIME_UP_MS + 30_000),
            PaymentClosing(_id(LAST), AT_MS + 602_000),
            RefundRequested(_id(DENIED), Refund(2, 9_000, _WHOLE), _TIME_UP_MS + 30_000),
            CallingOff(_TIME_UP_MS, 6),
        ),
    ),
)

#: The snapshot is of the state behind this entry; the rest of the history is its tail.
SNAPSHOT_AT = Position(2, 7)


def snapshot_ref(slices: int, digest: str) -> SnapshotRef:
    return SnapshotRef(*SNAPSHOT_AT, "{p00}:snapshot:of-the-release", slices, digest)


def facts(state: EventState) -> str:
    """Return the digest of all that release 0.2 knew of a state.

    Named one by one: what later releases add to a state leaves this digest as it is.
    """
    payments = [
        [
            booking.booking_id,
            [payment.state, payment.amount_minor, payment.opened_at_ms, payment.intent_id],
            [list(payment.failures), payment.given_up, [list(pair) for pair in payment.disputes]],
            [payment.captured_minor, payment.refunded_minor, payment.kept_minor],
            payment.taken_minor,
            [
                [refund.number, refund.amount_minor, refund.kept_minor, refund.state],
                [refund.refund_id, refund.reason],
                [[part.ticket_type, part.quantity] for part in refund.parts],
            ]
            if (refund := payment.refund) is not None
            else None,
        ]
        for booking in state.bookings.values()
        if (payment := booking.payment) is not None
    ]
    placed = [
        [booking.held_until_ms, [[line.ticket_type, line.quantity] for line in booking.placed]]
        for booking in state.bookings.values()
    ]
    called_off = [state.cancelled_at_ms, state.to_call_off]
    text = json.dumps([facts_of_0_1(state), payments, placed, list(state.unsettled), called_off])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
