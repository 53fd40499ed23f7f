"""Stripe's signature of a webhook."""

import hmac


def sign(payload: bytes, secret: str, now: int) -> str:
    """Return the value of the `Stripe-Signature` header.

    Args:
        payload: the body, exactly as it is sent.
        secret: of the endpoint.
        now: Unix seconds.
    """
    signed = b"%d.%s" % (now, payload)
    return f"t={now},v1={hmac.digest(secret.encode(), signed, 'sha256').hex()}"
