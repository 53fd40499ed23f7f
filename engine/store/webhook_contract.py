"""What is kept of webhooks to organizers, and what may be asked of it.

Endpoints are what organizers have registered; a delivery is one announcement on its way to
one endpoint. Times are Unix milliseconds.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct


class WebhookKind(StrEnum):
    """What an organizer can be told of."""

    BOOKING_CONFIRMED = "booking.confirmed"
    BOOKING_CANCELLED = "booking.cancelled"
    BOOKING_EXPIRED = "booking.expired"
    REFUND_REQUESTED = "booking.refund_requested"
    BOOKING_REFUNDED = "booking.refunded"
    REFUND_FAILED = "booking.refund_failed"
    BOOKING_DISPUTED = "booking.disputed"
    TICKET_ADMITTED = "ticket.admitted"
    EVENT_CHANGED = "event.changed"
    EVENT_CANCELLED = "event.cancelled"


#: The kind of a delivery that an organizer has asked for to see that it arrives.
PING = "ping"


class Announcement(Struct, frozen=True):
    """Something that an organizer is to be told; `body` is what every endpoint gets.

    `webhook_id` names what has happened: the same for whoever tells of it a second time.
    """

    webhook_id: str
    organizer: str
    kind: str
    body: bytes


class WebhookEndpoint(Struct, frozen=True):
    """Where an organizer wants to be told; of everything if `kinds` is empty.

    `disabled_ms` is since when nothing is sent there, None while something is.
    """

    endpoint_id: str
    organizer: str
    url: str
    kinds: tuple[str, ...]
    created_ms: int
    disabled_ms: int | None = None
    disabled_reason: str | None = None


class Registered(Struct, frozen=True):
    """A registered endpoint and its secret; `replayed`: it was there already."""

    endpoint: WebhookEndpoint
    secret: str
    replayed: bool


class DeliveryStatus(StrEnum):
    """How far a delivery is."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    GIVEN_UP = "GIVEN_UP"


class WebhookDelivery(Struct, frozen=True):
    """A delivery and its fate.

    `status_code` and `error` are of the last attempt, None where there was none.
    """

    delivery_id: int
    endpoint_id: str
    webhook_id: str
    kind: str
    status: DeliveryStatus
    attempts: int
    next_attempt_ms: int
    status_code: int | None
    error: str | None
    created_ms: int
    finished_ms: int | None


class DueDelivery(Struct, frozen=True):
    """A delivery to be sent now; it is the taker's until `leased_until_ms`.

    `attempts` counts this one. The last one is made at `give_up_ms`. `secrets` are those
    that sign, the newest first; there is none if no key of the vault opens it.
    """

    delivery_id: int
    endpoint_id: str
    url: str
    secrets: tuple[str, ...]
    webhook_id: str
    kind: str
    body: bytes
    attempts: int
    give_up_ms: int
    leased_until_ms: int


class Webhooks(Protocol):
    """Endpoints and deliveries in the relational store.

    Every method raises `engine.store.contract.StoreAway` when the database did not answer.
    """

    # -- endpoints -----------------------------------------------------------------

    async def register(self, endpoint: WebhookEndpoint, secret: str) -> Registered | None:
        """Keep an endpoint, or find the one of the same id; None: there are too many."""
        ...

    async def endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return an endpoint."""
        ...

    async def endpoints(self, organizer: str) -> list[WebhookEndpoint]:
        """Return the endpoints of an organizer, oldest first."""
        ...

    async def remove(self, endpoint_id: str) -> None:
        """Forget an endpoint and its deliveries."""
        ...

    async def rotate(self, endpoint_id: str, secret: str, overlap_until_ms: int) -> None:
        """Replace a secret; former ones sign as well until then, or sooner if that was said."""
        ...

    async def disable(self, endpoint_id: str, reason: str, at_ms: int) -> None:
        """Send nothing there any more; what waits is given up."""
        ...

    # -- deliveries ----------------------------------------------------------------

    async def put(self, announcements: Sequence[Announcement]) -> None:
        """Have the endpoints told that want to be; putting the same again changes nothing."""
        ...

    async def put_to(self, endpoint_id: str, announcement: Announcement) -> None:
        """Have one endpoint told, whatever it wants."""
        ...

    async def due(
        self, now_ms: int, lease_ms: int, endpoints_max: int, each_max: int, busy: Collection[str]
    ) -> list[DueDelivery]:
        """Take deliveries whose time has come for `lease_ms`; those of an endpoint together.

        Nobody is given them again before that is over.

        Args:
            now_ms: the time.
            lease_ms: how long they are the taker's.
            endpoints_max: so many endpoints get some.
            each_max: deliveries of each, those first that have waited longest.
            busy: endpoints that get none.
        """
        ...

    async def delivered(self, due: DueDelivery, status_code: int, at_ms: int) -> None:
        """Note that a delivery has arrived, unless somebody else has it in hand by now."""
        ...

    async def failed(
        self,
        due: DueDelivery,
        status_code: int | None,
        error: str,
        retry_ms: int | None,
        at_ms: int,
    ) -> None:
        """Note a failed attempt, and when the next one is; None: there is none."""
        ...

    # -- the log -------------------------------------------------------------------

    async def delivery(self, endpoint_id: str, webhook_id: str) -> WebhookDelivery | None:
        """Return a delivery."""
        ...

    async def deliveries(
        self, endpoint_id: str, limit: int, before: int | None = None
    ) -> list[WebhookDelivery]:
        """Return deliveries to an endpoint, newest first, before a `delivery_id`."""
        ...

    async def replay(self, endpoint_id: str, webhook_id: str, now_ms: int) -> None:
        """Send a delivery again, from its first attempt on."""
        ...

    async def prune(self, before_ms: int, limit: int) -> int:
        """Delete deliveries that were over before then; return how many there were."""
        ...
