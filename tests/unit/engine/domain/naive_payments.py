"""The rules of payments once more, as plainly as they can be said; see `naive.py`."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.domain import commands as ask
from tests.unit.engine.domain.naive import HELD, SOLD, Facts, NaiveBooking, NaiveSale, refused

GRACE_MS = 30_000
RETURNS_MAX = 3
WON = ("won", "warning_closed", "prevented")


@dataclass
class NaiveRefund:
    """Money asked to go back; `rows` are ticket types and units."""

    amount: int
    rows: list[tuple[str, int]]
    kept: int
    state: str = "requested"
    id: str = ""


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
    refunds: list[NaiveRefund] = field(default_factory=list)
    disputes: dict[str, str] = field(default_factory=dict)

    @property
    def back(self) -> int:
        return self.by_us + self.by_others

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
        money = self.captured, self.back, self.kept, self.by_others
        refunds = [(refund.amount, refund.kept, refund.state) for refund in self.refunds[-1:]]
        known = self.phase, self.intent, self.failures, self.gave_up
        return known, money, (len(self.refunds), refunds), self.disputes


class NaiveBoxOffice(NaiveSale):
    """A naive sale with payments."""

    def __init__(self) -> None:
        super().__init__()
        self.tills: dict[str, Till] = {}
        self.called_off = False

    def answer(self, command: ask.Command, now: int, sequence: int) -> Facts:
        match command:
            case ask.OpenPayment(booking_id, caller):
                return self.pay(booking_id, caller, now)
            case ask.ObservePayment():
                return self.hear_of_payment(command, now)
            case ask.ObserveCharge():
                return self.hear_of_charge(command, now)
            case ask.ObserveRefund():
                return self.hear_of_refund(command, now)
            case ask.ObserveDispute():
                return self.hear_of_dispute(command, now)
            case ask.RequestRefund():
                return self.refund(command, now)
            case ask.CancelEvent(caller):
                return self.cancel(caller)
            case ask.ReadPayments():
                waiting = [name for name, till in self.tills.items() if till.waits]
                return "payments", sorted(waiting), False
        return super().answer(command, now, sequence)

    def known(self, booking_id: str) -> tuple[NaiveBooking, Till] | None:
        booking, till = self.find(booking_id), self.tills.get(booking_id)
        return None if booking is None or till is None else (booking, till)

    # -- the end of a hold -------------------------------------------------------------

    def release(self, booking_id: str, caller: ask.Caller, now: int) -> Facts:
        booking = self.find(booking_id)
        if booking is None or booking.customer != caller.sub:
            return refused("booking_not_found")
        if booking.status not in (*HELD, "CANCELLED"):
            return refused("not_releasable", booking.status)
        self.let_go(booking, now)
        return "booking", booking.facts()

    def let_go(self, booking: NaiveBooking, now: int) -> None:
        if booking.status in HELD:
            booking.history.append(("CANCELLED", now))
            till = self.tills.get(booking.id)
            if till is not None:
                till.phase = "closing"

    def expire(self, booking_id: str, now: int) -> Facts:
        if booking_id not in self.due(now):
            return refused("booking_not_found")
        booking, till = self.find(booking_id), self.tills.get(booking_id)
        if till is None or till.phase == "closing":
            booking.history.append(("EXPIRED", now))
        else:
            till.phase = "closing"
            booking.expires_at = now + GRACE_MS
        return ("done",)

    # -- payments ----------------------------------------------------------------------

    def pay(self, booking_id: str, caller: ask.Caller, now: int) -> Facts:
        booking, till = self.find(booking_id), self.tills.get(booking_id)
        if booking is None or booking.customer != caller.sub:
            return refused("booking_not_found")
        if booking.status == "CONFIRMED":
            return "booking", booking.facts()
        if self.called_off:
            return refused("event_cancelled")
        if booking.status == "RESERVED":
            price = sum(quantity * each for _, quantity, each in booking.rows)
            till = self.tills[booking_id] = Till(price, now)
            booking.history.append(("PAYMENT_PENDING", now))
        elif till is None or till.phase not in ("opening", "open"):
            return refused("not_payable", booking.status)
        elif booking.status == "PAYMENT_FAILED":
            booking.history.append(("PAYMENT_PENDING", now))
        return "payment", booking_id, till.price, till.intent

    def hear_of_payment(self, news: ask.ObservePayment, now: int) -> Facts:
        booking, till = self.find(news.booking_id), self.tills.get(news.booking_id)
        if booking is None:
            return refused("booking_not_found")
        for what in self.mismatches(booking, till, news):
            return refused("payment_mismatch", what)
        if till.phase == "closed" and news.status != "succeeded":
            return ("done",)
        if not till.captured:
            self.intent_is_known(booking, till, news.intent_id, now)
            self.take_note(booking, till, news, now)
        return ("done",)

    def mismatches(
        self, booking: NaiveBooking, till: Till | None, news: ask.ObservePayment
    ) -> Iterator[str]:
        if till is None or till.intent not in ("", news.intent_id):
            yield "intent"
        elif news.customer != booking.customer:
            yield "customer"
        elif news.amount_minor != till.price:
            yield "amount"
        elif news.status == "succeeded" and news.received_minor != till.price:
            yield "received"

    def intent_is_known(self, booking: NaiveBooking, till: Till, intent: str, now: int) -> None:
        if not till.intent and till.phase == "opening":
            till.phase = "open"
            booking.expires_at += now - till.begun
        till.intent = intent

    def take_note(
        self, booking: NaiveBooking, till: Till, news: ask.ObservePayment, now: int
    ) -> None:
        if news.status == "succeeded":
            self.money_comes(booking, till, now)
        elif news.status == "canceled":
            self.is_closed(booking, till, now)
        elif till.phase == "open" and news.status == "requires_capture":
            till.phase = "authorised"
        elif till.phase == "open" and news.status == "requires_payment_method" and news.failure:
            self.fails(booking, till, news.failure, now)

    def is_closed(self, booking: NaiveBooking, till: Till, now: int) -> None:
        if booking.status in HELD:
            till.gave_up = till.gave_up or till.phase != "closing"
            booking.history.append(("CANCELLED" if till.gave_up else "EXPIRED", now))
        till.phase = "closed"

    def fails(self, booking: NaiveBooking, till: Till, failure: str, now: int) -> None:
        if failure in till.failures:
            return
        till.failures.append(failure)
        if len(till.failures) < self.first.payment_attempts_max:
            booking.history.append(("PAYMENT_FAILED", now))
        else:
            till.gave_up, till.phase = True, "closing"
            booking.history.append(("CANCELLED", now))

    def money_comes(self, booking: NaiveBooking, till: Till, now: int) -> None:
        till.captured = till.price
        wanted = booking.status == "EXPIRED" or till.gave_up
        if booking.status in HELD or (wanted and not self.called_off and self.fits(booking)):
            till.phase = "captured"
            booking.history.append(("CONFIRMED", now))
        else:
            till.phase = "returning"
            till.refunds.append(NaiveRefund(till.price, [], 0))

    def fits(self, booking: NaiveBooking) -> bool:
        wanted = [self.allotment(code) for code, n, _ in booking.rows for _ in range(n)]
        limit = self.first.max_per_customer
        if limit is not None and self.units_of(booking.customer) + len(wanted) > limit:
            return False
        return all(wanted.count(allotment) <= self.free(allotment) for allotment in {*wanted})

    # -- money back --------------------------------------------------------------------

    def refund(self, command: ask.RequestRefund, now: int) -> Facts:
        booking, till = self.find(command.booking_id), self.tills.get(command.booking_id)
        managed = self.managed_by(command.caller)
        if booking is None or not (booking.customer == command.caller.sub or managed):
            return refused("booking_not_found")
        rows = [(part.ticket_type, part.quantity) for part in command.parts]
        if not rows:
            asked = till is not None and till.refunding and booking.status == "REFUND_REQUESTED"
            whole = asked and sum(n for _, n in till.refunds[-1].rows) == units(booking)
            if whole or booking.status == "REFUNDED":
                return "booking", booking.facts()
        for reason in self.reasons_against_refunding(booking, till, rows, now, managed=managed):
            return reason
        percent = 100 if managed else self.first.refund_policy.percent
        self.give_back(booking, till, rows, percent, now)
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
        if booking.status not in ("CONFIRMED", "REFUND_DENIED"):
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
        amount = min(price * percent // 100, till.captured - till.back)
        till.refunds.append(NaiveRefund(amount, rows, price - amount))
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
            refund.state, refund.id = "failed", news.refund_id
            till.by_us -= refund.amount
            till.kept += refund.amount
        elif refund.state == "requested" and news.status == "succeeded":
            self.is_refunded(booking, till, news.refund_id, now)
            self.owes(booking, till, now)
        elif refund.state == "requested" and news.status in ("failed", "canceled"):
            refund.state, refund.id = "failed", news.refund_id
            self.is_not_refunded(booking, till, refund, now)
        return ("done",)

    def is_refunded(self, booking: NaiveBooking, till: Till, refund_id: str, now: int) -> None:
        refund = till.refunds[-1]
        refund.state, refund.id = "succeeded", refund_id
        till.by_us += refund.amount
        till.kept += refund.kept
        too_much = max(0, till.back - till.captured)
        till.by_others -= too_much
        till.kept += too_much
        rest = list(booking.rows)
        for code, n in refund.rows:
            take_out(rest, code, n)
        left = till.captured - till.back
        if till.phase == "returning":
            till.phase = "returned"
        elif not rest or not left:
            till.kept = left
            booking.history.append(("REFUNDED", now))
        else:
            booking.rows = rest
            booking.history.append(("CONFIRMED", now))

    def is_not_refunded(
        self, booking: NaiveBooking, till: Till, refund: NaiveRefund, now: int
    ) -> None:
        if till.phase == "returning":
            if len(till.refunds) < RETURNS_MAX:
                left = till.captured - till.back
                till.refunds.append(NaiveRefund(left, [], till.back))
            return
        booking.history.append(("REFUND_DENIED", now))
        if sum(n for _, n in refund.rows) < units(booking):
            self.owes(booking, till, now)

    def owes(self, booking: NaiveBooking, till: Till, now: int) -> None:
        """Give back what is left of a booking of an event that was called off."""
        sold = booking.status in ("CONFIRMED", "REFUND_DENIED")
        if self.called_off and sold and not till.in_dispute:
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
        last = till.refunds[-1] if till.refunds else None
        open_refund = last is not None and (
            last.state == "requested" or (last.state == "failed" and last.id)
        )
        if open_refund and gone >= till.by_us + last.amount:
            gone -= last.amount
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
        till.kept -= more
        if gone < till.captured:
            return
        till.kept = 0
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
        was_sold = booking.status in SOLD
        self.there_was_money(booking, till, news.intent_id, now)
        till.disputes[news.dispute_id] = news.status
        if news.status == "lost" and till.back < till.captured:
            self.is_taken(booking, till, till.captured, now)
        elif news.status in WON and was_sold:
            self.owes(booking, till, now)
        return ("done",)

    # -- the event is called off -------------------------------------------------------

    def cancel(self, caller: ask.Caller) -> Facts:
        if not self.managed_by(caller):
            return refused("event_not_found")
        self.called_off = True
        return self.shown()

    def see_to_everything(self, now: int) -> None:
        for booking in self.bookings:
            self.let_go(booking, now)
            if booking.id in self.tills:
                self.owes(booking, self.tills[booking.id], now)

    def reasons_against(
        self, customer: str, items: tuple[ask.Item, ...], now: int
    ) -> Iterator[Facts]:
        if self.called_off:
            yield refused("sale_closed")
        yield from super().reasons_against(customer, items, now)

    def reasons_against_amending(self, caller: ask.Caller, changes: ask.Changes) -> Iterator[Facts]:
        yield from super().reasons_against_amending(caller, changes)
        if self.called_off:
            yield refused("event_cancelled")

    def switch(self, caller: ask.Caller, *, paused: bool) -> Facts:
        if self.managed_by(caller) and self.called_off:
            return refused("event_cancelled")
        return super().switch(caller, paused=paused)


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
