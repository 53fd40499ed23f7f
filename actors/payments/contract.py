"""What the product needs of Stripe, and what it says in its own words.

`actors.payments.stripe_api` keeps this with the real thing. Money is in minor units,
currencies are upper-case ISO 4217 codes, times Unix seconds as Stripe counts them.
"""

from typing import Protocol

from msgspec import Struct

from engine.domain.outcomes import UnsettledPayment

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

    @property
    def is_ours(self) -> bool:
        """Whether it is not the request that is wrong, but the key that it was made with."""
        return self.code in ("unauthorized", "forbidden")


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

    `status` is Stripe's: pending, requires_action, succeeded, failed, canceled. `reason` is
    Stripe's, too: why it failed, '' if it did not.
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


class ChargeFacts(Struct, frozen=True):
    """What Stripe says of a charge of which money was given back, all of it together.

    `captured_minor` is 0 for money that was only set aside, and is let go. `customer` is ''
    where none is named.
    """

    charge_id: str
    intent_id: str
    booking_id: str
    event_id: str
    captured_minor: int
    refunded_minor: int
    currency: str
    customer: str = ""


class DisputeFacts(Struct, frozen=True):
    """What Stripe says of a dispute. It names no booking: its payment does.

    `status` is Stripe's: needs_response, under_review, won, lost and others.
    """

    dispute_id: str
    status: str
    amount_minor: int
    currency: str
    charge_id: str
    intent_id: str
    reason: str = ""


class WebhookEvent(Struct, frozen=True):
    """An event of Stripe's. `facts` is None where its kind is none of ours."""

    id: str
    kind: str
    created: int
    facts: Intent | Return | ChargeFacts | DisputeFacts | None


class Notice(Struct, frozen=True):
    """An event of Stripe's as its list shows it: what a webhook would have said."""

    event_id: str
    kind: str
    created: int
    body: bytes


class Stripe(Protocol):
    """Stripe, seen through the product's needs.

    Every call may raise StripeAway and StripeRefused. What would be done twice if it were asked
    for twice (`create`, `refund`) carries an idempotency key that is a function of the booking:
    it is carried out once, whoever asks. What cannot be done twice (`cancel`, `capture`)
    carries one of its own for each call, the same for every attempt at it.
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

    async def disputes(self, intent_id: str) -> list[DisputeFacts]:
        """Return every dispute of a payment, newest first."""
        ...

    async def opened_since(self, created: int, after: str | None) -> tuple[list[Intent], bool]:
        """Return a page of payments opened since then, newest first, and whether there are more.

        `after` is the last intent id of the page before.
        """
        ...

    async def undelivered(self, created: int, after: str | None) -> tuple[list[Notice], bool]:
        """Return a page of events since then whose webhooks were not delivered, newest first."""
        ...

    async def money_back(self, created: int, after: str | None) -> tuple[list[Notice], bool]:
        """Return a page of events since then about refunds and disputes, newest first.

        Whether or not a webhook was to tell of them, and however old their payments are.
        """
        ...


class Opened(Struct, frozen=True, tag="opened"):
    """A payment that the buyer can make: what a browser needs for it."""

    intent_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Opened({self.intent_id})"


class NotNow(Struct, frozen=True, tag="not_now"):
    """Stripe cannot be asked at the moment; seconds after which it is worth a try."""

    retry_after_seconds: float


class Declined(Struct, frozen=True, tag="declined"):
    """Stripe refuses the payment as such. `code` is Stripe's."""

    code: str


class Repair(Struct, frozen=True):
    """One booking that the reconciler has set right."""

    booking_id: str
    reason: str
    before: str
    after: str


class Report(Struct):
    """What one run has found; `troubles` are what it could not look at, and why."""

    notices: int = 0
    unsettled: int = 0
    recent: int = 0
    repairs: list[Repair] = []
    troubles: list[str] = []


class Payments(Protocol):
    """The payment desk as the rest of the product sees it, wherever it runs."""

    async def open(self, unsettled: UnsettledPayment) -> Opened | NotNow | Declined:
        """Open the payment that a buyer has begun, or show the one that is open."""
        ...

    async def reconcile(self, since: int | None) -> Report:
        """Compare every payment with Stripe once.

        Args:
            since: Unix seconds; how far back closed payments and lost webhooks are looked
                for, a quarter of an hour if None.

        Raises:
            DeskGone: it could not be done.
        """
        ...


class DeskGone(Exception):
    """The payment desk could not be reached, or Stripe could not. Argument: why."""
