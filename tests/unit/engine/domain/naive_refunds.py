"""The rules of money that goes back once more, as plainly as they can be said; see `naive.py`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.domain import commands as ask
from tests.unit.engine.domain.naive import SOLD, Facts, NaiveBooking, NaiveSale, refused

RETURNS_MAX = 3
WON = ("won", "warning_closed", "prevented")
REFUNDABLE = ("CONFIRMED", "TICKETS_DELIVERED", "REFUND_DENIED")


@dataclass
class NaiveRefund:
    """Money asked to go back; `rows` are ticket types and units."""

    amount: int
    rows: list[tuple[str, int]]
    kept: int
    state: str = "requested"
    id: str = ""
    owed: int = 0
    attempt: int = 1


@dataclass
class Till:
    """What is known of the money of one booking."""

    price: int
    begun: int
    phase: str = "opening"
    intent: str = ""
    failures: list[str] = field(default_factory=list)
    gave_up: bool = False
    captured: int = 0
    by_us: int = 0
    by_others: int = 0
    kept: int = 0
    #: Came back from the bank for units that are free since.
    owed: int = 0
    #: What disputes have taken.
    lost: int = 0
    refunds: list[NaiveRefund] = field(default_factory=list)
    #: What Stripe counted of ours, with a refund in it that failed afterwards.
    once: list[int] = field(default_factory=list)
    disputes: dict[str, str] = field(default_factory=dict)

    @property
    def back(self) -> int:
        return self.by_us + self.by_others

    @property
    def left(self) -> int:
        return self.captured - self.back - self.owed

    @property
    def stuck(self) -> bool:
        stays = self.phase == "returning" or self.owed > 0
        return stays and not self.refunding and not self.in_dispute

    @property
    def refunding(self) -> bool:
        return bool(self.refunds) and self.refunds[-1].state == "requested"

    @property
    def waits(self) -> bool:
        waiting = ("opening", "open", "authorised", "closing", "returning")
        return self.phase in waiting or self.refunding

    @property
    def in_dispute(self) -> bool:
        return any(status not in (*WON, "lost") for status in self.disputes.values())

    def facts(self) -> Facts:
        money = self.captured, self.back, self.kept, self.by_others, self.owed, self.lost
        refunds = [(one.amount, one.kept, one.state, one.owed) for one in self.refunds[-1:]]
        known = self.phase, self.intent, self.failures, self.gave_up
        return known, money, (len(self.refunds), refunds), self.disputes


class NaiveRefunds(NaiveSale):
    """A naive sale whose bookings may be paid, and what becomes of the money."""

    def __init__(self) -> None:
        super().__init__()
        self.tills: dict[str, Till] = {}
        self.called_off = False
        #: What was asked for under each key of each booking.
        self.asked: dict[tuple[str, str], list[tuple[str, int]]] = {}

    def known(self, booking_id: str) -> tuple[NaiveBooking, Till] | None:
        booking, till = self.find(booking_id), self.tills.get(booking_id)
        return None if booking is None or till is None else (booking, till)

    def money_comes(self, booking: NaiveBooking, till: Till, now: int) -> None:
        raise NotImplementedError

    def refund(self, command: ask.RequestRefund, now: int) -> Facts:
        booking, till = self.find(command.booking_id), self.tills.get(command.booking_id)
        managed = self.managed_by(command.caller)
        if booking is None or not (booking.customer == command.caller.sub or managed):
            return refused("booking_not_found")
        rows = sorted((part.ticket_type, part.quantity) for part in command.parts)
        name = command.booking_id, command.key
        if name in self.asked:
            same = counted(self.asked[name]) == counted(rows)
            return ("booking", booking.facts()) if same else refused("idempotency_key_reused")
        if not rows:
            if managed and till and till.stuck and booking.status not in REFUNDABLE:
                self.send_again(booking, till, 1, now)
                if command.key:
                    self.asked[name] = rows
                return "booking", booking.facts()
            asked = till is not None and till.refunding and booking.status == "REFUND_REQUESTED"
            whole = asked and sum(n for _, n in till.refunds[-1].rows) == units(booking)
            if whole or booking.status == "REFUNDED":
                return "booking", booking.facts()
        for reason in self.reasons_against_refunding(booking, till, rows, now, managed=managed):
            return reason
        percent = 100 if managed else self.first.refund_policy.percent
        self.give_back(booking, till, rows, percent, now)
        if command.key:
            self.asked[name] = rows
        return self.as_asked(booking)

    def as_asked(self, booking: NaiveBooking) -> Facts:
        """Return the booking as it was when the refund was asked for, if it has gone on since."""
        if booking.status == "REFUND_REQUESTED":
            return "booking", booking.facts()
        until = next(i for i, (s, _) in enumerate(booking.history) if s == "REFUND_REQUESTED")
        return "booking", booking._facts(
            booking.rows, booking.expires_at, booking.history[: until + 1]
        )

    def reasons_against_refunding(
        self, booking: NaiveBooking, till: Till | None, rows: list, now: int, *, managed: bool
    ) -> Iterator[Facts]:
        if booking.status not in REFUNDABLE:
            yield refused("refund_not_allowed", booking.status)
        policy = self.first.refund_policy
        if not managed and (
            policy is None or now > self.first.starts_at_ms - policy.until_hours_before * 3_600_000
        ):
            yield refused("refund_not_allowed", "policy")
        if till is not None and till.in_dispute:
            yield refused("refund_not_allowed", "disputed")
        for code in dict.fromkeys(code for code, _ in rows):
            bought = sum(n for kind, n, _ in booking.rows if kind == code)
            if not bought:
                yield refused("unknown_ticket_type", code)
            if sum(n for kind, n in rows if kind == code) > bought:
                yield refused("refund_not_allowed", code, limit=bought)

    def give_back(
        self, booking: NaiveBooking, till: Till, rows: list, percent: int, now: int
    ) -> None:
        rows = rows or [(code, n) for code, n, _ in booking.rows]
        each = {code: price for code, _, price in booking.rows}
        price = sum(each[code] * n for code, n in rows)
        back = min(price * percent // 100, till.left)
        amount = back + till.owed
        till.refunds.append(NaiveRefund(amount, rows, price - back, owed=till.owed))
        booking.history.append(("REFUND_REQUESTED", now))
        if not amount:
            self.is_refunded(booking, till, "", now)

    def hear_of_refund(self, news: ask.ObserveRefund, now: int) -> Facts:
        known = self.known(news.booking_id)
        if known is None:
            return refused("booking_not_found")
        booking, till = known
        if news.number != len(till.refunds):
            is_older = 0 < news.number < len(till.refunds)
            return ("done",) if is_older else refused("payment_mismatch", "number")
        if not till.refunds:
            return refused("payment_mismatch", "number")
        refund = till.refunds[-1]
        if refund.amount != news.amount_minor:
            return refused("payment_mismatch", "amount")
        if refund.state == "succeeded" and news.status == "failed":
            self.comes_back(booking, till, news.refund_id, now)
        elif refund.state == "failed" and news.status == "succeeded" and refund.id:
            self.had_been_made(booking, till, refund, now)
        elif refund.state == "requested" and news.status == "succeeded":
            self.is_refunded(booking, till, news.refund_id, now)
            self.owes(booking, till, now)
        elif refund.state == "requested" and news.status in ("failed", "canceled"):
            refund.state, refund.id = "failed", news.refund_id
            if refund.id:
                till.once.append(till.by_us + refund.amount)
            self.is_not_refunded(booking, till, refund, now)
        return ("done",)

    def is_refunded(self, booking: NaiveBooking, till: Till, refund_id: str, now: int) -> None:
        refund = till.refunds[-1]
        refund.state, refund.id = "succeeded", refund_id
        till.by_us += refund.amount
        paid = min(till.owed, refund.owed)
        till.owed -= paid
        till.kept += refund.kept - (refund.owed - paid)
        too_much = max(0, till.back - till.captured)
        till.by_others -= too_much
        till.kept += too_much
        rest = list(booking.rows)
        for code, n in refund.rows:
            take_out(rest, code, n)
        if till.phase == "returning":
            till.phase = "returned"
        elif booking.status == "REFUNDED":
            return
        elif not rest or not till.left:
            till.kept = till.left
            booking.history.append(("REFUNDED", now))
        else:
            booking.rows = rest
            delivered = any(status == "TICKETS_DELIVERED" for status, _ in booking.history)
            booking.history.append(("TICKETS_DELIVERED" if delivered else "CONFIRMED", now))

    def is_not_refunded(
        self, booking: NaiveBooking, till: Till, refund: NaiveRefund, now: int
    ) -> None:
        if booking.status == "REFUND_REQUESTED":
            booking.history.append(("REFUND_DENIED", now))
        if sum(n for _, n in refund.rows) < units(booking):
            self.owes(booking, till, now)
        if not refund.rows and not till.refunding:
            self.try_again(booking, till, refund, now)

    def comes_back(self, booking: NaiveBooking, till: Till, refund_id: str, now: int) -> None:
        """A bank sends a refund back that was made: it is owed once more."""
        refund, gone = till.refunds[-1], till.back
        refund.state, refund.id = "failed", refund_id
        if refund.id:
            till.once.append(till.by_us)
        till.by_us -= refund.amount
        till.by_others += max(0, min(till.captured, till.by_us + till.lost) - till.back)
        here = gone - till.back
        if here and till.phase == "returned":
            till.phase, till.kept = "returning", -till.back
        else:
            till.owed += here
        self.try_again(booking, till, refund, now)

    def had_been_made(
        self, booking: NaiveBooking, till: Till, refund: NaiveRefund, now: int
    ) -> None:
        """A refund that has failed had been made before: its bank has sent it back."""
        waits = booking.status == "REFUND_DENIED" and refund.rows and not till.in_dispute
        if waits and refund.attempt < RETURNS_MAX:
            price = refund.amount - refund.owed + refund.kept
            back = min(refund.amount - refund.owed, till.left)
            amount, kept, attempt = back + till.owed, price - back, refund.attempt + 1
            again = NaiveRefund(amount, refund.rows, kept, owed=till.owed, attempt=attempt)
            till.refunds.append(again)
            booking.history.append(("REFUND_REQUESTED", now))

    def try_again(self, booking: NaiveBooking, till: Till, failed: NaiveRefund, now: int) -> None:
        if till.phase == "returning":
            if len(till.refunds) < RETURNS_MAX:
                self.send_again(booking, till, 1, now)
        elif till.stuck and failed.attempt < RETURNS_MAX:
            self.send_again(booking, till, failed.attempt + 1, now)

    def send_again(self, booking: NaiveBooking, till: Till, attempt: int, now: int) -> None:
        """Send money for no units back once more."""
        if till.phase == "returning":
            till.refunds.append(NaiveRefund(till.captured - till.back, [], till.back))
            return
        till.refunds.append(NaiveRefund(till.owed, [], 0, owed=till.owed, attempt=attempt))
        if booking.status != "REFUNDED":
            booking.history.append(("REFUND_REQUESTED", now))

    def owes(self, booking: NaiveBooking, till: Till, now: int) -> None:
        """Give back what is left of a booking of an event that was called off."""
        if self.called_off and booking.status in REFUNDABLE and not till.in_dispute:
            self.give_back(booking, till, [], 100, now)

    def hear_of_charge(self, news: ask.ObserveCharge, now: int) -> Facts:
        known = self.known(news.booking_id)
        if known is None:
            return refused("booking_not_found")
        booking, till = known
        if till.intent not in ("", news.intent_id):
            return refused("payment_mismatch", "intent")
        if news.captured_minor != till.price:
            return refused("payment_mismatch", "captured")
        gone = news.refunded_minor
        ours = [till.by_us, *till.once]
        if till.refunding:
            ours.append(till.by_us + till.refunds[-1].amount)
        if news.taken_minor is not None:
            gone = till.by_us + news.taken_minor
        elif gone > till.by_us:
            gone += till.by_us - max(sum_ for sum_ in ours if sum_ <= gone)
        gone = min(gone + till.lost, till.price)
        self.there_was_money(booking, till, news.intent_id, now)
        if gone > till.back:
            self.is_taken(booking, till, gone, now)
        return ("done",)

    def there_was_money(self, booking: NaiveBooking, till: Till, intent: str, now: int) -> None:
        if not till.captured:
            till.intent = intent
            self.money_comes(booking, till, now)

    def is_taken(self, booking: NaiveBooking, till: Till, gone: int, now: int) -> None:
        more = gone - till.back
        till.by_others += more
        owed = min(till.owed, more)
        till.owed -= owed
        till.kept -= more - owed
        if gone < till.captured:
            return
        till.kept = till.owed = 0
        if till.refunding:
            till.refunds[-1].state = "failed"
        if till.phase == "returning":
            till.phase = "returned"
        if booking.status in SOLD:
            booking.history.append(("REFUNDED", now))

    def hear_of_dispute(self, news: ask.ObserveDispute, now: int) -> Facts:
        known = self.known(news.booking_id)
        if known is None:
            return refused("booking_not_found")
        booking, till = known
        if till.intent not in ("", news.intent_id):
            return refused("payment_mismatch", "intent")
        before = till.disputes.get(news.dispute_id)
        if before in (*WON, "lost", news.status):
            return ("done",)
        if not till.captured:
            return refused("payment_mismatch", "captured")
        till.disputes[news.dispute_id] = news.status
        if news.status == "lost":
            lost = till.captured
            if news.amount_minor is not None and news.currency == "EUR":
                lost = min(lost, news.amount_minor)
            till.lost += lost
            if till.back < till.captured and lost:
                self.is_taken(booking, till, min(till.captured, till.back + lost), now)
        if news.status in (*WON, "lost"):
            self.owes(booking, till, now)
            if till.stuck:
                self.send_again(booking, till, 1, now)
        return ("done",)


def units(booking: NaiveBooking) -> int:
    return sum(n for _, n, _ in booking.rows)


def take_out(rows: list[tuple[str, int, int]], code: str, wanted: int) -> None:
    """Take units of a ticket type out of the first rows that have some."""
    for index, (kind, n, price) in enumerate(rows):
        if kind == code and wanted:
            gone = min(n, wanted)
            rows[index] = (kind, n - gone, price)
            wanted -= gone
    rows[:] = [row for row in rows if row[1]]


def counted(rows: list[tuple[str, int]]) -> Counter[str]:
    """Return how many units of each ticket type are meant; none if everything is."""
    return Counter({code: sum(n for one, n in rows if one == code) for code, _ in rows})
