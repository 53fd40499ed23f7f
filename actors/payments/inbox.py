"""The inbox: carries what Stripe's webhooks said to the owners, in batches."""

from collections.abc import Sequence

import msgspec
import structlog
from msgspec.structs import replace

from actors.consumer import Hopeless, RetryLater
from actors.payments.contract import Stripe, StripeAway, StripeRefused
from actors.payments.news import Observation, decode_news
from actors.payments.pursuit import KEY_SECONDS
from actors.telling import Telling
from engine.domain.commands import ObserveDispute
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

    def __init__(self, stripe: Stripe, telling: Telling) -> None:
        self._stripe = stripe
        self._telling = telling

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """See `actors.consumer.Handler`."""
        news: list[Observation] = []
        for delivery in deliveries:
            news.extend(await self._read(delivery))
        by_event: dict[str, list[Observation]] = {}
        for observation in news:
            if not is_booking_id(observation.booking_id):
                log.critical("payment_quarantined", booking_id=observation.booking_id)
                raise Hopeless(f"not the id of a booking: {observation.booking_id!r}")
            event_id = event_of_booking(observation.booking_id)
            by_event.setdefault(event_id, []).append(observation)
        for event_id, observations in by_event.items():
            outcomes = await self._telling.tell(event_id, observations)
            for observation, outcome in zip(observations, outcomes, strict=True):
                if isinstance(outcome, Refused):
                    log.critical(
                        "payment_quarantined",
                        booking_id=observation.booking_id,
                        code=outcome.code,
                        subject=outcome.subject,
                    )
                    raise Hopeless(f"{outcome.code}: {outcome.subject or observation.booking_id}")

    async def _read(self, delivery: Delivery) -> list[Observation]:
        message = delivery.message
        if not isinstance(message, Incoming):
            raise Hopeless("it is not a message of Stripe's")
        try:
            news = decode_news(message.body)
        except msgspec.MsgspecError as error:
            raise Hopeless(str(error)) from error
        return [found for one in news if (found := await self._addressed(one)) is not None]

    async def _addressed(self, news: Observation) -> Observation | None:
        """Return news with the booking that it is about, None if it is not one of ours."""
        if news.booking_id or not isinstance(news, ObserveDispute):
            return news
        try:
            intent = await self._stripe.retrieve(news.intent_id)
        except StripeAway as error:
            raise RetryLater(error.retry_after_seconds, error.reason) from error
        except StripeRefused as error:
            if error.is_ours:
                raise RetryLater(KEY_SECONDS, f"{error.code}: {error.message}") from error
            raise Hopeless(f"{error.code}: {error.message}") from error
        return replace(news, booking_id=intent.booking_id) if intent.booking_id else None
