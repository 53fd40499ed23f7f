"""The inbox: carries what Stripe's webhooks said to the owners, in batches."""

from collections.abc import Sequence

import msgspec
import structlog
from msgspec.structs import replace

from actors.consumer import Hopeless
from actors.payments.contract import Stripe
from actors.payments.news import NOT_MADE, Observation, decode_news, is_named, of_intent
from actors.payments.pursuit import Pursuit, in_words_of_a_consumer
from actors.telling import Telling
from engine.domain.commands import ObserveCharge, ObserveDispute, ObserveRefund
from engine.domain.ids import event_of_booking, is_booking_id
from engine.domain.outcomes import Refused
from engine.journal.streams import Delivery, Incoming

log = structlog.get_logger(__name__)


class Inbox:
    """Handler of a consumer of the inbox.

    What does not belong to its booking (another amount, currency, customer, event or intent),
    or has lost the booking that it was for, is put aside among the dead letters: it never
    confirms anything.
    """

    def __init__(self, stripe: Stripe, telling: Telling, pursuit: Pursuit) -> None:
        self._stripe = stripe
        self._telling = telling
        self._pursuit = pursuit

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """See `actors.consumer.Handler`."""
        news: list[Observation] = []
        for delivery in deliveries:
            news.extend(await self._read(delivery))
        by_event: dict[str, list[Observation]] = {}
        for observation in news:
            if not is_booking_id(observation.booking_id):
                self._pursuit.quarantine.put(observation.booking_id, "no_booking")
                raise Hopeless(f"not the id of a booking: {observation.booking_id!r}")
            event_id = event_of_booking(observation.booking_id)
            by_event.setdefault(event_id, []).append(observation)
        for event_id, observations in by_event.items():
            outcomes = await self._telling.tell(event_id, observations)
            for observation, outcome in zip(observations, outcomes, strict=True):
                if isinstance(outcome, Refused):
                    named = observation.booking_id
                    self._pursuit.quarantine.put(named, outcome.code, outcome.subject)
                    raise Hopeless(f"{outcome.code}: {outcome.subject or observation.booking_id}")
                if isinstance(observation, ObserveRefund) and observation.status in NOT_MADE:
                    code = observation.reason or observation.status
                    log.error("refund_refused", booking_id=observation.booking_id, code=code)
            await self._look_closer(event_id, observations)

    async def _look_closer(self, event_id: str, heard: Sequence[Observation]) -> None:
        """Ask Stripe about the refunds of payments of which its sums do not tell everything.

        That is done after the news was told: a refund that failed may be among it.
        """
        about = dict.fromkeys(one.booking_id for one in heard if _is_of_money_back(one))
        if not about:
            return
        for booking in await self._telling.bookings(event_id, list(about)):
            payment = None if booking is None else booking.payment
            if booking is not None and payment is not None and payment.doubtful:
                await self._pursuit.look(booking.booking_id, payment.intent_id)

    async def _read(self, delivery: Delivery) -> list[Observation]:
        message = delivery.message
        if not isinstance(message, Incoming):
            raise Hopeless("it is not a message of Stripe's")
        try:
            news = decode_news(message.body)
        except msgspec.MsgspecError as error:
            raise Hopeless(str(error)) from error
        return [found for one in news for found in await self._addressed(one)]

    async def _addressed(self, news: Observation) -> list[Observation]:
        """Return news with the booking that it is about, nothing if it is not one of ours.

        A dispute comes behind what its payment says: whether there is money is told by that.
        """
        if news.booking_id or not isinstance(news, ObserveDispute):
            return [news]
        with in_words_of_a_consumer():
            intent = await self._stripe.retrieve(news.intent_id)
        if not is_named(intent.booking_id, intent.event_id):
            return []
        return [*of_intent(intent), replace(news, booking_id=intent.booking_id)]


def _is_of_money_back(news: Observation) -> bool:
    """Tell whether money went back, or a refund of ours did not."""
    if isinstance(news, ObserveRefund):
        return news.status in NOT_MADE
    return isinstance(news, ObserveCharge)
