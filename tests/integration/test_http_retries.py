"""FAULTS 28: a retry gets the first answer, byte for byte; a changed retry gets its own code."""

import asyncio

import httpx
import pytest

from tests.in_process import BASE, InProcess, an_event, items

EVENTS = f"{BASE}/events"

KEYS = [
    "k",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    '"quoted"',
    "with blanks, and: signs!",
    "x" * 255,
]
NOT_KEYS = ["", " ", '""', "x" * 256, "tab\tinside", "ümlaut", '"' + "x" * 256 + '"']


def assert_first_answer(again: httpx.Response, first: httpx.Response) -> None:
    assert again.status_code == first.status_code == 201
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"


# -- holds -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:10])
async def test_the_same_key_gets_the_first_answer_and_holds_once(
    onsale: InProcess, key: str
) -> None:
    event_id = await onsale.event()
    first = await onsale.hold(event_id, "ann", key, ga=2)
    async with onsale.unchanged():
        for _ in range(3):
            assert_first_answer(await onsale.hold(event_id, "ann", key, ga=2), first)


async def test_a_quoted_key_is_the_same_as_a_bare_one(onsale: InProcess) -> None:
    event_id = await onsale.event()
    first = await onsale.hold(event_id, "ann", "key", ga=1)
    assert_first_answer(await onsale.hold(event_id, "ann", '"key"', ga=1), first)


async def test_a_hundred_retries_at_once_hold_once(onsale: InProcess) -> None:
    event_id = await onsale.event()
    answers = await asyncio.gather(*(onsale.hold(event_id, "ann", "key", ga=1) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    counts = (await onsale.get(f"{EVENTS}/{event_id}/availability")).json()
    assert counts["ticket_types"][0]["held"] == 1


async def test_without_a_key_a_retry_is_a_new_request(onsale: InProcess) -> None:
    event_id = await onsale.event()
    first = await onsale.held(event_id, "ann", ga=1)
    assert (await onsale.held(event_id, "ann", ga=1))["id"] != first["id"]


@pytest.mark.parametrize(
    "other", [{"ga": 1}, {"ga": 3}, {"vip": 2}, {"ga": 2, "vip": 1}, {"nope": 2}]
)
async def test_the_same_key_with_another_body_is_refused(onsale: InProcess, other: dict) -> None:
    kinds = [{"code": code, "name": code, "price": 1, "capacity": 9} for code in ("ga", "vip")]
    event_id = await onsale.event(ticket_types=kinds)
    await onsale.held(event_id, "ann", "key", ga=2)
    async with onsale.unchanged():
        answer = await onsale.hold(event_id, "ann", "key", **other)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert answer.json()["retryable"] is False


async def test_the_same_key_of_another_buyer_or_for_another_event_is_another_key(
    onsale: InProcess,
) -> None:
    one, two = await onsale.event(), await onsale.event()
    bookings = [
        await onsale.held(one, "ann", "key", ga=1),
        await onsale.held(one, "bob", "key", ga=2),
        await onsale.held(two, "ann", "key", ga=3),
    ]
    assert len({booking["id"] for booking in bookings}) == 3
    assert [booking["customer"] for booking in bookings] == ["ann", "bob", "ann"]


async def test_a_retry_after_the_owner_died_gets_the_first_answer(onsale: InProcess) -> None:
    event_id = await onsale.event()
    first = await onsale.hold(event_id, "ann", "key", ga=2)
    await onsale.owners.crash(event_id)
    assert_first_answer(await onsale.hold(event_id, "ann", "key", ga=2), first)
    reused = await onsale.hold(event_id, "ann", "key", ga=3)
    assert reused.json()["code"] == "idempotency_key_reused"


async def test_a_retry_gets_the_first_answer_whatever_became_of_the_hold(
    onsale: InProcess,
) -> None:
    event_id = await onsale.event(capacity=2)
    first = await onsale.hold(event_id, "ann", "key", ga=2)
    path = f"{BASE}/bookings/{first.json()['id']}"
    await onsale.ask("DELETE", path, onsale.token("buyer", "ann"))
    await onsale.held(event_id, "bob", ga=2)
    await onsale.post(f"{EVENTS}/{event_id}/pause", onsale.token("organizer", "acme"))
    assert_first_answer(await onsale.hold(event_id, "ann", "key", ga=2), first)


async def test_a_refusal_is_not_remembered(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=1)
    first = await onsale.held(event_id, "ann", ga=1)
    assert (await onsale.hold(event_id, "bob", "key", ga=1)).status_code == 409
    await onsale.ask("DELETE", f"{BASE}/bookings/{first['id']}", onsale.token("buyer", "ann"))
    assert (await onsale.hold(event_id, "bob", "key", ga=1)).status_code == 201


@pytest.mark.parametrize("key", NOT_KEYS, ids=lambda key: repr(key)[:10])
async def test_a_key_that_is_none_is_refused(onsale: InProcess, key: str) -> None:
    event_id = await onsale.event()
    ann, acme = onsale.token("buyer", "ann"), onsale.token("organizer", "acme")
    headers = {"idempotency-key": key.encode("latin-1")}
    booking = await onsale.held(event_id, "ann", ga=1)
    pay = f"{BASE}/bookings/{booking['id']}/payment-intent"
    async with onsale.unchanged():
        for answer in (
            await onsale.post(f"{EVENTS}/{event_id}/holds", ann, json=items(ga=1), headers=headers),
            await onsale.post(EVENTS, acme, json=an_event(), headers=headers),
            await onsale.post(pay, ann, headers=headers),
        ):
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (400, "invalid_idempotency_key")


# -- events ----------------------------------------------------------------------------


async def create(onsale: InProcess, organizer: str, key: str, **changes) -> httpx.Response:
    return await onsale.post(
        EVENTS,
        onsale.token("organizer", organizer),
        json=an_event(**changes),
        headers={"idempotency-key": key},
    )


async def test_an_event_is_created_once_for_each_key(onsale: InProcess) -> None:
    first = await create(onsale, "acme", "key")
    async with onsale.unchanged():
        assert_first_answer(await create(onsale, "acme", "key"), first)
        other = await create(onsale, "acme", "key", name="Another")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    rival = await create(onsale, "rival", "key")
    assert rival.json()["id"] != first.json()["id"]


async def test_a_repeated_creation_gets_the_first_answer_after_all_that_came_since(
    onsale: InProcess,
) -> None:
    first = await create(onsale, "acme", "key")
    event_id = first.json()["id"]
    acme = onsale.token("organizer", "acme")
    await onsale.ask("PATCH", f"{EVENTS}/{event_id}", acme, json={"name": "Another"})
    await onsale.post(f"{EVENTS}/{event_id}/pause", acme)
    await onsale.owners.crash(event_id)
    assert_first_answer(await create(onsale, "acme", "key"), first)
