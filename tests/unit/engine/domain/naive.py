"""The rules of a sale once more, as plainly as they can be said: lists, recounted every time.

Nothing of `engine.domain` is used but the commands that are asked and the events they name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET

from engine.domain import commands as ask
from engine.domain.event import Event, TicketType

#: Where units count, by the state of their booking.
HELD = ("RESERVED", "PAYMENT_PENDING", "PAYMENT_FAILED")
SOLD = ("CONFIRMED", "TICKETS_DELIVERED", "REFUND_REQUESTED", "REFUND_DENIED")

#: An answer as plain data: what it is, then its facts.
Facts = tuple[Any, ...]


def refused(code: str, subject: str | None = None, **facts: int) -> Facts:
    return "refused", code, subject, facts.get("limit"), facts.get("free"), facts.get("held")


@dataclass
class NaiveBooking:
    """One hold and what became of it."""

    id: str
    customer: str
    asked: tuple[ask.Item, ...]
    prices: list[int]
    placed_at: int
    sequence: int
    expires_at: int
    history: list[tuple[str, int]] = field(default_factory=list)
    #: Ticket type, units and price of what was not given back.
    rows: list[tuple[str, int, int]] = field(default_factory=list)
    held_until: int = 0

    def __post_init__(self) -> None:
        self.rows = self.rows_asked()
        self.held_until = self.expires_at

    def rows_asked(self) -> list[tuple[str, int, int]]:
        return [
            (item.ticket_type, item.quantity, price)
            for item, price in zip(self.asked, self.prices, strict=True)
        ]

    @property
    def status(self) -> str:
        return self.history[-1][0]

    def facts(self, *, as_placed: bool = False) -> Facts:
        if as_placed:
            until = self.held_until
            return self._facts(self.rows_asked(), until, self.history[:1])
        return self._facts(self.rows, self.expires_at, self.history)

    def _facts(self, rows: list, until: int, history: list) -> Facts:
        return (self.id, self.customer, rows), (until, self.sequence, history)


class NaiveSale:
    """Answers every command as `decide` and `apply` together must."""

    def __init__(self) -> None:
        self.bookings: list[NaiveBooking] = []
        self.first: Event | None = None
        self.paused = False
        self.name = ""
        self.opens: int | None = None
        self.closes: int | None = None
        self.prices: dict[str, int] = {}
        self.capacities: dict[str, int] = {}

    # -- counting ------------------------------------------------------------------

    def standing(self) -> list[NaiveBooking]:
        return [booking for booking in self.bookings if booking.status in HELD]

    def count(self, allotment: str, statuses: tuple[str, ...]) -> int:
        return sum(
            quantity
            for booking in self.bookings
            for code, quantity, _ in booking.rows
            if booking.status in statuses and self.allotment(code) == allotment
        )

    def held(self, allotment: str) -> int:
        return self.count(allotment, HELD)

    def sold(self, allotment: str) -> int:
        return self.count(allotment, SOLD)

    def free(self, allotment: str) -> int:
        return self.capacities[allotment] - self.held(allotment) - self.sold(allotment)

    def units_of(self, customer: str) -> int:
        return sum(
            quantity
            for booking in self.bookings
            for _, quantity, _ in booking.rows
            if booking.customer == customer and booking.status in HELD + SOLD
        )

    def kind(self, ticket_type: str) -> TicketType:
        return next(kind for kind in self.first.ticket_types if kind.code == ticket_type)

    def allotment(self, ticket_type: str) -> str:
        return self.kind(ticket_type).allotment

    def closes_at(self) -> int:
        return self.first.starts_at_ms if self.closes is None else self.closes

    def due(self, now: int) -> list[str]:
        """Return the ids of every hold whose time is up, the longest overdue first."""
        due = [booking for booking in self.standing() if booking.expires_at <= now]
        return [booking.id for booking in sorted(due, key=lambda booking: booking.expires_at)]

    def find(self, booking_id: str) -> NaiveBooking | None:
        return next((booking for booking in self.bookings if booking.id == booking_id), None)

    # -- answers -------------------------------------------------------------------

    def answer(self, command: ask.Command, now: int, sequence: int) -> Facts:
        """Carry the command out and return what its answer must say.

        `sequence` is that of the journal entry of this turn.
        """
        match command:
            case ask.CreateEvent(wanted):
                return self.create(wanted, now)
            case ask.PlaceHold(booking_id, customer, items):
                return self.hold(booking_id, customer, items, now, sequence)
            case ask.ReleaseHold(booking_id, caller):
                return self.release(booking_id, caller, now)
            case ask.ExpireHold(booking_id):
                return self.expire(booking_id, now)
            case ask.ReadBooking(booking_id, caller):
                return self.read(booking_id, caller)
            case ask.ReadAvailability():
                return ("done",)
            case ask.AmendEvent(caller, changes):
                return self.amend(caller, changes)
            case ask.PauseSale(caller):
                return self.switch(caller, paused=True)
            case ask.ResumeSale(caller):
                return self.switch(caller, paused=False)
        raise NotImplementedError(command)

    def create(self, wanted: Event, now: int) -> Facts:
        if self.first is None:
            self.first = wanted
            self.name, self.opens, self.closes = (
                wanted.name,
                wanted.opens_at_ms,
                wanted.closes_at_ms,
            )
            self.prices = {t.code: t.price_minor for t in wanted.ticket_types}
            self.capacities = {a.code: a.capacity for a in wanted.allotments}
            return self.shown()
        if wanted != self.first:
            return refused("idempotency_key_reused")
        naive = NaiveSale()
        return (*naive.create(wanted, now)[:-1], True)

    def shown(self) -> Facts:
        return (
            "event",
            (self.name, self.opens, self.closes),
            (dict(self.prices), dict(self.capacities)),
            self.paused,
            False,
        )

    def hold(
        self, booking_id: str, customer: str, items: tuple[ask.Item, ...], now: int, sequence: int
    ) -> Facts:
        earlier = self.find(booking_id)
        if earlier is not None:
            if (earlier.customer, earlier.asked) != (customer, items):
                return refused("idempotency_key_reused")
            return "granted", earlier.facts(as_placed=True), True
        for reason in self.reasons_against(customer, items, now):
            return reason
        booking = NaiveBooking(
            booking_id,
            customer,
            items,
            [self.prices[item.ticket_type] for item in items],
            now,
            sequence,
            now + self.first.hold_ttl_ms,
            [("RESERVED", now)],
        )
        self.bookings.append(booking)
        return "granted", booking.facts(), False

    def reasons_against(
        self, customer: str, items: tuple[ask.Item, ...], now: int
    ) -> Iterator[Facts]:
        """Yield every reason against a hold, the one that wins first."""
        if self.paused:
            yield refused("sale_paused")
        if self.opens is not None and now < self.opens:
            yield refused("sale_not_open")
        if now >= self.closes_at():
            yield refused("sale_closed")
        for item in items:
            if item.ticket_type not in self.prices:
                yield refused("unknown_ticket_type", item.ticket_type)
        for item in items:
            if item.seats or item.best_available:
                yield refused("unknown_seat", item.seats[0] if item.seats else item.ticket_type)
        yield from self.limits_passed(customer, items)
        yield from self.shortages(items, for_good=True)
        yield from self.shortages(items, for_good=False)

    def limits_passed(self, customer: str, items: tuple[ask.Item, ...]) -> Iterator[Facts]:
        for index, item in enumerate(items):
            limit = self.kind(item.ticket_type).max_per_booking
            so_far = items[: index + 1]
            if sum(i.quantity for i in so_far if i.ticket_type == item.ticket_type) > limit:
                yield refused("limit_per_booking", item.ticket_type, limit=limit)
        limit = self.first.max_per_customer
        units = sum(item.quantity for item in items)
        if limit is not None and self.units_of(customer) + units > limit:
            yield refused("limit_per_customer", limit=limit)

    def shortages(self, items: tuple[ask.Item, ...], *, for_good: bool) -> Iterator[Facts]:
        for item in items:
            allotment = self.allotment(item.ticket_type)
            wanted = sum(i.quantity for i in items if self.allotment(i.ticket_type) == allotment)
            free, held = self.free(allotment), self.held(allotment)
            if wanted > free and for_good and free == held == 0:
                yield refused("sold_out", item.ticket_type)
            if wanted > free and not for_good:
                yield refused("not_enough", item.ticket_type, free=free, held=held)

    def release(self, booking_id: str, caller: ask.Caller, now: int) -> Facts:
        booking = self.find(booking_id)
        if booking is None or booking.customer != caller.sub:
            return refused("booking_not_found")
        if booking.status == "EXPIRED":
            return refused("not_releasable", "EXPIRED")
        if booking.status == "RESERVED":
            booking.history.append(("CANCELLED", now))
        return "booking", booking.facts()

    def expire(self, booking_id: str, now: int) -> Facts:
        if booking_id not in self.due(now):
            return refused("booking_not_found")
        self.find(booking_id).history.append(("EXPIRED", now))
        return ("done",)

    def read(self, booking_id: str, caller: ask.Caller) -> Facts:
        booking = self.find(booking_id)
        if booking is None or not (booking.customer == caller.sub or self.managed_by(caller)):
            return refused("booking_not_found")
        return "booking", booking.facts()

    def managed_by(self, caller: ask.Caller) -> bool:
        return caller.admin or caller.organizer == self.first.organizer

    def switch(self, caller: ask.Caller, *, paused: bool) -> Facts:
        if not self.managed_by(caller):
            return refused("event_not_found")
        self.paused = paused
        return self.shown()

    def amend(self, caller: ask.Caller, changes: ask.Changes) -> Facts:
        for reason in self.reasons_against_amending(caller, changes):
            return reason
        self.name, self.opens, self.closes = self.wanted_window(changes)
        self.prices |= changes.prices_minor
        self.capacities |= changes.capacities
        return self.shown()

    def wanted_window(self, changes: ask.Changes) -> tuple[str, int | None, int | None]:
        return (
            changes.name or self.name,
            self.opens if changes.opens_at_ms is UNSET else changes.opens_at_ms,
            self.closes if changes.closes_at_ms is UNSET else changes.closes_at_ms,
        )

    def reasons_against_amending(self, caller: ask.Caller, changes: ask.Changes) -> Iterator[Facts]:
        """Yield every reason against an amendment, the one that wins first."""
        if not self.managed_by(caller):
            yield refused("event_not_found")
        for code in changes.prices_minor:
            if code not in self.prices:
                yield refused("unknown_ticket_type", code)
        for code in changes.capacities:
            if code not in self.capacities:
                yield refused("unknown_allotment", code)
        _, opens, closes = self.wanted_window(changes)
        if opens is not None and opens >= (self.first.starts_at_ms if closes is None else closes):
            yield refused("sale_window_invalid")
        yield from self.commitments_broken(changes)

    def commitments_broken(self, changes: ask.Changes) -> Iterator[Facts]:
        standing = [booking for booking in self.bookings if booking.status in HELD + SOLD]
        taken = {code for booking in standing for code, _, _ in booking.rows}
        for code, price in self.prices.items():
            if code in taken and changes.prices_minor.get(code, price) != price:
                yield refused("price_committed", code)
        for code, capacity in self.capacities.items():
            committed = self.held(code) + self.sold(code)
            if changes.capacities.get(code, capacity) < committed:
                yield refused("below_committed", code, limit=committed)
