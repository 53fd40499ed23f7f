"""Mistakes in the rules of payments, to be planted: each must be found by a race."""

import pytest
from msgspec.structs import replace

from engine.domain import decide as decide_module
from engine.domain import holds, payments, refunds
from engine.domain.booking import TRANSITIONS, Booking, Move
from engine.domain.commands import ExpireHold, ObservePayment, ObserveRefund
from engine.domain.decision import Decision
from engine.domain.outcomes import DONE
from engine.domain.payment import Payment, Refund
from engine.domain.records import (
    HoldExpired,
    Record,
)
from engine.domain.state import EventState


def count_every_failure(patch: pytest.MonkeyPatch) -> None:
    """A failure that is heard again is taken for another."""
    honest = payments._failed

    def forgetful(
        state: EventState, booking: Booking, payment: Payment, failure: str, now_ms: int
    ) -> tuple[Record, ...]:
        known = payment.failures
        unknown = replace(payment, failures=tuple(f"{name}, once" for name in known))
        return honest(state, booking, unknown, failure, now_ms)

    patch.setattr(payments, "_failed", forgetful)


def expire_whatever_is_paid(patch: pytest.MonkeyPatch) -> None:
    """Stock goes back without asking Stripe, and late money is given units all the same."""

    def hasty(state: EventState, command: ExpireHold, now_ms: int) -> Decision:
        outcome, records = holds.expire(state, command, now_ms)
        return outcome, (HoldExpired(command.booking_id, now_ms),) if records else ()

    patch.setitem(decide_module._DECIDE, ExpireHold, hasty)
    patch.setattr(payments, "_fits", lambda _state, _booking: True)


def keep_late_money(patch: pytest.MonkeyPatch) -> None:
    """Money that comes after the end of a hold is no news."""

    def deaf(state: EventState, command: ObservePayment, now_ms: int) -> Decision:
        booking = state.bookings[command.booking_id]
        if (booking.status, Move.CONFIRM) not in TRANSITIONS:
            return DONE, ()
        return payments.observe(state, command, now_ms)

    patch.setitem(decide_module._DECIDE, ObservePayment, deaf)


def count_refunds_twice(patch: pytest.MonkeyPatch) -> None:
    """What Stripe has given back for us is taken for what others gave back, too."""
    patch.setattr(Payment, "gone_minor", lambda _payment, given_back_minor: given_back_minor)


def forget_what_failed(patch: pytest.MonkeyPatch) -> None:
    """A sum with a refund that failed is taken for the next one, and for what others did."""
    honest = Payment.refunded_next

    def forgetful(payment: Payment, refund: Refund) -> Payment:
        return replace(honest(payment, refund), counted=())

    patch.setattr(Payment, "refunded_next", forgetful)


def never_look_closer(patch: pytest.MonkeyPatch) -> None:
    """A sum is all that Stripe is asked for, also where it cannot tell everything."""
    patch.setattr(Payment, "doubtful", property(lambda _payment: False))


def settle_what_failed(patch: pytest.MonkeyPatch) -> None:
    """A refund counts as made however it ended."""

    def hopeful(state: EventState, command: ObserveRefund, now_ms: int) -> Decision:
        return refunds.observe_refund(state, replace(command, status="succeeded"), now_ms)

    patch.setitem(decide_module._DECIDE, ObserveRefund, hopeful)


def keep_what_a_bank_sent_back(patch: pytest.MonkeyPatch) -> None:
    """Money that came back from a bank stays here."""
    patch.setattr(refunds, "_send_again", lambda _after, _failed, _now_ms: ())


def lose_more_than_was_disputed(patch: pytest.MonkeyPatch) -> None:
    """A dispute that is lost takes everything, whatever it was over."""
    patch.setattr(refunds, "_lost", lambda _event, payment, _command: payment.captured_minor)


def confirm_without_looking(patch: pytest.MonkeyPatch) -> None:
    """Late money gets its units whether they are there or not."""
    patch.setattr(payments, "_fits", lambda _state, _booking: True)
