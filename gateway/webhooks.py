"""`POST /api/v1/stripe/events` as a plain callable: Stripe's webhooks, kept before the 200.

What is kept is what the event tells the rules, not Stripe's text, which may hold personal
data and secrets. `gateway.openapi` documents the route.
"""

import time

from actors.payments.contract import Intent
from actors.payments.news import message_of
from actors.payments.webhooks import BadBody, BadSignature, read, verify
from engine.limits import WEBHOOK_BYTES_MAX
from gateway import metrics
from gateway.exchange import Exchange
from gateway.paying import Paying
from gateway.problems import Problem

PATH = "/api/v1/stripe/events"

_RECEIVED = b'{"received":true}'


class WebhookRoute:
    """Takes in what Stripe sends."""

    def __init__(self, paying: Paying) -> None:
        self._paying = paying

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request: 200 only once the event is durable.

        Raises:
            Problem: nothing was kept; Stripe sends it again.
        """
        body = await exchange.body(WEBHOOK_BYTES_MAX)
        now_ms = time.time_ns() // 1_000_000
        signature = exchange.header(b"stripe-signature") or ""
        try:
            verify(body, signature, self._paying.webhook_secrets, now_ms // 1_000)
            event = read(body)
        except BadSignature as error:
            metrics.WEBHOOKS.labels("bad_signature").inc()
            raise Problem("bad_signature", str(error)) from error
        except BadBody as error:
            metrics.WEBHOOKS.labels("unreadable").inc()
            raise Problem("bad_webhook", str(error)) from error
        message = message_of(event, now_ms)
        if message is None:
            # A type that we do not follow, or a payment that is not one of ours.
            metrics.WEBHOOKS.labels("not_ours").inc()
        else:
            try:
                await self._paying.inbox.put(message)
            except Problem:
                metrics.WEBHOOKS.labels("not_kept").inc()
                raise
            metrics.WEBHOOKS.labels("kept").inc()
            if isinstance(event.facts, Intent):
                metrics.WEBHOOK_DELAY.observe(max(0.0, now_ms / 1_000 - event.created))
        await exchange.answer(200, _RECEIVED, [])
