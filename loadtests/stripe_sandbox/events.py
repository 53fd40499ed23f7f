"""Events, and the endpoints that they are sent to."""

from loadtests.stripe_sandbox.books import Change
from loadtests.stripe_sandbox.errors import Object, refused
from loadtests.stripe_sandbox.intents import merged
from loadtests.stripe_sandbox.objects import new_endpoint
from loadtests.stripe_sandbox.params import EndpointCreate, EventList, Listing, Params


def retrieve(change: Change, _: Params, event_id: str) -> Object:
    """Return an event."""
    return change.get("event", event_id, "id")


def list_(change: Change, params: EventList, _: str) -> Object:
    """Return events, newest first."""
    if params.type is not None and params.types is not None:
        raise refused("You may pass `type` or `types`, but not both.", param="type", began=False)
    types = [params.type] if params.type is not None else params.types

    def wanted(event: Object) -> bool:
        delivered = not event["pending_webhooks"]
        if params.delivery_success not in (None, delivered):
            return False
        return types is None or any(_matches(event["type"], type_) for type_ in types)

    return change.books["event"].page(params, "/v1/events", wanted)


def create_endpoint(change: Change, params: EndpointCreate, _: str) -> Object:
    """Register an endpoint. This answer alone tells its secret."""
    fields = {
        "api_version": params.api_version,
        "description": params.description,
        "metadata": merged({}, params.metadata),
    }
    return change.put(new_endpoint(change.now, params.url, params.enabled_events, fields))


def retrieve_endpoint(change: Change, _: Params, endpoint_id: str) -> Object:
    """Return an endpoint."""
    return _without_secret(change.get("webhook_endpoint", endpoint_id, "webhook_endpoint"))


def list_endpoints(change: Change, params: Listing, _: str) -> Object:
    """Return endpoints, newest first."""
    page = change.books["webhook_endpoint"].page(params, "/v1/webhook_endpoints")
    return {**page, "data": [_without_secret(endpoint) for endpoint in page["data"]]}


def delete_endpoint(change: Change, _: Params, endpoint_id: str) -> Object:
    """Send nothing more to an endpoint."""
    change.get("webhook_endpoint", endpoint_id, "webhook_endpoint")
    change.remove_endpoint(endpoint_id)
    return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}


def _matches(kind: str, wanted: str) -> bool:
    """Return whether an event's type is wanted: `charge.*` is any of a charge."""
    return kind == wanted or (wanted.endswith("*") and kind.startswith(wanted[:-1]))


def _without_secret(endpoint: Object) -> Object:
    return {name: value for name, value in endpoint.items() if name != "secret"}
