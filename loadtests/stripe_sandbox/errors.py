"""What Stripe refuses, and the words it uses."""

from typing import Any

Object = dict[str, Any]

_DOCS = "https://stripe.com/docs/error-codes/"


class StripeError(Exception):
    """An answer that is not 2xx.

    Args:
        status: of HTTP.
        error: the error object.
        began: the operation had begun when this was found, so that an idempotency key
            remembers it. What is wrong with the request itself is not remembered.
    """

    def __init__(self, status: int, error: Object, began: bool = True) -> None:
        super().__init__(status, error, began)
        self.status = status
        self.error = error
        self.began = began


def refused(
    message: str,
    code: str | None = None,
    param: str | None = None,
    *,
    status: int = 400,
    kind: str = "invalid_request_error",
    began: bool = True,
    **more: Any,
) -> StripeError:
    """Return the refusal of a request; what is None is left out of it."""
    error: Object = {"type": kind, "message": message, "code": code, "param": param, **more}
    if code is not None:
        error["doc_url"] = _DOCS + code.replace("_", "-")
    return StripeError(status, {k: v for k, v in error.items() if v is not None}, began)


def missing(kind: str, object_id: str, param: str) -> StripeError:
    """Return what is said of an object that is not there."""
    return refused(f"No such {kind}: '{object_id}'", "resource_missing", param, status=404)


def unexpected_state(intent: Object, message: str) -> StripeError:
    """Return what is said of an intent that is in no state for what was asked of it."""
    return refused(message, "payment_intent_unexpected_state", payment_intent=intent)


def not_executed(status: int, message: str, code: str | None = None) -> StripeError:
    """Return what is said of a request that was turned away at the door."""
    return refused(message, code, status=status, began=False)


def rate_limited() -> StripeError:
    """Return what is said of one request too many."""
    message = "Request rate limit exceeded. You can learn more about rate limits here."
    return not_executed(429, message, "rate_limit")


def server_error() -> StripeError:
    """Return what Stripe says of its own mistakes. It says nothing of what was done."""
    message = "An unknown error occurred. If you have any questions, let us know."
    return refused(message, status=500, kind="api_error")
