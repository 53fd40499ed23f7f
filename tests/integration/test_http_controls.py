"""A stop of all sales, a pace for holds, and the log of who has set them."""

import asyncio

import httpx
import pytest
from redis.asyncio import Redis

from actors.wire import Overloaded
from engine.journal.contract import Unavailable
from engine.journal.controls import Controls
from engine.journal.keys import CONTROLS
from engine.limits import CONTROLS_EVERY_SECONDS, HOLDS_PER_SECOND_MIN
from gateway import batcher
from gateway.gate import Gatekeeper
from gateway.problems import Problem
from gateway.service import Service
from tests.in_process import BASE, InProcess, in_process

CONTROL = f"{BASE}/controls"
WHY = {"reason": "incident 112"}


async def control(onsale: InProcess, action: str, **body: object) -> dict:
    answer = await onsale.post(
        f"{CONTROL}/{action}", onsale.token("admin", "root"), json={**WHY, **body}
    )
    assert answer.status_code == 200, answer.text
    shown: dict = answer.json()
    return shown


async def changes(onsale: InProcess, **query: object) -> dict:
    who = onsale.token("admin", "root")
    answer = await onsale.get(f"{CONTROL}/changes", who, params=query)
    assert answer.status_code == 200, answer.text
    shown: dict = answer.json()
    return shown


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def test_a_stop_refuses_every_hold_and_nothing_else(onsale: InProcess) -> None:
    event_id = await onsale.event(price=0)
    before = await onsale.held(event_id, "ann", "key", ga=1)
    assert (await control(onsale, "stop"))["stopped"] is True
    async with onsale.unchanged():
        for buyer, key in (("bob", None), ("bob", "key"), ("ann", None), ("ann", "another key")):
            answer = await onsale.hold(event_id, buyer, key, ga=1)
            assert said(answer) == (503, "sales_stopped")
            assert answer.json()["retryable"] is True
            assert 1 <= int(answer.headers["retry-after"]) <= 3
    ann = onsale.token("buyer", "ann")
    paid = await onsale.post(f"{BASE}/bookings/{before['id']}/payment-intent", ann)
    assert paid.json()["status"] == "CONFIRMED", "what is held can be paid"
    assert (await control(onsale, "go"))["stopped"] is False
    assert (await onsale.hold(event_id, "ann", "key", ga=1)).json()["id"] == before["id"]
    await onsale.held(event_id, "bob", ga=1)


@pytest.mark.parametrize(
    ("action", "body"), [("stop", {}), ("throttle", {"holds_per_second": HOLDS_PER_SECOND_MIN})]
)
async def test_who_repeats_a_hold_that_was_granted_gets_the_first_answer_all_the_same(
    onsale: InProcess, action: str, body: dict
) -> None:
    """To say that nothing was decided would be a lie: a seat is held, and its time runs."""
    event_id = await onsale.event()
    first = await onsale.hold(event_id, "ann", "key", ga=1)
    await control(onsale, action, **body)
    await onsale.hold(event_id, "bob", ga=1)  # takes the place that the pace has left
    async with onsale.unchanged():
        again = await onsale.hold(event_id, "ann", "key", ga=1)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["idempotent-replayed"] == "true"
        reused = await onsale.hold(event_id, "ann", "key", ga=2)
        assert said(reused) == (422, "idempotency_key_reused")
        assert (await onsale.hold(event_id, "cid", "key", ga=1)).status_code == 503
        onsale.owners.instead = Overloaded()
        assert said(await onsale.hold(event_id, "ann", "key", ga=1)) == (503, "overloaded")


async def test_what_is_wrong_with_a_request_is_said_although_sales_are_stopped(
    onsale: InProcess,
) -> None:
    event_id = await onsale.event()
    await control(onsale, "stop")
    assert said(await onsale.hold("evt_000000000000", "ann", ga=1)) == (404, "event_not_found")
    assert said(await onsale.hold(event_id, "ann", ga=0)) == (422, "invalid_request")


async def test_a_stop_reaches_another_gateway_within_a_second(
    onsale: InProcess, redis: Redis
) -> None:
    async with in_process(redis) as other:
        keeper = other.service.gatekeeper
        watching = asyncio.create_task(keeper.watch())
        event_id = await onsale.event(capacity=100_000, max_per_booking=1)
        await other.held(event_id, "ann", ga=1)
        assert CONTROLS_EVERY_SECONDS < 1.0
        for action, wanted in (("stop", 503), ("go", 201)):
            await control(onsale, action)
            async with asyncio.timeout(10.0):
                while (await other.hold(event_id, "bob", ga=1)).status_code != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        watching.cancel()


async def test_a_gateway_that_starts_knows_of_the_stop(onsale: InProcess, redis: Redis) -> None:
    await control(onsale, "stop")
    event_id = await onsale.event()
    async with in_process(redis) as other:
        await other.service.gatekeeper.open()
        assert said(await other.hold(event_id, "bob", ga=1)) == (503, "sales_stopped")


async def test_a_gateway_that_was_never_told_lets_nobody_pass(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, event_id = onsale.service.gatekeeper, await onsale.event()
    with monkeypatch.context() as away:
        away.setattr(keeper.controls, "look", _away)
        await keeper.open()
    assert said(await onsale.hold(event_id, "ann", ga=1)) == (503, "store_unavailable")
    await keeper.look()
    await onsale.held(event_id, "ann", ga=1)


async def test_what_was_set_stays_so_while_the_store_is_away(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, event_id = onsale.service.gatekeeper, await onsale.event()
    await control(onsale, "stop")
    monkeypatch.setattr(keeper.controls, "look", _away)
    watching = asyncio.create_task(keeper.watch())
    await asyncio.sleep(0.6)
    assert not watching.done()
    watching.cancel()
    assert said(await onsale.hold(event_id, "ann", ga=1)) == (503, "sales_stopped")
    answer = await onsale.get(CONTROL, onsale.token("admin", "root"))
    assert said(answer) == (503, "store_unavailable")


async def _away(*_asked: str) -> None:
    raise Unavailable("ConnectionError: gone")


async def test_what_somebody_else_wrote_there_is_no_pace(redis: Redis) -> None:
    await redis.hset(CONTROLS, "pace", "fast")
    with pytest.raises(Unavailable, match="fast"):
        await Controls(redis).look("a")


async def test_a_pace_of_all_events_lets_so_many_through(onsale: InProcess) -> None:
    events = [await onsale.event(capacity=100) for _ in range(2)]
    shown = await control(onsale, "throttle", holds_per_second=4)
    assert shown == {"stopped": False, "holds_per_second": 4.0, "events": []}
    answers = [await onsale.hold(event_id, "ann", ga=1) for event_id in events * 10]
    granted = [answer for answer in answers if answer.status_code == 201]
    assert 4 <= len(granted) < 20, "a second's worth, and what the test took"
    refused = next(answer for answer in answers if answer.status_code != 201)
    assert said(refused) == (503, "throttled")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await control(onsale, "throttle", holds_per_second=None))["holds_per_second"] is None
    for _ in range(10):
        await onsale.held(events[0], "bob", ga=1)


async def test_a_pace_of_one_event_leaves_the_others_alone(onsale: InProcess) -> None:
    slow, free = [await onsale.event(capacity=100) for _ in range(2)]
    shown = await control(onsale, "throttle", holds_per_second=0.1, event_id=slow)
    assert shown["events"] == [{"event_id": slow, "holds_per_second": 0.1}]
    await onsale.held(slow, "ann", ga=1)
    assert said(await onsale.hold(slow, "ann", ga=1)) == (503, "throttled")
    for _ in range(10):
        await onsale.held(free, "ann", ga=1)
    await control(onsale, "throttle", holds_per_second=None, event_id=slow)
    await onsale.held(slow, "ann", ga=1)


async def test_a_request_that_is_refused_anyway_takes_nobodys_place(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise what a gateway knows is too old to refuse from after a tenth of a second.
    monkeypatch.setattr(batcher, "AVAILABILITY_AGE_MS_MAX", 60_000)
    event_id = await onsale.event(capacity=1)
    await control(onsale, "throttle", holds_per_second=0.1)
    assert said(await onsale.hold(event_id, "ann", ga=0)) == (422, "invalid_request")
    await onsale.held(event_id, "ann", ga=1)
    assert said(await onsale.hold(event_id, "bob", ga=1)) == (409, "not_enough")


async def test_gateways_share_a_pace(redis: Redis) -> None:
    controls = Controls(redis)
    await controls.throttle("root", "incident 112", 10.0)
    keepers = [Gatekeeper(controls, name) for name in "abcd"]
    for keeper in keepers:
        await keeper.look()
    assert [(await keeper.look()).gateways for keeper in keepers] == [4, 4, 4, 4]
    await controls.throttle("root", "over", None)
    assert (await keepers[0].look()).gateways == 0, "nobody signs in for nothing"


async def test_every_change_says_who_when_and_why(onsale: InProcess) -> None:
    event_id = await onsale.event("acme")
    organizer = onsale.token("organizer", "acme")
    await control(onsale, "stop")
    await control(onsale, "go", reason="over")
    await control(onsale, "throttle", holds_per_second=2.5, event_id=event_id)
    await control(onsale, "throttle", holds_per_second=None)
    for path, body in (("pause", {"reason": "wrong price"}), ("resume", None)):
        answer = await onsale.post(f"{BASE}/events/{event_id}/{path}", organizer, json=body)
        assert answer.status_code == 200, answer.text
    listed = await changes(onsale)
    assert listed["has_more"] is False
    assert [
        (one["who"], one["action"], one["event_id"], one["holds_per_second"], one["reason"])
        for one in reversed(listed["data"])
    ] == [
        ("root", "stop", None, None, "incident 112"),
        ("root", "go", None, None, "over"),
        ("root", "throttle", event_id, 2.5, "incident 112"),
        ("root", "throttle", None, None, "incident 112"),
        ("acme", "pause", event_id, None, "wrong price"),
        ("acme", "resume", event_id, None, ""),
    ]
    assert all(one["at"].endswith("Z") for one in listed["data"])


async def test_what_did_not_happen_is_not_in_the_log(onsale: InProcess) -> None:
    event_id = await onsale.event("acme")
    rival = onsale.token("organizer", "rival")
    assert said(await onsale.post(f"{BASE}/events/{event_id}/pause", rival)) == (
        404,
        "event_not_found",
    )
    assert (await changes(onsale))["data"] == []


async def test_nobody_pauses_an_event_without_being_named(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = await onsale.event("acme")
    organizer = onsale.token("organizer", "acme")
    path = f"{BASE}/events/{event_id}"
    with monkeypatch.context() as patched:
        patched.setattr(Controls, "note", _away)
        assert said(await onsale.post(f"{path}/pause", organizer)) == (503, "store_unavailable")
    await onsale.held(event_id, "ann", ga=1)  # it is not paused
    assert (await changes(onsale))["data"] == []


async def test_a_pause_that_failed_is_in_the_log_as_one(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    event_id = await onsale.event("acme")
    organizer = onsale.token("organizer", "acme")

    async def fail(*_: object) -> None:
        raise Problem("recovering")

    with monkeypatch.context() as patched:
        patched.setattr(Service, "ask", fail)
        answer = await onsale.post(f"{BASE}/events/{event_id}/pause", organizer)
    assert said(answer) == (503, "recovering")
    assert [(one["who"], one["action"]) for one in (await changes(onsale))["data"]] == [
        ("acme", "pause_failed"),
        ("acme", "pause"),
    ]


async def test_the_log_is_read_page_by_page(onsale: InProcess) -> None:
    for number in range(5):
        await control(onsale, "stop", reason=str(number))
    seen: list[str] = []
    page = await changes(onsale, limit=2)
    while True:
        seen += [one["reason"] for one in page["data"]]
        if not page["has_more"]:
            break
        page = await changes(onsale, limit=2, starting_after=page["data"][-1]["id"])
    assert seen == ["4", "3", "2", "1", "0"]
    assert (await changes(onsale, starting_after="0-0"))["data"] == []


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("stop", {}),
        ("stop", {"reason": "  "}),
        ("stop", {"reason": "x" * 501}),
        ("go", {"reason": "bell \x07"}),
        ("throttle", {"reason": "no pace"}),
        ("throttle", {"reason": "a stop", "holds_per_second": 0}),
        ("throttle", {"reason": "backwards", "holds_per_second": -1}),
        ("throttle", {"reason": "text", "holds_per_second": "5"}),
        ("throttle", {"reason": "no event", "holds_per_second": 5, "event_id": "evt_"}),
    ],
)
async def test_a_change_that_makes_no_sense_changes_nothing(
    onsale: InProcess, action: str, body: dict
) -> None:
    async with onsale.unchanged():
        answer = await onsale.post(f"{CONTROL}/{action}", onsale.token("admin", "root"), json=body)
    assert said(answer) == (422, "invalid_request")
