"""Forged tokens, broken bodies, keys used twice, over real sockets (FAULTS.md, 25, 28 and 29).

All of it is tried route by route in one process (tests/integration/test_http_access.py,
test_http_retries.py, test_http_fuzz.py). Here a share goes to the service as it is run, on
the routes that it reads with a parser of its own: at once if a request is written as usual,
through ASGI if its body comes in chunks.
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from engine.journal.connect import connect
from gateway.settings import LOOPBACK_SECRET
from loadtests.stripe_sandbox.webhooks import sign
from tests.end_to_end.buyers import ORGANIZER, Buyers, on_sale
from tests.end_to_end.service import Service, tokens
from tests.end_to_end.shop import WEBHOOKS, Shop
from tests.end_to_end.verify import journalled
from tests.forged import forged, wrong_headers
from tests.stripe_sandbox import WEBHOOK_SECRET

HOLD = b'{"items":[{"ticket_type":"ga","quantity":1}]}'
SCAN = b'{"qr":"x","gate":"North"}'


class Abuser:
    """Sends whatever it likes about one event, in which ann holds a ticket."""

    def __init__(self, buyers: Buyers, booking_id: str, client: httpx.AsyncClient) -> None:
        self.buyers = buyers
        self.booking_id = booking_id
        self.client = client
        event, booking = f"/api/v1/events/{buyers.event_id}", f"/api/v1/bookings/{booking_id}"
        #: Method, path, who may, and a body that would do.
        self.guarded = [
            ("POST", f"{event}/holds", "buyer", HOLD),
            ("POST", f"{event}/check-ins", "staff", SCAN),
            ("GET", booking, "buyer", b""),
            ("DELETE", booking, "buyer", b""),
            ("POST", f"{booking}/payment-intent", "buyer", b""),
            ("GET", f"{booking}/tickets", "buyer", b""),
        ]

    async def ask(
        self,
        method: str,
        path: str,
        authorization: str | None,
        body: bytes = b"",
        *,
        in_chunks: bool = False,
        **headers: str,
    ) -> httpx.Response:
        if authorization is not None:
            headers["authorization"] = authorization
        if body:
            headers["content-type"] = "application/json"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = _chunks(body) if in_chunks else body
        return await self.client.request(method, path, headers=named, content=content)

    @asynccontextmanager
    async def in_vain(self) -> AsyncIterator[None]:
        """Assert that what happens meanwhile leaves the event as it is."""
        before = await self._state()
        yield
        assert await self._state() == before

    async def _state(self) -> list[Any]:
        report = await self.buyers.audit()
        assert report["agree"], report
        async with connect(self.buyers.service.store_url) as client:
            entries = await journalled(client, self.buyers.event_id)
        return [entries, await self.buyers.availability(), report["live"]]


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    middle = len(body) // 2
    for part in (body[:middle], body[middle:]):
        if part:
            yield part


@asynccontextmanager
async def abuser_of(service: Service) -> AsyncIterator[Abuser]:
    async with (
        on_sale(service, 100) as buyers,
        httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=15.0) as client,
    ):
        held = await buyers.held("ann")
        yield Abuser(buyers, held.booking_id, client)


def assert_problem(answer: httpx.Response, status: int, why: str) -> None:
    assert answer.status_code == status, f"{why}: {answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json", why
    assert answer.json()["status"] == status, why


def bearer(role: str, sub: str, **claims: str) -> str:
    return f"Bearer {tokens.make(role, sub, **claims)}"


# -- tokens (25) -----------------------------------------------------------------------


async def test_no_token_that_proves_nothing_opens_a_route(service: Service):
    async with abuser_of(service) as abuser, abuser.in_vain():
        for method, path, role, body in abuser.guarded:
            for why, header in wrong_headers(role, LOOPBACK_SECRET).items():
                # Nothing may stand behind the last word of a header.
                authorization = None if header is None else header.strip()
                answer = await abuser.ask(method, path, authorization, body)
                assert_problem(answer, 401, f"{method} {path}, {why}")
        # The control: the same forger, and nothing is wrong with the token.
        _, path, _, _ = abuser.guarded[2]
        genuine = forged(secret=LOOPBACK_SECRET)
        assert (await abuser.ask("GET", path, f"Bearer {genuine}")).status_code == 200


async def test_nobody_gets_at_what_is_somebody_elses(service: Service):
    async with abuser_of(service) as abuser, abuser.in_vain():
        for method, path, role, body in abuser.guarded:
            other = "staff" if role == "buyer" else "buyer"
            if "/bookings/" not in path or method != "GET":
                answer = await abuser.ask(method, path, bearer(other, "ann", org=ORGANIZER), body)
                assert_problem(answer, 403, f"{method} {path} as {other}")
            if not path.endswith("/holds"):  # which are anybody's
                foreign = bearer(role, "mallory", org="rival")
                answer = await abuser.ask(method, path, foreign, body)
                assert_problem(answer, 404, f"{method} {path} as a foreign {role}")
            last = "1" if abuser.booking_id.endswith("0") else "0"
            guessed = path.replace(abuser.booking_id, abuser.booking_id[:-1] + last)
            guessed = guessed.replace(abuser.buyers.event_id, "evt_000000000000")
            answer = await abuser.ask(method, guessed, bearer(role, "ann", org=ORGANIZER), body)
            assert_problem(answer, 404, f"{method} {guessed}")


async def test_no_token_stands_for_stripes_signature(service: Service):
    async with abuser_of(service) as abuser, abuser.in_vain():
        headers = list(wrong_headers("admin", LOOPBACK_SECRET).values())
        for header in [*headers, bearer("admin", "root")]:
            authorization = None if header is None else header.strip()
            answer = await abuser.ask("POST", WEBHOOKS, authorization, b'{"id":"evt_1"}')
            assert_problem(answer, 400, f"webhook with {header}")


# -- bodies (29) -----------------------------------------------------------------------


BROKEN = {
    "half": b'{"items":[{"ticket_type":"ga","qua',
    "not UTF-8": b'{"items":"\xff"}',
    "half a character": b'{"items":"\\ud800"}',
    "two": b"{} {}",
    "nothing": b"null",
    "a list": b"[]",
    "a number": b"1e999",
    "deep": b"[" * 10_000,
    "deep objects": b'{"items":' * 5_000,
    "deep and whole": b"[" * 10_000 + b"]" * 10_000,
    "zeros": b"\0" * 64,
    "twice the same name": b'{"items":[],"items":7}',
}
OF_HOLDS = [
    *(b'{"items":%s}' % value for value in (b"[]", b"{}", b"null", b"7", b'"ga"', b"[[[]]]")),
    *(
        b'{"items":[{"ticket_type":"ga","quantity":%s}]}' % value
        for value in (b"0", b"-1", b"1.5", b'"1"', b"true", b"null", b"[1]", b"1" + b"0" * 400)
    ),
    b'{"items":[{"ticket_type":{"$gt":""},"quantity":1}]}',
    b'{"items":[{"ticket_type":"ga","quantity":1,"price":0}]}',
    b'{"items":[{"ticket_type":"ga","quantity":1}],"customer":"bob"}',
    b'{"items":[%s]}' % b",".join([b'{"ticket_type":"ga","quantity":1}'] * 500),
]
OF_SCANS = [
    b'{"qr":7,"gate":"North"}',
    b'{"qr":{"a":[]},"gate":"North"}',
    b'{"qr":"%s","gate":"North"}' % (b"x" * 5_000),
    b'{"qr":"x","gate":["North"]}',
    b'{"qr":"x","gate":"a\\u0000b"}',
    b'{"qr":"x","gate":"North","offline":"yes"}',
]
HUGE = b'{"items":"%s"}' % (b"x" * 1_000_000)


def broken_bodies(path: str) -> Iterator[tuple[str, bytes]]:
    """Yield what no route can make anything of, and what this one cannot."""
    yield from BROKEN.items()
    for body in OF_HOLDS if path.endswith("/holds") else OF_SCANS:
        yield body[:60].decode(), body


@pytest.mark.parametrize("in_chunks", [False, True], ids=["at once", "in chunks"])
async def test_no_body_is_the_services_fault(service: Service, *, in_chunks: bool):
    async with abuser_of(service) as abuser, abuser.in_vain():
        for method, path, role, _ in abuser.guarded[:2]:
            authorization = bearer(role, "ann", org=ORGANIZER)
            for why, body in broken_bodies(path):
                answer = await abuser.ask(method, path, authorization, body, in_chunks=in_chunks)
                assert answer.status_code in (400, 422), f"{path}, {why}: {answer.text}"
                assert answer.json()["code"] in ("malformed_json", "invalid_request"), why
            answer = await abuser.ask(method, path, authorization, HUGE, in_chunks=in_chunks)
            assert_problem(answer, 413, f"{path}, huge")


async def test_no_signed_webhook_is_the_services_fault(shop: Shop):
    """Only Stripe can send these; a 500 would have it send them for days."""
    async with abuser_of(shop.service) as abuser, abuser.in_vain():
        for why, body in [*BROKEN.items(), ("a hold", HOLD), ("empty", b"{}")]:
            for in_chunks in (False, True):
                answer = await abuser.ask(
                    *("POST", WEBHOOKS, None, body),
                    in_chunks=in_chunks,
                    stripe_signature=sign(body, WEBHOOK_SECRET, int(time.time())),
                )
                assert_problem(answer, 400, why)
                assert answer.json()["code"] == "bad_webhook", why


# -- keys (28) -------------------------------------------------------------------------


async def test_a_key_is_its_buyers_own_and_says_the_same_after_its_owner_died(service: Service):
    async with abuser_of(service) as abuser:
        buyers, (_, path, _, _) = abuser.buyers, abuser.guarded[0]
        two = HOLD.replace(b":1}", b":2}")
        ann = bearer("buyer", "ann")
        first = await abuser.ask("POST", path, ann, two, idempotency_key="key")
        assert first.status_code == 201, first.text
        others = await abuser.ask("POST", path, bearer("buyer", "bob"), HOLD, idempotency_key="key")
        assert others.status_code == 201, others.text
        assert others.json()["id"] != first.json()["id"]
        async with abuser.in_vain():
            for in_chunks in (False, True):
                await _retried(abuser, ann, two, first, in_chunks=in_chunks)
        killed = await service.kill_owner(buyers.event_id)
        await buyers.held("carl")
        assert await service.owner(buyers.event_id) != killed
        async with abuser.in_vain():
            await _retried(abuser, ann, two, first)
        assert await buyers.availability() == {"available": 95, "held": 5, "sold": 0}


async def _retried(
    abuser: Abuser, who: str, body: bytes, first: httpx.Response, *, in_chunks: bool = False
) -> None:
    """Ask again under the same key, for the same and for something else."""
    _, path, _, _ = abuser.guarded[0]
    key = {"idempotency_key": "key"}
    again = await abuser.ask("POST", path, who, body, in_chunks=in_chunks, **key)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    changed = await abuser.ask("POST", path, who, HOLD, in_chunks=in_chunks, **key)
    assert_problem(changed, 422, "the same key with another body")
    assert changed.json()["code"] == "idempotency_key_reused"
