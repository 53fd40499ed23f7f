"""What payers are told, and what they tell."""

from msgspec import Struct

from loadtests.crowd.spec import Latency


class Purchase(Struct, frozen=True, forbid_unknown_fields=True):
    """One buyer's way through a payment.

    Attributes:
        token: of the buyer.
        booking_id: of a hold of theirs; if None, they place one first.
        cards: that they try, one after the other, until one is accepted.
        refund: they ask for their money back once they have their tickets.
    """

    token: str
    booking_id: str | None = None
    cards: tuple[str, ...] = ("pm_card_visa",)
    refund: bool = False


class Buying(Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Purchases, `at_once` at a time, each begun when one before it has ended.

    Attributes:
        service, sandbox: base URLs.
        purchases: each is made once; with `seconds`, in turn and without end until then.
        event_id: where buyers without a hold place one.
        watched: a purchase ends when its booking shows what came of it; if not, when it is
            paid.
    """

    service: str
    sandbox: str
    purchases: list[Purchase]
    event_id: str = ""
    at_once: int = 8
    seconds: float | None = None
    watched: bool = True


class Bought(Struct, frozen=True):
    """What came of a purchase.

    Attributes:
        status: of the booking in the end.
        confirmed_ms: from the moment that the buyer has an accepted card charged until the
            booking shows that it is confirmed; None if it does not, or nobody watched.
    """

    booking_id: str
    token: str
    status: str
    confirmed_ms: float | None = None


class Takings(Struct, frozen=True):
    """What came of all purchases; `confirmed` is of those that were."""

    bought: list[Bought]
    elapsed_s: float
    statuses: dict[str, int]
    confirmed: Latency


class Paid(Struct, frozen=True, forbid_unknown_fields=True):
    """A payment that the service does not know of: the event that says so, and whose it is."""

    event: str
    booking_id: str
    token: str


class Delivering(Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Webhooks, signed and sent by the clock on the wall, whether or not they are answered.

    Attributes:
        service: base URL.
        secret: of the webhook endpoint.
        paid: delivered one after the other.
        per_second: the pace.
        watched: each booking is read until it shows that it is confirmed, beginning with
            the answer to its webhook, with a pause of `pause_seconds` in between. If not,
            all of them are, at the end.
    """

    service: str
    secret: str
    paid: list[Paid]
    per_second: float
    watched: bool = True
    pause_seconds: float = 0.002


class Delivered(Struct, frozen=True):
    """What came of it.

    Attributes:
        confirmed: bookings that are, in the end.
        before: bookings that were before their webhook was sent; they are measured nowhere.
        accepted: from sending a webhook to its answer: it is durable.
        decided: from sending it to the time that the booking says it was confirmed at,
            which has whole milliseconds.
        readable: from sending it to the end of an answer that shows it as confirmed.
        late_ms: how far the last of them was behind the clock when it was sent.
        elapsed_s: from the first webhook to the last answer.
    """

    confirmed: int
    before: int
    accepted: Latency
    decided: Latency
    readable: Latency
    late_ms: float
    elapsed_s: float
