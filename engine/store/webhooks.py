"""Webhooks to organizers in the relational database; keeps `webhook_contract.Webhooks`."""

# ruff: noqa: D102 - the contract says what its methods do

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import delete, func, select, update

from engine.back_office_limits import ENDPOINTS_MAX, SECRETS_MAX, STORE_ERROR_CHARS_MAX
from engine.store.connect import Database
from engine.store.rows import put_new, read
from engine.store.schema import WAITING, webhook_deliveries, webhook_endpoints
from engine.store.vault import NoKeyOpens, Vault
from engine.store.webhook_contract import (
    Announcement,
    DeliveryStatus,
    DueDelivery,
    Registered,
    WebhookDelivery,
    WebhookEndpoint,
)
from engine.store.webhook_rows import (
    DELIVERY,
    ENDPOINT,
    beginning,
    due_delivery,
    listening,
    new_row,
    take,
    waiting_endpoints,
)

log = structlog.get_logger(__name__)

_endpoints = webhook_endpoints.c
_deliveries = webhook_deliveries.c


class _Secret(Struct, frozen=True):
    """A secret; `until_ms` is how long it signs, None for the newest."""

    secret: str
    until_ms: int | None = None


class SqlWebhooks:
    """Keeps the contract `Webhooks`, where every method is described.

    Args:
        database: of this process.
        vault: seals the secrets.
        now_ms: Unix milliseconds; when a delivery begins.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._database = database
        self._vault = vault
        self._now_ms = now_ms

    # -- endpoints -----------------------------------------------------------------

    async def register(self, endpoint: WebhookEndpoint, secret: str) -> Registered | None:
        """Keep an endpoint, or find the one of the same id; None: there are too many.

        Raises:
            NoKeyOpens: it was there, and its secret cannot be read.
        """
        row = {**asdict(endpoint), "sealed": self._sealed([_Secret(secret)])}
        named = _endpoints.endpoint_id == endpoint.endpoint_id
        of_organizer = _endpoints.organizer == endpoint.organizer
        async with self._database.writing() as connection:
            if await connection.scalar(select(_endpoints.endpoint_id).where(named)) is None:
                count = await connection.scalar(select(func.count()).where(of_organizer))
                if count is not None and count >= ENDPOINTS_MAX:
                    return None
                await put_new(connection, webhook_endpoints, ["endpoint_id"], [row])
            found = await connection.execute(select(*ENDPOINT).where(named))
            sealed = await connection.scalar(select(_endpoints.sealed).where(named))
        (kept,) = read(found, WebhookEndpoint)
        assert sealed is not None, "an endpoint was kept without its secret"
        newest = self._opened(sealed)[0].secret
        return Registered(kept, newest, replayed=newest != secret)

    async def endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(*ENDPOINT).where(_endpoints.endpoint_id == endpoint_id)
            )
        return next(iter(read(found, WebhookEndpoint)), None)

    async def endpoints(self, organizer: str) -> list[WebhookEndpoint]:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(*ENDPOINT)
                .where(_endpoints.organizer == organizer)
                .order_by(_endpoints.created_ms, _endpoints.endpoint_id)
            )
        return read(found, WebhookEndpoint)

    async def remove(self, endpoint_id: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                delete(webhook_endpoints).where(_endpoints.endpoint_id == endpoint_id)
            )

    async def rotate(self, endpoint_id: str, secret: str, overlap_until_ms: int) -> None:
        """Replace a secret; former ones sign as well until then, or sooner if that was said.

        Raises:
            NoKeyOpens: the former ones cannot be read.
        """
        named = _endpoints.endpoint_id == endpoint_id
        async with self._database.writing() as connection:
            sealed = await connection.scalar(
                select(_endpoints.sealed).where(named).with_for_update()
            )
            if sealed is None:
                return
            former = [
                _Secret(one.secret, one.until_ms or overlap_until_ms)
                for one in self._opened(sealed)
            ]
            secrets = [_Secret(secret), *_signing(former, self._now_ms())][:SECRETS_MAX]
            await connection.execute(
                update(webhook_endpoints).where(named).values(sealed=self._sealed(secrets))
            )

    async def disable(self, endpoint_id: str, reason: str, at_ms: int) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                update(webhook_endpoints)
                .where(_endpoints.endpoint_id == endpoint_id, _endpoints.disabled_ms.is_(None))
                .values(disabled_ms=at_ms, disabled_reason=reason)
            )
            await connection.execute(
                update(webhook_deliveries)
                .where(WAITING, _deliveries.endpoint_id == endpoint_id)
                .values(status=DeliveryStatus.GIVEN_UP, error=reason, finished_ms=at_ms)
            )

    async def reseal(self) -> None:
        """Seal the secrets that were sealed with older keys with the newest.

        What no key opens stays as it is: only its own endpoint gets nothing.
        """
        async with self._database.writing() as connection:
            found = await connection.execute(
                select(_endpoints.endpoint_id, _endpoints.sealed).with_for_update()
            )
            for endpoint_id, sealed in found.all():
                try:
                    renewed = self._vault.renewed(sealed)
                except NoKeyOpens:
                    log.critical("webhook_secret_unreadable", endpoint_id=endpoint_id)
                    continue
                if renewed != sealed:
                    await connection.execute(
                        update(webhook_endpoints)
                        .where(_endpoints.endpoint_id == endpoint_id)
                        .values(sealed=renewed)
                    )

    # -- deliveries ----------------------------------------------------------------

    async def put(self, announcements: Sequence[Announcement]) -> None:
        theirs = _endpoints.organizer.in_(sorted({one.organizer for one in announcements}))
        async with self._database.reading() as connection:
            if not await listening(connection, theirs):
                return  # as most organizers: nobody has to wait for a write
        async with self._database.writing() as connection:
            rows = [
                new_row(endpoint.endpoint_id, one, self._now_ms())
                for endpoint in await listening(connection, theirs)
                for one in announcements
                if one.organizer == endpoint.organizer
                and (not endpoint.kinds or one.kind in endpoint.kinds)
            ]
            await put_new(connection, webhook_deliveries, ["endpoint_id", "webhook_id"], rows)

    async def put_to(self, endpoint_id: str, announcement: Announcement) -> None:
        async with self._database.writing() as connection:
            rows = [
                new_row(endpoint.endpoint_id, announcement, self._now_ms())
                for endpoint in await listening(connection, _endpoints.endpoint_id == endpoint_id)
            ]
            await put_new(connection, webhook_deliveries, ["endpoint_id", "webhook_id"], rows)

    async def due(
        self, now_ms: int, lease_ms: int, endpoints_max: int, each_max: int, busy: Collection[str]
    ) -> list[DueDelivery]:
        async with self._database.reading() as connection:
            waiting = await waiting_endpoints(connection, now_ms, endpoints_max, busy)
        if not waiting:
            return []
        leased_until_ms = now_ms + lease_ms
        due: list[DueDelivery] = []
        async with self._database.writing() as connection:
            for endpoint in waiting:
                secrets = self._secrets(endpoint, now_ms)
                taken = await take(connection, endpoint.endpoint_id, now_ms, each_max)
                due.extend(due_delivery(row, endpoint, secrets, leased_until_ms) for row in taken)
            await connection.execute(
                update(webhook_deliveries)
                .where(_deliveries.delivery_id.in_([one.delivery_id for one in due]))
                .values(leased_until_ms=leased_until_ms, attempts=_deliveries.attempts + 1)
            )
        return due

    def _secrets(self, endpoint: Any, now_ms: int) -> tuple[str, ...]:
        """Return the secrets that sign now, none if they cannot be read."""
        try:
            secrets = self._opened(endpoint.sealed)
        except NoKeyOpens:
            log.critical("webhook_secret_unreadable", endpoint_id=endpoint.endpoint_id)
            return ()
        return tuple(one.secret for one in _signing(secrets, now_ms))

    def _sealed(self, secrets: Sequence[_Secret]) -> bytes:
        return self._vault.seal(msgspec.json.encode(secrets))

    def _opened(self, sealed: bytes) -> list[_Secret]:
        return msgspec.json.decode(self._vault.open(sealed), type=list[_Secret])

    async def delivered(self, due: DueDelivery, status_code: int, at_ms: int) -> None:
        await self._note(
            due,
            status=DeliveryStatus.DELIVERED,
            status_code=status_code,
            error=None,
            finished_ms=at_ms,
        )

    async def failed(
        self,
        due: DueDelivery,
        status_code: int | None,
        error: str,
        retry_ms: int | None,
        at_ms: int,
    ) -> None:
        fate: dict[str, Any] = (
            {"status": DeliveryStatus.GIVEN_UP, "finished_ms": at_ms}
            if retry_ms is None
            else {"next_attempt_ms": retry_ms, "leased_until_ms": 0}
        )
        error = error[:STORE_ERROR_CHARS_MAX]
        await self._note(due, status_code=status_code, error=error, **fate)

    async def _note(self, due: DueDelivery, **values: object) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                update(webhook_deliveries)
                .where(
                    WAITING,
                    _deliveries.delivery_id == due.delivery_id,
                    # Whoever has taken it since has another lease.
                    _deliveries.leased_until_ms == due.leased_until_ms,
                )
                .values(values)
            )

    # -- the log -------------------------------------------------------------------

    async def delivery(self, endpoint_id: str, webhook_id: str) -> WebhookDelivery | None:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(*DELIVERY).where(
                    _deliveries.endpoint_id == endpoint_id, _deliveries.webhook_id == webhook_id
                )
            )
        return next(iter(read(found, WebhookDelivery)), None)

    async def deliveries(
        self, endpoint_id: str, limit: int, before: int | None = None
    ) -> list[WebhookDelivery]:
        query = (
            select(*DELIVERY)
            .where(_deliveries.endpoint_id == endpoint_id)
            .order_by(_deliveries.delivery_id.desc())
            .limit(limit)
        )
        if before is not None:
            query = query.where(_deliveries.delivery_id < before)
        async with self._database.reading() as connection:
            return read(await connection.execute(query), WebhookDelivery)

    async def replay(self, endpoint_id: str, webhook_id: str, now_ms: int) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                update(webhook_deliveries)
                .where(_deliveries.endpoint_id == endpoint_id, _deliveries.webhook_id == webhook_id)
                .values(beginning(now_ms))
            )

    async def prune(self, before_ms: int, limit: int) -> int:
        old = select(_deliveries.delivery_id).where(_deliveries.finished_ms < before_ms)
        async with self._database.writing() as connection:
            result = await connection.execute(
                delete(webhook_deliveries).where(_deliveries.delivery_id.in_(old.limit(limit)))
            )
        return result.rowcount


def _signing(secrets: Sequence[_Secret], now_ms: int) -> list[_Secret]:
    return [one for one in secrets if one.until_ms is None or one.until_ms > now_ms]
