"""The reconciler: asks Stripe about every payment that is open or was so lately.

It converges without any webhook. What it repairs, it reports with the reason.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from actors.consumer import Hopeless, RetryLater
from actors.payments.agreement import agrees, in_words, is_done, is_heard, was_listed
from actors.payments.contract import (
    ChargeFacts,
    DisputeFacts,
    Intent,
    Notice,
    Repair,
    Report,
    Return,
    Stripe,
    StripeAway,
    StripeRefused,
)
from actors.payments.news import Observation, of_dispute, of_facts, of_intent, of_refund
from actors.payments.pursuit import Pursuit
from actors.payments.remembered import Remembered
from actors.payments.webhooks import BadBody, read
from actors.telling import Telling
from engine.domain.booking import Booking
from engine.domain.ids import event_of_booking, is_booking_id, is_event_id
from engine.domain.outcomes import UnsettledPayment
from engine.domain.payment import PaymentState
from engine.journal.catalogue import Catalogue
from engine.limits import (
    RECONCILE_AT_ONCE,
    RECONCILE_EVENTS_AT_ONCE,
    RECONCILE_EVENTS_OVERLAP_SECONDS,
    RECONCILE_EVENTS_REMEMBERED_MAX,
    RECONCILE_LOOK_BACK_SECONDS,
    RECONCILE_WIDE_LOOK_BACK_SECONDS,
    RECONCILE_YOUNGER_SECONDS,
)

log = structlog.get_logger(__name__)

_FIELDS = Repair.__struct_fields__

#: Something that went back, or was to, or is disputed; and with the event that tells of it.
Facts = Return | ChargeFacts | DisputeFacts
_Told = tuple[Notice, Facts]


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
        #: Hashes of intents that have agreed with their bookings, as they were then, and when
        #: each was opened, Unix seconds.
        self._agreed: dict[int, int] = {}
        #: Stripe's events that were put into the inbox, and those that tell of money that goes
        #: back and were looked at; the latter up to a time, Unix seconds.
        self._taken_in = Remembered(RECONCILE_EVENTS_REMEMBERED_MAX)
        self._looked_at = Remembered(RECONCILE_EVENTS_REMEMBERED_MAX)
        self._looked_until: int | None = None

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
        report, began = Report(), int(time.time())
        since = began - RECONCILE_LOOK_BACK_SECONDS if since is None else since
        # Read first and told last: what the comparison finds is reported as a repair, and
        # whatever is in the list has happened before it.
        notices = await self._stripe.undelivered(since, None)
        agreed = await self._recent(report, since, {} if again else self._agreed)
        until = self._looked_until
        recently = since if again or until is None else max(since, until)
        await self._money_back(report, recently, again=again)
        awake = await self._catalogue.awake()
        await asyncio.gather(*(self._event(report, event_id, since) for event_id in awake))
        await self._undelivered(report, since, *notices)
        oldest = began - RECONCILE_WIDE_LOOK_BACK_SECONDS
        kept = {one: at for one, at in self._agreed.items() if oldest <= at < since}
        self._agreed = kept | agreed
        if not again:  # somebody else's run may have looked less far back than the next one has to
            self._looked_until = began - RECONCILE_EVENTS_OVERLAP_SECONDS
        log.info(
            "reconciled",
            notices=report.notices,
            unsettled=report.unsettled,
            recent=report.recent,
            repairs=len(report.repairs),
            troubles=report.troubles[:5],
        )
        return report

    async def _undelivered(
        self, report: Report, since: int, notices: list[Notice], more: bool
    ) -> None:
        """Take in the webhooks that did not reach us, each once; this is their first page."""
        while notices:
            await self._take_in(notices)
            report.notices += len(notices)
            if not more:
                break
            notices, more = await self._stripe.undelivered(since, notices[-1].event_id)

    async def _take_in(self, notices: Sequence[Notice]) -> None:
        new = [notice for notice in notices if notice.event_id not in self._taken_in]
        if new:
            await self._put(new)
        for notice in new:
            self._taken_in.add(notice.event_id)

    async def _money_back(self, report: Report, since: int, *, again: bool) -> None:
        """Look at payments of which money has gone back, was to, or is disputed.

        They may be of any age, so Stripe's events are looked at, whether a webhook was to tell
        of them or not.
        """
        youngest = int(time.time()) - RECONCILE_YOUNGER_SECONDS
        after: str | None = None
        more = True
        while more:
            notices, more = await self._stripe.money_back(since, after)
            if notices:
                after = notices[-1].event_id
            by_event: dict[str, dict[str, list[_Told]]] = {}
            for notice in reversed(notices):  # each is heard before what came of it
                known = notice.event_id in self._looked_at and not again
                if known or notice.created > youngest:
                    continue
                facts = _facts(notice)
                booking_id = "" if facts is None else await self._booking_of(facts)
                if facts is None or not is_booking_id(booking_id):
                    self._looked_at.add(notice.event_id)
                    continue
                bookings = by_event.setdefault(event_of_booking(booking_id), {})
                bookings.setdefault(booking_id, []).append((notice, facts))
            pages = (self._look_back(report, *page) for page in by_event.items())
            await asyncio.gather(*pages)

    async def _booking_of(self, facts: Facts) -> str:
        """Return the booking that something is about; a dispute does not say."""
        if not isinstance(facts, DisputeFacts):
            return facts.booking_id
        try:
            return (await self._stripe.retrieve(facts.intent_id)).booking_id
        except StripeRefused as error:
            if error.is_ours:
                raise
            log.error("dispute_of_nothing", id=facts.dispute_id, code=error.code)
            return ""

    async def _look_back(self, report: Report, event_id: str, told: dict[str, list[_Told]]) -> None:
        """Compare payments of which Stripe's events tell what their bookings have not heard.

        What cannot be compared now is left to the inbox: it waits, or puts it aside.
        """
        left = [notice for page in told.values() for notice, _ in page]
        try:
            async with self._events:
                bookings = await self._telling.bookings(event_id, list(told))
        except RetryLater as error:
            report.troubles.append(f"{event_id}: {error.reason}")
        else:
            pages = zip(told.items(), bookings, strict=True)
            looks = (self._look_at_all(report, *page, booking) for page, booking in pages)
            left = [notice for page in await asyncio.gather(*looks) for notice in page]
        await self._take_in(left)
        for page in told.values():
            for notice, _ in page:
                self._looked_at.add(notice.event_id)

    async def _look_at_all(
        self, report: Report, booking_id: str, told: list[_Told], booking: Booking | None
    ) -> list[Notice]:
        """Tell a booking all that Stripe knows, if it has not heard; return what is left."""
        unheard = [(notice, facts) for notice, facts in told if not is_heard(facts, booking)]
        if not unheard:
            return []
        notice, facts = unheard[-1]
        reason = f"Stripe says {notice.kind}"
        done = await self._compare(
            report, booking_id, reason, lambda: self._tell_all(booking_id, facts.intent_id)
        )
        return [] if done else [notice for notice, _ in unheard]

    async def _tell_all(self, booking_id: str, intent_id: str) -> None:
        intent = await self._stripe.retrieve(intent_id)
        refunds = await self._stripe.refunds(intent_id)
        news: list[Observation] = [
            told
            for one in reversed(refunds)
            for told in of_refund(one)
            if told.booking_id == booking_id
        ]
        news += of_intent(intent, refunds)
        if intent.disputed:
            news += await self._disputes(intent)
        await self._pursuit.tell(booking_id, news)

    async def _disputes(self, intent: Intent) -> list[Observation]:
        disputes = await self._stripe.disputes(intent.intent_id)
        return [of_dispute(intent.booking_id, one) for one in reversed(disputes)]

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
            if one.payment.opened_at_ms <= oldest_ms and not was_listed(one.payment, since)
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

    async def _recent(self, report: Report, since: int, known: dict[int, int]) -> dict[int, int]:
        """Compare what Stripe opened lately: what is closed here may not be so there.

        Returns the hashes of what agrees, and when it was opened; what is `known` to agree is
        not asked about.
        """
        agreed: dict[int, int] = {}
        after: str | None = None
        more = True
        while more:
            intents, more = await self._stripe.opened_since(since, after)
            if intents:
                after = intents[-1].intent_id
            by_event: dict[str, list[Intent]] = {}
            for intent in intents:
                if hash(intent) in known:
                    agreed[hash(intent)] = intent.created
                    report.recent += 1
                elif is_booking_id(intent.booking_id):
                    event_id = event_of_booking(intent.booking_id)
                    by_event.setdefault(event_id, []).append(intent)
                    report.recent += 1
                elif intent.status == "succeeded" and is_event_id(intent.event_id):
                    self._pursuit.quarantine.put(intent.intent_id, "no_booking")
                    report.troubles.append(f"{intent.intent_id}: paid, and names no booking")
            pages = (self._page(report, event_id, page) for event_id, page in by_event.items())
            for page in await asyncio.gather(*pages):
                agreed.update(page)
        return agreed

    async def _page(self, report: Report, event_id: str, intents: list[Intent]) -> dict[int, int]:
        """Look at what differs; nearly always that is nothing, and one question tells.

        Returns what agrees and will, until Stripe has something else to say.
        """
        try:
            async with self._events:
                ids = [one.booking_id for one in intents]
                bookings = await self._telling.bookings(event_id, ids)
        except RetryLater as error:
            report.troubles.append(f"{event_id}: {error.reason}")
            return {}
        pairs = list(zip(intents, bookings, strict=True))
        differing = [pair for pair in pairs if not agrees(*pair)]
        await asyncio.gather(*(self._look(report, *pair) for pair in differing))
        return {hash(one): one.created for one, booking in pairs if is_done(one, booking)}

    async def _look(self, report: Report, intent: Intent, booking: Booking | None) -> None:
        payment = None if booking is None else booking.payment
        orphan = payment is not None and payment.intent_id != intent.intent_id
        if payment is not None and not payment.intent_id:
            orphan = payment.state is PaymentState.CLOSED  # Stripe had refused to open it

        async def step() -> None:
            if not orphan or intent.status == "succeeded":
                # Money of an orphan is put aside, for an operator.
                doubtful = payment is not None and payment.doubtful
                refunds = await self._stripe.refunds(intent.intent_id) if doubtful else None
                news = of_intent(intent, refunds)
                if intent.disputed:
                    news += await self._disputes(intent)
                await self._pursuit.tell(intent.booking_id, news)
            elif intent.status not in ("succeeded", "canceled"):
                # Opened by a call that seemed to have failed: nobody has its secret.
                log.warning("orphan_closed", booking_id=intent.booking_id, id=intent.intent_id)
                await self._stripe.cancel(intent.intent_id)

        await self._compare(report, intent.booking_id, f"Stripe says {intent.status}", step)

    async def _compare(
        self, report: Report, booking_id: str, reason: str, step: Callable[[], Awaitable[None]]
    ) -> bool:
        """Take a step and note it if it changed the booking; return whether it could be taken."""
        async with self._places:
            try:
                before = await self._telling.booking(booking_id)
                await step()
                after = await self._telling.booking(booking_id)
            except (RetryLater, Hopeless, StripeAway, StripeRefused) as error:
                report.troubles.append(f"{booking_id}: {', '.join(map(str, error.args))}")
                return False
        if in_words(before) != in_words(after):
            repair = Repair(booking_id, reason, in_words(before), in_words(after))
            log.warning("payment_repaired", **{name: getattr(repair, name) for name in _FIELDS})
            report.repairs.append(repair)
        return True


def _facts(notice: Notice) -> Facts | None:
    """Return what an event tells of money that goes back, None if that is nothing to us."""
    try:
        facts = read(notice.body).facts
    except BadBody as error:
        log.error("notice_unreadable", id=notice.event_id, reason=str(error))
        return None
    if facts is None or isinstance(facts, Intent):
        return None
    return facts if of_facts(facts) else None
