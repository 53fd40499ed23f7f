"""The inbox: what Stripe said reaches its owner, or is put aside."""

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from actors.consumer import Hopeless, RetryLater
from actors.contract import OwnerGone
from actors.payments.contract import (
    ChargeFacts,
    DisputeFacts,
    Intent,
    Return,
    StripeRefused,
    WebhookEvent,
)
from actors.payments.inbox import Inbox
from actors.payments.news import decode_news, encode_news, message_of, of_facts, of_intent
from engine.domain.booking import Status
from engine.domain.commands import ObserveDispute
from engine.journal.entry import Position
from engine.journal.streams import Delivery, Effect, Incoming, StreamKind
from tests.unit.actors.payments.sale import Desk, Killed, delivery
from tests.unit.engine.domain.given import EVENT_ID, booking_id

DISPUTED = DisputeFacts("dp_1", "needs_response", 9_000, "EUR", "ch_1", "pi_1")
FOREIGN = Intent("pi_9", "succeeded", 1, 1, "EUR", "", "", "")


def inbox(desk: Desk) -> Inbox:
    return Inbox(desk.perishing.before(desk.stripe), desk.telling, desk.pursuit)


def told(facts: object) -> Delivery:
    """Return a webhook as it stands in the inbox."""
    message = message_of(WebhookEvent("evt_1", "k", 0, facts), 5)
    assert message is not None, "it tells nothing"
    return delivery(message, StreamKind.INBOX)


# -- what is kept ----------------------------------------------------------------------


def test_what_is_kept_is_what_the_rules_need() -> None:
    intent = Intent("pi_1", "succeeded", 9, 9, "EUR", booking_id("ann"), EVENT_ID, "ann")
    message = message_of(WebhookEvent("evt_1", "payment_intent.succeeded", 7, intent), 5)
    assert (message.id, message.kind, message.at_ms, message.event_id) == (
        "evt_1",
        "payment_intent.succeeded",
        5,
        EVENT_ID,
    )
    assert decode_news(message.body) == of_intent(intent)


@pytest.mark.parametrize(
    "facts",
    [
        None,
        FOREIGN,
        Return("re_1", "succeeded", 1, "EUR", "pi_1", "", ""),
        Return("re_1", "succeeded", 1, "EUR", "pi_1", booking_id("ann"), EVENT_ID, number=0),
        ChargeFacts("ch_1", "pi_1", "", "", 1, 1, "EUR"),
        ChargeFacts("ch_1", "pi_1", booking_id("ann"), EVENT_ID, 0, 0, "EUR"),
        DisputeFacts("dp_1", "lost", 1, "EUR", "ch_1", ""),
    ],
    ids=["unknown", "intent", "refund", "by hand", "charge", "let go", "dispute"],
)
def test_what_tells_the_rules_nothing_is_not_kept(facts: object) -> None:
    assert message_of(WebhookEvent("evt_1", "k", 0, facts), 5) is None


@pytest.mark.parametrize(
    "facts",
    [
        Intent("pi_1", "succeeded", 1, 1, "EUR", "", EVENT_ID, ""),
        Return("re_1", "succeeded", 1, "EUR", "pi_1", "", EVENT_ID, number=1),
        Return("re_1", "succeeded", 1, "EUR", "pi_1", "", EVENT_ID),
        ChargeFacts("ch_1", "pi_1", "", EVENT_ID, 1, 1, "EUR"),
    ],
    ids=["intent", "refund", "without number", "charge"],
)
async def test_what_names_an_event_of_ours_and_no_booking_is_put_aside(facts: object) -> None:
    news = told(facts)
    assert news.message.event_id == EVENT_ID, "it lies where its event's news lie"
    with pytest.raises(Hopeless, match="not the id of a booking"):
        await inbox(Desk()).handle([news])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"intent_id": "pi_2"}, "intent"),
        ({"currency": "USD"}, "currency"),
        ({"event_id": "evt_000000000000"}, "event"),
    ],
)
async def test_a_refund_that_does_not_fit_its_booking_is_put_aside(change: dict, why: str) -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.stripe.patient = True
    desk.refund()
    await desk.pursuit.handle(desk.effects())
    made = desk.stripe.settle(intent_id, "succeeded")
    with pytest.raises(Hopeless, match=f"payment_mismatch: {why}"):
        await inbox(desk).handle([told(replace(made, **change))])
    assert desk.booking().status is Status.REFUND_REQUESTED
    await inbox(desk).handle([told(made)])
    assert desk.booking().status is Status.REFUNDED


async def test_a_charge_of_another_customer_is_put_aside() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    intent = desk.stripe.give_back(intent_id, 9_000)
    charge = ChargeFacts("ch_1", intent_id, intent.booking_id, EVENT_ID, 9_000, 9_000, "EUR", "bob")
    with pytest.raises(Hopeless, match="payment_mismatch: customer"):
        await inbox(desk).handle([told(charge)])
    assert desk.booking().status is Status.CONFIRMED
    for customer in ("", "ann"):
        await inbox(desk).handle([told(replace(charge, customer=customer))])
    assert desk.booking().status is Status.REFUNDED


def test_money_that_went_back_is_news_of_its_own() -> None:
    intent = Intent(
        "pi_1", "succeeded", 9, 9, "EUR", booking_id("ann"), EVENT_ID, "ann", refunded_minor=4
    )
    _, charge = of_facts(intent)
    assert (charge.captured_minor, charge.refunded_minor, charge.currency) == (9, 4, "EUR")


# -- what becomes of it ----------------------------------------------------------------


async def test_a_success_confirms_once() -> None:
    desk = Desk()
    success = told(desk.stripe.pay(await desk.opened()))
    await inbox(desk).handle([success, success])
    await inbox(desk).handle([success])
    assert desk.booking().status is Status.CONFIRMED
    assert desk.sale.counts() == (8, 0, 2)


async def test_what_one_batch_says_is_told_in_its_order() -> None:
    desk = Desk()
    intent_id = await desk.opened()
    batch = [told(desk.stripe.decline(intent_id)), told(desk.stripe.pay(intent_id))]
    await inbox(desk).handle(batch)
    statuses = [moment.status for moment in desk.booking().history]
    assert statuses[-2:] == [Status.PAYMENT_FAILED, Status.CONFIRMED]
    assert desk.owners.batches[-1] == 2, "in one turn"


async def test_a_mismatch_is_hopeless_and_confirms_nothing() -> None:
    desk = Desk()
    intent = desk.stripe.pay(await desk.opened())
    desk.stripe._change(intent.intent_id, currency="USD")
    with pytest.raises(Hopeless, match="payment_mismatch: currency"):
        await inbox(desk).handle([told(desk.intent())])
    assert desk.booking().status is Status.PAYMENT_PENDING


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"event_id": "evt_000000000000"}, "payment_mismatch: event"),
        ({"event_id": ""}, "payment_mismatch: event"),
        ({"customer": ""}, "payment_mismatch: customer"),
        ({"booking_id": ""}, "not the id of a booking: ''"),
        ({"booking_id": "", "customer": ""}, "not the id of a booking: ''"),
    ],
)
async def test_metadata_that_were_changed_confirm_nothing(change: dict, why: str) -> None:
    desk = Desk()
    intent = replace(desk.stripe.pay(await desk.opened()), **change)
    with pytest.raises(Hopeless, match=why):
        await inbox(desk).handle([told(intent)])
    assert told(intent).message.event_id == EVENT_ID, "it lies where its event's news lie"
    assert desk.booking().status is Status.PAYMENT_PENDING


async def test_news_that_were_kept_before_they_named_their_event_are_heard() -> None:
    desk = Desk()
    intent = desk.stripe.pay(await desk.opened())
    (news,) = of_intent(intent)
    older = encode_news([replace(news, event=None)])
    await inbox(desk).handle([delivery(Incoming("evt_1", "k", older, 0, EVENT_ID))])
    assert desk.booking().status is Status.CONFIRMED


@pytest.mark.parametrize(
    "message",
    [
        Effect(EVENT_ID, Position(1, 1), 0, b""),
        Incoming("evt_1", "k", b"\xff", 0),
        Incoming("evt_1", "k", encode_news([]) + b"x", 0),
        Incoming("evt_1", "k", encode_news(of_intent(FOREIGN)), 0),
    ],
    ids=["effect", "binary", "longer", "no booking"],
)
async def test_what_cannot_be_understood_is_hopeless(message: object) -> None:
    with pytest.raises(Hopeless):
        await inbox(Desk()).handle([delivery(message)])


async def test_an_owner_that_is_gone_is_waited_for() -> None:
    desk = Desk()
    success = told(desk.stripe.pay(await desk.opened()))
    desk.owners.instead = OwnerGone("killed")
    with pytest.raises(RetryLater):
        await inbox(desk).handle([success])
    desk.owners.instead = None
    await inbox(desk).handle([success])
    assert desk.booking().status is Status.CONFIRMED


# -- money that goes back --------------------------------------------------------------


def of_charge(intent: Intent) -> Delivery:
    """Return the webhook that tells of a charge as it is now."""
    return told(
        ChargeFacts(
            "ch_1",
            intent.intent_id,
            intent.booking_id,
            intent.event_id,
            intent.received_minor,
            intent.refunded_minor,
            "EUR",
        )
    )


async def refund_failed(desk: Desk) -> tuple[str, list[Delivery]]:
    """Have a refund of everything be made and fail; return the intent, and webhooks of it."""
    intent_id = await desk.paid()
    desk.stripe.patient = True
    desk.refund()
    await desk.pursuit.handle(desk.effects())
    charge = of_charge(desk.intent())
    return intent_id, [charge, told(desk.stripe.settle(intent_id, "failed", "lost"))]


@pytest.mark.parametrize("bounced", [False, True])
async def test_a_refund_that_fails_after_it_was_made_is_logged_as_one_that_is_refused(
    bounced: bool,
) -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.stripe.patient = True
    desk.refund()
    await desk.pursuit.handle(desk.effects())
    if bounced:
        await inbox(desk).handle([told(desk.stripe.settle(intent_id, "succeeded"))])
    with capture_logs() as logs:
        await inbox(desk).handle([told(desk.stripe.settle(intent_id, "failed", "lost_card"))])
    assert {
        "event": "refund_refused",
        "log_level": "error",
        "booking_id": booking_id("ann"),
        "code": "lost_card",
    } in logs


async def test_what_a_bank_sends_back_is_sent_again() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.refund()
    await desk.pursuit.handle(desk.effects())
    assert desk.booking().status is Status.REFUNDED
    await inbox(desk).handle([told(desk.stripe.settle(intent_id, "failed", "closed"))])
    assert desk.booking().payment.refunded_minor == 0

    await desk.pursuit.handle(desk.effects())

    assert desk.booking().status is Status.REFUNDED
    assert desk.booking().payment.refunded_minor == desk.intent().refunded_minor == 9_000
    assert [one.number for one in await desk.stripe.refunds(intent_id)] == [2, 1]


async def test_a_late_sum_with_a_refund_that_failed_settles_no_other() -> None:
    desk = Desk()
    _, (charge, failed) = await refund_failed(desk)
    await inbox(desk).handle([failed])
    desk.refund(ga=1)
    await desk.pursuit.handle(desk.effects())

    await inbox(desk).handle([charge])

    assert desk.booking().status is Status.REFUND_REQUESTED
    await inbox(desk).handle([told(desk.stripe.settle("pi_1", "succeeded")), charge])
    assert desk.booking().status is Status.CONFIRMED
    assert desk.booking().payment.refunded_minor == desk.intent().refunded_minor == 4_500


@pytest.mark.parametrize("by_hand_minor", [500, 9_000])
@pytest.mark.parametrize("failed_first", [True, False])
async def test_what_is_given_back_by_hand_after_a_refund_failed_is_asked_for(
    by_hand_minor: int, failed_first: bool
) -> None:
    desk = Desk()
    intent_id, (_, failed) = await refund_failed(desk)
    charge = of_charge(desk.stripe.give_back(intent_id, by_hand_minor))

    for one in [failed, charge] if failed_first else [charge, failed]:
        await inbox(desk).handle([one])

    assert desk.booking().payment.taken_minor == by_hand_minor
    whole = by_hand_minor == 9_000
    assert desk.booking().status is (Status.REFUNDED if whole else Status.REFUND_DENIED)


async def test_nothing_is_asked_for_while_no_refund_has_failed() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.refund(ga=1)
    await desk.pursuit.handle(desk.effects())
    calls = len(desk.stripe.calls)

    await inbox(desk).handle([of_charge(desk.stripe.give_back(intent_id, 500))])

    assert desk.booking().payment.taken_minor == 500
    assert len(desk.stripe.calls) == calls


@pytest.mark.parametrize("step", range(8))
async def test_killed_while_it_asks_it_asks_again(step: int) -> None:
    desk = Desk()
    intent_id, (_, failed) = await refund_failed(desk)
    desk.stripe.give_back(intent_id, 9_000)
    desk.perishing.at = desk.perishing.calls + step
    with pytest.raises(Killed):
        await inbox(desk).handle([failed])
    desk.perishing.at = None
    desk.restart()

    await inbox(desk).handle([failed])

    assert desk.booking().status is Status.REFUNDED


async def test_with_stripe_away_it_asks_later() -> None:
    desk = Desk()
    intent_id, (_, failed) = await refund_failed(desk)
    desk.stripe.give_back(intent_id, 9_000)
    desk.stripe.away = True
    with pytest.raises(RetryLater):
        await inbox(desk).handle([failed])
    assert desk.booking().status is Status.REFUND_DENIED, "that was told"
    desk.stripe.away = False

    await inbox(desk).handle([failed])

    assert desk.booking().status is Status.REFUNDED


# -- disputes --------------------------------------------------------------------------


async def test_a_dispute_finds_its_booking_by_its_payment() -> None:
    desk = Desk()
    await desk.paid()
    await inbox(desk).handle([told(DISPUTED)])
    assert desk.booking().payment.disputes == (("dp_1", "needs_response"),)


async def test_the_payment_of_a_dispute_is_told_before_it() -> None:
    desk = Desk()
    desk.stripe.pay(await desk.opened())
    await inbox(desk).handle([told(DISPUTED)])
    assert desk.booking().status is Status.CONFIRMED
    assert desk.booking().payment.disputes == (("dp_1", "needs_response"),)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, "captured"),
        ({"status": "succeeded"}, "received"),
        ({"status": "succeeded", "received_minor": 9_000, "currency": "USD"}, "currency"),
        ({"status": "succeeded", "received_minor": 9_000, "customer": "bob"}, "customer"),
    ],
)
async def test_a_dispute_confirms_nothing_that_was_not_paid(change: dict, why: str) -> None:
    desk = Desk()
    intent_id = await desk.opened()
    desk.stripe._change(intent_id, **change)
    with pytest.raises(Hopeless, match=f"payment_mismatch: {why}"):
        await inbox(desk).handle([told(DISPUTED)])
    assert desk.booking().status is Status.PAYMENT_PENDING
    assert not desk.booking().payment.captured_minor


async def test_a_dispute_of_a_payment_that_lost_its_booking_is_put_aside() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.stripe._change(intent_id, booking_id="")
    with pytest.raises(Hopeless, match="not the id of a booking"):
        await inbox(desk).handle([told(DISPUTED)])


async def test_a_dispute_of_another_payment_is_dropped() -> None:
    desk = Desk()
    await desk.paid()
    desk.stripe.intents["pi_9"] = FOREIGN
    foreign = ObserveDispute("", "pi_9", "dp_9", "lost")
    await inbox(desk).handle([delivery(Incoming("evt_1", "k", encode_news([foreign]), 0))])
    assert desk.booking().status is Status.CONFIRMED


async def test_a_dispute_waits_for_stripe() -> None:
    desk = Desk()
    await desk.paid()
    desk.stripe.away = True
    with pytest.raises(RetryLater) as later:
        await inbox(desk).handle([told(DISPUTED)])
    assert later.value.seconds == 7.0


async def test_a_dispute_waits_for_a_key_that_stripe_takes() -> None:
    desk = Desk()
    await desk.paid()
    retrieve = desk.stripe.retrieve

    async def refuse(intent_id: str) -> Intent:
        raise StripeRefused("unauthorized", "Invalid API Key")

    desk.stripe.retrieve = refuse
    with pytest.raises(RetryLater, match="unauthorized"):
        await inbox(desk).handle([told(DISPUTED)])
    desk.stripe.retrieve = retrieve
    await inbox(desk).handle([told(DISPUTED)])
    assert desk.booking().payment.disputes == (("dp_1", "needs_response"),)


async def test_a_dispute_over_nothing_is_hopeless() -> None:
    with pytest.raises(Hopeless, match="resource_missing"):
        await inbox(Desk()).handle([told(DISPUTED)])
    desk = Desk()
    desk.stripe.refuses = StripeRefused("account_closed", "no")
    with pytest.raises(Hopeless):
        await inbox(desk).handle([told(DISPUTED)])


@pytest.mark.parametrize("step", range(4))
async def test_killed_at_any_step_it_ends_the_same(step: int) -> None:
    desk = Desk()
    await desk.paid()
    desk.perishing.at = desk.perishing.calls + step
    with pytest.raises(Killed):
        await inbox(desk).handle([told(DISPUTED)])
    desk.perishing.at = None
    desk.restart()
    await inbox(desk).handle([told(DISPUTED)])
    assert desk.booking().payment.disputes == (("dp_1", "needs_response"),)
