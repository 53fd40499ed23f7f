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
from actors.payments.news import of_intent
from actors.payments.pursuit import Pursuit
from actors.payments.telling import Telling
from engine.domain.booking import Booking
from engine.domain.ids import is_booking_id
from engine.domain.outcomes import UnsettledPayment
from engine.journal.catalogue import Catalogue
from engine.limits import (
    RECONCILE_AT_ONCE,
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

    async def run(self, since: int | None = None) -> Report:
        """Look at everything once.

        Args:
            since: Unix seconds; payments and webhooks from then on are looked at, the
                last RECONCILE_LOOK_BACK_SECONDS if None.

        Raises:
            StripeAway, StripeRefused, Unavailable: nobody to compare with.
        """
        report = Report()
        since = int(time.time()) - RECONCILE_LOOK_BACK_SECONDS if since is None else since
        await self._undelivered(report, since)
        for event_id in await self._catalogue.awake():
            await self._event(report, event_id)
        await self._recent(report, since)
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

    async def _event(self, report: Report, event_id: str) -> None:
        """Take every payment of an event that waits for Stripe a step on."""
        oldest_ms = (time.time() - RECONCILE_YOUNGER_SECONDS) * 1_000
        try:
            waiting = await self._telling.unsettled(event_id)
        except RetryLater as error:
            report.troubles.append(f"{event_id}: {error.reason}")
            return
        due = [one for one in waiting if one.payment.opened_at_ms <= oldest_ms]
        report.unsettled += len(due)
        await asyncio.gather(*(self._settle(report, one) for one in due))

    async def _settle(self, report: Report, unsettled: UnsettledPayment) -> None:
        await self._compare(
            report,
            unsettled.booking_id,
            f"payment was {unsettled.payment.state}",
            lambda: self._pursuit.pursue(unsettled),
        )

    async def _recent(self, report: Report, since: int) -> None:
        """Compare what Stripe opened lately: what is closed here may not be so there."""
        after: str | None = None
        more = True
        while more:
            intents, more = await self._stripe.opened_since(since, after)
            if intents:
                after = intents[-1].intent_id
            ours = [one for one in intents if is_booking_id(one.booking_id)]
            report.recent += len(ours)
            await asyncio.gather(*(self._look(report, intent) for intent in ours))

    async def _look(self, report: Report, intent: Intent) -> None:
        booking_id = intent.booking_id

        async def tell() -> None:
            booking = await self._telling.booking(booking_id)
            payment = None if booking is None else booking.payment
            if payment is None or payment.intent_id in ("", intent.intent_id):
                await self._pursuit.tell(booking_id, of_intent(intent))
            elif intent.status not in ("succeeded", "canceled"):
                # Opened by a call that seemed to have failed: nobody has its secret.
                log.warning("orphan_closed", booking_id=booking_id, intent_id=intent.intent_id)
                await self._stripe.cancel(intent.intent_id)

        await self._compare(report, booking_id, f"Stripe says {intent.status}", tell)

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


_FIELDS = Repair.__struct_fields__


def _in_words(booking: Booking | None) -> str:
    if booking is None or booking.payment is None:
        return "no payment"
    payment = booking.payment
    refund = f", refund {payment.refund.state}" if payment.refund is not None else ""
    return f"{booking.status}, payment {payment.state}{refund}"
