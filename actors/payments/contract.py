"""What the product needs of Stripe, and what it says in its own words.

`actors.payments.stripe_api` keeps this with the real thing. Money is in minor units,
currencies are upper-case ISO 4217 codes, times Unix seconds as Stripe counts them.
"""

from typing import Protocol

from msgspec import Struct

#: Metadata of everything that is made at Stripe: how it finds its way back.
BOOKING, EVENT, CUSTOMER, NUMBER = "booking", "event", "customer", "refund_number"


class StripeAway(Exception):
    """Stripe did not answer, or asks for patience: carried out or not, nobody knows.

    The same call again, under the same key, is safe. Arguments: what happened, seconds
    to wait.
    """

    def __init__(self, reason: str, retry_after_seconds: float) -> None:
        super().__init__(reason, retry_after_seconds)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class StripeRefused(Exception):
    """Stripe will not do it, now or later. Arguments: its code, its message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Secret(str):
    """Text that no log shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


class Wanted(Struct, frozen=True):
    """A payment that is to be opened."""

    booking_id: str
    event_id: str
    customer: str
    amount_minor: int
    currency: str
    manual_capture: bool = False


class Intent(Struct, frozen=True):
    """What Stripe says of a PaymentIntent.

    `status` is Stripe's. `failure` names the last failed attempt ('' if the last one did
    not fail): the id of its charge, or else of its payment method, so that the same
    failure has the same name whoever reports it. `refunded_minor`, `disputed` are those
    of its latest charge, 0 and False where that is not known.
    """

    intent_id: str
    status: str
    amount_minor: int
    received_minor: int
    currency: str
    booking_id: str
    event_id: str
    customer: str
    failure: str = ""
    refunded_minor: int = 0
    disputed: bool = False
    created: int = 0
    client_secret: Secret = Secret()


class Return(Struct, frozen=True):
    """What Stripe says of a refund; `number` is the one that was asked for, 0 if not ours.

    `status` is Stripe's: pending, requires_action, succeeded, failed, canceled.
    """

    refund_id: str
    status: str
    amount_minor: int
    currency: str
    intent_id: str
    booking_id: str
    event_id: str
    number: int = 0
    reason: str = ""


class Notice(Struct, frozen=True):
    """An event of Stripe's as its list shows it: what a webhook would have said."""

    event_id: str
    kind: str
    created: int
    body: bytes


class Stripe(Protocol):
    """Stripe, seen through the product's needs.

    Every call may raise StripeAway and StripeRefused. What changes something carries an
    idempotency key of its own, a function of its arguments: it is carried out once.
    """

    async def create(self, wanted: Wanted) -> Intent:
        """Open a payment, or return the one that was opened for this booking before."""
        ...

    async def retrieve(self, intent_id: str) -> Intent:
        """Return a payment as it stands, with its latest charge."""
        ...

    async def cancel(self, intent_id: str) -> Intent:
        """Close a payment; one that has succeeded, or is closed, is returned as it stands."""
        ...

    async def capture(self, intent_id: str) -> Intent:
        """Take the authorised money; a payment that cannot be captured is returned as it is."""
        ...

    async def refund(
        self, booking_id: str, event_id: str, intent_id: str, amount_minor: int, number: int
    ) -> Return:
        """Give money back. `number` counts the refunds of a booking, from 1."""
        ...

    async def refunds(self, intent_id: str) -> list[Return]:
        """Return every refund of a payment, newest first."""
        ...

    async def opened_since(self, created: int, after: str | None) -> tuple[list[Intent], bool]:
        """Return a page of payments opened since then, newest first, and whether there are more.

        `after` is the last intent id of the page before.
        """
        ...

    async def undelivered(self, created: int, after: str | None) -> tuple[list[Notice], bool]:
        """Return a page of events since then whose webhooks were not delivered, newest first."""
        ...
