"""An intent lives as Stripe documents, and every step is told in the order it was taken."""

import itertools

import pytest

from loadtests.stripe_sandbox import disputes, intents, refunds
from loadtests.stripe_sandbox.accounts import accounts
from loadtests.stripe_sandbox.cards import card
from loadtests.stripe_sandbox.params import (
    IntentCancel,
    IntentCapture,
    IntentConfirm,
    IntentUpdate,
    RefundCreate,
)
from tests.unit.loadtests.stripe_sandbox.given import NOW, Requests

STATES = {
    "requires_payment_method": lambda requests: requests.intent(),
    "requires_confirmation": lambda requests: requests.intent(payment_method="pm_card_visa"),
    "requires_action": lambda requests: requests.paid("pm_card_threeDSecure2Required"),
    "processing": lambda requests: requests.paid("pm_usBankAccount_success"),
    "requires_capture": lambda requests: requests.paid(capture_method="manual"),
    "succeeded": lambda requests: requests.paid(),
    "canceled": lambda requests: requests.do(
        intents.cancel, IntentCancel(), requests.intent()["id"]
    ),
}
STEPS = {
    "confirm": (intents.confirm, IntentConfirm(payment_method="pm_card_visa")),
    "cancel": (intents.cancel, IntentCancel()),
    "capture": (intents.capture, IntentCapture()),
    "amount": (intents.update, IntentUpdate(amount=100)),
    "authenticate": (intents.authenticate, True),
    "settle": (lambda change, _, intent_id: intents.settle(change, intent_id), None),
}
#: Where each step leads from where; from elsewhere it is refused.
LEADS = {
    ("requires_payment_method", "confirm"): "succeeded",
    ("requires_confirmation", "confirm"): "succeeded",
    ("requires_action", "confirm"): "succeeded",
    ("requires_payment_method", "cancel"): "canceled",
    ("requires_confirmation", "cancel"): "canceled",
    ("requires_action", "cancel"): "canceled",
    ("processing", "cancel"): "canceled",
    ("requires_capture", "cancel"): "canceled",
    ("requires_capture", "capture"): "succeeded",
    ("requires_payment_method", "amount"): "requires_payment_method",
    ("requires_confirmation", "amount"): "requires_confirmation",
    ("requires_action", "amount"): "requires_action",
    ("requires_action", "authenticate"): "succeeded",
    ("processing", "settle"): "succeeded",
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", STATES)
def test_every_step_from_every_state(state, step):
    requests = Requests()
    intent = STATES[state](requests)
    assert intent["status"] == state
    run, params = STEPS[step]
    given = (intent["id"], params) if step == "authenticate" else (params, intent["id"])
    if (state, step) in LEADS:
        assert requests.do(run, *given)["status"] == LEADS[state, step]
        return
    refused = requests.refused(run, *given)
    assert refused.status == 400
    assert refused.error["code"] == "payment_intent_unexpected_state"
    assert refused.error["payment_intent"] == intent
    assert requests.told == []
    assert requests.books["payment_intent"].get(intent["id"]) == intent


def test_a_payment():
    requests = Requests()
    intent = requests.intent(metadata={"booking": "bk_1"}, description="Two tickets")
    assert requests.told == ["payment_intent.created"]
    paid = requests.confirm(intent)
    assert requests.told == ["charge.succeeded", "payment_intent.succeeded"]
    assert (paid["amount_received"], paid["amount_capturable"]) == (4500, 0)
    charge = requests.charge(paid)
    assert charge["metadata"] == {"booking": "bk_1"}
    assert charge["description"] == "Two tickets"
    assert (charge["amount"], charge["amount_captured"], charge["captured"]) == (4500, 4500, True)
    assert charge["created"] == requests.now == NOW + 2


def test_money_set_aside_and_taken_in_part():
    requests = Requests()
    held = requests.paid(capture_method="manual")
    assert requests.told == ["charge.succeeded", "payment_intent.amount_capturable_updated"]
    assert (held["amount_received"], held["amount_capturable"]) == (0, 4500)
    assert not requests.charge(held)["captured"]
    taken = requests.capture(held, 1000)
    assert requests.told == ["charge.captured", "payment_intent.succeeded"]
    assert (taken["amount_received"], taken["amount_capturable"]) == (1000, 0)
    assert requests.charge(taken)["amount_captured"] == 1000
    over = RefundCreate(payment_intent=taken["id"], amount=1001)
    assert requests.refused(refunds.create, over, "").error["param"] == "amount"


@pytest.mark.parametrize(("amount", "code"), [(4501, "amount_too_large"), (0, "amount_too_small")])
def test_no_more_is_captured_than_was_set_aside(amount, code):
    requests = Requests()
    held = requests.paid(capture_method="manual")
    params = IntentCapture(amount_to_capture=amount)
    assert requests.refused(intents.capture, params, held["id"]).error["code"] == code


def test_money_set_aside_and_let_go():
    requests = Requests()
    held = requests.paid(capture_method="manual")
    canceled = requests.do(
        intents.cancel, IntentCancel(cancellation_reason="abandoned"), held["id"]
    )
    assert requests.told == ["charge.refunded", "payment_intent.canceled"]
    assert canceled["cancellation_reason"] == "abandoned"
    assert (canceled["canceled_at"], canceled["amount_capturable"]) == (requests.now, 0)
    assert requests.charge(canceled)["refunded"]


@pytest.mark.parametrize(
    ("payment_method", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
    ],
)
def test_a_card_is_declined_and_another_one_is_not(payment_method, code, decline_code):
    requests = Requests()
    intent = requests.intent()
    confirm = IntentConfirm(payment_method=payment_method)
    refused = requests.refused(intents.confirm, confirm, intent["id"])
    assert requests.told == ["charge.failed", "payment_intent.payment_failed"]
    error = refused.error
    assert (refused.status, error["type"], error["code"]) == (402, "card_error", code)
    assert error.get("decline_code") == decline_code
    failed = error["payment_intent"]
    assert (failed["status"], failed["payment_method"]) == ("requires_payment_method", None)
    assert failed["last_payment_error"]["charge"] == error["charge"] == failed["latest_charge"]
    used = failed["last_payment_error"]["payment_method"]["id"]
    assert used != payment_method, "it was made of the test card"
    assert card(used) == card(payment_method)
    charge = requests.charge(intent)
    assert (charge["status"], charge["paid"], charge["failure_code"]) == ("failed", False, code)
    paid = requests.confirm(intent)
    assert (paid["status"], paid["last_payment_error"]) == ("succeeded", None)


@pytest.mark.parametrize("return_url", [None, "https://tickets.example/back"])
def test_the_bank_asks_the_buyer(return_url):
    requests = Requests()
    intent = requests.intent()
    asked = requests.confirm(intent, "pm_card_authenticationRequired", return_url=return_url)
    assert requests.told == ["payment_intent.requires_action"]
    kind = "use_stripe_sdk" if return_url is None else "redirect_to_url"
    assert asked["next_action"]["type"] == kind
    assert kind in asked["next_action"]
    failed = requests.do(intents.authenticate, intent["id"], False)
    assert requests.told == ["payment_intent.payment_failed"]
    assert failed["status"] == "requires_payment_method"
    assert failed["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert failed["latest_charge"] is None
    requests.confirm(intent, "pm_card_authenticationRequired")
    paid = requests.do(intents.authenticate, intent["id"], True)
    assert (paid["status"], paid["next_action"]) == ("succeeded", None)
    secure = requests.charge(paid)["payment_method_details"]["card"]["three_d_secure"]
    assert secure["result"] == "authenticated"


def test_a_buyer_who_is_away_cannot_be_asked():
    requests = Requests()
    confirm = IntentConfirm(payment_method="pm_card_authenticationRequired", off_session=True)
    refused = requests.refused(intents.confirm, confirm, requests.intent()["id"])
    assert (refused.status, refused.error["decline_code"]) == (402, "authentication_required")


def test_a_payment_that_takes_its_time():
    requests = Requests()
    intent = requests.paid("pm_usBankAccount_insufficientFunds")
    assert requests.told == ["payment_intent.processing"]
    failed = requests.do(intents.settle, intent["id"])
    assert requests.told == ["charge.failed", "payment_intent.payment_failed"]
    assert failed["status"] == "requires_payment_method"


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "eur", "amount_too_small"),
        (49, "JPY", "amount_too_small"),
        (29, "gbp", "amount_too_small"),
        (100_000_000, "usd", "amount_too_large"),
    ],
)
def test_amounts_have_bounds(amount, currency, code):
    requests = Requests()
    with pytest.raises(Exception, match=r"Amount must be") as refused:
        requests.intent(amount=amount, currency=currency)
    assert refused.value.error["code"] == code
    intent = requests.intent(currency=currency)
    update = requests.refused(intents.update, IntentUpdate(amount=amount), intent["id"])
    assert update.error["code"] == code


def test_metadata_is_merged_and_at_any_time():
    requests = Requests()
    intent = requests.paid(metadata={"a": "1", "b": "2"})
    update = IntentUpdate(metadata={"b": "", "c": "3"}, description="x")
    changed = requests.do(intents.update, update, intent["id"])
    assert changed["metadata"] == {"a": "1", "c": "3"}
    assert changed["description"] == "x"
    assert requests.do(intents.update, IntentUpdate(metadata=""), intent["id"])["metadata"] == {}
    assert (
        requests.do(intents.update, IntentUpdate(description=""), intent["id"])["description"]
        is None
    )


def test_refunds_up_to_what_was_taken():
    requests = Requests()
    paid = requests.paid()
    refund = requests.refund(paid, 1500)
    assert requests.told == ["charge.refunded", "refund.created"]
    event = next(e for e in requests.books["event"] if e["type"] == "charge.refunded")
    assert event["data"]["previous_attributes"] == {"amount_refunded": 0, "refunded": False}
    charge = requests.charge(paid)
    assert (charge["amount_refunded"], charge["refunded"]) == (1500, False)
    assert charge["refunds"]["data"] == [refund]
    assert requests.refund(paid)["amount"] == 3000
    charge = requests.charge(paid)
    assert (charge["amount_refunded"], charge["refunded"]) == (4500, True)
    over = requests.refused(refunds.create, RefundCreate(charge=charge["id"]), "")
    assert over.error["code"] == "charge_already_refunded"


@pytest.mark.parametrize("state", sorted(STATES.keys() - {"succeeded"}))
def test_nothing_is_refunded_that_was_not_taken(state):
    requests = Requests()
    intent = STATES[state](requests)
    params = RefundCreate(payment_intent=intent["id"])
    assert (
        "does not have a successful charge"
        in requests.refused(refunds.create, params, "").error["message"]
    )


@pytest.mark.parametrize(
    ("payment_method", "steps", "left"),
    [
        ("pm_card_visa", ["succeeded"], 0),
        ("pm_card_pendingRefund", ["pending", "succeeded"], 0),
        ("pm_card_refundFail", ["succeeded", "failed"], 4500),
    ],
)
def test_what_becomes_of_a_refund(payment_method, steps, left):
    requests = Requests()
    paid = requests.paid(payment_method)
    refund = requests.refund(paid)
    for before, status in itertools.pairwise(steps):
        assert refund["status"] == before
        assert refunds.next_status(requests.books, refund) == status
        refund = requests.do(refunds.settle, refund["id"], status)
        failed = ["refund.failed"] if status == "failed" else []
        assert requests.told == ["refund.updated", *failed]
    assert refunds.next_status(requests.books, refund) is None
    charge = requests.charge(paid)
    assert charge["amount_captured"] - charge["amount_refunded"] == left
    assert charge["refunds"]["data"] == [refund]
    assert requests.refused(refunds.settle, refund["id"], steps[-1]).status == 400


def test_each_use_of_a_test_card_makes_a_payment_method_of_its_own():
    requests = Requests()
    intent, ids = requests.intent(), []
    for _ in range(2):
        requests.confirm(intent, "pm_card_threeDSecure2Required")
        failed = requests.do(intents.authenticate, intent["id"], False)
        ids.append(failed["last_payment_error"]["payment_method"]["id"])
    assert len(set(ids)) == 2
    assert all(one.startswith("pm_") and "card" not in one for one in ids)


def test_a_payment_method_that_was_made_stays_what_it_is():
    requests = Requests()
    intent = requests.intent(payment_method="pm_card_threeDSecure2Required")
    made = intent["payment_method"]
    assert requests.do(intents.confirm, IntentConfirm(), intent["id"])["payment_method"] == made
    assert requests.confirm(intent, made)["status"] == "requires_action"
    paid = requests.do(intents.authenticate, intent["id"], True)
    assert (paid["payment_method"], requests.charge(paid)["payment_method"]) == (made, made)


@pytest.mark.parametrize("name", ["pm_1", "pm_0000" + "a" * 24, "pm_4242", "pm_4242" + "a" * 25])
def test_a_payment_method_that_was_never_made_is_none(name):
    refused = Requests().refused(lambda _: card(name))
    assert refused.error["code"] == "resource_missing"


@pytest.mark.parametrize(("status", "disputed"), [("won", 0), ("lost", 4500)])
def test_a_dispute(status, disputed):
    requests = Requests()
    paid = requests.paid("pm_card_createDispute")
    assert requests.told[-1] == "charge.dispute.created"
    (dispute,) = requests.books["dispute"]
    assert (dispute["reason"], dispute["status"]) == ("fraudulent", "needs_response")
    charge = requests.charge(paid)
    assert charge["disputed"]
    params = RefundCreate(charge=charge["id"])
    assert requests.refused(refunds.create, params, "").error["code"] == "charge_disputed"
    again = requests.refused(disputes.open_dispute, charge["id"], "general")
    assert again.error["code"] == "charge_disputed"
    assert accounts(requests.books)["totals"]["disputed"] == 4500
    requests.do(disputes.close_dispute, dispute["id"], status)
    assert requests.told == ["charge.dispute.closed"]
    assert accounts(requests.books)["totals"]["disputed"] == disputed
    assert requests.refused(disputes.close_dispute, dispute["id"], "won").status == 400
    assert requests.charge(paid)["disputed"], "whatever became of it"
    if status == "won":
        assert requests.refund(paid)["amount"] == 4500
    else:
        assert requests.refused(refunds.create, params, "").error["code"] == "charge_disputed"


def test_a_part_of_a_charge_is_disputed():
    requests = Requests()
    paid = requests.paid()
    charge_id = paid["latest_charge"]
    for amount in (0, 4501):
        refused = requests.refused(disputes.open_dispute, charge_id, "general", amount)
        assert refused.error["param"] == "amount"
    assert requests.do(disputes.open_dispute, charge_id, "general", 500)["amount"] == 500
    assert accounts(requests.books)["totals"]["disputed"] == 500


def test_the_accounts_add_up():
    requests = Requests()
    requests.refund(requests.paid(metadata={"booking": "bk_1"}), 500)
    requests.intent(amount=700)
    requests.capture(requests.paid(capture_method="manual"), 1000)
    told = accounts(requests.books)
    first = told["intents"][0]
    assert (first["metadata"], first["captured"], first["refunded"]) == (
        {"booking": "bk_1"},
        4500,
        500,
    )
    assert told["totals"] == {
        "intents": 3,
        "amount": 9700,
        "captured": 5500,
        "refunded": 500,
        "disputed": 0,
    }
    assert told["statuses"] == {"succeeded": 2, "requires_payment_method": 1}
