"""Every operation of the API: where it is, what it takes, what does it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from loadtests.stripe_sandbox import disputes, events, intents, params, refunds
from loadtests.stripe_sandbox.errors import Object


class Operation(NamedTuple):
    """One operation.

    Attributes:
        name: what faults call it.
        method: of HTTP.
        path: with `{id}` for the object that it is about.
        takes: its parameters.
        run: does it, and returns the answer.
        public: a browser may ask for it, with the publishable key and the client secret.
    """

    name: str
    method: str
    path: str
    takes: type[params.Params]
    run: Callable[[Any, Any, str], Object]
    public: bool = False


_INTENTS = "/v1/payment_intents"
_INTENT = f"{_INTENTS}/{{id}}"
_ENDPOINTS = "/v1/webhook_endpoints"

OPERATIONS = [
    Operation("payment_intents.create", "POST", _INTENTS, params.IntentCreate, intents.create),
    Operation("payment_intents.list", "GET", _INTENTS, params.IntentList, intents.list_),
    Operation(
        "payment_intents.retrieve", "GET", _INTENT, params.IntentRetrieve, intents.retrieve, True
    ),
    Operation("payment_intents.update", "POST", _INTENT, params.IntentUpdate, intents.update),
    Operation(
        "payment_intents.confirm",
        "POST",
        f"{_INTENT}/confirm",
        params.IntentConfirm,
        intents.confirm,
        True,
    ),
    Operation(
        "payment_intents.cancel", "POST", f"{_INTENT}/cancel", params.IntentCancel, intents.cancel
    ),
    Operation(
        "payment_intents.capture",
        "POST",
        f"{_INTENT}/capture",
        params.IntentCapture,
        intents.capture,
    ),
    Operation("charges.list", "GET", "/v1/charges", params.OfIntentList, refunds.list_charges),
    Operation(
        "charges.retrieve", "GET", "/v1/charges/{id}", params.Params, refunds.retrieve_charge
    ),
    Operation("refunds.create", "POST", "/v1/refunds", params.RefundCreate, refunds.create),
    Operation("refunds.list", "GET", "/v1/refunds", params.OfIntentList, refunds.list_),
    Operation("refunds.retrieve", "GET", "/v1/refunds/{id}", params.Params, refunds.retrieve),
    Operation("disputes.list", "GET", "/v1/disputes", params.OfIntentList, disputes.list_),
    Operation("disputes.retrieve", "GET", "/v1/disputes/{id}", params.Params, disputes.retrieve),
    Operation("events.list", "GET", "/v1/events", params.EventList, events.list_),
    Operation("events.retrieve", "GET", "/v1/events/{id}", params.Params, events.retrieve),
    Operation(
        "webhook_endpoints.create",
        "POST",
        _ENDPOINTS,
        params.EndpointCreate,
        events.create_endpoint,
    ),
    Operation("webhook_endpoints.list", "GET", _ENDPOINTS, params.Listing, events.list_endpoints),
    Operation(
        "webhook_endpoints.retrieve",
        "GET",
        f"{_ENDPOINTS}/{{id}}",
        params.Params,
        events.retrieve_endpoint,
    ),
    Operation(
        "webhook_endpoints.delete",
        "DELETE",
        f"{_ENDPOINTS}/{{id}}",
        params.Params,
        events.delete_endpoint,
    ),
]
