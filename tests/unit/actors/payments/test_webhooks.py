"""Who may have sent a webhook, and how what it says is read."""

import hashlib
import hmac
import json

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from actors.payments.contract import ChargeFacts, DisputeFacts, Intent, Return
from actors.payments.webhooks import TOLERANCE_SECONDS, BadBody, BadSignature, read, verify
from tests.unit.actors.payments.given import CHARGE, DISPUTE, INTENT, REFUND, event

NOW = 1_800_000_000
OLD, NEW = "whsec_old", "whsec_new"
BODY = event("payment_intent.succeeded", INTENT)


def sign(body: bytes = BODY, secret: str = NEW, when: int | str = NOW) -> str:
    signed = str(when).encode() + b"." + body
    return f"t={when},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def why_not(body: bytes, header: str, *secrets: str, now_s: int = NOW) -> str:
    with pytest.raises(BadSignature) as refused:
        verify(body, header, secrets, now_s)
    return refused.value.reason


def test_what_stripe_signed_is_taken():
    verify(BODY, sign(), (NEW,), NOW)


def test_what_the_package_of_stripe_signs_is_taken():
    signer = stripe.WebhookSignature
    header = signer.generate_signature_header(BODY.decode(), NEW, timestamp=NOW)
    verify(BODY, header, (NEW,), NOW)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_while_a_secret_is_replaced_both_are_good(secret):
    verify(BODY, sign(secret=secret), (OLD, NEW), NOW)


def test_stripe_signs_with_both_secrets_while_it_replaces_one():
    old = sign(secret=OLD).partition(",")[2]
    verify(BODY, f"{sign()},{old}", (OLD,), NOW)
    verify(BODY, f"t={NOW},v0=0123,{old},v1=4567", (OLD,), NOW)


@pytest.mark.parametrize("age", [-TOLERANCE_SECONDS, 0, TOLERANCE_SECONDS])
def test_a_clock_that_is_a_little_off_is_no_matter(age):
    verify(BODY, sign(when=NOW - age), (NEW,), NOW)


def test_what_is_too_old_or_not_yet_true_is_not_taken():
    past, future = NOW - TOLERANCE_SECONDS - 1, NOW + TOLERANCE_SECONDS + 1
    assert why_not(BODY, sign(when=past), NEW) == "too old: signed 301 s ago"
    assert why_not(BODY, sign(when=future), NEW) == "from the future: signed in 301 s"


def test_the_time_is_part_of_what_is_signed():
    recorded = sign(when=NOW - 1_000)
    fresh = recorded.replace(str(NOW - 1_000), str(NOW))
    assert why_not(BODY, fresh, NEW).startswith("signed with another secret")


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(place, by):
    changed = bytearray(BODY)
    changed[place] ^= by
    assert why_not(bytes(changed), sign(), NEW).startswith("signed with another secret")


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "t=,v1=",
        "v1=" + "0" * 64,
        f"t={NOW}",
        f"t={NOW},v0=" + "0" * 64,
        f"t={NOW},t={NOW},v1=00",
        "t=-1,v1=00",
        "t=1_0,v1=00",
        "t=٣,v1=00",
        "t=" + "9" * 10_000 + ",v1=00",
        f"t={NOW},v1=é",
        f"t={NOW},v1=\ud800",
        f"t={NOW},v1=00,v1=,v1",
    ],
)
def test_garbage_is_refused_with_a_reason(header):
    assert why_not(BODY, header, NEW)


@given(st.text())
def test_no_header_breaks_it(header):
    assert why_not(BODY, header, NEW)


@given(st.binary())
def test_any_bytes_can_be_signed(body):
    verify(body, sign(body), (NEW,), NOW)


def test_without_a_secret_nothing_is_taken():
    assert why_not(BODY, sign(secret=""), "")
    assert why_not(BODY, sign(secret=""))


def test_an_event_says_what_it_is_about():
    found = read(event("payment_intent.payment_failed", INTENT))
    assert (found.id, found.kind, found.created) == ("evt_1", "payment_intent.payment_failed", 7)
    assert isinstance(found.facts, Intent)
    assert isinstance(read(event("charge.refunded", CHARGE)).facts, ChargeFacts)
    assert isinstance(read(event("charge.dispute.closed", DISPUTE)).facts, DisputeFacts)
    for kind in ("created", "updated", "failed"):
        assert isinstance(read(event(f"refund.{kind}", REFUND)).facts, Return)


@pytest.mark.parametrize("kind", ["charge.updated", "payment_intent.partially_funded", ""])
def test_of_other_kinds_only_the_kind_is_read(kind):
    assert read(event(kind, {"object": 1})).facts is None


def bad(body: bytes) -> str:
    with pytest.raises(BadBody) as refused:
        read(body)
    return refused.value.reason


def test_what_is_wrong_with_a_body_is_named():
    assert bad(b"") == "Input data was truncated"
    assert bad(b"[]") == "Expected `object`, got `array`"
    assert bad(b"{}") == "Object missing required field `id`"
    intent = {**INTENT, "amount": "4500"}
    assert bad(event("payment_intent.created", intent)) == (
        "payment_intent.created: Expected `int`, got `str` - at `$.amount`"
    )
    assert bad(event("payment_intent.created", CHARGE)) == (
        "payment_intent.created: Invalid value 'charge' - at `$.object`"
    )
    deep = b'{"id":' + b"[" * 100_000
    assert bad(deep)
    assert bad(json.dumps({"id": "\x00"}).encode())


@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_body_breaks_it(body):
    assert bad(body)
