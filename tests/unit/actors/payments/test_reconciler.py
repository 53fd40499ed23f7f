"""The reconciler: what was lost on the way is found, told, and reported with its reason."""

import json
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from actors.contract import OwnerGone
from actors.payments import reconciler
from actors.payments.contract import Notice, Repair, Report, StripeAway, StripeRefused
from actors.payments.reconciler import Reconciler
from engine.domain.booking import Status
from engine.domain.payment import PaymentState, RefundState
from engine.journal.contract import Unavailable
from tests.unit.actors.payments.sale import Desk, Killed
from tests.unit.engine.domain.given import EVENT_ID, TTL_MS, booking_id, release


@pytest.fixture(autouse=True)
def _much_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every payment of these tests be older than it has to be."""
    monkeypatch.setattr(reconciler, "RECONCILE_YOUNGER_SECONDS", -(10**9))


class Put:
    """Where lost webhooks are put."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    async def __call__(self, notices: Sequence[Notice]) -> None:
        self.notices += notices


def reconciling(desk: Desk, put: Put | None = None) -> Reconciler:
    stripe = desk.perishing.before(desk.stripe)
    return Reconciler(stripe, desk.pursuit, desk.telling, desk.catalogue, put or Put())


async def test_what_agrees_is_left_alone() -> None:
    desk = Desk()
    for customer in ("ann", "bob", "cid"):
        await desk.paid(customer, 1)
    entries = len(desk.sale.entries)
    report = await reconciling(desk).run(0)
    assert (report.recent, report.repairs, report.troubles) == (3, [], [])
    assert len(desk.sale.entries) == entries


async def test_what_agreed_is_not_asked_about_again_unless_somebody_wants_that() -> None:
    """The event may rest: the question alone would start a process for it."""
    desk = Desk()
    await desk.paid()
    desk.catalogue.rests = True
    it = reconciling(desk)
    told = [await asked(desk, it, again=again) for again in (False, False, True, False)]
    assert [calls > 0 for calls, _ in told] == [True, False, True, False]
    assert {report.recent for _, report in told} == {1}


async def test_what_has_changed_at_stripe_is_asked_about_again() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    it = reconciling(desk)
    await it.run(0, again=False)
    desk.catalogue.rests = True
    desk.stripe.dispute(intent_id)
    _, report = await asked(desk, it, again=False)
    assert [one.booking_id for one in report.repairs] == [booking_id("ann")]


async def test_what_was_given_back_is_looked_at_every_time() -> None:
    """A refund that was made may bounce, and its sum be that of another one then."""
    desk = Desk()
    await desk.paid()
    desk.refund()
    await desk.pursuit.pursue(desk.unsettled())
    assert desk.booking("ann").status is Status.REFUNDED
    desk.catalogue.rests = True
    it = reconciling(desk)
    assert [(await asked(desk, it, again=False))[0] > 0 for _ in range(3)] == [True] * 3


async def test_what_differs_is_looked_at_until_it_agrees() -> None:
    desk = Desk()
    desk.stripe.pay(await desk.opened())
    it = reconciling(desk)
    desk.owners.instead = OwnerGone("killed")
    assert (await it.run(0, again=False)).repairs == []
    desk.owners.instead = None
    assert len((await it.run(0, again=False)).repairs) == 1


async def asked(desk: Desk, it: Reconciler, *, again: bool, since: int = 0) -> tuple[int, Report]:
    """Return how often owners were asked in one run, and its report."""
    before = len(desk.owners.batches)
    report = await it.run(since, again=again)
    return len(desk.owners.batches) - before, report


async def test_a_lost_success_is_found_and_reported() -> None:
    desk = Desk()
    desk.stripe.pay(await desk.opened())
    report = await reconciling(desk).run(0)
    assert report.repairs == [
        Repair(
            booking_id("ann"),
            "Stripe says succeeded",
            "PAYMENT_PENDING, payment open",
            "CONFIRMED, payment captured",
        )
    ]
    assert (await reconciling(desk).run(0)).repairs == []


async def test_lost_effects_are_made_good() -> None:
    desk = Desk()
    await desk.opened("ann", 1)
    await desk.paid("bob", 1)
    desk.begun("cid", 1)  # the answer to the call that opens it was lost
    desk.sale.ask(release("ann"))
    desk.refund("bob")
    report = await reconciling(desk).run(0)
    assert report.troubles == []
    assert desk.booking("ann").payment.state is PaymentState.CLOSED
    assert desk.booking("bob").status is Status.REFUNDED
    assert desk.booking("cid").payment.state is PaymentState.OPEN
    reasons = {one.booking_id: one.reason for one in report.repairs}
    assert reasons[booking_id("bob")] == "payment was captured"
    assert reasons[booking_id("ann")] == "payment was closing"


async def test_a_dispute_that_no_webhook_told_of_is_found_and_followed_to_its_end() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.stripe.dispute(intent_id)
    report = await reconciling(desk).run(0)
    assert [one.after for one in report.repairs] == [
        "CONFIRMED, payment captured, dispute needs_response"
    ]
    assert desk.booking().payment.disputed
    assert (await reconciling(desk).run(0)).repairs == []

    desk.stripe.close_dispute(intent_id, "lost")
    await reconciling(desk).run(0)

    assert desk.booking().status is Status.REFUNDED
    asked = desk.stripe.calls.count("disputes")
    assert (await reconciling(desk).run(0)).repairs == []
    assert desk.stripe.calls.count("disputes") == asked, "it is over: nobody asks again"


async def test_money_given_back_by_hand_is_found_though_a_refund_of_it_had_failed() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    desk.stripe.patient = True
    desk.refund()
    await desk.pursuit.handle(desk.effects())
    desk.stripe.settle(intent_id, "failed")
    await desk.pursuit.pursue(desk.unsettled())
    desk.stripe.give_back(intent_id, 9_000)

    report = await reconciling(desk).run(0)

    assert [repair.after.split(",")[0] for repair in report.repairs] == ["REFUNDED"]
    assert desk.booking().payment.taken_minor == 9_000
    assert (await reconciling(desk).run(0)).repairs == []


async def test_an_expired_hold_is_closed_without_its_effect() -> None:
    desk = Desk()
    await desk.opened()
    desk.sale.wait(TTL_MS)
    desk.sale.expire_due()
    await reconciling(desk).run(0)
    assert desk.booking().status is Status.EXPIRED
    assert desk.intent().status == "canceled"


async def test_late_money_of_an_ended_hold_is_found() -> None:
    desk = Desk()
    intent_id = await desk.opened()
    desk.sale.ask(release("ann"))
    await desk.pursuit.handle(desk.effects())
    assert desk.booking().payment.state is PaymentState.CLOSED
    desk.stripe._change(intent_id, status="succeeded", received_minor=9_000)
    report = await reconciling(desk).run(0)
    assert report.troubles == []
    await reconciling(desk).run(0)
    assert desk.booking().payment.state is PaymentState.RETURNED


async def test_lost_webhooks_are_put_into_the_inbox() -> None:
    desk, put = Desk(), Put()
    body = json.dumps({}).encode()
    desk.stripe.lost = [Notice(f"evt_{number}", "k", 10, body) for number in range(5)]
    report = await reconciling(desk, put).run(5)
    assert put.notices == desk.stripe.lost
    assert report.notices == 5
    assert (await reconciling(desk, put).run(11)).notices == 0


async def test_a_lost_webhook_is_put_into_the_inbox_once_and_after_the_comparison() -> None:
    """It would be repaired unseen, and one that cannot be handled be buried every minute."""
    desk = Desk()
    desk.stripe.pay(await desk.opened())
    seen: list[Status] = []

    class PutLast(Put):
        async def __call__(self, notices: Sequence[Notice]) -> None:
            seen.append(desk.booking().status)
            await super().__call__(notices)

    put = PutLast()
    desk.stripe.lost = [Notice(f"evt_{number}", "k", 10, b"{}") for number in range(5)]
    it = reconciling(desk, put)
    report = await it.run(5)
    assert [one.booking_id for one in report.repairs] == [booking_id("ann")]
    assert set(seen) == {Status.CONFIRMED}

    desk.stripe.lost.insert(0, Notice("evt_9", "k", 11, b"{}"))
    assert (await it.run(5)).notices == 6
    assert [one.event_id for one in put.notices] == [
        *(f"evt_{number}" for number in range(5)),
        "evt_9",
    ]


# -- money that goes back long after it came -------------------------------------------

#: Later than any payment of these tests was opened, and before what is told of it.
LATER = 1_800_000_000


def forgotten(desk: Desk) -> None:
    """Let every payment have been opened long ago."""
    for intent_id in desk.stripe.intents:
        desk.stripe._change(intent_id, created=1_000)


async def test_a_dispute_of_an_old_payment_is_found_without_any_webhook() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    forgotten(desk)
    desk.stripe.dispute(intent_id)
    it = reconciling(desk)
    report = await it.run(LATER, again=False)
    assert (report.recent, report.troubles) == (0, [])
    assert [one.reason for one in report.repairs] == ["Stripe says charge.dispute.created"]
    assert desk.booking().payment.disputed

    desk.stripe.close_dispute(intent_id, "lost")
    report = await it.run(LATER, again=False)
    assert [one.after.split(",")[0] for one in report.repairs] == ["REFUNDED"]


@pytest.mark.parametrize("given_back_minor", [4_500, 9_000])
async def test_money_of_an_old_payment_given_back_by_hand_is_found(given_back_minor: int) -> None:
    desk = Desk()
    intent_id = await desk.paid()
    forgotten(desk)
    desk.stripe.give_back(intent_id, given_back_minor)
    report = await reconciling(desk).run(LATER, again=False)
    assert desk.booking().payment.refunded_minor == given_back_minor
    (repair,) = report.repairs
    assert f"{given_back_minor} gone back" in repair.after


async def test_a_refund_that_bounces_weeks_later_is_found_without_any_webhook() -> None:
    desk, put = Desk(), Put()
    intent_id = await desk.paid()
    desk.refund()
    await desk.pursuit.pursue(desk.unsettled())
    assert desk.booking().status is Status.REFUNDED
    forgotten(desk)
    it = reconciling(desk, put)
    assert (await it.run(LATER, again=False)).repairs == []
    desk.stripe.settle(intent_id, "failed", "expired_or_canceled_card")
    report = await it.run(LATER, again=False)
    # Found, and sent again.
    assert [one.reason for one in report.repairs] == [
        "Stripe says refund.updated",
        "payment was captured",
    ]
    payment = desk.booking().payment
    assert (payment.refund.number, payment.refund.state) == (2, RefundState.SUCCEEDED)
    assert (payment.owed_minor, payment.refunded_minor) == (0, 9_000)
    assert put.notices == []


async def test_money_given_back_by_hand_is_found_while_a_refund_of_ours_is_under_way() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    forgotten(desk)
    desk.stripe.patient = True
    desk.refund(ga=1)
    await desk.pursuit.handle(desk.effects())
    desk.stripe.give_back(intent_id, 1_000)
    await reconciling(desk).run(LATER, again=False)
    payment = desk.booking().payment
    assert (payment.refunding, payment.taken_minor, payment.refunded_minor) == (True, 1_000, 1_000)


async def test_what_was_looked_at_wakes_nobody_again() -> None:
    desk = Desk()
    intent_id = await desk.paid()
    forgotten(desk)
    desk.stripe.dispute(intent_id)
    desk.catalogue.rests = True
    it = reconciling(desk)
    assert [
        (await asked(desk, it, again=again, since=LATER))[0] > 0 for again in (False, False)
    ] == [
        True,
        False,
    ]


async def test_what_has_just_gone_back_is_given_time_to_report_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()
    desk.stripe.dispute(await desk.paid())
    forgotten(desk)
    it = reconciling(desk)
    with monkeypatch.context() as patch:
        patch.setattr(reconciler, "RECONCILE_YOUNGER_SECONDS", 20)
        patch.setattr(reconciler, "time", At(LATER + 20))
        assert (await it.run(LATER, again=False)).repairs == []
    assert len((await it.run(LATER, again=False)).repairs) == 1


async def test_what_cannot_be_compared_now_is_left_to_the_inbox() -> None:
    desk, put = Desk(), Put()
    desk.stripe.dispute(await desk.paid())
    forgotten(desk)
    desk.catalogue.rests = True
    it = reconciling(desk, put)
    desk.owners.instead = OwnerGone("killed")
    report = await it.run(LATER, again=False)
    assert len(report.troubles) == 1
    assert [one.kind for one in put.notices] == ["charge.dispute.created"]
    desk.owners.instead = None
    await it.run(LATER, again=False)
    assert len(put.notices) == 1


async def test_what_does_not_belong_to_its_booking_is_left_to_the_inbox_once() -> None:
    desk, put = Desk(), Put()
    intent_id = await desk.paid()
    forgotten(desk)
    desk.stripe.give_back(intent_id, 9_000)
    desk.stripe._change(intent_id, currency="USD")
    it = reconciling(desk, put)
    for again in (False, False, True):
        await it.run(LATER, again=again)
    assert [one.kind for one in put.notices] == ["charge.refunded"]


class At:
    """A wall clock that stands still."""

    def __init__(self, now_s: int) -> None:
        self._now_s = now_s

    def time(self) -> float:
        return float(self._now_s)


async def test_what_agreed_is_remembered_for_the_next_look_from_further_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once an hour every payment of the last two is listed: events that rest are not woken."""
    now_s = 1_800_000_100
    monkeypatch.setattr(reconciler, "time", At(now_s))
    desk = Desk()
    await desk.paid("ann", 1)
    ann = desk.booking("ann").payment.intent_id
    desk.stripe._change(ann, created=now_s - 3_600)
    await desk.paid("bob", 1)
    desk.catalogue.rests = True
    it = reconciling(desk)
    wide, narrow = now_s - 8_100, now_s - 900
    told = [await asked(desk, it, again=False, since=since) for since in (wide, narrow, wide)]
    assert [(calls > 0, report.recent) for calls, report in told] == [
        (True, 2),
        (False, 1),
        (False, 2),
    ]


# -- trouble ---------------------------------------------------------------------------


async def test_what_cannot_be_looked_at_is_said() -> None:
    desk = Desk()
    for customer in ("ann", "bob"):
        desk.stripe.pay(await desk.opened(customer, 1))
    ann = desk.booking("ann").payment.intent_id
    desk.stripe.intents[ann] = replace(desk.stripe.intents[ann], currency="USD")
    report = await reconciling(desk).run(0)
    assert report.troubles == [f"{booking_id('ann')}: payment_mismatch: currency"]
    assert [one.booking_id for one in report.repairs] == [booking_id("bob")]
    desk.owners.instead = OwnerGone("killed")
    report = await reconciling(desk).run(0)
    assert report.repairs == []
    assert any(EVENT_ID in trouble for trouble in report.troubles)


async def test_a_second_payment_is_closed_and_its_money_reported() -> None:
    desk = Desk()
    first = await desk.opened()
    other = replace(desk.stripe.intents[first], intent_id="pi_9")
    desk.stripe.intents["pi_9"] = other
    assert (await reconciling(desk).run(0)).troubles == []
    assert desk.stripe.intents["pi_9"].status == "canceled"
    assert desk.intent().status == "requires_payment_method"
    desk.stripe._change("pi_9", status="succeeded", received_minor=9_000)
    report = await reconciling(desk).run(0)
    assert report.troubles == [f"{booking_id('ann')}: payment_mismatch: intent"]


async def test_a_payment_that_stripe_has_opened_in_spite_of_its_refusal_is_closed() -> None:
    desk = Desk()
    opened = desk.stripe.intents[await desk.opened("bob", 1)]
    desk.begun("ann", 1)
    desk.sale.ask(release("ann"))
    desk.stripe.refuses = StripeRefused("idempotency_error", "no")
    await desk.pursuit.handle(desk.effects())
    assert desk.booking("ann").payment.state is PaymentState.CLOSED
    desk.stripe.refuses = None
    mine = replace(opened, intent_id="pi_9", booking_id=booking_id("ann"), customer="ann")
    desk.stripe.intents["pi_9"] = mine
    assert (await reconciling(desk).run(0)).troubles == []
    assert desk.stripe.intents["pi_9"].status == "canceled"


async def test_payments_of_others_are_no_matter() -> None:
    desk = Desk()
    intent_id = await desk.opened()
    foreign = replace(desk.stripe.intents[intent_id], intent_id="pi_9", booking_id="order 7")
    desk.stripe.intents["pi_9"] = foreign
    report = await reconciling(desk).run(0)
    assert (report.recent, report.troubles) == (1, [])


async def test_a_paid_payment_of_ours_that_lost_its_booking_is_said() -> None:
    desk = Desk()
    intent = desk.stripe.pay(await desk.opened())
    desk.stripe.intents["pi_9"] = replace(intent, intent_id="pi_9", booking_id="")
    report = await reconciling(desk).run(0)
    assert report.troubles == ["pi_9: paid, and names no booking"]


async def test_with_nobody_to_compare_with_it_fails() -> None:
    desk = Desk()
    desk.stripe.away = True
    with pytest.raises(StripeAway):
        await reconciling(desk).run(0)
    desk.stripe.away, desk.catalogue.away = False, True
    with pytest.raises(Unavailable):
        await reconciling(desk).run(0)


async def test_killed_at_any_step_the_next_run_converges() -> None:
    async def story() -> Desk:
        desk = Desk()
        desk.stripe.pay(await desk.opened("ann", 1))
        await desk.paid("bob", 1)
        desk.refund("bob")
        return desk

    step = 0
    while True:
        desk = await story()
        desk.perishing.at = desk.perishing.calls + step
        try:
            await reconciling(desk).run(0)
        except* Killed:
            desk.perishing.at = None
            desk.restart()
            await reconciling(desk).run(0)
        else:
            break
        assert desk.booking("ann").status is Status.CONFIRMED, step
        assert desk.booking("bob").status is Status.REFUNDED, step
        assert desk.intent("bob").refunded_minor == 4_500
        step += 1
    assert step > 10
