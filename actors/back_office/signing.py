"""Signatures of webhooks to organizers, as https://www.standardwebhooks.com has them.

Written out here: ten lines, and the library signs text with one secret only.
"""

import base64
import hashlib
import hmac
import secrets as chance
from collections.abc import Sequence

_PREFIX = "whsec_"
#: The standard asks for 24 to 64 bytes.
_SECRET_BYTES = 32


def new_secret() -> str:
    """Return a secret as its organizer is shown it."""
    return _PREFIX + base64.b64encode(chance.token_bytes(_SECRET_BYTES)).decode()


def headers(
    secrets: Sequence[str], webhook_id: str, at_seconds: int, body: bytes
) -> dict[str, str]:
    """Return the headers that prove who sends a body, and when.

    Args:
        secrets: each of them signs: two while one takes the place of the other.
        webhook_id: the same for every attempt.
        at_seconds: of this attempt, Unix time.
        body: as it is sent.
    """
    signed = f"{webhook_id}.{at_seconds}.".encode() + body
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at_seconds),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
