"""FAULTS 29: schemathesis sends what the OpenAPI document allows, and what it forbids.

Whatever comes, no answer is a 500, each one is what the document promises, and nothing is
accepted that the document forbids.
"""

import asyncio
import copy
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from engine.store.contract import Contact, Writes
from gateway.webhooks import PATH as WEBHOOKS
from tests.documented import DOCUMENT, OPERATIONS, Operation
from tests.in_process import InProcess
from tests.paying import paying, signature
from tests.stripe_sandbox import Sandbox, running_sandbox

SCHEMA = schemathesis.openapi.from_dict(copy.deepcopy(DOCUMENT), config=schemathesis.Config())
SCHEMA.config.generation.update(with_security_parameters=False)  # tokens are made here
#: A body that is too long is refused as such, whatever is wrong with it.
SCHEMA.config.checks.negative_data_rejection.expected_statuses += ["413"]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
#: A share of what the profile of this run tries elsewhere.
EXAMPLES = settings.default.max_examples // 4
#: What is asked of a booking that is confirmed.
CONFIRMED = ("refund", "ticket", "calendar", "check-ins", "notifications")
#: Where webhooks are sent in these tests: nobody listens.
TOLD = "https://127.0.0.1:9443/told"


class Target:
    """The application on a loop of its own, with an event and a booking to hit.

    A free booking is confirmed, so that it has tickets and can be refunded; another one can
    be paid.
    """

    def __init__(
        self,
        store: EmbeddedStore,
        sandbox: Sandbox,
        database_url: str,
        runner: asyncio.Runner,
        *,
        free: bool,
    ) -> None:
        self._runner = runner
        self._redis = connect(store.url)
        self._running = paying(self._redis, sandbox, database_url=database_url)
        shop = runner.run(self._running.__aenter__())
        self.onsale: InProcess = shop.onsale
        price = {"price": 0} if free else {}
        self.event_id: str = runner.run(self.onsale.event("acme", capacity=1_000_000, **price))
        self.booking_id: str = runner.run(shop.held(self.event_id, "ann", ga=5))
        if free:
            runner.run(shop.pay(self.booking_id))

    def admit(self) -> None:
        """Let the holder of the booking's first ticket in."""
        admin = self.onsale.token("admin", "root")
        path = f"/api/v1/bookings/{self.booking_id}/tickets"
        found = self._runner.run(self.onsale.get(path, admin)).json()["data"]
        body = {"qr": found[0]["qr"], "gate": "North"}
        path = f"/api/v1/events/{self.event_id}/check-ins"
        said = self._runner.run(self.onsale.post(path, admin, json=body))
        assert said.json()["result"] == "admitted", said.text

    def give_contact(self) -> None:
        """Have the books know where the booking's buyer is reached."""
        sealed = self.onsale.vault.seal_contact(Contact("ann@example.org"))
        self._runner.run(self.onsale.store.write(Writes(contacts=[(self.booking_id, sealed)])))

    def listen(self) -> tuple[str, str]:
        """Have the organizer told of everything; return the ids of endpoint and delivery."""
        admin = self.onsale.token("admin", "ann")
        path = "/api/v1/webhook-endpoints"
        made = self._runner.run(self.onsale.post(path, admin, json={"url": TOLD}))
        endpoint_id: str = made.json()["id"]
        tried = self._runner.run(self.onsale.post(f"{path}/{endpoint_id}/test", admin))
        return endpoint_id, tried.json()["webhook_id"]

    def close(self) -> None:
        self._runner.run(self._running.__aexit__(None, None, None))
        self._runner.run(self._redis.aclose())

    def send(self, case: Any, who: str | None, *, signed: bool = False) -> httpx.Response:
        """Send what schemathesis has made up, byte for byte; signed as Stripe does."""
        prepared = requests.Request(
            **case.as_transport_kwargs(base_url="http://onsale.test")
        ).prepare()
        headers = {
            name: value if isinstance(value, bytes) else value.encode("latin-1")
            for name, value in prepared.headers.items()
            if name.lower() not in ("authorization", "content-length")
        }
        if who is not None:
            headers["authorization"] = f"Bearer {who}".encode()
        if signed:
            headers["Stripe-Signature"] = signature(prepared.body).encode()
        request = self.onsale.client.build_request(
            prepared.method, prepared.url, headers=headers, content=prepared.body
        )
        return self._runner.run(self.onsale.client.send(request))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def target(
    store: EmbeddedStore, sandbox: Sandbox, books_url: str, request: pytest.FixtureRequest
) -> Iterator[Target]:
    path = request.node.callspec.params["operation"].path
    free = any(part in path for part in CONFIRMED)
    with asyncio.Runner() as runner:
        running = Target(store, sandbox, books_url, runner, free=free)
        yield running
        running.close()


def modes(operation: Operation) -> list[GenerationMode]:
    """Return what can be tried: where nothing is asked for, nothing can be wrong."""
    own = [one for one in operation.spec["parameters"] if "$ref" not in one]
    asks = own or operation.body
    return list(GenerationMode) if asks else [GenerationMode.POSITIVE]


@pytest.mark.parametrize(
    ("operation", "mode"),
    [(operation, mode) for operation in OPERATIONS for mode in modes(operation)],
    ids=lambda value: value.value if isinstance(value, GenerationMode) else str(value),
)
def test_every_answer_is_what_the_document_promises(
    target: Target, operation: Operation, mode: GenerationMode
) -> None:
    onsale = target.onsale
    known = {
        "event_id": target.event_id,
        "booking_id": target.booking_id,
        "ticket_id": f"tkt_{target.booking_id[3:]}00",
        "code": "sold_out",
        "url": TOLD,
    }
    if "{endpoint_id}" in operation.path:
        known["endpoint_id"], known["webhook_id"] = target.listen()
    if operation.path.endswith("/resend"):
        target.give_contact()
    named = {name: known[name] for name in known if f"{{{name}}}" in operation.path}
    if mode is GenerationMode.NEGATIVE and operation.body is None:
        named = {}  # the id is all that can be wrong
    tokens = 4 * [onsale.token("admin", "ann")] + ["garbage"]
    if operation.path.endswith("/stream"):
        onsale.service.stopping.set()  # or the stream would never end
    if operation.path.endswith("/undo"):
        target.admit()
    example = {name: known.get(name, value) for name, value in (operation.body or {}).items()}
    made_up = SCHEMA[operation.path][operation.method]
    cases = made_up.as_strategy(generation_mode=mode)
    if named:
        there = made_up.as_strategy(generation_mode=mode, path_parameters=named)
        cases = there | there | cases

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, who=st.sampled_from(tokens), field=st.integers(0, 40))
    def answers_as_promised(case: Any, who: str, field: int) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and case.body:
            # All of it made up at once would not get past the first contradiction.
            name = sorted(case.body)[field % len(case.body)]
            case.body = {**example, name: case.body[name]} if field % 2 else example
        genuine = operation.path == WEBHOOKS and mode is GenerationMode.POSITIVE
        answer = target.send(case, who, signed=genuine)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    statuses: set[int] = set()
    answers_as_promised()
    if mode is GenerationMode.POSITIVE:
        assert any(status < 300 for status in statuses), "nothing got past the first check"
