"""Statements about webhooks to organizers, and the rows that they leave."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, TextClause, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.back_office_limits import COURIER_GIVE_UP_MS
from engine.store.rows import columns, read
from engine.store.schema import WAITING, webhook_deliveries, webhook_endpoints
from engine.store.webhook_contract import (
    Announcement,
    DeliveryStatus,
    DueDelivery,
    WebhookDelivery,
    WebhookEndpoint,
)

_endpoints = webhook_endpoints.c
_deliveries = webhook_deliveries.c

#: The columns of an endpoint, and of a delivery in the log.
ENDPOINT = columns(webhook_endpoints, WebhookEndpoint)
DELIVERY = columns(webhook_deliveries, WebhookDelivery)


def new_row(endpoint_id: str, announcement: Announcement, now_ms: int) -> dict[str, Any]:
    """Return a delivery of an announcement to an endpoint, as it begins."""
    return {
        "endpoint_id": endpoint_id,
        "webhook_id": announcement.webhook_id,
        "kind": announcement.kind,
        "body": announcement.body,
        "created_ms": now_ms,
        **beginning(now_ms),
    }


def beginning(now_ms: int) -> dict[str, Any]:
    """Return what a delivery begins with, for the first time or again."""
    return {
        "status": DeliveryStatus.PENDING,
        "attempts": 0,
        "next_attempt_ms": now_ms,
        "give_up_ms": now_ms + COURIER_GIVE_UP_MS,
        "leased_until_ms": 0,
        "status_code": None,
        "error": None,
        "finished_ms": None,
    }


def due_delivery(
    row: Any, endpoint: Any, secrets: tuple[str, ...], leased_until_ms: int
) -> DueDelivery:
    """Return a row that was taken of an endpoint, as its taker gets it."""
    return DueDelivery(
        row.delivery_id,
        endpoint.endpoint_id,
        endpoint.url,
        secrets,
        row.webhook_id,
        row.kind,
        row.body,
        row.attempts + 1,
        row.give_up_ms,
        leased_until_ms,
    )


async def listening(
    connection: AsyncConnection, condition: ColumnElement[bool]
) -> list[WebhookEndpoint]:
    """Return endpoints that are told of things, and keep them from being removed meanwhile."""
    found = await connection.execute(
        select(*ENDPOINT)
        .where(condition, _endpoints.disabled_ms.is_(None))
        .with_for_update(read=True, key_share=True)
    )
    return read(found, WebhookEndpoint)


async def waiting_endpoints(
    connection: AsyncConnection, now_ms: int, limit: int, busy: Collection[str]
) -> Sequence[Any]:
    """Return endpoints that have something due, those first that have waited longest."""
    oldest_ms = (
        select(func.min(_deliveries.next_attempt_ms))
        .where(_deliveries.endpoint_id == _endpoints.endpoint_id, *_due(now_ms))
        .scalar_subquery()
    )
    found = await connection.execute(
        select(
            _endpoints.endpoint_id,
            _endpoints.url,
            _endpoints.sealed,
        )
        .where(
            _endpoints.disabled_ms.is_(None),
            _endpoints.endpoint_id.not_in(busy),
            oldest_ms.is_not(None),
        )
        .order_by(oldest_ms, _endpoints.endpoint_id)
        .limit(limit)
    )
    return found.all()


async def take(
    connection: AsyncConnection, endpoint_id: str, now_ms: int, limit: int
) -> Sequence[Any]:
    """Return what is due to one endpoint; what somebody else is taking is passed over."""
    found = await connection.execute(
        select(
            _deliveries.delivery_id,
            _deliveries.webhook_id,
            _deliveries.kind,
            _deliveries.body,
            _deliveries.attempts,
            _deliveries.give_up_ms,
        )
        .where(_deliveries.endpoint_id == endpoint_id, *_due(now_ms))
        .order_by(_deliveries.next_attempt_ms, _deliveries.delivery_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return found.all()


def _due(now_ms: int) -> tuple[TextClause | ColumnElement[bool], ...]:
    return (
        WAITING,
        _deliveries.next_attempt_ms <= now_ms,
        _deliveries.leased_until_ms <= now_ms,
    )
