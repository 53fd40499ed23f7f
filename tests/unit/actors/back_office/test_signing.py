"""Signatures, verified by the standard's own library: it and we agree, or both are wrong."""

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from actors.back_office.signing import headers, new_secret

BODY = '{"type":"ping","data":{"name":"Grünspan"}}'.encode()


@pytest.fixture
def now() -> int:
    """Return Unix seconds: the library refuses what is five minutes old."""
    return int(time.time())


def test_the_library_of_the_standard_takes_it(now):
    secret = new_secret()
    signed = headers([secret], "msg_1", now, BODY)
    assert Webhook(secret).verify(BODY, signed)["type"] == "ping"
    assert signed["webhook-id"] == "msg_1"
    assert signed["webhook-timestamp"] == str(now)


def test_while_a_secret_is_replaced_each_of_both_verifies(now):
    newer, older, foreign = new_secret(), new_secret(), new_secret()
    signed = headers([newer, older], "msg_1", now, BODY)
    assert len(signed["webhook-signature"].split(" ")) == 2
    for secret in (newer, older):
        Webhook(secret).verify(BODY, signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(foreign).verify(BODY, signed)


def test_the_signature_is_of_the_id_the_time_and_the_body(now):
    secret = new_secret()
    signed = headers([secret], "msg_1", now, BODY)
    for body, changed in (
        (BODY + b" ", {}),
        (BODY, {"webhook-id": "msg_2"}),
        (BODY, {"webhook-timestamp": str(now + 1)}),
    ):
        with pytest.raises(WebhookVerificationError, match="No matching signature"):
            Webhook(secret).verify(body, signed | changed)


def test_an_old_webhook_cannot_be_sent_again_by_somebody_else(now):
    secret = new_secret()
    signed = headers([secret], "msg_1", now - 301, BODY)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(BODY, signed)


def test_no_two_secrets_are_the_same_and_each_has_the_form_of_the_standard():
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        assert secret.startswith("whsec_")
        assert 24 <= len(base64.b64decode(secret[6:], validate=True)) <= 64
