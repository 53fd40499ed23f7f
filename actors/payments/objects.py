"""Stripe's JSON in the product's words: one way for webhooks and for answers of its API.

Unknown fields are passed over, as Stripe adds new ones at any time; a known one of another
type than Stripe documents is an error, because a wrong amount is worse than none.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.json import Decoder

from actors.payments.contract import (
    ChargeFacts,
    DisputeFacts,
    Intent,
    Notice,
    Return,
    Secret,
    WebhookEvent,
)

Json = bytes | str | Raw
_T = TypeVar("_T")


class BadBody(Exception):
    """Not what Stripe documents. Argument: what is wrong, and where."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Reference(Struct):
    """An object that stands where its id may stand, too."""

    id: str


#: Stripe gives the id of a related object, or the whole if that was asked for.
_Related = str | _Reference | None


class _Metadata(Struct):
    booking: str = ""
    event: str = ""
    customer: str = ""
    refund_number: str = ""


_NONE = _Metadata()


class _Charge(Struct, tag_field="object", tag="charge"):
    id: str
    currency: str
    captured: bool
    amount_captured: int
    amount_refunded: int
    disputed: bool = False
    payment_intent: _Related = None
    metadata: _Metadata | None = None


class _Failure(Struct):
    type: str = ""
    code: str | None = None
    charge: str | None = None
    payment_method: _Reference | None = None


class _Intent(Struct, tag_field="object", tag="payment_intent"):
    id: str
    status: str
    amount: int
    currency: str
    created: int
    amount_received: int = 0
    client_secret: str | None = None
    last_payment_error: _Failure | None = None
    latest_charge: str | _Charge | None = None
    metadata: _Metadata | None = None


class _Refund(Struct, tag_field="object", tag="refund"):
    id: str
    amount: int
    currency: str
    status: str | None = None
    failure_reason: str | None = None
    payment_intent: _Related = None
    metadata: _Metadata | None = None


class _Dispute(Struct, tag_field="object", tag="dispute"):
    id: str
    status: str
    amount: int
    currency: str
    charge: _Related = None
    payment_intent: _Related = None
    reason: str | None = None


class _Data(Struct):
    object: Raw


class _Event(Struct, tag_field="object", tag="event"):
    id: str
    type: str
    created: int
    data: _Data


class _Page(Struct, Generic[_T]):
    data: list[_T]
    has_more: bool


def _id(related: _Related) -> str:
    return related.id if isinstance(related, _Reference) else related or ""


def _failure(failure: _Failure | None) -> str:
    if failure is None:
        return ""
    if failure.charge:
        return failure.charge
    code = failure.code or failure.type
    return code if failure.payment_method is None else f"{failure.payment_method.id}:{code}"


def _refunded(charge: _Charge) -> int:
    """Return what was given back; Stripe also counts what was let go without being taken."""
    return charge.amount_refunded if charge.captured else 0


def _intent(found: _Intent) -> Intent:
    metadata = found.metadata or _NONE
    charge = found.latest_charge if isinstance(found.latest_charge, _Charge) else None
    return Intent(
        intent_id=found.id,
        status=found.status,
        amount_minor=found.amount,
        received_minor=found.amount_received,
        currency=found.currency.upper(),
        booking_id=metadata.booking,
        event_id=metadata.event,
        customer=metadata.customer,
        failure=_failure(found.last_payment_error),
        refunded_minor=0 if charge is None else _refunded(charge),
        disputed=charge is not None and charge.disputed,
        created=found.created,
        client_secret=Secret(found.client_secret or ""),
    )


def _return(found: _Refund) -> Return:
    metadata = found.metadata or _NONE
    number = metadata.refund_number
    return Return(
        refund_id=found.id,
        status=found.status or "pending",  # null until Stripe knows
        amount_minor=found.amount,
        currency=found.currency.upper(),
        intent_id=_id(found.payment_intent),
        booking_id=metadata.booking,
        event_id=metadata.event,
        number=int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0,
        reason=found.failure_reason or "",
    )


def _charge_facts(found: _Charge) -> ChargeFacts:
    metadata = found.metadata or _NONE
    return ChargeFacts(
        charge_id=found.id,
        intent_id=_id(found.payment_intent),
        booking_id=metadata.booking,
        event_id=metadata.event,
        captured_minor=found.amount_captured,
        refunded_minor=_refunded(found),
        currency=found.currency.upper(),
        customer=metadata.customer,
    )


def _dispute_facts(found: _Dispute) -> DisputeFacts:
    return DisputeFacts(
        dispute_id=found.id,
        status=found.status,
        amount_minor=found.amount,
        currency=found.currency.upper(),
        charge_id=_id(found.charge),
        intent_id=_id(found.payment_intent),
        reason=found.reason or "",
    )


_intents = Decoder(_Intent)
_refunds = Decoder(_Refund)
_charges = Decoder(_Charge)
_disputes = Decoder(_Dispute)
_events = Decoder(_Event)
_pages_of_intents = Decoder(_Page[_Intent])
_pages_of_refunds = Decoder(_Page[_Refund])
_pages_of_disputes = Decoder(_Page[_Dispute])
_pages_of_events = Decoder(_Page[Raw])


def _decode(decoder: Decoder[_T], body: Json, where: str = "") -> _T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody(f"{where}{error}") from None


def read_intent(body: Json, where: str = "") -> Intent:
    """Translate a PaymentIntent.

    Args:
        body: its JSON.
        where: the first words of what is said of a bad one.

    Raises:
        BadBody: it is none.
    """
    return _intent(_decode(_intents, body, where))


def read_return(body: Json, where: str = "") -> Return:
    """Translate a refund, as `read_intent` does an intent."""
    return _return(_decode(_refunds, body, where))


def read_charge(body: Json, where: str = "") -> ChargeFacts:
    """Translate a charge, as `read_intent` does an intent."""
    return _charge_facts(_decode(_charges, body, where))


def read_dispute(body: Json, where: str = "") -> DisputeFacts:
    """Translate a dispute, as `read_intent` does an intent."""
    return _dispute_facts(_decode(_disputes, body, where))


def read_intents(body: Json) -> tuple[list[Intent], bool]:
    """Translate a page of intents, and return whether there are more."""
    page = _decode(_pages_of_intents, body)
    return [_intent(found) for found in page.data], page.has_more


def read_returns(body: Json) -> tuple[list[Return], bool]:
    """Translate a page of refunds, and return whether there are more."""
    page = _decode(_pages_of_refunds, body)
    return [_return(found) for found in page.data], page.has_more


def read_disputes(body: Json) -> tuple[list[DisputeFacts], bool]:
    """Translate a page of disputes, and return whether there are more."""
    page = _decode(_pages_of_disputes, body)
    return [_dispute_facts(found) for found in page.data], page.has_more


def read_notices(body: Json) -> tuple[list[Notice], bool]:
    """Take a page of events apart, and return whether there are more."""
    page = _decode(_pages_of_events, body)
    events = [(_decode(_events, raw), bytes(raw)) for raw in page.data]
    notices = [Notice(event.id, event.type, event.created, raw) for event, raw in events]
    return notices, page.has_more


#: What an event of each kind is about. `read_event` passes over all other kinds.
KINDS: dict[str, Callable[[Json, str], Intent | Return | ChargeFacts | DisputeFacts]] = {
    "payment_intent.created": read_intent,
    "payment_intent.requires_action": read_intent,
    "payment_intent.processing": read_intent,
    "payment_intent.amount_capturable_updated": read_intent,
    "payment_intent.succeeded": read_intent,
    "payment_intent.payment_failed": read_intent,
    "payment_intent.canceled": read_intent,
    "charge.refunded": read_charge,
    "refund.created": read_return,
    "refund.updated": read_return,
    "refund.failed": read_return,
    "charge.dispute.created": read_dispute,
    "charge.dispute.updated": read_dispute,
    "charge.dispute.closed": read_dispute,
}

#: Those that tell of money that goes back.
MONEY_BACK = tuple(kind for kind in KINDS if not kind.startswith("payment_intent."))


def read_event(body: Json) -> WebhookEvent:
    """Translate an event.

    Raises:
        BadBody: it is none, or it is not about what its kind promises.
    """
    event = _decode(_events, body)
    read = KINDS.get(event.type)
    facts = None if read is None else read(event.data.object, f"{event.type}: ")
    return WebhookEvent(event.id, event.type, event.created, facts)
