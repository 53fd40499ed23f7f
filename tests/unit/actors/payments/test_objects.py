"""Stripe's objects in the product's words."""

import json
from pathlib import Path
from typing import Any

import pytest

from actors.payments.contract import ChargeFacts, DisputeFacts, Intent, Return
from actors.payments.objects import (
    BadBody,
    read_charge,
    read_dispute,
    read_intent,
    read_intents,
    read_notices,
    read_return,
    read_returns,
)
from tests.unit.actors.payments.given import CHARGE, DISPUTE, INTENT, REFUND, event

PUBLISHED = Path(__file__).parents[3] / "integration" / "stripe-fixtures.json"


def dump(thing: dict[str, Any], **changed: Any) -> bytes:
    return json.dumps({**thing, **changed}).encode()


def test_a_payment():
    assert read_intent(dump(INTENT)) == Intent(
        intent_id="pi_1",
        status="requires_payment_method",
        amount_minor=4500,
        received_minor=0,
        currency="EUR",
        booking_id="bk_1",
        event_id="evt_2",
        customer="u_3",
        created=1_700_000_000,
        client_secret="pi_1_secret_2",
    )


def test_no_log_shows_the_secret():
    assert "secret_2" not in repr(read_intent(dump(INTENT)))


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (None, ""),
        ({"type": "card_error", "code": "card_declined", "charge": "ch_9"}, "ch_9"),
        ({"code": "expired_card", "charge": "ch_9", "payment_method": {"id": "pm_1"}}, "ch_9"),
        ({"code": "authentication_failure", "payment_method": {"id": "pm_1"}},
         "pm_1:authentication_failure"),
        ({"type": "card_error", "code": "card_declined"}, "card_declined"),
        ({"type": "api_error", "code": None, "charge": None, "payment_method": None}, "api_error"),
    ],
)  # fmt: skip
def test_a_failure_has_one_name(error, name):
    assert read_intent(dump(INTENT, last_payment_error=error)).failure == name


def test_what_became_of_the_money_is_known_if_the_charge_is_there():
    known = read_intent(dump(INTENT, latest_charge={**CHARGE, "disputed": True}))
    assert (known.refunded_minor, known.disputed) == (500, True)
    unknown = read_intent(dump(INTENT, latest_charge="ch_1"))
    assert (unknown.refunded_minor, unknown.disputed) == (0, False)


def test_money_that_was_never_taken_was_not_given_back():
    let_go = {**CHARGE, "captured": False, "amount_captured": 0, "amount_refunded": 4500}
    assert read_intent(dump(INTENT, latest_charge=let_go)).refunded_minor == 0
    facts = read_charge(dump(let_go))
    assert (facts.captured_minor, facts.refunded_minor) == (0, 0)


def test_a_refund():
    expected = Return("re_1", "succeeded", 500, "EUR", "pi_1", "bk_1", "evt_2", 2)
    assert read_return(dump(REFUND)) == expected
    whole = dump(REFUND, payment_intent=INTENT)
    assert read_return(whole) == expected
    failed = read_return(dump(REFUND, status="failed", failure_reason="lost_or_stolen_card"))
    assert (failed.status, failed.reason) == ("failed", "lost_or_stolen_card")


@pytest.mark.parametrize("number", ["", "x", "-1", "1.0", "²", "9" * 10_000])
def test_a_refund_that_is_not_ours_has_no_number(number):
    metadata = {**REFUND["metadata"], "refund_number": number}
    assert read_return(dump(REFUND, metadata=metadata)).number == 0
    assert read_return(dump(REFUND, metadata=None)).number == 0


def test_a_charge_and_a_dispute():
    charge = ChargeFacts("ch_1", "pi_1", "bk_1", "evt_2", 4500, 500, "EUR", "u_3")
    assert read_charge(dump(CHARGE)) == charge
    assert read_charge(dump(CHARGE, metadata=None)).customer == ""
    dispute = DisputeFacts("dp_1", "needs_response", 4500, "EUR", "ch_1", "pi_1", "fraudulent")
    assert read_dispute(dump(DISPUTE)) == dispute


def test_what_stripe_publishes_can_be_read():
    published = json.loads(PUBLISHED.read_text())["resources"]
    assert read_intent(dump(published["payment_intent"])).amount_minor == 1099
    assert read_charge(dump(published["charge"])).currency == "USD"
    assert read_return(dump(published["refund"])).status == "succeeded"
    assert read_dispute(dump(published["dispute"])).status == "warning_needs_response"


def test_pages():
    def page(*data: Any, more: bool = False) -> bytes:
        return json.dumps({"object": "list", "data": data, "has_more": more}).encode()

    intents, more = read_intents(page(INTENT, {**INTENT, "id": "pi_2"}, more=True))
    assert ([intent.intent_id for intent in intents], more) == (["pi_1", "pi_2"], True)
    assert read_returns(page(REFUND)) == ([read_return(dump(REFUND))], False)
    assert read_returns(page()) == ([], False)
    body = event("charge.refunded", CHARGE)
    (notice,), _ = read_notices(page(json.loads(body)))
    assert (notice.event_id, notice.kind, notice.created) == ("evt_1", "charge.refunded", 7)
    assert json.loads(notice.body) == json.loads(body)


@pytest.mark.parametrize(
    "wrong",
    [{"amount": 45.5}, {"amount": None}, {"amount": True}, {"currency": 978}, {"status": None}],
)
def test_a_wrong_type_is_an_error(wrong):
    with pytest.raises(BadBody, match=f"at `\\$.{next(iter(wrong))}`"):
        read_intent(dump(INTENT, **wrong))
