"""Buyers on their way through a payment."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from loadtests.crowd.spec import latency_of
from loadtests.own_process import LoadFailed
from loadtests.payers import bookings
from loadtests.payers.bookings import Booking
from loadtests.payers.line import Client, Line
from loadtests.payers.spec import Bought, Buying, Purchase, Takings

_HOLD = {"items": [{"ticket_type": "ga", "quantity": 2}]}
#: How long nothing may happen to a booking, seconds.
_PATIENCE_SECONDS = 30.0
#: Between two looks at a booking, seconds.
_PAUSE_SECONDS = 0.01


async def buy(spec: Buying, progress: Callable[[int], None]) -> Takings:
    """Make all purchases. Raises LoadFailed."""
    began = time.monotonic()
    until = None if spec.seconds is None else began + spec.seconds
    purchases = iter(spec.purchases) if until is None else itertools.cycle(spec.purchases)
    bought: list[Bought] = []

    async def payer() -> None:
        till = _Till(spec)
        try:
            for purchase in _before(until, purchases):
                bought.append(await till.buy(purchase))
                progress(len(bought))
        finally:
            till.close()

    try:
        async with asyncio.TaskGroup() as payers:
            for _ in range(spec.at_once):
                payers.create_task(payer())
    except ExceptionGroup as group:
        raise LoadFailed(str(group.exceptions[0])) from group
    confirmed = [one.confirmed_ms for one in bought if one.confirmed_ms is not None]
    return Takings(
        bought=bought,
        elapsed_s=round(time.monotonic() - began, 4),
        statuses=dict(Counter(one.status for one in bought)),
        confirmed=latency_of(int(ms * 1e6) for ms in confirmed),
    )


def _before(until: float | None, purchases: Iterator[Purchase]) -> Iterator[Purchase]:
    """Yield what is left of all purchases, for as long as there is time."""
    while until is None or time.monotonic() < until:
        found = next(purchases, None)
        if found is None:
            return
        yield found


class _Till:
    """Where one buyer pays after the other."""

    def __init__(self, spec: Buying) -> None:
        self._spec = spec
        self._service, self._sandbox = Line(spec.service), Line(spec.sandbox)

    def close(self) -> None:
        self._service.close()
        self._sandbox.close()

    async def buy(self, purchase: Purchase) -> Bought:
        """Go all the way. Raises LoadFailed."""
        buyer = Client(self._service, purchase.token)
        booking_id = purchase.booking_id
        if booking_id is None:
            path = f"/api/v1/events/{self._spec.event_id}/holds"
            booking_id = str((await buyer.ask("POST", path, _HOLD))["id"])
        opened = await buyer.ask("POST", f"/api/v1/bookings/{booking_id}/payment-intent")
        paid_at = await self._pay(opened["payment_intent_id"], purchase.cards)
        if not self._spec.watched:
            return Bought(booking_id, purchase.token, "PAID" if paid_at else "NOT PAID")
        found = await _until(buyer, booking_id, lambda booking: booking.decided)
        confirmed_ms = None
        if found.status == bookings.CONFIRMED and paid_at is not None:
            confirmed_ms = (time.monotonic() - paid_at) * 1_000
        if purchase.refund:
            await buyer.ask("POST", f"/api/v1/bookings/{booking_id}/refund")
            found = await _until(buyer, booking_id, lambda booking: booking.refund_decided)
        return Bought(booking_id, purchase.token, found.status, confirmed_ms)

    async def _pay(self, intent_id: str, cards: tuple[str, ...]) -> float | None:
        """Try one card after the other; return when the accepted one was tried."""
        for card in cards:
            began = time.monotonic()
            body = msgspec.json.encode({"payment_method": card})
            path = f"/_sandbox/payment_intents/{intent_id}/pay"
            status, answer = await self._sandbox.ask("POST", path, body)
            if status == 200:
                return began
            if status != 402:
                raise LoadFailed(f"{card}: {status} {answer.decode(errors='replace')}")
        return None


async def _until(buyer: Client, booking_id: str, ended: Callable[[Booking], bool]) -> Booking:
    """Look at a booking until this is so. Raises LoadFailed if that takes too long."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = await bookings.read(buyer, booking_id)
        if ended(found):
            return found
        if time.monotonic() > give_up:
            raise LoadFailed(f"{booking_id} has been {found.status} for too long")
        await asyncio.sleep(_PAUSE_SECONDS)
