"""Where a buyer is reached: kept sealed until the booking is theirs, and shown on their tickets."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.journal.embedded import EmbeddedStore
from tests.back_office import ANN, Office, at_work
from tests.in_process import BASE, InProcess
from tests.paying import Shop
from tests.reading_codes import text_of

FREE = {"ticket_types": [{"code": "ga", "name": "Standing", "price": 0, "capacity": 100}]}
PAYMENT = f"{BASE}/bookings/{{}}/payment-intent"


async def contact_keys(redis: Redis) -> list[bytes]:
    return sorted(await redis.keys("*:contact:*"))


async def test_a_contact_is_sealed_and_does_not_stay(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme")
    booking_id = await shop.held(event_id, ga=1)
    answer = await shop.pay(booking_id, json={"contact": ANN})
    assert answer.status_code == 201, answer.text

    (key,) = await contact_keys(shop.onsale.redis)

    sealed = await shop.onsale.redis.get(key)
    assert ANN["email"].encode() not in sealed
    contact = shop.onsale.vault.open_contact(sealed)
    assert (contact.email, contact.name, contact.locale) == tuple(ANN.values())
    assert 0 < await shop.onsale.redis.ttl(key) <= 7 * 86_400


async def test_the_newest_contact_counts(shop: Shop) -> None:
    event_id = await shop.onsale.event("acme")
    booking_id = await shop.held(event_id, ga=1)
    for name in ("Ann", "Annabel"):
        await shop.pay(booking_id, json={"contact": {**ANN, "name": name}})
    (key,) = await contact_keys(shop.onsale.redis)
    assert shop.onsale.vault.open_contact(await shop.onsale.redis.get(key)).name == "Annabel"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"contact": ANN, "holders": ["Ann", "Bob"]}, "/holders"),
        ({"holders": ["Ann"]}, "/contact"),
        ({"contact": {**ANN, "email": "nobody"}}, "/contact/email"),
        ({"contact": {**ANN, "email": "a@b\r\nBcc: c@d"}}, "/contact/email"),
        ({"contact": {**ANN, "name": "Ann\r\nBcc: c@d"}}, "/contact/name"),
        ({"contact": {**ANN, "locale": "../../en"}}, "/contact/locale"),
    ],
)
async def test_what_cannot_be_is_named_and_nothing_is_kept(
    onsale: InProcess, body: dict[str, object], pointer: str
) -> None:
    event_id = await onsale.event("acme", **FREE)
    booking_id = (await onsale.held(event_id, "ann", ga=1))["id"]
    async with onsale.unchanged():
        answer = await onsale.post(
            PAYMENT.format(booking_id), onsale.token("buyer", "ann"), json=body
        )
        assert answer.status_code == 422, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_nobody_leaves_a_contact_with_somebody_elses_booking(onsale: InProcess) -> None:
    event_id = await onsale.event("acme", **FREE)
    booking_id = (await onsale.held(event_id, "ann", ga=1))["id"]
    async with onsale.unchanged():
        answer = await onsale.post(
            PAYMENT.format(booking_id), onsale.token("buyer", "mallory"), json={"contact": ANN}
        )
        assert answer.status_code == 404


async def test_a_confirmed_booking_keeps_the_contact_that_it_was_confirmed_with(
    redis: Redis, store: EmbeddedStore, tmp_path: Path
) -> None:
    async with at_work(redis, store, tmp_path) as office:
        event_id = await office.onsale.event("acme", **FREE)
        booking_id = await office.bought(event_id)
        await office.until(booking_id, "TICKETS_DELIVERED")
        ann = office.onsale.token("buyer", "ann", email="other@example.org")
        again = await office.onsale.post(PAYMENT.format(booking_id), ann)
        assert again.status_code == 200, again.text
        await office.settled()
        contact = await office.onsale.store.contact(booking_id)
        assert contact is not None
        assert contact.email == ANN["email"]


async def test_holders_stand_on_the_tickets_and_their_absence_stops_nobody(
    redis: Redis, store: EmbeddedStore, tmp_path: Path
) -> None:
    async with at_work(redis, store, tmp_path) as office:
        event_id = await office.onsale.event("acme", **FREE)
        booking_id = await office.bought(event_id, holders=["Leslie Knope"], units=2)
        await office.until(booking_id, "TICKETS_DELIVERED")
        assert "Leslie Knope" in await pdf_text(office, booking_id)
        assert ANN["name"] in await pdf_text(office, booking_id), "of the one nobody was named for"
        await office.settled()
        await office.close()
        database = tmp_path / "onsale.db"
        await office.onsale.store.close()
        database.rename(tmp_path / "away.db")
        database.mkdir()
        assert "Leslie Knope" not in await pdf_text(office, booking_id)
        listed = await office.onsale.get(
            f"{BASE}/bookings/{booking_id}/notifications", office.onsale.token("buyer", "ann")
        )
        assert listed.json()["code"] == "back_office_unavailable"
        assert "retry-after" in listed.headers
        # Another one is bought while the books are away, and its contact waits for them.
        await office.bought(event_id, "bob")


async def pdf_text(office: Office, booking_id: str) -> str:
    answer = await office.onsale.get(
        f"{BASE}/bookings/{booking_id}/tickets.pdf", office.onsale.token("buyer", "ann")
    )
    assert answer.status_code == 200, answer.text
    return text_of(answer.content)
