"""With an error planted, the checker of tickets must find it; else the drills prove nothing."""

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from email.message import EmailMessage
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from actors.back_office import clerk
from actors.back_office.clerk import Clerk
from actors.back_office.notices import messages_of
from actors.back_office.postman import Postman
from engine.domain.booking import Booking
from engine.domain.tickets import Ticket, TicketStatus, tickets_of
from engine.journal.embedded import EmbeddedStore
from engine.journal.entry import Entry
from engine.journal.streams import Delivery
from engine.store.connect import Database
from engine.store.contract import MessageStatus, NewMessage
from tests.back_office import ANN, Office, at_work
from tests.calls import Violation
from tests.end_to_end.mail_server import Mail
from tests.end_to_end.tickets import Books, compare, compare_mails, read_books
from tests.end_to_end.verify import journalled
from tests.in_process import BASE

FREE = {"ticket_types": [{"code": "ga", "name": "Standing", "price": 0, "capacity": 100}]}


@pytest.fixture
async def office(redis: Redis, store: EmbeddedStore, tmp_path: Path) -> AsyncIterator[Office]:
    async with at_work(redis, store, tmp_path) as running:
        yield running


async def found(office: Office, event_id: str) -> tuple[list[Entry], Books]:
    """Return the journal and the books of an event."""
    database = Database(office.settings.database_url)
    try:
        books = await read_books(database, event_id)
    finally:
        await database.close()
    return await journalled(office.onsale.redis, event_id), books


async def redelivered(office: Office) -> None:
    """Have the back office perish, and be handed every effect again."""
    await office.close()
    for key in await office.onsale.redis.keys("*:effects"):
        await office.onsale.redis.xgroup_setid(key, "back-office", "0")
    office.open()


# -- errors of ours --------------------------------------------------------------------


async def _killed_in_the_middle(office: Office) -> tuple[list[Entry], Books, str]:
    """Have somebody buy, the back office perish at once and another one take over."""
    event_id = await office.onsale.event("acme", **FREE)
    booking_id = await office.bought(event_id, units=2)
    await asyncio.sleep(0.3)
    await office.close()
    office.open()
    await office.settled()
    return *await found(office, event_id), booking_id


async def test_without_an_error_nothing_is_found(office: Office):
    entries, books, booking_id = await _killed_in_the_middle(office)
    compare(entries, books, [booking_id])


async def test_an_acknowledgement_before_the_books_are_written_is_found(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    """Who perishes then has said that it is done."""

    async def hasty(_self: Clerk, _deliveries: Sequence[Delivery]) -> None:
        """Mean to write later."""

    with monkeypatch.context() as patch:
        patch.setattr(Clerk, "handle", hasty)
        await office.close()
        office.open()
        event_id = await office.onsale.event("acme", **FREE)
        booking_id = await office.bought(event_id, units=2)
        await office.settled()
        await office.close()
    office.open()
    await office.settled()
    with pytest.raises(Violation, match="I8"):
        compare(*await found(office, event_id), [booking_id])


async def test_messages_without_a_dedupe_key_are_found(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    numbers = itertools.count()

    def nameless(*arguments: object) -> list[NewMessage]:
        messages = messages_of(*arguments)  # type: ignore[arg-type]
        return [replace(one, dedupe_key=f"message {next(numbers)}") for one in messages]

    monkeypatch.setattr(clerk, "messages_of", nameless)
    event_id = await office.onsale.event("acme", **FREE)
    booking_id = await office.bought(event_id, units=2)
    await office.settled()
    compare(*await found(office, event_id), [booking_id])
    await redelivered(office)
    await office.settled()
    with pytest.raises(Violation, match="I8: confirmations"):
        compare(*await found(office, event_id), [booking_id])


async def test_tickets_that_are_written_as_they_were_bought_are_found(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    def as_bought(booking: Booking, *, cancelled: bool) -> tuple[Ticket, ...]:
        found = tickets_of(booking, cancelled=cancelled)
        return tuple(replace(one, status=TicketStatus.ACTIVE) for one in found)

    monkeypatch.setattr(clerk, "tickets_of", as_bought)
    event_id = await office.onsale.event("acme", **FREE)
    booking_id = await office.bought(event_id, units=2)
    await office.until(booking_id, "TICKETS_DELIVERED")
    await office.settled()
    compare(*await found(office, event_id), [booking_id])
    acme = office.onsale.token("organizer", "acme")
    answer = await office.onsale.post(f"{BASE}/bookings/{booking_id}/refund", acme)
    assert answer.status_code == 202, answer.text
    await office.settled()
    with pytest.raises(Violation, match="I8: tickets of"):
        compare(*await found(office, event_id), [booking_id])


async def test_a_mail_that_nobody_was_to_be_told_of_is_found(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    """The postman drops letters, and notes them as sent."""

    async def lazy(_self: Postman, *_: object) -> str:
        return "nobody"

    with monkeypatch.context() as patch:
        patch.setattr(Postman, "_send", lazy)
        event_id = await office.onsale.event("acme", **FREE)
        booking_id = await office.bought(event_id, units=2)
        await office.until(booking_id, "TICKETS_DELIVERED")
        await office.settled()
    entries, books = await found(office, event_id)
    compare(entries, books, [booking_id])
    with pytest.raises(Violation, match="I8: letters"):
        compare_mails(_at_the_server(await office.mails()), books.messages, _ann(booking_id))


# -- differences of any kind -----------------------------------------------------------


def _ann(booking_id: str) -> dict[str, str]:
    return {booking_id: str(ANN["email"])}


def _at_the_server(mails: Iterable[EmailMessage]) -> list[Mail]:
    return [Mail(mail["to"], mail["message-id"], mail["subject"], ()) for mail in mails]


def _change(of: str, place: int, **changes: object) -> Callable[[Books], None]:
    def change(books: Books) -> None:
        rows = getattr(books, of)
        rows[place] = replace(rows[place], **changes)

    return change


def _drop(of: str, place: int) -> Callable[[Books], None]:
    return lambda books: getattr(books, of).pop(place)


def _double(of: str, place: int, **changes: object) -> Callable[[Books], None]:
    return lambda books: getattr(books, of).append(replace(getattr(books, of)[place], **changes))


_CHANGES = {
    "a ticket is missing": _drop("tickets", 0),
    "a ticket is there twice": _double("tickets", 0),
    "a ticket too many": _double("tickets", 0, ticket_id="tkt_" + 30 * "0"),
    "a ticket is good again": _change("tickets", 1, status="ACTIVE"),
    "a ticket was used by nobody": _change("tickets", 1, status="USED"),
    "a ticket is another one's": _change("tickets", 0, customer="bob"),
    "a ticket is of another kind": _change("tickets", 0, ticket_type="vip"),
    "a ticket was issued twice": _double("trail", 0),
    "a step of a ticket is missing": _drop("trail", -1),
    "a scan is missing": _drop("scans", 0),
    "a scan was another": _change("scans", 0, result="refused"),
    "a scan is there twice": _double("scans", 0),
    "a message waits": _change("messages", 0, status=MessageStatus.PENDING),
    "an owner was not told": _change("messages", 0, told=False),
    "a confirmation is missing": _drop("messages", 0),
    "a confirmation is there twice": _double("messages", 0),
    "a confirmation was given up": _change("messages", 0, status=MessageStatus.PERMANENTLY_FAILED),
}


async def test_every_difference_between_the_books_is_found(office: Office):
    event_id = await office.onsale.event("acme", **FREE)
    booking_id = await office.bought(event_id, units=2)
    await office.until(booking_id, "TICKETS_DELIVERED")
    await office.settled()
    listed = await office.onsale.get(
        f"{BASE}/bookings/{booking_id}/tickets", office.onsale.token("buyer", "ann")
    )
    code = listed.json()["data"][0]["qr"]
    staff = office.onsale.token("staff", "sam", org="acme")
    scan = {"qr": code, "gate": "North"}
    await office.onsale.post(f"{BASE}/events/{event_id}/check-ins", staff, json=scan)
    acme = office.onsale.token("organizer", "acme")
    one = {"items": [{"ticket_type": "ga", "quantity": 1}]}
    await office.onsale.post(f"{BASE}/bookings/{booking_id}/refund", acme, json=one)
    mails = _at_the_server(await office.mails())
    entries, books = await found(office, event_id)
    assert [one.status for one in books.tickets] == ["USED", "VOID"]

    compare(entries, books, [booking_id])
    assert compare_mails(mails, books.messages, _ann(booking_id)) == 0
    for what, change in _CHANGES.items():
        changed = copy.deepcopy(books)
        change(changed)
        assert _is_found(lambda changed=changed: compare(entries, changed, [booking_id])), what
    assert _is_found(lambda: compare(entries, books, [])), "a confirmation that nobody asked for"

    assert compare_mails([*mails, mails[0]], books.messages, _ann(booking_id)) == 1
    other = replace(mails[0], message_id="<another@example.org>")
    for others in ([*mails, other], mails[1:]):
        ann = _ann(booking_id)
        assert _is_found(lambda others=others, ann=ann: compare_mails(others, books.messages, ann))


def _is_found(check: Callable[[], object]) -> bool:
    try:
        check()
    except Violation as violation:
        return violation.invariant in ("I8", "I9")
    return False
