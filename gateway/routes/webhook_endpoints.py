"""Webhooks to organizers: where they go, and what became of each."""

import re
import secrets
import time
from typing import Annotated, Any, Literal, NotRequired

from fastapi import APIRouter, Path, Query, Response
from typing_extensions import TypedDict

from actors.back_office import announcements, signing
from actors.back_office.targets import TargetRefused
from engine.back_office_limits import SECRET_OVERLAP_MS
from engine.domain.ids import request_id
from engine.domain.outcomes import Refusal
from engine.limits import LIST_MAX
from engine.store.webhook_contract import WebhookDelivery, WebhookEndpoint
from gateway.auth import Principal
from gateway.bodies import invalid
from gateway.idempotency import key_of
from gateway.problems import Problem
from gateway.routes.common import (
    KNOWING,
    READING,
    IdempotencyKey,
    NoBody,
    Organizer,
    TheService,
    headers,
    problems,
)
from gateway.service import Service
from gateway.views import maybe_rfc3339, rfc3339
from gateway.webhook_bodies import EndpointBody

router = APIRouter(prefix="/api/v1/webhook-endpoints", tags=["webhooks"])

#: Documented, not enforced: what does not look like an id names nothing, which is a 404.
ENDPOINT_ID_FORM = "^whe_[0-9a-hjkmnp-tv-z]{16}$"
_ENDPOINT_ID = re.compile(ENDPOINT_ID_FORM[1:-1])
#: What ids of webhooks are made of; PostgreSQL cannot even look for some characters.
_WEBHOOK_ID = re.compile(r"[0-9a-zA-Z_]+")
EndpointId = Annotated[
    str,
    Path(description="`whe_` and 16 characters", json_schema_extra={"pattern": ENDPOINT_ID_FORM}),
]
WebhookId = Annotated[str, Path(description="The `webhook-id` that it was sent with")]

_OF_ENDPOINT = (*KNOWING, "webhook_endpoint_not_found", "back_office_unavailable")


class DisabledView(TypedDict):
    """Since when nothing is sent, and why."""

    at: str
    reason: str


class EndpointView(TypedDict):
    """Where an organizer is told; `kinds` null: of everything.

    `secret` is only shown when it is made.
    """

    id: str
    organizer: str
    url: str
    kinds: list[str] | None
    created_at: str
    disabled: DisabledView | None
    secret: NotRequired[str]


class EndpointList(TypedDict):
    """The endpoints of an organizer, oldest first."""

    object: Literal["list"]
    data: list[EndpointView]
    has_more: bool


class DeliveryView(TypedDict):
    """A webhook and its fate; `status_code` and `error` are of the last attempt."""

    webhook_id: str
    kind: str
    status: Literal["PENDING", "DELIVERED", "GIVEN_UP"]
    attempts: int
    next_attempt_at: str | None
    status_code: int | None
    error: str | None
    created_at: str
    finished_at: str | None


class DeliveryList(TypedDict):
    """Webhooks to an endpoint, newest first."""

    object: Literal["list"]
    data: list[DeliveryView]
    has_more: bool


# -- endpoints ---------------------------------------------------------------------


@router.post(
    "",
    status_code=201,
    response_model=EndpointView,
    responses={
        201: {"headers": headers("Location", "Idempotent-Replayed")},
        **problems(
            *KNOWING,
            *READING,
            "invalid_idempotency_key",
            Refusal.IDEMPOTENCY_KEY_REUSED,
            "too_many_webhook_endpoints",
            "back_office_unavailable",
        ),
    },
)
async def register_endpoint(
    body: EndpointBody,
    principal: Organizer,
    service: TheService,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Have webhooks sent to a URL. The answer has the secret that signs them: keep it."""
    name = request_id(service.id_key, "webhooks", principal.sub, key_of(idempotency_key))
    try:
        await service.targets.check(body.url)
    except TargetRefused as error:
        raise invalid("/url", str(error)) from error
    kinds = () if body.kinds is None else tuple(body.kinds)
    endpoint = WebhookEndpoint(f"whe_{name}", principal.sub, body.url, kinds, _now_ms())
    with service.books.asking():
        registered = await service.webhooks.register(endpoint, signing.new_secret())
    if registered is None:
        raise Problem("too_many_webhook_endpoints")
    kept = registered.endpoint
    if (kept.url, kept.kinds) != (endpoint.url, endpoint.kinds):
        raise Problem(Refusal.IDEMPOTENCY_KEY_REUSED)
    response.headers["location"] = f"/api/v1/webhook-endpoints/{kept.endpoint_id}"
    if registered.replayed:
        response.headers["idempotent-replayed"] = "true"
    return _view(kept, registered.secret)


@router.get(
    "", response_model=EndpointList, responses=problems(*KNOWING, "back_office_unavailable")
)
async def list_endpoints(principal: Organizer, service: TheService) -> Any:
    """List your endpoints; there are never so many that it takes pages."""
    with service.books.asking():
        found = await service.webhooks.endpoints(principal.sub)
    return {"object": "list", "data": [_view(one) for one in found], "has_more": False}


@router.get("/{endpoint_id}", response_model=EndpointView, responses=problems(*_OF_ENDPOINT))
async def read_endpoint(endpoint_id: EndpointId, principal: Organizer, service: TheService) -> Any:
    """Show an endpoint."""
    with service.books.asking():
        return _view(await _own(service, endpoint_id, principal))


@router.delete("/{endpoint_id}", status_code=204, responses=problems(*_OF_ENDPOINT))
async def remove_endpoint(
    endpoint_id: EndpointId, principal: Organizer, service: TheService
) -> None:
    """Send nothing there any more, and forget what was sent."""
    with service.books.asking():
        await _own(service, endpoint_id, principal)
        await service.webhooks.remove(endpoint_id)


@router.post(
    "/{endpoint_id}/rotate-secret",
    response_model=EndpointView,
    responses=problems(*_OF_ENDPOINT, *READING),
)
async def rotate_secret(
    endpoint_id: EndpointId, principal: Organizer, service: TheService, _nothing: NoBody
) -> Any:
    """Get a new secret. For a day, webhooks are signed with the former one as well."""
    secret = signing.new_secret()
    with service.books.asking():
        endpoint = await _own(service, endpoint_id, principal)
        await service.webhooks.rotate(endpoint_id, secret, _now_ms() + SECRET_OVERLAP_MS)
    return _view(endpoint, secret)


# -- deliveries --------------------------------------------------------------------


@router.post(
    "/{endpoint_id}/test",
    status_code=202,
    response_model=DeliveryView,
    responses=problems(*_OF_ENDPOINT, *READING, "webhook_endpoint_disabled"),
)
async def test_endpoint(
    endpoint_id: EndpointId,
    principal: Organizer,
    service: TheService,
    _nothing: NoBody,  # noqa: PT019 - this is no test
) -> Any:
    """Send a `ping`, to see whether it arrives."""
    webhook_id = f"msg_ping_{secrets.token_hex(8)}"
    with service.books.asking():
        endpoint = await _sending(service, endpoint_id, principal)
        ping = announcements.ping(endpoint_id, endpoint.organizer, webhook_id, _now_ms())
        await service.webhooks.put_to(endpoint_id, ping)
        return _delivery_view(await _delivery(service, endpoint_id, webhook_id))


@router.get(
    "/{endpoint_id}/deliveries",
    response_model=DeliveryList,
    responses=problems(*_OF_ENDPOINT, "invalid_request"),
)
async def list_deliveries(
    endpoint_id: EndpointId,
    principal: Organizer,
    service: TheService,
    limit: Annotated[int, Query(ge=1, le=LIST_MAX)] = 20,
    starting_after: Annotated[str | None, Query(max_length=64)] = None,
) -> Any:
    """List what was sent, or is to be, in the last thirty days; newest first."""
    with service.books.asking():
        await _own(service, endpoint_id, principal)
        before = None
        if starting_after is not None:
            last = await _found(service, endpoint_id, starting_after)
            if last is None:
                raise invalid("/query/starting_after", "names no webhook to this endpoint")
            before = last.delivery_id
        found = await service.webhooks.deliveries(endpoint_id, limit + 1, before)
    data = [_delivery_view(one) for one in found[:limit]]
    return {"object": "list", "data": data, "has_more": len(found) > limit}


@router.post(
    "/{endpoint_id}/deliveries/{webhook_id}/replay",
    status_code=202,
    response_model=DeliveryView,
    responses=problems(*_OF_ENDPOINT, *READING, "webhook_not_found", "webhook_endpoint_disabled"),
)
async def replay_delivery(
    endpoint_id: EndpointId,
    webhook_id: WebhookId,
    principal: Organizer,
    service: TheService,
    _nothing: NoBody,
) -> Any:
    """Send a webhook again, under the same id, whether it has arrived or not."""
    with service.books.asking():
        await _sending(service, endpoint_id, principal)
        await _delivery(service, endpoint_id, webhook_id)
        await service.webhooks.replay(endpoint_id, webhook_id, _now_ms())
        return _delivery_view(await _delivery(service, endpoint_id, webhook_id))


# -- what they share ---------------------------------------------------------------


async def _own(service: Service, endpoint_id: str, principal: Principal) -> WebhookEndpoint:
    named = _ENDPOINT_ID.fullmatch(endpoint_id) is not None
    endpoint = await service.webhooks.endpoint(endpoint_id) if named else None
    if endpoint is None or (principal.role != "admin" and endpoint.organizer != principal.sub):
        raise Problem("webhook_endpoint_not_found")
    return endpoint


async def _sending(service: Service, endpoint_id: str, principal: Principal) -> WebhookEndpoint:
    """Return an own endpoint to which something can be sent."""
    endpoint = await _own(service, endpoint_id, principal)
    if endpoint.disabled_ms is not None:
        raise Problem("webhook_endpoint_disabled")
    return endpoint


async def _delivery(service: Service, endpoint_id: str, webhook_id: str) -> WebhookDelivery:
    delivery = await _found(service, endpoint_id, webhook_id)
    if delivery is None:
        raise Problem("webhook_not_found")
    return delivery


async def _found(service: Service, endpoint_id: str, webhook_id: str) -> WebhookDelivery | None:
    """Return a webhook to an endpoint, None if there is none of this id."""
    if _WEBHOOK_ID.fullmatch(webhook_id) is None:
        return None
    return await service.webhooks.delivery(endpoint_id, webhook_id)


def _view(endpoint: WebhookEndpoint, secret: str | None = None) -> EndpointView:
    view: EndpointView = {
        "id": endpoint.endpoint_id,
        "organizer": endpoint.organizer,
        "url": endpoint.url,
        "kinds": list(endpoint.kinds) or None,
        "created_at": rfc3339(endpoint.created_ms),
        "disabled": None
        if endpoint.disabled_ms is None
        else {"at": rfc3339(endpoint.disabled_ms), "reason": endpoint.disabled_reason or ""},
    }
    if secret is not None:
        view["secret"] = secret
    return view


def _delivery_view(delivery: WebhookDelivery) -> DeliveryView:
    waits = delivery.finished_ms is None
    return {
        "webhook_id": delivery.webhook_id,
        "kind": delivery.kind,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "next_attempt_at": rfc3339(delivery.next_attempt_ms) if waits else None,
        "status_code": delivery.status_code,
        "error": delivery.error,
        "created_at": rfc3339(delivery.created_ms),
        "finished_at": maybe_rfc3339(delivery.finished_ms),
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
