"""The OpenAPI document: committed as it is served, and true of the hot route."""

import json
from pathlib import Path

import jsonschema
import pytest
from redis.asyncio import Redis

from engine.domain.outcomes import Refusal
from gateway.edge import UNLIMITED
from gateway.holds import PREFIX, SUFFIX
from gateway.openapi import HOLD_REFUSALS
from gateway.problems import KINDS
from gateway.rate_limits import RateLimits
from tests.documented import DOCUMENT, OPERATIONS, Operation
from tests.in_process import BASE, InProcess, in_process, items

SHARED = set(DOCUMENT["components"]["headers"])
COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
HOLD = DOCUMENT["paths"][PREFIX + "{event_id}" + SUFFIX]["post"]


def documented(operation: dict, status: int, media_type: str) -> dict:
    """Return the schema of an answer, with everything it refers to."""
    schema = operation["responses"][str(status)]["content"][media_type]["schema"]
    return {**schema, "components": DOCUMENT["components"]}


def assert_keeps_to(schema: dict, value: object) -> None:
    jsonschema.Draft202012Validator(schema).validate(value)


def test_the_committed_document_is_what_is_served() -> None:
    committed = json.loads(COMMITTED.read_text())
    assert committed == json.loads(json.dumps(DOCUMENT)), "run `make openapi`"


async def test_the_served_document_is_the_same(onsale: InProcess) -> None:
    assert (await onsale.get("/openapi.json")).json() == json.loads(json.dumps(DOCUMENT))


def test_nothing_in_it_depends_on_the_machine() -> None:
    """Zones differ with the tzdata of the system: the document must not list them."""
    assert "Africa/Abidjan" not in COMMITTED.read_text()


def test_every_reference_leads_somewhere() -> None:
    def references(part: object) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(value) for value in part.values()))
        if isinstance(part, list):
            return set().union(*(references(value) for value in part))
        return set()

    found = references(DOCUMENT)
    assert found
    for reference in found:
        place = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


# -- every operation -------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_every_operation_says_what_may_go_wrong(operation: Operation) -> None:
    statuses = set(operation.spec["responses"])
    assert {"413", "429", "500"} <= statuses
    if operation.roles is not None:
        assert {"401", "403"} <= statuses
    if "{event_id}" in operation.path or "{booking_id}" in operation.path:
        assert {"404", "503"} <= statuses
    if operation.body is not None:
        # What Stripe sends is right or is not from Stripe.
        assert ({"400"} if operation.roles is None else {"400", "422"}) <= statuses
    named = {"X-Request-Id"}
    if operation.path not in UNLIMITED:
        named |= {"RateLimit", "RateLimit-Policy"}
    for status, answer in operation.spec["responses"].items():
        assert named == {name for name in answer["headers"] if name in SHARED}
        if int(status) >= 400:
            assert list(answer["content"]) == ["application/problem+json"]
        if status in ("429", "503"):
            assert "Retry-After" in answer["headers"]
        if status == "401":
            assert "WWW-Authenticate" in answer["headers"]
    assert operation.spec["operationId"]
    assert operation.spec["summary"]
    assert operation.spec["tags"]


@pytest.mark.parametrize(
    "operation", [operation for operation in OPERATIONS if operation.body], ids=str
)
def test_every_example_keeps_to_its_own_schema(operation: Operation) -> None:
    schema = operation.spec["requestBody"]["content"]["application/json"]["schema"]
    assert_keeps_to({**schema, "components": DOCUMENT["components"]}, operation.body)


async def test_the_examples_do_what_they_show(onsale: InProcess) -> None:
    acme, ann = onsale.token("organizer", "acme"), onsale.token("buyer", "ann")
    by_path = {str(operation): operation for operation in OPERATIONS}
    created = await onsale.post(f"{BASE}/events", acme, json=by_path[f"POST {BASE}/events"].body)
    assert created.status_code == 201
    path = f"{BASE}/events/{created.json()['id']}"
    body = by_path[f"PATCH {BASE}/events/{{event_id}}"].body
    assert (await onsale.ask("PATCH", path, acme, json=body)).status_code == 200
    body = by_path[f"POST {BASE}/events/{{event_id}}/holds"].body
    assert (await onsale.post(f"{path}/holds", ann, json=body)).status_code == 201


# -- problems --------------------------------------------------------------------------


def test_every_code_of_a_problem_is_documented() -> None:
    codes = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert codes == sorted(KINDS)


def test_every_refusal_is_documented_where_somebody_may_meet_it() -> None:
    text = json.dumps(DOCUMENT["paths"])
    # What Stripe says of somebody else's payment is put aside: no client hears of it.
    for refusal in set(Refusal) - {Refusal.PAYMENT_MISMATCH}:
        assert f"`{refusal}`" in text, refusal


# -- the hot route ---------------------------------------------------------------------


async def test_a_granted_hold_is_what_the_document_says(onsale: InProcess) -> None:
    answer = await onsale.hold(await onsale.event(), "ann", "key", ga=2)
    assert answer.status_code == 201
    schema = documented(HOLD, 201, "application/json")
    assert_keeps_to(schema, answer.json())
    view = DOCUMENT["components"]["schemas"]["BookingView"]
    assert set(answer.json()) == set(view["properties"]) - {"refund"} == set(view["required"])
    named = {name.lower() for name in HOLD["responses"]["201"]["headers"]}
    assert {"location", "x-request-id"} <= set(answer.headers) & named
    incomplete = {name: value for name, value in answer.json().items() if name != "total"}
    with pytest.raises(jsonschema.ValidationError):
        assert_keeps_to(schema, incomplete)


async def test_a_refused_hold_is_what_the_document_says(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=1, max_per_booking=5)
    bodies = [items(ga=1_001), items(ga=6), items(ga=2), items(nope=1), {}]
    for body in bodies:
        answer = await onsale.post(
            f"{BASE}/events/{event_id}/holds", onsale.token("buyer", "ann"), json=body
        )
        schema = documented(HOLD, answer.status_code, "application/problem+json")
        assert_keeps_to(schema, answer.json())
        known = DOCUMENT["components"]["schemas"]["Problem"]["properties"]
        assert set(answer.json()) <= set(known)


def test_each_reason_to_refuse_a_hold_stands_at_its_status_in_its_order() -> None:
    assert len(HOLD_REFUSALS) == 11
    for code in (Refusal.EVENT_NOT_FOUND, *HOLD_REFUSALS, "overloaded", "recovering"):
        assert f"`{code}`" in HOLD["responses"][str(KINDS[code].status)]["description"], code
    places = [HOLD["description"].index(f"`{code}`") for code in HOLD_REFUSALS]
    assert places == sorted(places)
    assert list(HOLD_REFUSALS) == sorted(HOLD_REFUSALS, key=list(Refusal).index)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_every_request_may_be_named_and_traced(operation: Operation) -> None:
    for name in ("X-Request-Id", "traceparent"):
        shared = {"$ref": f"#/components/parameters/{name}"}
        assert operation.spec["parameters"].count(shared) == 1
        parameter = DOCUMENT["components"]["parameters"][name]
        assert (parameter["name"], parameter["in"]) == (name, "header")
        assert parameter["required"] is False


async def test_every_header_that_is_sent_is_documented(redis: Redis) -> None:
    general = {"content-type", "content-length"}
    async with in_process(redis, RateLimits()) as onsale:
        event_id = await onsale.event()
        granted = await onsale.hold(event_id, "ann", "key", ga=1)
        refused = await onsale.hold(event_id, "ann", "key", nope=1)
        shown = await onsale.get(f"{BASE}/events/{event_id}")
    read = DOCUMENT["paths"][f"{BASE}/events/{{event_id}}"]["get"]
    for answer, operation in ((granted, HOLD), (refused, HOLD), (shown, read)):
        assert {"ratelimit", "ratelimit-policy"} <= set(answer.headers)
        named = operation["responses"][str(answer.status_code)]["headers"]
        assert set(answer.headers) <= {name.lower() for name in named} | general


def test_the_hot_route_is_documented_like_its_neighbours() -> None:
    create = DOCUMENT["paths"][f"{BASE}/events"]["post"]
    pause = DOCUMENT["paths"][f"{BASE}/events/{{event_id}}/pause"]["post"]
    own_parameters, *others = (
        [one for one in operation["parameters"] if "$ref" not in one]
        for operation in (HOLD, pause, create)
    )
    for own, theirs in zip(own_parameters, [*others[0], *others[1]], strict=True):
        for part in ("name", "in", "required"):
            assert own[part] == theirs[part]
    assert set(HOLD) == set(create)
