"""What the processes behind the gateways measure: every metric with its meaning.

Ray shows them with `ray_` before the name, and says of which process they are. Events,
buyers and bookings are in no label: what is asked of one event, the gateways' page tells of
the hottest (`engine.journal.pulses`). `docs/OPERATING.md` has the same table for operators.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

Labels = Mapping[str, str]


class Kind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Measure(Struct, frozen=True):
    """One metric; `bounds` are the upper ends of a histogram's buckets, in its unit."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


#: Within a request, seconds: an append takes 1 ms, the promise of the door is 5 s.
_SHORT = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
#: What people do, and machines far away, seconds.
_LONG = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0)
_COMMANDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0)

# -- owners: once a second at most -----------------------------------------------------

OWNER_HOLDS = Measure(
    "onsale_owner_holds_total",
    Kind.COUNTER,
    "Holds that owners have decided, by granted or not_granted (refused, or granted before)",
    ("outcome",),
)
OWNER_TURN_COMMANDS = Measure(
    "onsale_owner_turn_commands",
    Kind.HISTOGRAM,
    "Commands of one turn, of one turn a second at most",
    (),
    _COMMANDS,
)
OWNER_INBOX = Measure(
    "onsale_owner_inbox_commands", Kind.GAUGE, "Commands that wait in this owner's inbox"
)
OWNER_APPEND_SECONDS = Measure(
    "onsale_owner_append_seconds",
    Kind.HISTOGRAM,
    "Time until the entry of a turn was durable, of one turn a second at most",
    (),
    _SHORT,
)
OWNER_STALL_SECONDS = Measure(
    "onsale_owner_stall_seconds",
    Kind.HISTOGRAM,
    "For how long a turn let nothing else of its owner run, the longest of a second",
    (),
    _SHORT,
)
OWNER_HALTED = Measure(
    "onsale_owner_halted", Kind.GAUGE, "1 while the event of this owner is halted"
)
INVARIANT_VIOLATIONS = Measure(
    "onsale_invariant_violations",
    Kind.GAUGE,
    "1 while the event of this owner is halted because its counts did not agree",
)
HOLDS_EXPIRED = Measure("onsale_holds_expired_total", Kind.COUNTER, "Holds whose time was up")
CONFIRMED = Measure("onsale_bookings_confirmed_total", Kind.COUNTER, "Bookings paid, or free")
REVENUE = Measure(
    "onsale_revenue_minor_units_total",
    Kind.COUNTER,
    "Money captured with bookings, in minor units of its currency",
    ("currency",),
)
BOOKING_SECONDS = Measure(
    "onsale_booking_seconds",
    Kind.HISTOGRAM,
    "Time to book: from the hold to its confirmation",
    (),
    _LONG,
)
PAYMENT_SECONDS = Measure(
    "onsale_payment_seconds",
    Kind.HISTOGRAM,
    "From the beginning of a payment to its confirmation; the buyer's own time is in it",
    (),
    _LONG,
)
PAYMENTS_FAILED = Measure(
    "onsale_payments_failed_total", Kind.COUNTER, "Attempts to pay that have failed"
)
REFUNDS = Measure(
    "onsale_refunds_total", Kind.COUNTER, "Refunds that have ended, by settled or failed", ("end",)
)
ADMITTED = Measure(
    "onsale_tickets_admitted_total", Kind.COUNTER, "Tickets whose holders were let in"
)

# -- the payment desk ------------------------------------------------------------------

STRIPE_WAIT_SECONDS = Measure(
    "onsale_stripe_wait_seconds",
    Kind.HISTOGRAM,
    "Time that a call of Stripe waited for its turn",
    ("operation",),
    (0.01, 0.1, 0.5, 1.0, 5.0, 15.0),
)
STRIPE_CALL_SECONDS = Measure(
    "onsale_stripe_call_seconds",
    Kind.HISTOGRAM,
    "Time of one attempt at a call of Stripe, by ok, refused or away",
    ("operation", "end"),
    (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0),
)
RECONCILED = Measure(
    "onsale_reconciled_timestamp_seconds",
    Kind.GAUGE,
    "When payments were last compared with Stripe, Unix seconds",
)
REPAIRS = Measure(
    "onsale_reconcile_repairs_total",
    Kind.COUNTER,
    "Bookings set right by a comparison with Stripe",
)
QUARANTINED = Measure(
    "onsale_payments_quarantined_total",
    Kind.COUNTER,
    "Payments put aside because what Stripe says of them does not belong to their bookings",
)

# -- consumers, in the payment desk and the back office --------------------------------

HANDLED = Measure(
    "onsale_messages_handled_total",
    Kind.COUNTER,
    "Effects and incoming messages seen through, by consumer group",
    ("group",),
)
BURIED = Measure(
    "onsale_messages_buried_total",
    Kind.COUNTER,
    "Messages given up on and put among the dead letters, by consumer group",
    ("group",),
)

# -- the back office -------------------------------------------------------------------

LETTERS = Measure(
    "onsale_letters",
    Kind.GAUGE,
    "Messages to buyers in the books, by pending or permanently_failed",
    ("status",),
)
LETTERS_ENDED = Measure(
    "onsale_letters_ended_total",
    Kind.COUNTER,
    "Messages to buyers that were sent, given_up or not_needed, by channel",
    ("end", "channel"),
)
LETTER_DELAY_SECONDS = Measure(
    "onsale_letter_delay_seconds",
    Kind.HISTOGRAM,
    "From the confirmation of a booking to the mail server's taking its tickets",
    (),
    _LONG,
)

# -- the warden ------------------------------------------------------------------------

WATCHED = Measure(
    "onsale_warden_watched", Kind.GAUGE, "Owners and desks that the warden looks after"
)
SILENT = Measure(
    "onsale_warden_silent_total", Kind.COUNTER, "Processes killed because they did not answer"
)

#: All of the above.
MEASURES: tuple[Measure, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Measure)
)


class Meter(Protocol):
    """Where measurements go."""

    def add(self, measure: Measure, amount: float = 1, labels: Labels | None = None) -> None:
        """Count; an amount of 0 changes nothing."""
        ...

    def observe(self, measure: Measure, value: float, labels: Labels | None = None) -> None:
        """Put a value into a histogram."""
        ...

    def set(self, measure: Measure, value: float, labels: Labels | None = None) -> None:
        """Say what a gauge shows from now on."""
        ...


class Unmetered:
    """Measures nothing: for tests, and whatever runs outside of Ray."""

    def add(self, measure: Measure, amount: float = 1, labels: Labels | None = None) -> None:
        """See `Meter.add`."""

    def observe(self, measure: Measure, value: float, labels: Labels | None = None) -> None:
        """See `Meter.observe`."""

    def set(self, measure: Measure, value: float, labels: Labels | None = None) -> None:
        """See `Meter.set`."""
