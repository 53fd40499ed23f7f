"""With an error planted, the checker of webhooks must find it; else the drill proves nothing."""

import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from standardwebhooks.webhooks import WebhookVerificationError

from actors.back_office import announcements, signing
from actors.back_office.clerk import Clerk
from engine.journal.embedded import EmbeddedStore
from engine.journal.entry import Entry
from engine.journal.streams import Delivery
from engine.store.connect import Database
from engine.store.webhook_contract import Announcement
from tests.back_office import Office, at_work
from tests.calls import Violation
from tests.end_to_end.announced import Mailbox, Taken, compare, listening
from tests.end_to_end.verify import journalled
from tests.in_process import BASE
from tests.receiver import answer

FREE = {"ticket_types": [{"code": "ga", "name": "Standing", "price": 0, "capacity": 100}]}


@pytest.fixture
async def office(redis: Redis, store: EmbeddedStore, tmp_path: Path) -> AsyncIterator[Office]:
    async with at_work(redis, store, tmp_path, private_targets=True) as running:
        yield running


async def registered(office: Office, mailbox: Mailbox) -> None:
    await office.settled()
    acme = office.onsale.token("organizer", "acme")
    path = f"{BASE}/webhook-endpoints"
    answered = await office.onsale.post(path, acme, json=mailbox.registration)
    assert answered.status_code == 201, answered.text
    mailbox.registered(answered.json())


async def a_bit_of_everything(office: Office) -> str:
    """Have somebody buy two tickets, go in with one and get the other one refunded."""
    onsale = office.onsale
    event_id = await onsale.event("acme", **FREE)
    booking_id = await office.bought(event_id, units=2)
    await office.until(booking_id, "TICKETS_DELIVERED")
    path = f"{BASE}/bookings/{booking_id}"
    listed = await onsale.get(f"{path}/tickets", onsale.token("buyer", "ann"))
    scan = {"qr": listed.json()["data"][0]["qr"], "gate": "North"}
    staff = onsale.token("staff", "sam", org="acme")
    for _ in range(2):  # the second one is refused, and not told
        await onsale.post(f"{BASE}/events/{event_id}/check-ins", staff, json=scan)
    acme = onsale.token("organizer", "acme")
    one = {"items": [{"ticket_type": "ga", "quantity": 1}]}
    answered = await onsale.post(f"{path}/refund", acme, json=one)
    assert answered.status_code == 202, answered.text
    renamed = {"name": "Another Night"}
    answered = await onsale.ask("PATCH", f"{BASE}/events/{event_id}", acme, json=renamed)
    assert answered.status_code == 200, answered.text
    return event_id


async def arrived(office: Office, mailbox: Mailbox) -> None:
    """Return when everything that is in the books has arrived."""
    await office.settled()
    database = Database(office.settings.database_url)
    try:
        await mailbox.settled(database)
    finally:
        await database.close()


async def journals(office: Office, event_id: str) -> dict[str, list[Entry]]:
    return {event_id: await journalled(office.onsale.redis, event_id)}


async def redelivered(office: Office) -> None:
    """Have the back office perish, and be handed every effect again."""
    await office.close()
    for key in await office.onsale.redis.keys("*:effects"):
        await office.onsale.redis.xgroup_setid(key, "back-office", "0")
    office.open()


# -- errors of ours --------------------------------------------------------------------


async def test_without_an_error_nothing_is_found(office: Office):
    async with listening(answer(500), answer(200)) as mailbox:
        await registered(office, mailbox)
        event_id = await a_bit_of_everything(office)
        await arrived(office, mailbox)
        await redelivered(office)
        await arrived(office, mailbox)
    assert compare(await journals(office, event_id), mailbox.taken) == 1
    assert len({one.webhook_id for one in mailbox.taken}) == 5


async def test_an_acknowledgement_before_it_is_left_to_be_sent_is_found(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    async def hasty(_self: Clerk, _deliveries: Sequence[Delivery]) -> None:
        """Mean to write later."""

    async with listening(answer(200)) as mailbox:
        await registered(office, mailbox)
        with monkeypatch.context() as patch:
            patch.setattr(Clerk, "handle", hasty)
            await office.close()
            office.open()
            event_id = await office.onsale.event("acme", **FREE)
            await office.bought(event_id)
            await office.settled()
            await office.close()
        office.open()
        await arrived(office, mailbox)
    with pytest.raises(Violation, match="I9"):
        compare(await journals(office, event_id), mailbox.taken)


async def test_ids_that_do_not_follow_from_the_effect_are_found(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    numbers, of = itertools.count(), announcements.of

    def nameless(*arguments: object) -> Announcement | None:
        found = of(*arguments)  # type: ignore[arg-type]
        return found and replace(found, webhook_id=f"msg_{next(numbers)}")

    monkeypatch.setattr(announcements, "of", nameless)
    async with listening(answer(200)) as mailbox:
        await registered(office, mailbox)
        event_id = await office.onsale.event("acme", **FREE)
        await office.bought(event_id)
        await arrived(office, mailbox)
        compare(await journals(office, event_id), mailbox.taken)
        await redelivered(office)
        await arrived(office, mailbox)
    with pytest.raises(Violation, match="I8: not in the journal, or under more ids"):
        compare(await journals(office, event_id), mailbox.taken)


async def test_a_signature_of_somebody_else_is_found(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    genuine = signing.headers

    def forged(_secrets: Sequence[str], *rest: object) -> dict[str, str]:
        return genuine([signing.new_secret()], *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(signing, "headers", forged)

    async def told() -> None:
        async with listening(answer(200)) as mailbox:
            await registered(office, mailbox)
            await office.bought(await office.onsale.event("acme", **FREE))
            await arrived(office, mailbox)

    with pytest.raises(WebhookVerificationError):
        await told()


# -- differences of any kind -----------------------------------------------------------


async def test_every_difference_from_the_journal_is_found(office: Office):
    async with listening(answer(200)) as mailbox:
        await registered(office, mailbox)
        event_id = await a_bit_of_everything(office)
        await arrived(office, mailbox)
    entries = await journals(office, event_id)
    taken = mailbox.taken
    assert compare(entries, taken) == 0
    assert compare(entries, [*taken, taken[0]]) == 1
    for place, one in enumerate(taken):
        assert found("I9", entries, taken[:place] + taken[place + 1 :])
        assert found("I8", entries, [*taken, replace(one, webhook_id="msg_other")])
        later = one.body.replace(b'"sequence":', b'"sequence":9')
        assert found("I8", entries, [*taken, replace(one, body=later)])
        assert found("I8", entries, [*taken, Taken("msg_other", later)])
    assert found("I8", {}, taken)


def found(invariant: str, entries: dict[str, list[Entry]], taken: list[Taken]) -> bool:
    try:
        compare(entries, taken)
    except Violation as violation:
        return violation.invariant == invariant
    return False
