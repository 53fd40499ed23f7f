"""Webhooks from the database to a real server, and what stands in the log afterwards."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from actors.back_office import courier as module
from actors.back_office.courier import Courier
from actors.back_office.posting import Poster
from actors.back_office.signing import new_secret
from actors.back_office.targets import Names, Targets
from engine.back_office_limits import COURIER_ANSWER_BYTES_MAX, COURIER_LEASE_MS
from engine.store.connect import default_url
from engine.store.sql import SqlBackOffice, open_store
from engine.store.vault import Vault
from engine.store.webhook_contract import (
    Announcement,
    DeliveryStatus,
    WebhookDelivery,
    WebhookEndpoint,
)
from engine.store.webhooks import SqlWebhooks
from tests.receiver import Behaviour, Receiver, answer, drip, hang, never_end, receiving

KEY = b"k" * 32
SECRET = new_secret()
BODY = '{"type":"booking.confirmed","data":{"name":"Grünspan"}}'.encode()
HERE, OTHER = "whe_0000000000000001", "whe_0000000000000002"
#: Longest that a test waits, seconds.
_PATIENCE_SECONDS = 20.0


class Clock:
    """The machine's time, and what a test adds to it."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        import time

        return time.time_ns() // 1_000_000 + self.ahead_ms


class Post:
    """The database, a courier, and endpoints of acme's."""

    def __init__(self, directory: Path) -> None:
        self.url = default_url(directory)
        self.clock = Clock()
        vault = Vault((KEY,))
        self.store: SqlBackOffice = open_store(self.url, vault)
        self.webhooks = SqlWebhooks(self.store.database, vault, self.clock)
        self.private = True

    async def register(self, url: str, endpoint_id: str = HERE) -> None:
        one = WebhookEndpoint(endpoint_id, "acme", url, (), self.clock())
        assert await self.webhooks.register(one, SECRET) is not None

    async def announce(self, *numbers: int) -> None:
        await self.webhooks.put(
            [Announcement(f"msg_{n}", "acme", "booking.confirmed", BODY) for n in numbers]
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        poster = Poster()
        targets = Targets(Names(4), private=self.private)
        courier = Courier(self.webhooks, targets, poster, self.clock, lambda: 0.0)
        task = asyncio.create_task(courier.work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await poster.close()
        assert task.cancelled(), task.exception()

    async def delivery(self, number: int = 1, endpoint_id: str = HERE) -> WebhookDelivery:
        found = await self.webhooks.delivery(endpoint_id, f"msg_{number}")
        assert found is not None
        return found

    async def attempted(self, times: int, number: int = 1) -> WebhookDelivery:
        """Return a delivery when an attempt of it has been noted."""

        async def noted() -> bool:
            found = await self.delivery(number)
            over = found.finished_ms is not None or found.error is not None
            return over and found.attempts >= times

        await until(noted)
        return await self.delivery(number)

    async def delivered(self, *numbers: int, endpoint_id: str = HERE) -> None:
        async def arrived() -> bool:
            found = [await self.delivery(number, endpoint_id) for number in numbers]
            return all(one.status is DeliveryStatus.DELIVERED for one in found)

        await until(arrived)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)


@pytest.fixture
async def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    monkeypatch.setattr(module, "COURIER_POLL_SECONDS", 0.02)
    office = Post(tmp_path)
    await office.store.migrate()
    yield office
    await office.store.close()


def ids(receiver: Receiver) -> list[str]:
    return [got.headers["webhook-id"] for got in receiver.got]


async def test_a_webhook_arrives_and_the_standards_library_verifies_it(post: Post) -> None:
    async with receiving(answer(204)) as receiver:
        await post.register(receiver.url)
        await post.announce(1)
        async with post.working():
            await post.delivered(1)
    (got,) = receiver.got
    assert Webhook(SECRET).verify(got.body, got.headers)["data"]["name"] == "Grünspan"
    kept = await post.delivery()
    assert (kept.attempts, kept.status_code, kept.error) == (1, 204, None)


async def test_what_is_not_taken_comes_again_under_its_id_with_a_new_signature(
    post: Post,
) -> None:
    async with receiving(answer(500), answer(200)) as receiver:
        await post.register(receiver.url)
        await post.announce(1)
        async with post.working():
            failed = await post.attempted(1)
            assert (failed.status, failed.status_code) == (DeliveryStatus.PENDING, 500)
            post.clock.ahead_ms += 5_000
            await post.delivered(1)
    first, second = receiver.got
    assert ids(receiver) == ["msg_1", "msg_1"]
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 5
    for got in (first, second):
        Webhook(SECRET).verify(got.body, got.headers)
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


async def test_while_a_secret_is_replaced_both_sign(post: Post) -> None:
    newer = new_secret()
    async with receiving(answer(200)) as receiver:
        await post.register(receiver.url)
        await post.webhooks.rotate(HERE, newer, post.clock() + 60_000)
        await post.announce(1)
        async with post.working():
            await post.delivered(1)
    for secret in (SECRET, newer):
        Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)


async def test_gone_disables_the_endpoint_and_no_other(post: Post) -> None:
    async with receiving(answer(410)) as gone, receiving(answer(200)) as other:
        await post.register(gone.url)
        await post.register(other.url, OTHER)
        await post.announce(1)
        async with post.working():
            await post.attempted(1)
            await post.delivered(1, endpoint_id=OTHER)

            async def disabled() -> bool:
                endpoint = await post.webhooks.endpoint(HERE)
                return endpoint is not None and endpoint.disabled_ms is not None

            await until(disabled)
            await post.announce(2)
            await post.delivered(2, endpoint_id=OTHER)
    assert len(gone.got) == 1
    assert (await post.delivery()).status is DeliveryStatus.GIVEN_UP


@pytest.mark.parametrize("behaviour", [hang, drip])
async def test_who_does_not_answer_in_time_is_asked_again_and_holds_up_nobody(
    post: Post, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COURIER_ATTEMPT_SECONDS_MAX", 1.0)
    async with receiving(behaviour) as slow, receiving(answer(200)) as other:
        await post.register(slow.url)
        await post.register(other.url, OTHER)
        await post.announce(*range(1, 31))
        async with post.working():
            await post.delivered(*range(1, 31), endpoint_id=OTHER)
            failed = await post.attempted(1)
    assert (failed.status, failed.status_code) == (DeliveryStatus.PENDING, None)
    assert failed.error == "no answer in time"


@pytest.mark.parametrize(
    "behaviour", [never_end, answer(200, b"x" * 100 * COURIER_ANSWER_BYTES_MAX)]
)
async def test_a_huge_answer_is_an_answer(post: Post, behaviour: Behaviour) -> None:
    async with receiving(behaviour) as receiver:
        await post.register(receiver.url)
        await post.announce(1)
        async with post.working():
            await post.delivered(1)


async def test_a_redirect_is_not_followed_and_not_an_arrival(post: Post) -> None:
    async with (
        receiving(answer(200)) as inside,
        receiving(answer(307, location=inside.url)) as receiver,
    ):
        await post.register(receiver.url)
        await post.announce(1)
        async with post.working():
            failed = await post.attempted(1)
    assert (failed.status, failed.status_code) == (DeliveryStatus.PENDING, 307)
    assert inside.got == []


async def test_what_was_registered_is_checked_again_when_it_is_sent(post: Post) -> None:
    """As if the name had been public then; or the operator has closed the network since."""
    post.private = False
    async with receiving(answer(200)) as receiver:
        await post.register(receiver.url)
        await post.announce(1)
        async with post.working():
            failed = await post.attempted(1)
    assert failed.error == "leads to an address that is not public"
    assert receiver.connections == 0


async def test_a_replay_arrives_under_the_same_id(post: Post) -> None:
    async with receiving(answer(200)) as receiver:
        await post.register(receiver.url)
        await post.announce(1)
        async with post.working():
            await post.delivered(1)
            await post.webhooks.replay(HERE, "msg_1", post.clock())

            async def twice() -> bool:
                return len(receiver.got) == 2

            await until(twice)
            await post.delivered(1)
    assert ids(receiver) == ["msg_1", "msg_1"]


#: A courier over the database of its first argument.
_COURIER = """
import asyncio, sys
from actors.back_office.courier import Courier
from actors.back_office.posting import Poster
from actors.back_office.targets import Names, Targets
from engine.store.sql import open_store
from engine.store.vault import Vault
from engine.store.webhooks import SqlWebhooks

async def main():
    vault = Vault((b"k" * 32,))
    webhooks = SqlWebhooks(open_store(sys.argv[1], vault).database, vault)
    await Courier(webhooks, Targets(Names(4), private=True), Poster()).work()

asyncio.run(main())
"""


async def test_a_courier_that_is_killed_after_sending_sends_the_same_again(post: Post) -> None:
    """The far side may have it twice; it sees by the id that it is the same."""
    async with receiving(hang, answer(200)) as receiver:
        await post.register(receiver.url)
        await post.announce(1)
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", _COURIER, post.url)
        try:
            await asyncio.wait_for(receiver.arrived.wait(), _PATIENCE_SECONDS)
        finally:
            killed.kill()
            await killed.wait()
        kept = await post.delivery()
        assert (kept.status, kept.attempts, kept.error) == (DeliveryStatus.PENDING, 1, None)
        post.clock.ahead_ms += COURIER_LEASE_MS
        async with post.working():
            await post.delivered(1)
    assert ids(receiver) == ["msg_1", "msg_1"]
    assert (await post.delivery()).attempts == 2
