"""The payment desk: everything that passes between Stripe and the owners, as one object."""

import asyncio
import time
from collections.abc import Sequence

import msgspec
import structlog

from actors.consumer import Consumer, Hopeless, RetryLater
from actors.contract import Owners
from actors.measures import RECONCILED, REPAIRS, Meter, Unmetered
from actors.payments.contract import (
    Declined,
    DeskGone,
    Notice,
    NotNow,
    Opened,
    Report,
    Stripe,
    StripeAway,
    StripeRefused,
)
from actors.payments.inbox import Inbox
from actors.payments.news import message_of, of_intent
from actors.payments.pursuit import KEY_SECONDS, Pursuit
from actors.payments.reconciler import Reconciler
from actors.payments.webhooks import BadBody, read
from actors.telling import Telling
from engine.domain.outcomes import UnsettledPayment
from engine.journal.catalogue import Catalogue
from engine.journal.contract import Unavailable
from engine.journal.groups import PAYMENTS, PAYMENTS_INBOX, readers_of
from engine.journal.keys import partition_of
from engine.journal.streams import StreamKind, Streams
from engine.limits import (
    PARTITIONS,
    PURSUIT_PAUSE_SECONDS,
    RECONCILE_EVERY_SECONDS,
    RECONCILE_FIRST_LOOK_BACK_SECONDS,
    RECONCILE_LOOK_BACK_SECONDS,
    RECONCILE_WIDE_EVERY_SECONDS,
    RECONCILE_WIDE_LOOK_BACK_SECONDS,
    STREAM_TRIM_SECONDS,
)

log = structlog.get_logger(__name__)

#: The name of the one consumer in its groups; the same after a restart.
_NAME = "payments"


_encoder = msgspec.msgpack.Encoder()
encode_unsettled = _encoder.encode
encode_opened = _encoder.encode
encode_report = _encoder.encode
decode_unsettled = msgspec.msgpack.Decoder(UnsettledPayment).decode
decode_opened = msgspec.msgpack.Decoder(Opened | NotNow | Declined).decode
decode_report = msgspec.msgpack.Decoder(Report).decode


class PaymentDesk:
    """Opens payments for buyers, and works off what comes in and what is to be done.

    Args:
        stripe: see `actors.payments.contract.Stripe`.
        streams: with a connection of its own: its readers wait there.
        meter: takes what is measured.
    """

    def __init__(
        self,
        stripe: Stripe,
        owners: Owners,
        catalogue: Catalogue,
        streams: Streams,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter or Unmetered()
        self._stripe = stripe
        self._streams = streams
        telling = Telling(owners)
        self._pursuit = Pursuit(stripe, telling, catalogue, self._meter)
        self._reconciler = Reconciler(stripe, self._pursuit, telling, catalogue, self.take_in)
        handler = Inbox(stripe, telling, self._pursuit)
        self._consumers = (
            Consumer(streams, PAYMENTS_INBOX, _NAME, handler.handle, meter=meter),
            Consumer(
                streams,
                PAYMENTS,
                _NAME,
                self._pursuit.handle,
                pause_seconds=PURSUIT_PAUSE_SECONDS,
                meter=meter,
            ),
        )
        self._reconciling = asyncio.Lock()

    async def open(self, unsettled: UnsettledPayment) -> Opened | NotNow | Declined:
        """Open the payment that a buyer has begun, or show the one that is open."""
        intent_id = unsettled.payment.intent_id
        try:
            if intent_id:
                intent = await self._stripe.retrieve(intent_id)
            else:
                intent = await self._pursuit.open(unsettled)
            await self._pursuit.tell(unsettled.booking_id, of_intent(intent))
        except StripeAway as error:
            return NotNow(error.retry_after_seconds)
        except RetryLater as error:
            return NotNow(error.seconds)
        except Unavailable:
            return NotNow(1.0)
        except StripeRefused as error:
            log.error("payment_declined", booking_id=unsettled.booking_id, code=error.code)
            return NotNow(KEY_SECONDS) if error.is_ours else Declined(error.code)
        except Hopeless as error:
            return Declined(str(error))
        return Opened(intent.intent_id, str(intent.client_secret))

    async def take_in(self, notices: Sequence[Notice]) -> None:
        """Put what the webhooks would have said into the inbox. Raises Unavailable."""
        at_ms = time.time_ns() // 1_000_000
        messages = []
        for notice in notices:
            try:
                event = read(notice.body)
            except BadBody as error:
                log.error("notice_unreadable", id=notice.event_id, reason=str(error))
                continue
            message = message_of(event, at_ms)
            if message is not None:
                messages.append((partition_of(message.event_id), message))
        if messages:
            await self._streams.put_many(messages)

    async def reconcile(self, since: int | None = None) -> Report:
        """See `actors.payments.contract.Payments`."""
        return await self._reconcile(since, again=True)

    async def _reconcile(self, since: int | None, *, again: bool) -> Report:
        async with self._reconciling:
            try:
                report = await self._reconciler.run(since, again=again)
            except StripeRefused as error:
                raise DeskGone(f"Stripe refuses: {error.code}") from error
            except StripeAway as error:
                raise DeskGone(f"Stripe does not answer: {error.reason}") from error
            except Unavailable as error:
                raise DeskGone(f"the store does not answer: {error}") from error
        self._meter.set(RECONCILED, time.time())
        self._meter.add(REPAIRS, len(report.repairs))
        return report

    async def work(self) -> None:
        """Work until cancelled.

        Raises:
            ExceptionGroup: a mistake in here; what was in hand is handed out again.
        """
        async with asyncio.TaskGroup() as tasks:
            for consumer in self._consumers:
                tasks.create_task(consumer.run())
            tasks.create_task(self._reconcile_now_and_then())
            tasks.create_task(self._trim_now_and_then())

    async def _reconcile_now_and_then(self) -> None:
        # Whatever happened while Stripe could not be asked is looked at once it can.
        since = int(time.time()) - RECONCILE_FIRST_LOOK_BACK_SECONDS
        wide_at = int(time.time()) + RECONCILE_WIDE_EVERY_SECONDS
        while True:
            began = int(time.time())
            if began >= wide_at:
                since = min(since, began - RECONCILE_WIDE_LOOK_BACK_SECONDS)
            try:
                await self._reconcile(since, again=False)
                since = began - RECONCILE_LOOK_BACK_SECONDS
                if began >= wide_at:
                    wide_at = began + RECONCILE_WIDE_EVERY_SECONDS
            except DeskGone as error:
                log.warning("not_reconciled", error=str(error))
            await asyncio.sleep(RECONCILE_EVERY_SECONDS)

    async def _trim_now_and_then(self) -> None:
        """Drop what every group has finished, those included that have yet to come."""
        while True:
            await asyncio.sleep(STREAM_TRIM_SECONDS)
            try:
                for kind in StreamKind:
                    for partition in range(PARTITIONS):
                        await self._streams.trim(kind, partition, readers_of(kind))
            except Unavailable as error:
                log.warning("not_trimmed", error=str(error))
