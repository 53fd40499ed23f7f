"""The parameters of each operation, as far as they are known here.

What is listed and has no use in the sandbox is taken and forgotten, as with `expand`.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Amount = Annotated[int, Meta(ge=0)]
Currency = Annotated[str, Meta(pattern="^[A-Za-z]{3}$")]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=40)], Annotated[str, Meta(max_length=500)]],
    Meta(max_length=50),
]
CaptureMethod = Literal["automatic", "automatic_async", "manual"]


class Params(Struct, forbid_unknown_fields=True, kw_only=True):
    """What every operation takes."""

    expand: list[str] = []


class Created(Struct, forbid_unknown_fields=True, kw_only=True):
    """A span of time, seconds since 1970."""

    gt: int | None = None
    gte: int | None = None
    lt: int | None = None
    lte: int | None = None


class Listing(Params):
    """Which part of a list."""

    created: int | Created | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    starting_after: str | None = None
    ending_before: str | None = None


class AutomaticPaymentMethods(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whether the account's own choice of payment methods holds."""

    enabled: bool
    allow_redirects: Literal["always", "never"] = "always"


class IntentFields(Params):
    """What an intent is given when it is created, and may be given later."""

    metadata: Metadata | Literal[""] = {}
    description: str | None = None
    receipt_email: str | None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None
    setup_future_usage: str | None = None
    transfer_group: str | None = None
    customer: str | None = None
    payment_method: str | None = None
    payment_method_types: list[str] | None = None
    payment_method_options: dict[str, Any] | None = None
    shipping: dict[str, Any] | None = None


class IntentCreate(IntentFields, kw_only=True):
    """Parameters of payment_intents.create."""

    amount: Amount
    currency: Currency
    capture_method: CaptureMethod = "automatic"
    confirmation_method: Literal["automatic", "manual"] = "automatic"
    automatic_payment_methods: AutomaticPaymentMethods | None = None
    confirm: bool = False
    off_session: bool = False
    return_url: str | None = None
    error_on_requires_action: bool = False
    use_stripe_sdk: bool = False


class IntentUpdate(IntentFields):
    """Parameters of payment_intents.update."""

    amount: Amount | None = None
    currency: Currency | None = None
    capture_method: CaptureMethod | None = None


class IntentRetrieve(Params):
    """Parameters of payment_intents.retrieve."""

    client_secret: str | None = None


class IntentConfirm(Params):
    """Parameters of payment_intents.confirm; a browser sends its key and secret with them."""

    payment_method: str | None = None
    client_secret: str | None = None
    return_url: str | None = None
    off_session: bool = False
    receipt_email: str | None = None
    setup_future_usage: str | None = None
    capture_method: CaptureMethod | None = None
    shipping: dict[str, Any] | None = None
    mandate_data: dict[str, Any] = {}
    payment_method_options: dict[str, Any] = {}
    error_on_requires_action: bool = False
    expected_payment_method_type: str | None = None
    use_stripe_sdk: bool = False


class IntentCancel(Params):
    """Parameters of payment_intents.cancel."""

    cancellation_reason: (
        Literal["duplicate", "fraudulent", "requested_by_customer", "abandoned"] | None
    ) = None


class IntentCapture(Params):
    """Parameters of payment_intents.capture."""

    amount_to_capture: Amount | None = None
    metadata: Metadata | Literal[""] = {}
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None


class IntentList(Listing):
    """Parameters of payment_intents.list."""

    customer: str | None = None


class OfIntentList(Listing):
    """Parameters of charges.list, refunds.list and disputes.list."""

    payment_intent: str | None = None
    charge: str | None = None


class RefundCreate(Params):
    """Parameters of refunds.create."""

    payment_intent: str | None = None
    charge: str | None = None
    amount: Annotated[int, Meta(ge=1)] | None = None
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None
    metadata: Metadata | Literal[""] = {}
    refund_application_fee: bool = False
    reverse_transfer: bool = False


class EventList(Listing):
    """Parameters of events.list."""

    type: str | None = None
    types: list[str] | None = None
    delivery_success: bool | None = None


class EndpointCreate(Params):
    """Parameters of webhook_endpoints.create."""

    url: Annotated[str, Meta(pattern="^https?://")]
    enabled_events: Annotated[list[str], Meta(min_length=1)]
    api_version: str | None = None
    description: str | None = None
    metadata: Metadata | Literal[""] = {}
    connect: bool = False
