"""I7: the books. What came and did not go back was kept, or is the price of what is sold."""

from collections.abc import Iterable

from msgspec import Struct

from engine.domain.booking import SHARE, Booking, Share, Status
from engine.domain.payment import Payment, PaymentState


class Money(Struct, frozen=True):
    """What an event has taken, minor units: captured - refunded - kept = sold + returning.

    `sold_minor` is the price of what is sold, `returning_minor` money that is here for no
    units and has not gone back yet: it came too late, or a bank has sent it back.
    """

    captured_minor: int = 0
    refunded_minor: int = 0
    kept_minor: int = 0
    sold_minor: int = 0
    returning_minor: int = 0


def count_money(bookings: Iterable[Booking]) -> Money:
    """Return what all bookings add up to."""
    captured = refunded = kept = sold = returning = 0
    for booking in bookings:
        if SHARE[booking.status] is Share.SOLD:
            sold += booking.total_minor
        payment = booking.payment
        if payment is None:
            continue
        captured += payment.captured_minor
        refunded += payment.refunded_minor
        kept += payment.kept_minor
        returning += payment.owed_minor
        if payment.state is PaymentState.RETURNING:
            returning += payment.captured_minor - payment.refunded_minor - payment.kept_minor
    return Money(captured, refunded, kept, sold, returning)


def check_money(bookings: Iterable[Booking]) -> None:
    """Assert I7 for every booking, whether its payment is settled or not.

    Raises:
        AssertionError: money is there without units or on its way back, or units are sold
            without their price.
    """
    for booking in bookings:
        sold = SHARE[booking.status] is Share.SOLD
        if booking.payment is None:
            assert not (sold and booking.total_minor), f"I7: {booking.booking_id} is not paid"
        else:
            _check_payment(booking, booking.payment, sold=sold)


def _check_payment(booking: Booking, payment: Payment, *, sold: bool) -> None:
    what = f"{booking.booking_id} is {booking.status}, payment {payment.state}"
    captured_minor, refunded_minor = payment.captured_minor, payment.refunded_minor
    assert 0 <= refunded_minor <= captured_minor, (
        f"I7: {what}, {refunded_minor} went back of {captured_minor}"
    )
    owed_minor = payment.owed_minor
    assert 0 <= owed_minor <= captured_minor - refunded_minor, f"I7: {what}, owes {owed_minor}"
    if payment.state is PaymentState.CAPTURED:
        assert sold or booking.status is Status.REFUNDED, f"I7: {what}, for no units"
        price_minor = booking.total_minor if sold else 0
        assert not price_minor or payment.left_minor > 0, f"I7: {what}, for nothing"
    elif payment.state in (PaymentState.RETURNING, PaymentState.RETURNED):
        assert SHARE[booking.status] is Share.NONE, f"I7: {what}, and has units"
        # What goes back has no price: it is open until it has gone.
        price_minor = captured_minor if payment.state is PaymentState.RETURNING else 0
    else:
        assert not sold, f"I7: {what}, and sold"
        assert not captured_minor, f"I7: {what}, with {captured_minor} captured"
        price_minor = 0
    balance_minor = payment.left_minor - payment.kept_minor
    assert balance_minor == price_minor, f"I7: {what}, has {balance_minor} for {price_minor}"


def not_sent_back(bookings: Iterable[Booking]) -> list[str]:
    """Return what is here for no units and does not go back by itself any more.

    The books of such a booking agree; but somebody has to see to it.
    """
    return [
        f"I7: {booking.booking_id} is {booking.status}, {_here(payment)} could not be sent back"
        for booking in bookings
        if (payment := booking.payment) is not None and payment.stuck
    ]


def _here(payment: Payment) -> int:
    if payment.state is PaymentState.RETURNING:
        return payment.captured_minor - payment.refunded_minor
    return payment.owed_minor
