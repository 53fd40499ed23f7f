"""Webhooks: whether Stripe sent them, and what they say.

The signature is checked by hand, as Stripe describes it: the `stripe` package is as fast,
but looks at the time by its own clock and in one direction only, takes one secret, and fails
on some headers with whatever error comes up.
"""

import hmac

from actors.payments.contract import WebhookEvent
from actors.payments.objects import BadBody, read_event

__all__ = ["BadBody", "BadSignature", "read", "verify"]

#: How far the time of a signature may be from ours, either way, seconds: what Stripe advises.
#: A recorded webhook cannot be sent again after that.
TOLERANCE_SECONDS = 300
#: Digits of a time that are looked at; those of the year 33658.
_DIGITS_MAX = 12


class BadSignature(Exception):
    """Not from Stripe, or not from now. Argument: what is wrong."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def verify(body: bytes, header: str, secrets: tuple[str, ...], now_s: int) -> None:
    """Check that Stripe signed this body, and when.

    Args:
        body: exactly as it was received.
        header: `Stripe-Signature`.
        secrets: of the endpoint; while one is being replaced, the old one and the new one.
        now_s: Unix seconds.

    Raises:
        BadSignature: it did not, or not within TOLERANCE_SECONDS.
    """
    when, given = _parse(header)
    signed = b"%s.%s" % (when.encode(), body)
    if not any(_signed_with(secret, signed, given) for secret in secrets):
        raise BadSignature("signed with another secret, or changed since")
    age = now_s - int(when)
    if age > TOLERANCE_SECONDS:
        raise BadSignature(f"too old: signed {age} s ago")
    if age < -TOLERANCE_SECONDS:
        raise BadSignature(f"from the future: signed in {-age} s")


def read(body: bytes) -> WebhookEvent:
    """Translate a webhook that was verified.

    Raises:
        BadBody: it is not what Stripe documents.
    """
    return read_event(body)


def _parse(header: str) -> tuple[str, list[bytes]]:
    """Return the time as it is written, and every signature of the scheme in use."""
    times, given = [], []
    for item in header.split(","):
        name, _, value = item.strip().partition("=")
        if name == "t":
            times.append(value)
        elif name == "v1":
            given.append(value.encode("ascii", "replace"))
    if len(times) != 1:
        raise BadSignature("header without a time, or with more than one")
    when = times[0]
    if not (when.isascii() and when.isdigit() and len(when) <= _DIGITS_MAX):
        raise BadSignature("header with a time that is no number")
    if not given:
        raise BadSignature("header without a v1 signature")
    return when, given


def _signed_with(secret: str, signed: bytes, given: list[bytes]) -> bool:
    """Compare in a time that does not tell how much of a signature was right."""
    if not secret:
        return False  # anybody could sign with an empty one
    expected = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
    return any(hmac.compare_digest(expected, one) for one in given)
