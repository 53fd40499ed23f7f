"""The next step of a payment at Stripe, decided by where the payment is.

Effects say that something is to be done, the state of the booking says what: an effect
that comes twice, or after the news that it waited for, finds nothing to do. The
reconciler takes the same steps when an effect or a webhook was lost.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from actors.consumer import Hopeless, RetryLater
from actors.measures import Meter, Unmetered
from actors.payments.contract import Intent, Stripe, StripeAway, StripeRefused, Wanted
from actors.payments.news import NOT_MADE, Observation, of_intent, of_refund, of_refusal
from actors.payments.quarantine import Quarantine
from actors.telling import Telling
from engine.domain.commands import ObserveRefund
from engine.domain.ids import event_of_booking
from engine.domain.outcomes import Refused, UnsettledPayment
from engine.domain.payment import Payment, PaymentState, Refund
from engine.domain.records import (
    PaymentAuthorised,
    PaymentClosing,
    PaymentGivenUp,
    PaymentReturning,
    RefundRequested,
)
from engine.journal.catalogue import Catalogue
from engine.journal.contract import Unavailable
from engine.journal.projection import decode_record
from engine.journal.streams import Delivery, Effect

log = structlog.get_logger(__name__)


#: How long until a key that Stripe does not take may have been put right, seconds.
KEY_SECONDS = 30.0

_OURS = (PaymentAuthorised, PaymentClosing, PaymentGivenUp, PaymentReturning, RefundRequested)


@contextmanager
def in_words_of_a_consumer() -> Iterator[None]:
    """Have trouble with Stripe or the store be RetryLater or Hopeless."""
    try:
        yield
    except StripeAway as error:
        raise RetryLater(error.retry_after_seconds, error.reason) from error
    except StripeRefused as error:
        if error.is_ours:
            raise RetryLater(KEY_SECONDS, f"{error.code}: {error.message}") from error
        raise Hopeless(f"{error.code}: {error.message}") from error
    except Unavailable as error:
        raise RetryLater(1.0, str(error)) from error


class Pursuit:
    """Takes payments forward at Stripe, and tells the owners what came of it.

    Attributes:
        quarantine: takes what does not belong to its booking, from whoever finds it.
    """

    def __init__(
        self, stripe: Stripe, telling: Telling, catalogue: Catalogue, meter: Meter | None = None
    ) -> None:
        self.quarantine = Quarantine(meter or Unmetered())
        self._stripe = stripe
        self._telling = telling
        self._catalogue = catalogue

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Handle effects; see `actors.consumer.Handler`. Bookings are seen to side by side."""
        bookings: dict[str, None] = {}
        for delivery in deliveries:
            if not isinstance(delivery.message, Effect):
                raise Hopeless("it is not an effect")
            record = decode_record(delivery.message.record)
            if isinstance(record, _OURS):
                bookings[record.booking_id] = None
        steps = [self._pursue_booking(booking_id) for booking_id in bookings]
        for trouble in await asyncio.gather(*steps, return_exceptions=True):
            if trouble is not None:
                raise trouble

    async def _pursue_booking(self, booking_id: str) -> None:
        booking = await self._telling.booking(booking_id)
        if booking is None or booking.payment is None:
            raise Hopeless(f"{booking_id} has no payment")
        if booking.payment.state is not PaymentState.OPEN:
            await self.pursue(UnsettledPayment(booking_id, booking.customer, booking.payment))

    async def pursue(self, unsettled: UnsettledPayment) -> None:
        """Take the next step of a payment, or look where it is; nothing if it waits for none.

        Raises:
            RetryLater: Stripe, the store or the owner is away.
            Hopeless: Stripe refuses what has to be done.
        """
        with in_words_of_a_consumer():
            news = await self._step(unsettled)
        if news:
            await self.tell(unsettled.booking_id, news)

    async def look(self, booking_id: str, intent_id: str) -> None:
        """Tell a booking what others gave back of its payment. Raises as `pursue` does."""
        with in_words_of_a_consumer():
            news = await self._seen(intent_id)
        await self.tell(booking_id, news)

    async def tell(self, booking_id: str, news: list[Observation]) -> None:
        """Tell the owner of a booking what Stripe says of it. Raises as `pursue` does."""
        for outcome in await self._telling.tell(event_of_booking(booking_id), news):
            if isinstance(outcome, Refused):
                self.quarantine.put(booking_id, outcome.code, outcome.subject)
                raise Hopeless(f"{outcome.code}: {outcome.subject or booking_id}")

    async def _step(self, unsettled: UnsettledPayment) -> list[Observation]:
        payment = unsettled.payment
        if not payment.unsettled:
            return []
        if payment.refunding and payment.refund is not None:
            return await self._refund(unsettled.booking_id, payment, payment.refund)
        if payment.state is PaymentState.RETURNING:
            return []  # it has failed too often: an operator was told
        intent_id = payment.intent_id
        if not intent_id:
            # The answer to the call that opened it was lost: the same call finds it.
            try:
                intent_id = (await self.open(unsettled)).intent_id
            except StripeRefused as error:
                if error.is_ours or payment.state is not PaymentState.CLOSING:
                    raise
                # What Stripe will not open takes no money: nobody was given its secret.
                booking_id = unsettled.booking_id
                log.warning("payment_never_opened", booking_id=booking_id, code=error.code)
                return of_refusal(await self._wanted(unsettled))
        if payment.state is PaymentState.CLOSING:
            return of_intent(await self._stripe.cancel(intent_id))
        if payment.state is PaymentState.AUTHORISED:
            return of_intent(await self._stripe.capture(intent_id))
        return of_intent(await self._stripe.retrieve(intent_id))

    async def open(self, unsettled: UnsettledPayment) -> Intent:
        """Open the intent of a payment, or find the one that was opened before.

        Raises:
            StripeAway, StripeRefused, Unavailable.
        """
        return await self._stripe.create(await self._wanted(unsettled))

    async def _wanted(self, unsettled: UnsettledPayment) -> Wanted:
        booking_id, payment = unsettled.booking_id, unsettled.payment
        event_id = event_of_booking(booking_id)
        document = await self._catalogue.event(event_id)
        if document is None:
            raise Hopeless(f"there is no event {event_id}")
        event = document.event
        return Wanted(
            booking_id,
            event_id,
            unsettled.customer,
            payment.amount_minor,
            event.currency,
            manual_capture=event.capture_method == "manual",
        )

    async def _seen(self, intent_id: str) -> list[Observation]:
        """Return where a payment is, and what others gave back of it, whatever became of ours.

        Raises:
            StripeAway, StripeRefused.
        """
        intent = await self._stripe.retrieve(intent_id)
        return of_intent(intent, await self._stripe.refunds(intent_id))

    async def _refund(self, booking_id: str, payment: Payment, refund: Refund) -> list[Observation]:
        """Have money sent back; what Stripe refuses has failed."""
        event_id = event_of_booking(booking_id)
        amount_minor, number = refund.amount_minor, refund.number
        try:
            made = await self._stripe.refund(
                booking_id, event_id, payment.intent_id, amount_minor, number
            )
        except StripeRefused as error:
            if error.is_ours:
                raise
            log.error("refund_refused", booking_id=booking_id, code=error.code)
            # Perhaps because the money went back another way.
            denied = ObserveRefund(booking_id, "", number, "failed", amount_minor, error.code)
            return [denied, *await self._seen(payment.intent_id)]
        if made.status in ("pending", "requires_action"):
            # Repeated, the call gives its first answer: the list says what became of it.
            known = await self._stripe.refunds(payment.intent_id)
            made = next((one for one in known if one.refund_id == made.refund_id), made)
        if made.status in NOT_MADE:
            code = made.reason or made.status
            log.error("refund_refused", booking_id=booking_id, code=code)
            return [*of_refund(made), *await self._seen(payment.intent_id)]
        return of_refund(made)
