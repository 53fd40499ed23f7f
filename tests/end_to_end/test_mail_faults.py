"""Mail servers that are down, slow, hang, refuse and put off, under the whole service."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from engine.store.connect import Database
from engine.store.schema import PENDING, messages
from tests.end_to_end.office import Counter, Office, address_of, counter_of
from tests.end_to_end.till import Purchase
from tests.stripe_sandbox import Refused

CONFIRMATION = "order_confirmation"
_SECONDS = 30.0


async def _until_mailed(counter: Counter, *purchases: Purchase) -> None:
    """Return once the server has taken a mail to one of them."""
    deadline = time.monotonic() + _SECONDS
    while not any(counter.mails_to(one) for one in purchases):
        assert time.monotonic() < deadline, "nobody was written to"
        await asyncio.sleep(0.02)


async def _until_told(counter: Counter, purchase: Purchase, *told: tuple[str, str, int]) -> None:
    deadline = time.monotonic() + _SECONDS
    while (found := await counter.told(purchase)) != list(told):
        assert time.monotonic() < deadline, f"they were told {found}"
        await asyncio.sleep(0.05)


async def _go_forward(office: Office) -> None:
    """Have the pauses of all letters be over."""
    database = Database(office.rig.url)
    try:
        async with database.writing() as connection:
            await connection.execute(update(messages).where(PENDING).values(next_attempt_ms=0))
    finally:
        await database.close()


@pytest.mark.parametrize("down_seconds", [1.0, pytest.param(120.0, marks=pytest.mark.drill)])
async def test_a_server_that_was_down_gets_every_mail_and_no_attempt_was_lost(
    office: Office, down_seconds: float
):
    """It dies with a mail in hand that it has taken: this one comes again."""
    async with counter_of(office, 20) as counter:
        with office.mail.ordered(silent=True):
            ann = await counter.bought("ann", 2)
            await _until_mailed(counter, ann)
            office.mail.kill()
        others = [await counter.bought(f"buyer-{number}") for number in range(4)]
        await asyncio.sleep(down_seconds)
        for one in (ann, *others):
            await _until_told(counter, one, (CONFIRMATION, "PENDING", 0))
        assert len(counter.mails_to(ann)) == 1
        office.mail.start()
        assert await counter.settled() == 1
        for one in (ann, *others):
            assert await counter.told(one) == [(CONFIRMATION, "SENT", 1)]
        await counter.delivered(ann, *others)


@pytest.mark.parametrize("waits", [False, pytest.param(True, marks=pytest.mark.drill)])
async def test_who_is_refused_is_given_up_who_is_put_off_is_asked_again_and_others_get_theirs(
    office: Office, *, waits: bool
):
    async with counter_of(office, 20) as counter:
        refused, put_off = await counter.held("bob"), await counter.held("cid")
        office.mail.order(
            refused=(address_of("bob", refused),), greylisted=(address_of("cid", put_off),)
        )
        bob = await counter.opened("bob", booking_id=refused)
        cid = await counter.opened("cid", booking_id=put_off)
        for one in (bob, cid):
            counter.sandbox.pay(one.intent_id)
        ann = await counter.bought("ann", 2)
        await _until_told(counter, ann, (CONFIRMATION, "SENT", 1))
        await _until_told(counter, bob, (CONFIRMATION, "PERMANENTLY_FAILED", 1))
        await _until_told(counter, cid, (CONFIRMATION, "PENDING", 1))
        (shown,) = (await counter.notifications(bob)).json()["data"]
        assert (shown["error"], shown["next_attempt_at"]) == ("550 5.1.1", None)
        (shown,) = (await counter.notifications(cid)).json()["data"]
        assert shown["error"] == "450 4.2.0"
        pause = datetime.fromisoformat(shown["next_attempt_at"]) - datetime.now(UTC)
        assert 30.0 < pause.total_seconds() < 80.0
        if waits:
            await asyncio.sleep(pause.total_seconds())
        else:
            await _go_forward(office)
        assert await counter.settled() == 0
        assert await counter.told(cid) == [(CONFIRMATION, "SENT", 2)]
        assert counter.mails_to(bob) == []
        await counter.delivered(ann, cid)
        assert await counter.status(bob) == "CONFIRMED"


async def test_a_card_that_is_declined_is_told_by_mail(office: Office):
    async with counter_of(office, 20) as counter:
        ann = await counter.opened("ann", 2)
        with pytest.raises(Refused):
            counter.sandbox.pay(ann.intent_id, "pm_card_chargeDeclined")
        await counter.becomes(ann, "PAYMENT_FAILED")
        await _until_told(counter, ann, ("payment_failed", "SENT", 1))
        (mail,) = counter.mails_to(ann)
        assert mail.attachments == ()
        counter.sandbox.pay(ann.intent_id)
        await counter.has_tickets(ann)
        await counter.settled()
        kinds = [kind for kind, _, _ in await counter.told(ann)]
        assert kinds == ["payment_failed", CONFIRMATION]


@pytest.mark.drill
@pytest.mark.parametrize("answers_after_seconds", [3.0, 25.0])
async def test_a_slow_server_holds_up_mails_and_nobody_else(
    office: Office, answers_after_seconds: float
):
    """The second is too slow for us: what it has taken comes again under its Message-ID."""
    async with counter_of(office, 200) as counter:
        with office.mail.ordered(answers_after_seconds=answers_after_seconds):
            bought = await asyncio.gather(
                *(counter.bought(f"buyer-{number}", 2) for number in range(24))
            )
            await _until_mailed(counter, *bought)
            for number in range(50):
                began = time.monotonic()
                await counter.held(f"other-{number}")
                assert time.monotonic() - began < 5.0
            if answers_after_seconds > 20.0:
                await asyncio.sleep(30.0)
        for number in range(50):
            await counter.buyers.release(f"other-{number}", _booking(counter, f"other-{number}"))
        again = await counter.settled(180.0)
        assert (again > 0) == (answers_after_seconds > 20.0)
        await counter.delivered(*bought)


def _booking(counter: Counter, customer: str) -> str:
    (seen,) = [call.seen for call in counter.buyers.calls if call.customer == customer]
    assert seen is not None
    return seen.booking_id
