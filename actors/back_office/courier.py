"""Takes webhooks to organizers: each until it has arrived, or for three days.

At least once: an end is noted after the attempt, so that whoever dies in between leaves it to
be sent again, under the same `webhook-id`.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

import structlog

from actors.back_office import signing
from actors.back_office.posting import Answer, Unanswered
from actors.back_office.targets import Target, TargetRefused, Targets
from engine.back_office_limits import (
    COURIER_ATTEMPT_SECONDS_MAX,
    COURIER_ENDPOINTS_MAX,
    COURIER_LEASE_MS,
    COURIER_PAUSE_FACTOR,
    COURIER_PAUSE_SECONDS_MAX,
    COURIER_PAUSE_SECONDS_MIN,
    COURIER_PER_ENDPOINT_MAX,
    COURIER_POLL_SECONDS,
    DELIVERIES_DELETED_EVERY_SECONDS,
    DELIVERIES_DELETED_MAX,
    DELIVERIES_KEPT_MS,
)
from engine.store.contract import StoreAway
from engine.store.webhook_contract import DueDelivery, Webhooks

log = structlog.get_logger(__name__)

#: Up to so much of a pause is added to it by chance, so that what failed together does not
#: come back together.
_JITTER = 0.25
_GONE = 410


class Post(Protocol):
    """Sends once; see `posting.Poster`."""

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer, whatever it is. Raises Unanswered if none came."""
        ...


class Courier:
    """Sends what is due.

    Several may work beside each other: the database gives each delivery to one of them.

    Args:
        webhooks: where deliveries wait.
        targets: says where each may go, anew for every attempt.
        poster: sends once.
        now_ms: Unix milliseconds.
        chance: numbers from 0 to 1.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        targets: Targets,
        poster: Post,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._webhooks = webhooks
        self._targets = targets
        self._poster = poster
        self._now_ms = now_ms
        self._chance = chance
        self._busy: set[str] = set()
        self._freed = asyncio.Event()

    async def work(self) -> None:
        """Work until cancelled, through outages of the database.

        Raises:
            ExceptionGroup: a mistake in here; what was in hand is handed out again.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._prune_now_and_then())
            while True:
                await self._begin(tasks)

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Have what is due sent, or wait until something may be."""
        self._freed.clear()
        found: list[DueDelivery] = []
        places = COURIER_ENDPOINTS_MAX - len(self._busy)
        if places:
            try:
                found = await self._webhooks.due(
                    self._now_ms(), COURIER_LEASE_MS, places, COURIER_PER_ENDPOINT_MAX, self._busy
                )
            except StoreAway as error:
                log.warning("back_office_unreachable", error=str(error))
        for endpoint_id, batch in itertools.groupby(found, lambda due: due.endpoint_id):
            self._busy.add(endpoint_id)
            tasks.create_task(self._serve(endpoint_id, list(batch)))
        if not found:
            with suppress(TimeoutError):
                async with asyncio.timeout(COURIER_POLL_SECONDS):
                    await self._freed.wait()

    async def _serve(self, endpoint_id: str, batch: Sequence[DueDelivery]) -> None:
        """Send some deliveries to one endpoint, side by side."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for due in batch:
                    tasks.create_task(self._see_to(due))
        finally:
            self._busy.discard(endpoint_id)
            self._freed.set()

    async def _see_to(self, due: DueDelivery) -> None:
        """Send one delivery and note what became of it."""
        try:
            await self._send(due)
        except StoreAway as error:
            # Nobody will know of this attempt: it is made again when the lease is over.
            log.warning("not_noted", **_named(due), error=str(error))

    async def _send(self, due: DueDelivery) -> None:
        try:
            status, wanted_seconds = await self._attempt(due)
        except (TargetRefused, Unanswered) as error:
            await self._failed(due, None, str(error))
        except Exception:
            # Whatever it is, it is this delivery's trouble, and in three days it is over.
            log.exception("attempt_broke", **_named(due))
            await self._failed(due, None, "an error of ours")
        else:
            await self._answered(due, status, wanted_seconds)

    async def _attempt(self, due: DueDelivery) -> tuple[int, float]:
        """Return the status of the answer, and the seconds that it asks us to wait.

        Raises:
            TargetRefused: it may not go there, or cannot.
            Unanswered: no answer came.
        """
        if not due.secrets:
            raise Unanswered("not sent: its secret cannot be read here")
        try:
            async with asyncio.timeout(COURIER_ATTEMPT_SECONDS_MAX):
                target = await self._targets.check(due.url)
                at_seconds = self._now_ms() // 1_000
                headers = signing.headers(due.secrets, due.webhook_id, at_seconds, due.body)
                headers |= {"content-type": "application/json", "user-agent": "onsale"}
                answer = await self._poster.post(target, headers, due.body)
        except TimeoutError as error:
            raise Unanswered("no answer in time") from error
        return answer.status, _seconds(answer, self._now_ms())

    async def _answered(self, due: DueDelivery, status: int, wanted_seconds: float) -> None:
        if 200 <= status < 300:
            await self._webhooks.delivered(due, status, self._now_ms())
        elif status == _GONE:
            log.warning("endpoint_gone", **_named(due))
            await self._webhooks.failed(due, status, "gone", None, self._now_ms())
            await self._webhooks.disable(due.endpoint_id, "it answered 410 Gone", self._now_ms())
        else:
            await self._failed(due, status, "not taken", wanted_seconds)

    async def _failed(
        self, due: DueDelivery, status: int | None, error: str, wanted_seconds: float = 0.0
    ) -> None:
        now_ms = self._now_ms()
        retry_ms: int | None = None
        if now_ms >= due.give_up_ms:
            log.critical("webhook_given_up", **_named(due), status=status, error=error)
        else:
            seconds = max(pause_seconds(due.attempts, self._chance()), wanted_seconds)
            retry_ms = min(now_ms + int(seconds * 1_000), due.give_up_ms)
        await self._webhooks.failed(due, status, error, retry_ms, now_ms)

    async def _prune_now_and_then(self) -> None:
        """Delete what has been over for long."""
        while True:
            try:
                before_ms = self._now_ms() - DELIVERIES_KEPT_MS
                while await self._webhooks.prune(before_ms, DELIVERIES_DELETED_MAX):
                    pass
            except StoreAway as error:
                log.warning("not_pruned", error=str(error))
            await asyncio.sleep(DELIVERIES_DELETED_EVERY_SECONDS)


def pause_seconds(attempts: int, chance: float) -> float:
    """Return how long to wait after so many failed attempts, `chance` of the jitter added."""
    # The power is bounded first: it would grow beyond all floats.
    pause = COURIER_PAUSE_SECONDS_MIN * float(COURIER_PAUSE_FACTOR) ** min(attempts - 1, 16)
    pause = min(pause, COURIER_PAUSE_SECONDS_MAX)
    return pause * (1 + _JITTER * chance)


def _seconds(answer: Answer, now_ms: int) -> float:
    """Return how long an answer asks us to wait: seconds, or a date (RFC 9110); 0 if not."""
    value = (answer.retry_after or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now_ms / 1_000)


def _named(due: DueDelivery) -> dict[str, object]:
    return {
        "endpoint_id": due.endpoint_id,
        "webhook_id": due.webhook_id,
        "kind": due.kind,
        "attempts": due.attempts,
    }
