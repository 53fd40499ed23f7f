"""The next step of a payment: found by where it is, repeated without harm, killed anywhere."""

from collections.abc import Callable

import pytest

from actors.consumer import Hopeless, RetryLater
from actors.contract import OwnerGone
from actors.payments.contract import StripeRefused
from engine.domain.booking import Status
from engine.domain.payment import PaymentState, RefundState
from engine.domain.records import HoldReleased
from engine.domain.state import check_fully
from engine.journal.entry import Position
from engine.journal.projection import encode_record
from engine.journal.streams import Effect, Incoming
from tests.unit.actors.payments.sale import Desk, Killed, delivery
from tests.unit.engine.domain.given import EVENT_ID, TTL_MS, booking_id, release

MANUAL = {"capture_method": "manual"}


def seen(desk: Desk) -> tuple:
    """Return what counts of how it ended: here, and at Stripe."""
    booking = desk.booking()
    payment = booking.payment
    refund = payment.refund and (payment.refund.state, payment.refund.number, payment.refund.reason)
    return (
        booking.status,
        payment.state,
        payment.captured_minor,
        payment.refunded_minor,
        refund,
        desk.sale.counts(),
        [
            (one.status, one.received_minor, one.refunded_minor)
            for one in desk.stripe.intents.values()
        ],
    )


# -- each step -------------------------------------------------------------------------


async def test_a_payment_that_waits_for_its_buyer_is_left_alone() -> None:
    desk = Desk()
    await desk.opened()
    calls = len(desk.stripe.calls)
    await desk.pursuit.handle(desk.effects())
    assert len(desk.stripe.calls) == calls


async def test_an_open_payment_of_a_lost_answer_is_found_again() -> None:
    desk = Desk()
    desk.begun()
    await desk.pursuit.pursue(desk.unsettled())
    assert desk.booking().payment.state is PaymentState.OPEN
    assert desk.stripe.calls == ["create", "retrieve"]


async def test_a_hold_whose_time_is_up_has_its_payment_closed() -> None:
    desk = Desk()
    await desk.opened()
    desk.sale.wait(TTL_MS)
    desk.sale.expire_due()
    await desk.pursuit.handle(desk.effects())
    assert desk.intent().status == "canceled"
    assert desk.booking().status is Status.EXPIRED
    assert desk.sale.counts() == (10, 0, 0)


async def test_what_was_paid_before_it_was_closed_is_confirmed() -> None:
    desk = Desk()
    desk.stripe.pay(await desk.opened())
    desk.sale.wait(TTL_MS)
    desk.sale.expire_due()
    await desk.pursuit.handle(desk.effects())
    assert desk.booking().status is Status.CONFIRMED


async def test_money_that_is_set_aside_is_taken() -> None:
    desk = Desk(**MANUAL)
    await desk.paid()
    assert desk.booking().payment.state is PaymentState.AUTHORISED
    await desk.pursuit.handle(desk.effects())
    assert seen(desk)[:3] == (Status.CONFIRMED, PaymentState.CAPTURED, 9_000)


async def test_money_without_a_ticket_goes_back() -> None:
    desk = Desk()
    intent_id = await desk.opened()
    desk.sale.ask(release("ann"))
    desk.stripe.pay(intent_id)
    await desk.pursuit.handle(desk.effects())
    await desk.pursuit.handle(desk.effects())
    assert seen(desk)[:4] == (Status.CANCELLED, PaymentState.RETURNED, 9_000, 9_000)


async def test_a_refund_is_sent_and_followed() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.stripe.patient = True
    desk.refund()
    await desk.pursuit.handle(desk.effects())
    assert desk.booking().status is Status.REFUND_REQUESTED
    desk.stripe.settle(intent_id, "succeeded")
    await desk.pursuit.pursue(desk.unsettled())
    assert desk.booking().status is Status.REFUNDED
    assert desk.sale.counts() == (10, 0, 0)


@pytest.mark.parametrize("code", ["charge_disputed", "charge_already_refunded"])
async def test_a_refund_that_stripe_refuses_is_denied_with_its_code(code: str) -> None:
    desk = Desk()
    await desk.paid()
    desk.stripe.refuses = StripeRefused(code, "no")
    desk.refund()
    await desk.pursuit.handle(desk.effects())
    assert desk.booking().status is Status.REFUND_DENIED
    refund = desk.booking().payment.refund
    assert (refund.state, refund.reason) == (RefundState.FAILED, code)
    assert desk.sale.counts() == (8, 0, 2)


@pytest.mark.parametrize("status", ["failed", "canceled"])
async def test_what_others_gave_back_is_looked_at_when_a_refund_has_failed(status: str) -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.stripe.patient = True
    desk.refund()
    await desk.pursuit.handle(desk.effects())
    desk.stripe.settle(intent_id, status)
    desk.stripe.give_back(intent_id, 9_000)

    await desk.pursuit.pursue(desk.unsettled())

    assert desk.booking().status is Status.REFUNDED
    assert desk.booking().payment.taken_minor == 9_000


async def test_an_effect_that_comes_twice_finds_nothing_to_do() -> None:
    desk = Desk()
    await desk.paid()
    desk.refund(ga=1)
    effects = desk.effects()
    await desk.pursuit.handle([*effects, *effects])
    calls, after = list(desk.stripe.calls), seen(desk)
    await desk.pursuit.handle(effects)
    assert desk.stripe.calls == calls
    assert seen(desk) == after
    assert desk.intent().refunded_minor == 4_500


# -- trouble ---------------------------------------------------------------------------


async def test_stripe_away_is_tried_again_when_it_says() -> None:
    desk = Desk()
    unsettled = desk.begun()
    desk.stripe.away = True
    with pytest.raises(RetryLater) as later:
        await desk.pursuit.pursue(unsettled)
    assert (later.value.seconds, later.value.reason) == (7.0, "the test took it away")


async def test_a_store_that_is_away_is_waited_for() -> None:
    desk = Desk()
    unsettled = desk.begun()
    desk.catalogue.away = True
    with pytest.raises(RetryLater):
        await desk.pursuit.pursue(unsettled)


async def test_an_owner_that_is_gone_is_waited_for() -> None:
    desk = Desk()
    unsettled = desk.begun()
    desk.owners.instead = OwnerGone("killed")
    with pytest.raises(RetryLater):
        await desk.pursuit.pursue(unsettled)
    desk.owners.instead = None
    await desk.pursuit.pursue(unsettled)
    assert desk.booking().payment.state is PaymentState.OPEN
    assert len(desk.stripe.intents) == 1


async def test_what_stripe_will_never_do_is_hopeless() -> None:
    desk = Desk()
    await desk.opened()
    desk.sale.ask(release("ann"))
    desk.stripe.refuses = StripeRefused("account_closed", "no")
    with pytest.raises(Hopeless, match="account_closed"):
        await desk.pursuit.handle(desk.effects())


async def test_a_payment_that_stripe_never_opens_is_closed_when_its_time_is_up() -> None:
    desk = Desk()
    desk.begun()
    desk.stripe.refuses = StripeRefused("amount_too_small", "no")
    with pytest.raises(Hopeless, match="amount_too_small"):
        await desk.pursuit.pursue(desk.unsettled())  # the buyer may yet ask again
    desk.sale.wait(2 * TTL_MS)
    desk.sale.expire_due()

    await desk.pursuit.handle(desk.effects())

    assert desk.booking().status is Status.EXPIRED
    assert desk.booking().payment.state is PaymentState.CLOSED
    assert desk.sale.counts() == (10, 0, 0)
    assert not desk.sale.state.unsettled, "its event may rest"
    assert desk.stripe.intents == {}


@pytest.mark.parametrize("code", ["unauthorized", "forbidden"])
async def test_a_key_that_stripe_does_not_take_closes_nothing(code: str) -> None:
    desk = Desk()
    desk.begun()
    desk.sale.ask(release("ann"))
    desk.stripe.refuses = StripeRefused(code, "no")
    with pytest.raises(RetryLater):
        await desk.pursuit.handle(desk.effects())
    assert desk.booking().payment.state is PaymentState.CLOSING


async def test_one_booking_in_trouble_keeps_no_other_back() -> None:
    desk = Desk()
    await desk.paid("ann", 1)
    await desk.paid("bob", 1)
    desk.refund("ann")
    desk.refund("bob")
    refund = desk.stripe.refund

    async def fails_for_ann(booking: str, *rest: object):
        if booking == booking_id("ann"):
            raise KeyError(booking)
        return await refund(booking, *rest)

    desk.stripe.refund = fails_for_ann
    with pytest.raises(KeyError):
        await desk.pursuit.handle(desk.effects())
    assert desk.booking("bob").status is Status.REFUNDED
    assert desk.booking("ann").status is Status.REFUND_REQUESTED


@pytest.mark.parametrize(
    "message",
    [
        Incoming("evt_1", "k", b"", 0),
        Effect(EVENT_ID, Position(1, 1), 0, encode_record(HoldReleased(booking_id("ann"), 0))),
    ],
)
async def test_what_is_no_matter_of_payments(message: object) -> None:
    desk = Desk()
    if isinstance(message, Incoming):
        with pytest.raises(Hopeless):
            await desk.pursuit.handle([delivery(message)])
    else:
        await desk.pursuit.handle([delivery(message)])
    assert desk.stripe.calls == []


# -- killed at every step --------------------------------------------------------------


async def _opening(desk: Desk) -> None:
    desk.begun()


async def _closing(desk: Desk) -> None:
    await desk.opened()
    desk.sale.wait(TTL_MS)
    desk.sale.expire_due()


async def _confirming(desk: Desk) -> None:
    desk.stripe.pay(await desk.opened())


async def _capturing(desk: Desk) -> None:
    await desk.paid()


async def _refunding(desk: Desk) -> None:
    await desk.paid()
    desk.refund()


async def _refunding_a_part(desk: Desk) -> None:
    await desk.paid()
    desk.refund(ga=1)


async def _returning(desk: Desk) -> None:
    intent_id = await desk.opened()
    desk.sale.ask(release("ann"))
    desk.stripe.pay(intent_id)
    await desk.pursuit.pursue(desk.unsettled())
    assert desk.booking().payment.state is PaymentState.RETURNING


@pytest.mark.parametrize(
    ("story", "event"),
    [
        (_opening, {}),
        (_closing, {}),
        (_confirming, {}),
        (_capturing, MANUAL),
        (_refunding, {}),
        (_refunding_a_part, {}),
        (_returning, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_killed_at_any_step_it_ends_the_same(story: Callable, event: dict) -> None:
    undisturbed = Desk(**event)
    await story(undisturbed)
    before = undisturbed.perishing.calls
    await undisturbed.pursuit.pursue(undisturbed.unsettled())
    steps = undisturbed.perishing.calls - before
    assert steps >= 4
    for step in range(steps):
        desk = Desk(**event)
        await story(desk)
        desk.perishing.at = desk.perishing.calls + step
        with pytest.raises(Killed):
            await desk.pursuit.pursue(desk.unsettled())
        desk.perishing.at = None
        desk.restart()
        await desk.pursuit.pursue(desk.unsettled())
        assert seen(desk) == seen(undisturbed), f"killed at step {step} of {steps}"
        check_fully(desk.sale.state)
