"""The rules of payments once more, as plainly as they can be said; see `naive.py`."""

from collections.abc import Iterator

from engine.domain import commands as ask
from tests.unit.engine.domain.naive import HELD, Facts, NaiveBooking, refused
from tests.unit.engine.domain.naive_refunds import NaiveRefund, NaiveRefunds, Till

OPENING_MS = 30_000
GRACE_MS = 30_000


class NaiveBoxOffice(NaiveRefunds):
    """A naive sale with payments."""

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
        if booking.status in ("CONFIRMED", "TICKETS_DELIVERED"):
            return "booking", booking.facts()
        if self.called_off:
            return refused("event_cancelled")
        if booking.status == "RESERVED":
            price = sum(quantity * each for _, quantity, each in booking.rows)
            till = self.tills[booking_id] = Till(price, now)
            booking.expires_at = max(booking.expires_at, now + OPENING_MS)
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
            booking.expires_at = booking.held_until + now - till.begun
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
