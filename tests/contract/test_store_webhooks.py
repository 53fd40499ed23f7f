"""What the back office promises of webhooks to organizers, in every database."""

import asyncio

import pytest
from msgspec.structs import replace

from actors.back_office.signing import new_secret
from engine.back_office_limits import (
    COURIER_GIVE_UP_MS,
    ENDPOINTS_MAX,
    SECRETS_MAX,
    STORE_ERROR_CHARS_MAX,
)
from engine.store.contract import StoreAway
from engine.store.vault import Vault
from engine.store.webhook_contract import (
    Announcement,
    DeliveryStatus,
    DueDelivery,
    Registered,
    WebhookEndpoint,
)
from engine.store.webhooks import SqlWebhooks
from tests.contract.store_rigs import NEW_SECRET, OLD_SECRET, StoreRig
from tests.samples import NOW_MS

LEASE_MS = 30_000
SECRET, NEXT_SECRET = new_secret(), new_secret()


class Clock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def webhooks_of(rig: StoreRig, clock: Clock, *secrets: bytes) -> SqlWebhooks:
    """Return webhooks as another process would open them."""
    vault = Vault(secrets or (NEW_SECRET, OLD_SECRET))
    return SqlWebhooks(rig.store().database, vault, clock)


@pytest.fixture
async def webhooks(store_rig: StoreRig, clock: Clock) -> SqlWebhooks:
    await store_rig.store().migrate()
    return webhooks_of(store_rig, clock)


def endpoint(number: int = 1, organizer: str = "acme", *kinds: str, **changes) -> WebhookEndpoint:
    url = f"https://example.com/{number}"
    one = WebhookEndpoint(f"whe_{number:016d}", organizer, url, kinds, NOW_MS + number)
    return replace(one, **changes)


def news(number: int = 1, kind: str = "booking.confirmed", organizer: str = "acme") -> Announcement:
    return Announcement(f"msg_{number}", organizer, kind, f'{{"n":{number}}}'.encode())


async def registered(webhooks: SqlWebhooks, one: WebhookEndpoint, secret: str = SECRET) -> str:
    assert await webhooks.register(one, secret) == Registered(one, secret, replayed=False)
    return one.endpoint_id


async def due(
    webhooks: SqlWebhooks, now_ms: int = NOW_MS, *busy: str, endpoints: int = 10, each: int = 10
) -> list[DueDelivery]:
    return await webhooks.due(now_ms, LEASE_MS, endpoints, each, busy)


def named(found: list[DueDelivery]) -> list[tuple[str, str]]:
    return [(one.url[-1], one.webhook_id) for one in found]


# -- endpoints -------------------------------------------------------------------------


async def test_endpoints_are_read_back(
    webhooks: SqlWebhooks, store_rig: StoreRig, clock: Clock
) -> None:
    mine, other = endpoint(1, "acme", "booking.confirmed", "event.changed"), endpoint(2)
    foreign = endpoint(3, "rival")
    for one in (mine, other, foreign):
        await registered(webhooks, one)
    again = webhooks_of(store_rig, clock)
    assert await again.endpoint(mine.endpoint_id) == mine
    assert await again.endpoints("acme") == [mine, other]
    assert await again.endpoints("nobody") == []
    assert await again.endpoint("whe_..") is None


async def test_registering_again_finds_the_first(webhooks: SqlWebhooks) -> None:
    await registered(webhooks, endpoint())
    other = endpoint(url="https://elsewhere.example", created_ms=NOW_MS + 99)
    assert await webhooks.register(other, NEXT_SECRET) == Registered(
        endpoint(), SECRET, replayed=True
    )


async def test_two_who_register_the_same_at_once_get_the_same(webhooks: SqlWebhooks) -> None:
    both = await asyncio.gather(
        webhooks.register(endpoint(), SECRET), webhooks.register(endpoint(), NEXT_SECRET)
    )
    assert both[0] is not None
    assert both[1] is not None
    assert both[0].secret == both[1].secret
    assert sorted(one.replayed for one in both) == [False, True]


async def test_an_organizer_has_so_many_endpoints_and_no_more(webhooks: SqlWebhooks) -> None:
    for number in range(ENDPOINTS_MAX):
        await registered(webhooks, endpoint(number))
    assert await webhooks.register(endpoint(99), SECRET) is None
    again = await webhooks.register(endpoint(0), SECRET)
    assert again is not None
    assert again.endpoint == endpoint(0)
    await registered(webhooks, endpoint(100, "rival"))
    await webhooks.remove(endpoint(0).endpoint_id)
    await registered(webhooks, endpoint(99))


async def test_what_is_removed_is_gone_with_its_deliveries(webhooks: SqlWebhooks) -> None:
    gone = await registered(webhooks, endpoint(1))
    await registered(webhooks, endpoint(2))
    await webhooks.put([news()])
    await webhooks.remove(gone)
    await webhooks.remove(gone)
    assert await webhooks.endpoint(gone) is None
    assert await webhooks.deliveries(gone, 10) == []
    assert named(await due(webhooks)) == [("2", "msg_1")]
    await registered(webhooks, endpoint(1))
    assert await webhooks.deliveries(gone, 10) == []


async def test_a_former_secret_signs_until_its_time_is_over(
    webhooks: SqlWebhooks, clock: Clock
) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news(1), news(2)])
    await webhooks.rotate(here, NEXT_SECRET, NOW_MS + 1_000)
    (first,) = await due(webhooks, NOW_MS + 999, each=1)
    assert first.secrets == (NEXT_SECRET, SECRET)
    (second,) = await due(webhooks, NOW_MS + 1_000, each=1)
    assert second.secrets == (NEXT_SECRET,)


async def test_a_secret_that_is_replaced_twice_still_signs(
    webhooks: SqlWebhooks, clock: Clock
) -> None:
    """The answer to the first was lost: whoever verifies has the one before."""
    here = await registered(webhooks, endpoint())
    made = [new_secret() for _ in range(SECRETS_MAX + 1)]
    await webhooks.put([news(1), news(2), news(3)])
    await webhooks.rotate(here, made[0], NOW_MS + 1_000)
    await webhooks.rotate(here, made[1], NOW_MS + 2_000)
    (first,) = await due(webhooks, each=1)
    assert first.secrets == (made[1], made[0], SECRET)
    (second,) = await due(webhooks, NOW_MS + 1_500, each=1)
    assert second.secrets == (made[1], made[0])
    for secret in made[2:]:
        await webhooks.rotate(here, secret, NOW_MS + 2_000)
    (third,) = await due(webhooks, each=1)
    assert third.secrets == tuple(reversed(made))[:SECRETS_MAX]


async def test_a_rotation_of_nothing_is_nothing(webhooks: SqlWebhooks) -> None:
    await webhooks.rotate("whe_..", SECRET, NOW_MS)
    assert await webhooks.endpoint("whe_..") is None


async def test_secrets_are_sealed(webhooks: SqlWebhooks, store_rig: StoreRig) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.rotate(here, NEXT_SECRET, NOW_MS + 1_000)
    raw = store_rig.raw()
    assert b"https://example.com/1" in raw, "the test looks in the wrong place"
    for secret in (SECRET, NEXT_SECRET):
        assert secret[6:].encode() not in raw


async def test_secrets_of_older_keys_are_sealed_with_the_newest(
    webhooks: SqlWebhooks, store_rig: StoreRig, clock: Clock
) -> None:
    old = webhooks_of(store_rig, clock, OLD_SECRET)
    here = await registered(old, endpoint())
    await old.rotate(here, NEXT_SECRET, NOW_MS + 1_000)
    await registered(webhooks, endpoint(2))
    newest_only = webhooks_of(store_rig, clock, NEW_SECRET)
    await newest_only.reseal()
    await webhooks.put([news()])
    assert [one.secrets for one in await due(newest_only)] == [(), (SECRET,)]
    await webhooks.reseal()
    found = await due(newest_only, NOW_MS + LEASE_MS)
    assert [one.secrets for one in found] == [(NEXT_SECRET,), (SECRET,)]


# -- who is told -----------------------------------------------------------------------


async def test_endpoints_get_what_they_want_of_their_own_organizer(
    webhooks: SqlWebhooks,
) -> None:
    await registered(webhooks, endpoint(1))
    await registered(webhooks, endpoint(2, "acme", "booking.refunded", "event.changed"))
    await registered(webhooks, endpoint(3, "rival"))
    await webhooks.put(
        [news(1), news(2, "booking.refunded"), news(3, organizer="rival"), news(4, organizer="no")]
    )
    assert sorted(named(await due(webhooks))) == [
        ("1", "msg_1"), ("1", "msg_2"), ("2", "msg_2"), ("3", "msg_3"),
    ]  # fmt: skip


async def test_the_same_again_changes_nothing(webhooks: SqlWebhooks, clock: Clock) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news(1)])
    (first,) = await due(webhooks)
    await webhooks.delivered(first, 204, NOW_MS + 5)
    before = await webhooks.deliveries(here, 10)
    clock.ms += 99
    await webhooks.put([replace(news(1), body=b"{}"), news(1)])
    await webhooks.put_to(here, news(1))
    assert await webhooks.deliveries(here, 10) == before
    assert await due(webhooks, NOW_MS + LEASE_MS) == []


async def test_nothing_to_tell_or_nobody_to_hear_it_is_nothing(webhooks: SqlWebhooks) -> None:
    await webhooks.put([])
    await webhooks.put([news()])
    await webhooks.put_to("whe_..", news())
    here = await registered(webhooks, endpoint())
    assert await webhooks.deliveries(here, 10) == []


async def test_one_endpoint_can_be_told_what_it_has_not_asked_for(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint(1, "acme", "event.changed"))
    await registered(webhooks, endpoint(2))
    await webhooks.put_to(here, news(1, "ping"))
    assert named(await due(webhooks)) == [("1", "msg_1")]


# -- what is due -----------------------------------------------------------------------


async def test_what_is_due_is_given_whole(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news()])
    (one,) = await due(webhooks)
    assert one == DueDelivery(
        one.delivery_id, here, endpoint().url, (SECRET,), "msg_1", "booking.confirmed",
        news().body, 1, NOW_MS + COURIER_GIVE_UP_MS, NOW_MS + LEASE_MS,
    )  # fmt: skip


async def test_nobody_is_given_it_again_until_the_lease_is_over(
    webhooks: SqlWebhooks, store_rig: StoreRig, clock: Clock
) -> None:
    await registered(webhooks, endpoint())
    await webhooks.put([news()])
    (first,) = await due(webhooks)
    other = webhooks_of(store_rig, clock)
    for asked in (webhooks, other):
        assert await due(asked, NOW_MS + LEASE_MS - 1) == []
    (second,) = await due(other, NOW_MS + LEASE_MS)
    assert (second.webhook_id, second.attempts) == (first.webhook_id, 2)


async def test_two_couriers_never_get_the_same(
    webhooks: SqlWebhooks, store_rig: StoreRig, clock: Clock
) -> None:
    for number in range(4):
        await registered(webhooks, endpoint(number))
    await webhooks.put([news(number) for number in range(50)])
    couriers = [webhooks, webhooks_of(store_rig, clock), webhooks_of(store_rig, clock)]
    taken: list[int] = []
    while True:
        rounds = await asyncio.gather(*(due(one, endpoints=3, each=7) for one in couriers))
        taken += [one.delivery_id for found in rounds for one in found]
        if not any(rounds):
            break
    assert len(taken) == len(set(taken)) == 200


async def test_each_endpoint_gets_a_few_and_busy_ones_none(webhooks: SqlWebhooks) -> None:
    for number in (1, 2, 3):
        await registered(webhooks, endpoint(number))
    await webhooks.put([news(number) for number in range(5)])
    busy = endpoint(2).endpoint_id
    found = await due(webhooks, NOW_MS, busy, each=2)
    assert named(found) == [("1", "msg_0"), ("1", "msg_1"), ("3", "msg_0"), ("3", "msg_1")]
    assert [one.url[-1] for one in await due(webhooks, endpoints=1, each=1)] == ["1"]


async def test_those_that_have_waited_longest_come_first(
    webhooks: SqlWebhooks, clock: Clock
) -> None:
    late = await registered(webhooks, endpoint(1))
    await registered(webhooks, endpoint(2))
    await webhooks.put_to(endpoint(2).endpoint_id, news(1))
    clock.ms += 10
    await webhooks.put_to(late, news(2))
    found = await due(webhooks, NOW_MS + 10, endpoints=1)
    assert named(found) == [("2", "msg_1")]


async def test_a_failed_one_comes_back_at_its_time(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news()])
    (first,) = await due(webhooks)
    error = "x" * (STORE_ERROR_CHARS_MAX + 1)
    await webhooks.failed(first, 503, error, NOW_MS + 5_000, NOW_MS + 10)
    kept = await webhooks.delivery(here, "msg_1")
    assert kept is not None
    assert (kept.status, kept.status_code, kept.attempts) == (DeliveryStatus.PENDING, 503, 1)
    assert (kept.error, kept.next_attempt_ms) == (error[:-1], NOW_MS + 5_000)
    assert kept.finished_ms is None
    assert await due(webhooks, NOW_MS + 4_999) == []
    (second,) = await due(webhooks, NOW_MS + 5_000)
    assert second.attempts == 2
    await webhooks.failed(second, None, "no connection", None, NOW_MS + 6_000)
    kept = await webhooks.delivery(here, "msg_1")
    assert kept is not None
    assert (kept.status, kept.status_code) == (DeliveryStatus.GIVEN_UP, None)
    assert kept.finished_ms == NOW_MS + 6_000
    assert await due(webhooks, NOW_MS + COURIER_GIVE_UP_MS) == []


async def test_what_somebody_else_has_taken_since_is_not_noted(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news()])
    (stale,) = await due(webhooks)
    (fresh,) = await due(webhooks, NOW_MS + LEASE_MS)
    await webhooks.delivered(stale, 200, NOW_MS)
    await webhooks.failed(stale, 500, "late", None, NOW_MS)
    kept = await webhooks.delivery(here, "msg_1")
    assert kept is not None
    assert (kept.status, kept.error) == (DeliveryStatus.PENDING, None)
    await webhooks.delivered(fresh, 204, NOW_MS + 1)
    await webhooks.failed(fresh, 500, "late", None, NOW_MS + 2)
    kept = await webhooks.delivery(here, "msg_1")
    assert kept is not None
    assert (kept.status, kept.status_code) == (DeliveryStatus.DELIVERED, 204)
    assert kept.finished_ms == NOW_MS + 1


async def test_to_a_disabled_endpoint_nothing_goes_any_more(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news(1), news(2)])
    (first,) = await due(webhooks, each=1)
    await webhooks.delivered(first, 200, NOW_MS)
    await webhooks.disable(here, "it answered 410 Gone", NOW_MS + 7)
    await webhooks.disable(here, "again", NOW_MS + 8)
    assert await webhooks.endpoint(here) == endpoint(
        disabled_ms=NOW_MS + 7, disabled_reason="it answered 410 Gone"
    )
    await webhooks.put([news(3)])
    await webhooks.put_to(here, news(4))
    assert await due(webhooks) == []
    statuses = [(one.webhook_id, one.status) for one in await webhooks.deliveries(here, 10)]
    assert statuses == [("msg_2", DeliveryStatus.GIVEN_UP), ("msg_1", DeliveryStatus.DELIVERED)]


# -- the log ---------------------------------------------------------------------------


async def test_the_log_is_read_page_by_page(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint(1))
    await registered(webhooks, endpoint(2))
    for number in range(5):
        await webhooks.put([news(number)])
    seen: list[str] = []
    before = None
    while page := await webhooks.deliveries(here, 2, before):
        seen += [one.webhook_id for one in page]
        before = page[-1].delivery_id
    assert seen == ["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"]
    assert await webhooks.delivery(here, "msg_9") is None
    assert await webhooks.delivery("whe_..", "msg_1") is None


async def test_a_replay_begins_from_the_first_attempt(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news()])
    (first,) = await due(webhooks)
    await webhooks.failed(first, 500, "broken", None, NOW_MS + 5)
    later = NOW_MS + 10 * COURIER_GIVE_UP_MS
    await webhooks.replay(here, "msg_1", later)
    (again,) = await due(webhooks, later)
    assert (again.webhook_id, again.attempts) == ("msg_1", 1)
    assert again.give_up_ms == later + COURIER_GIVE_UP_MS
    assert again.body == first.body
    await webhooks.delivered(again, 200, later)
    kept = await webhooks.delivery(here, "msg_1")
    assert kept is not None
    assert (kept.status, kept.error) == (DeliveryStatus.DELIVERED, None)


async def test_whoever_had_it_before_a_replay_notes_nothing(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news()])
    (stale,) = await due(webhooks)
    await webhooks.replay(here, "msg_1", NOW_MS)
    await webhooks.delivered(stale, 200, NOW_MS)
    (again,) = await due(webhooks)
    assert again.webhook_id == "msg_1"


async def test_only_what_has_long_been_over_is_deleted(webhooks: SqlWebhooks) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news(number) for number in range(5)])
    for one in (await due(webhooks))[:3]:
        await webhooks.delivered(one, 200, NOW_MS + int(one.webhook_id[4:]))
    assert await webhooks.prune(NOW_MS + 2, 1) == 1
    assert await webhooks.prune(NOW_MS + 2, 9) == 1
    assert await webhooks.prune(NOW_MS + 2, 9) == 0
    left = [one.webhook_id for one in await webhooks.deliveries(here, 10)]
    assert left == ["msg_4", "msg_3", "msg_2"]


# -- the database is away --------------------------------------------------------------


async def test_whatever_is_asked_of_a_database_that_is_away_says_so(
    webhooks: SqlWebhooks, store_rig: StoreRig
) -> None:
    here = await registered(webhooks, endpoint())
    await webhooks.put([news()])
    (one,) = await due(webhooks)
    store_rig.go_away()
    calls = (
        webhooks.register(endpoint(2), SECRET), webhooks.remove(here),
        webhooks.rotate(here, SECRET, NOW_MS), webhooks.disable(here, "gone", NOW_MS),
        webhooks.put([news(2)]), webhooks.put_to(here, news(3)),
        webhooks.delivered(one, 200, NOW_MS), webhooks.replay(here, "msg_1", NOW_MS),
        webhooks.failed(one, 500, "broken", None, NOW_MS), webhooks.prune(NOW_MS, 1),
    )  # fmt: skip
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in found] == [StoreAway] * len(calls)
    store_rig.come_back()
    # The PostgreSQL of these tests forces nothing to disk, and may come back empty.
    await store_rig.store().migrate()
    assert await webhooks.register(endpoint(2), SECRET) is not None
    assert await webhooks.endpoint(endpoint(2).endpoint_id) == endpoint(2)
