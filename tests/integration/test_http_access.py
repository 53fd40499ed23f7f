"""FAULTS 25: every route with every wrong token and every foreign id.

Routes, roles and bodies are read from the OpenAPI document, so that a new route is tried
without a line here. What a route may do with a valid token is told by its own tests; here
nothing may change and nothing may be shown.
"""

from dataclasses import dataclass

import httpx
import pytest

from gateway.auth import ROLES, Tokens
from tests.documented import OPERATIONS, Operation
from tests.forged import forged, wrong_headers
from tests.in_process import InProcess

GUARDED = [operation for operation in OPERATIONS if operation.roles is not None]
OPEN = {
    "GET /livez", "GET /readyz", "GET /version", "GET /metrics", "GET /problems/{code}",
    "GET /api/v1/events", "GET /api/v1/events/{event_id}",
    "GET /api/v1/events/{event_id}/availability",
    "GET /api/v1/events/{event_id}/availability/stream",
    "POST /api/v1/stripe/events",
}  # fmt: skip


def belongs_to_somebody(operation: Operation) -> bool:
    """Tell whether it is about one object that is not everybody's.

    Buyers may hold tickets of any event; whatever else is named in a path belongs to its
    buyer and its organizer.
    """
    path = operation.path
    if "{booking_id}" in path or "{ticket_id}" in path:
        return True
    return "{" in path and "organizer" in (operation.roles or ())


@dataclass
class Victim:
    """An event of acme's with a hold of ann's, and where acme is told of it."""

    event_id: str
    booking_id: str
    endpoint_id: str

    def path(self, operation: Operation) -> str:
        path = operation.path.format(
            event_id=self.event_id,
            booking_id=self.booking_id,
            ticket_id=f"tkt_{self.booking_id[3:]}00",
            endpoint_id=self.endpoint_id,
            webhook_id="msg_000000000000_1_0",
        )
        assert "{" not in path, f"{operation} names something that this test does not know"
        return path


@pytest.fixture
def onsale(onsale_with_books: InProcess) -> InProcess:
    """Nothing is away: what is refused is refused for who asks."""
    return onsale_with_books


@pytest.fixture
async def victim(onsale: InProcess) -> Victim:
    event_id = await onsale.event("acme")
    registered = await onsale.post(
        "/api/v1/webhook-endpoints",
        onsale.token("organizer", "acme"),
        json={"url": "https://127.0.0.1/told"},
    )
    assert registered.status_code == 201, registered.text
    booking = await onsale.held(event_id, "ann", ga=1)
    return Victim(event_id, booking["id"], registered.json()["id"])


async def ask(
    onsale: InProcess, operation: Operation, path: str, headers: dict[str, str]
) -> httpx.Response:
    return await onsale.ask(operation.method, path, json=operation.body, headers=headers)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def assert_shows_nothing(answer: httpx.Response, status: int, why: str) -> None:
    assert answer.status_code == status, f"{why}: {answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {
        "type", "title", "status", "detail", "instance", "code", "request_id", "retryable"
    }, why  # fmt: skip


def test_what_needs_no_token_is_named_here() -> None:
    assert {str(operation) for operation in OPERATIONS if operation.roles is None} == OPEN


@pytest.mark.parametrize("operation", GUARDED, ids=str)
def test_only_known_roles_are_asked_for(operation: Operation) -> None:
    assert operation.roles
    assert set(operation.roles) <= set(ROLES)


@pytest.mark.parametrize("operation", GUARDED, ids=str)
async def test_a_token_that_proves_nothing_gets_a_401(
    onsale: InProcess, victim: Victim, operation: Operation
) -> None:
    role = operation.roles[0]
    wrong = wrong_headers(role)
    async with onsale.unchanged():
        for why, header in wrong.items():
            headers = {} if header is None else {"authorization": header}
            answer = await ask(onsale, operation, victim.path(operation), headers)
            assert_shows_nothing(answer, 401, why)
            assert answer.json()["code"] == "unauthenticated"
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_forger_could_have_made_a_token_that_works(onsale: InProcess) -> None:
    """The negative control: what is refused above is refused for what is wrong with it."""
    answer = await onsale.get("/api/v1/bookings", forged())
    assert answer.status_code == 200


@pytest.mark.parametrize("operation", GUARDED, ids=str)
async def test_a_role_without_the_right_gets_a_403(
    onsale: InProcess, victim: Victim, operation: Operation
) -> None:
    # The subject is each time the one whose object it is.
    async with onsale.unchanged():
        for role in set(ROLES) - set(operation.roles):
            for sub in ("ann", "acme"):
                token = onsale.token(role, sub, org="acme")
                answer = await ask(onsale, operation, victim.path(operation), bearer(token))
                assert_shows_nothing(answer, 403, f"{role} {sub}")
                assert answer.json()["code"] == "forbidden"


FOREIGN = [operation for operation in GUARDED if belongs_to_somebody(operation)]


@pytest.mark.parametrize("operation", FOREIGN, ids=str)
async def test_what_belongs_to_somebody_else_is_not_found(
    onsale: InProcess, victim: Victim, operation: Operation
) -> None:
    async with onsale.unchanged():
        for role in set(operation.roles) - {"admin"}:
            for claims in ({}, {"org": "rival"}) if role == "staff" else ({},):
                token = onsale.token(role, "mallory", **claims)
                answer = await ask(onsale, operation, victim.path(operation), bearer(token))
                assert_shows_nothing(answer, 404, role)


@pytest.mark.parametrize(
    "operation", [operation for operation in GUARDED if "{" in operation.path], ids=str
)
@pytest.mark.parametrize("guessed", ["missing", "malformed"])
async def test_what_does_not_exist_is_not_found_by_anyone(
    onsale: InProcess, victim: Victim, operation: Operation, guessed: str
) -> None:
    nobody = Victim("evt_..", "bk_..", "whe_..")
    if guessed == "missing":
        last = "1" if victim.booking_id.endswith("0") else "0"
        endpoint_id = "whe_0000000000000000"
        nobody = Victim("evt_000000000000", victim.booking_id[:-1] + last, endpoint_id)
    async with onsale.unchanged():
        for role in operation.roles:
            answer = await ask(
                onsale, operation, nobody.path(operation), bearer(onsale.token(role, "ann"))
            )
            assert_shows_nothing(answer, 404, role)


async def test_tokens_of_another_deployment_are_refused(onsale: InProcess) -> None:
    token = Tokens("the secret of quite another place").make("buyer", "ann")
    assert (await onsale.get("/api/v1/bookings", token)).status_code == 401
