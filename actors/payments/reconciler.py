"""The reconciler: asks Stripe about every payment that is open or was so lately.

It converges without any webhook. What it repairs, it reports with the reason.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from actors.consumer import Hopeless, RetryLater
from actors.payments.contract import (
    Intent,
    Notice,
    Repair,
    Report,
    Stripe,
    StripeAway,
    StripeRefused,
)
from actors.payments.news import of_dispute, of_intent
from actors.payments.pursuit import Pursuit
from actors.telling import Telling
from engine.domain.booking import Booking
from engine.domain.ids import event_of_booking, is_booking_id, is_event_id
from engine.domain.outcomes import UnsettledPayment
from engine.domain.payment import Payment, PaymentState
from engine.journal.catalogue import Catalogue
from engine.limits import (
    RECONCILE_AT_ONCE,
    RECONCILE_EVENTS_AT_ONCE,
    RECONCILE_LOOK_BACK_SECONDS,
    RECONCILE_YOUNGER_SECONDS,
)

log = structlog.get_logger(__name__)


class Reconciler:
    """Compares the owners' payments with Stripe's.

    Args:
        put: puts an undelivered webhook into the inbox, as if it had come.
    """

    def __init__(
        self,
        stripe: Stripe,
        pursuit: Pursuit,
        telling: Telling,
        catalogue: Catalogue,
        put: Callable[[Sequence[Notice]], Awaitable[None]],
    ) -> None:
        self._stripe = stripe
        self._pursuit = pursuit
        self._telling = telling
        self._catalogue = catalogue
        self._put = put
        self._places = asyncio.Semaphore(RECONCILE_AT_ONCE)
        self._events = asyncio.Semaphore(RECONCILE_EVENTS_AT_ONCE)
        #: Hashes of intents that have agreed with their bookings, as they were then.
        self._agreed: set[int] = set()

    async def run(self, since: int | None = None, *, again: bool = True) -> Report:
        """Look at everything once.

        Args:
            since: Unix seconds; payments and webhooks from then on are looked at, the
                last RECONCILE_LOOK_BACK_SECONDS if None.
            again: look, too, at what agreed in the last run and has not changed at Stripe
                since. A booking does not unlearn what it has heard (but of refunds, and those
                are looked at every time), so this finds something only after a journal was
                damaged; and it wakes every event that rests.

        Raises:
            StripeAway, StripeRefused, Unavailable: nobody to compare with.
        """
        report = Report()
        since = int(time.time()) - RECONCILE_LOOK_BACK_SECONDS if since is None else since
        await self._undelivered(report, since)
        self._agreed = await self._recent(report, since, set() if again else self._agreed)
        awake = await self._catalogue.awake()
        await asyncio.gather(*(self._event(report, event_id, since) for event_id in awake))
        log.info(
            "reconciled",
            notices=report.notices,
            unsettled=report.unsettled,
            recent=report.recent,
            repairs=len(report.repairs),
            troubles=report.troubles[:5],
        )
        return report

    async def _undelivered(self, report: Report, since: int) -> None:
        """Take in the webhooks that did not reach us."""
        after: str | None = None
        more = True
        while more:
            notices, more = await self._stripe.undelivered(since, after)
            if notices:
                await self._put(notices)
                after = notices[-1].event_id
            report.notices += len(notices)

    async def _event(self, report: Report, event_id: str, since: int) -> None:
        """Take every payment of an event that waits for Stripe a step on."""
        oldest_ms = (time.time() - RECONCILE_YOUNGER_SECONDS) * 1_000
        try:
            async with self._events:
                waiting = await self._telling.unsettled(event_id)
        except RetryLater as error:
            report.troubles.append(f"{event_id}: {error.reason}")
            return
        due = [
            one
            for one in waiting
            if one.payment.opened_at_ms <= oldest_ms and not _was_listed(one.payment, since)
        ]
        report.unsettled += len(due)
        await asyncio.gather(*(self._settle(report, one) for one in due))

    async def _settle(self, report: Report, unsettled: UnsettledPayment) -> None:
        await self._compare(
            report,
            unsettled.booking_id,
            f"payment was {unsettled.payment.state}",
            lambda: self._pursuit.pursue(unsettled),
        )

    async def _recent(self, report: Report, since: int, known: set[int]) -> set[int]:
        """Compare what Stripe opened lately: what is closed here may not be so there.

        Returns the hashes of what agrees; what is `known` to agree is not asked about.
        """
        agreed: set[int] = set()
        after: str | None = None
        more = True
        while more:
            intents, more = await self._stripe.opened_since(since, after)
            if intents:
                after = intents[-1].intent_id
            by_event: dict[str, list[Intent]] = {}
            for intent in intents:
                if hash(intent) in known:
                    agreed.add(hash(intent))
                    report.recent += 1
                elif is_booking_id(intent.booking_id):
                    event_id = event_of_booking(intent.booking_id)
                    by_event.setdefault(event_id, []).append(intent)
                    report.recent += 1
                elif intent.status == "succeeded" and is_event_id(intent.event_id):
                    log.critical("payment_quarantined", booking_id=intent.booking_id)
                    report.troubles.append(f"{intent.intent_id}: paid, and names no booking")
            pages = (self._page(report, event_id, page) for event_id, page in by_event.items())
            agreed.update(*await asyncio.gather(*pages))
        return agreed

    async def _page(self, report: Report, event_id: str, intents: list[Intent]) -> set[int]:
        """Look at what differs; nearly always that is nothing, and one question tells.

        Returns the hashes of what agrees and will, until Stripe has something else to say.
        """
        try:
            async with self._events:
                ids = [one.booking_id for one in intents]
                bookings = await self._telling.bookings(event_id, ids)
        except RetryLater as error:
            report.troubles.append(f"{event_id}: {error.reason}")
            return set()
        pairs = list(zip(intents, bookings, strict=True))
        differing = [pair for pair in pairs if not _agrees(*pair)]
        await asyncio.gather(*(self._look(report, *pair) for pair in differing))
        return {hash(intent) for intent, booking in pairs if _is_done(intent, booking)}

    async def _look(self, report: Report, intent: Intent, booking: Booking | None) -> None:
        payment = None if booking is None else booking.payment
        orphan = payment is not None and payment.intent_id not in ("", intent.intent_id)

        async def step() -> None:
            if not orphan or intent.status == "succeeded":
                # Money of an orphan is put aside, for an operator.
                doubtful = payment is not None and payment.doubtful
                refunds = await self._stripe.refunds(intent.intent_id) if doubtful else None
                news = of_intent(intent, refunds)
                if intent.disputed:
                    disputes = await self._stripe.disputes(intent.intent_id)
                    news += [of_dispute(intent.booking_id, one) for one in reversed(disputes)]
                await self._pursuit.tell(intent.booking_id, news)
            elif intent.status not in ("succeeded", "canceled"):
                # Opened by a call that seemed to have failed: nobody has its secret.
                log.warning("orphan_closed", booking_id=intent.booking_id, id=intent.intent_id)
                await self._stripe.cancel(intent.intent_id)

        await self._compare(report, intent.booking_id, f"Stripe says {intent.status}", step)

    async def _compare(
        self, report: Report, booking_id: str, reason: str, step: Callable[[], Awaitable[None]]
    ) -> None:
        """Take a step and note it if it changed the booking."""
        async with self._places:
            try:
                before = await self._telling.booking(booking_id)
                await step()
                after = await self._telling.booking(booking_id)
            except (RetryLater, Hopeless, StripeAway, StripeRefused) as error:
                report.troubles.append(f"{booking_id}: {', '.join(map(str, error.args))}")
                return
        if _in_words(before) != _in_words(after):
            repair = Repair(booking_id, reason, _in_words(before), _in_words(after))
            log.warning("payment_repaired", **{name: getattr(repair, name) for name in _FIELDS})
            report.repairs.append(repair)


def _was_listed(payment: Payment, since: int) -> bool:
    """Tell whether a payment waits for its buyer only, and Stripe's list has told of it."""
    return payment.state is PaymentState.OPEN and payment.opened_at_ms >= since * 1_000


def _agrees(intent: Intent, booking: Booking | None) -> bool:
    """Tell whether an intent has nothing to say that its booking has not heard."""
    payment = None if booking is None else booking.payment
    if payment is None or payment.intent_id != intent.intent_id:
        return False
    if intent.refunded_minor > payment.refunded_minor and not payment.refunding:
        return False
    if intent.disputed and (payment.disputed or not payment.disputes):
        return False  # it began or has ended unheard; Stripe's charge stays disputed for ever
    if intent.status == "succeeded":
        return bool(payment.captured_minor)
    if intent.status == "canceled":
        return payment.state is PaymentState.CLOSED
    if intent.status == "requires_capture":
        return payment.state is not PaymentState.OPEN
    return not intent.failure or intent.failure in payment.failures


def _is_done(intent: Intent, booking: Booking | None) -> bool:
    """Tell whether they agree for good: a refund of ours may yet be made, or bounce."""
    payment = None if booking is None else booking.payment
    touched = payment is None or payment.refund is not None or payment.counted
    return _agrees(intent, booking) and not touched


_FIELDS = Repair.__struct_fields__


def _in_words(booking: Booking | None) -> str:
    if booking is None or booking.payment is None:
        return "no payment"
    payment = booking.payment
    refund = f", refund {payment.refund.state}" if payment.refund is not None else ""
    dispute = f", dispute {payment.disputes[-1][1]}" if payment.disputes else ""
    return f"{booking.status}, payment {payment.state}{refund}{dispute}"
