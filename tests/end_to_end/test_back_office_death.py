"""Kill -9 the back office between side effect and acknowledgement (FAULTS.md, 18 and 4)."""

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest

from engine.domain.records import TicketsDelivered
from engine.journal.connect import connect
from engine.journal.keys import event_keys, partition_keys, partition_of
from engine.journal.stream_fields import TO
from tests.calls import Violation
from tests.end_to_end.office import Counter, Office, counter_of
from tests.end_to_end.service import ROOT
from tests.end_to_end.till import Purchase

_SECONDS = 20.0


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not await condition():
        assert time.monotonic() < deadline, f"not so: {what}"
        await asyncio.sleep(0.01)


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


# -- seam after seam -------------------------------------------------------------------


async def _before_the_books_are_written(counter: Counter) -> Purchase:
    with counter.office.nobody_writes():
        ann = await counter.bought("ann", 2)
        await _until(lambda: _behind(counter), "an effect is in hand")
        await asyncio.sleep(0.5)
        await counter.office.kill()
    return ann


async def _after_the_books_are_written(counter: Counter) -> Purchase:
    """They are, and the store hears of it no more."""
    office = counter.office
    back_office = (await office.at_work()).pid
    with office.nobody_writes():
        ann = await counter.bought("ann", 2)
        await _until(lambda: _behind(counter), "an effect is in hand")
        await asyncio.sleep(0.5)
        store = office.service.store()
        os.kill(store, signal.SIGSTOP)
    try:
        await _until(lambda: _is_entered(counter), "the tickets are in the books")
        os.kill(back_office, signal.SIGKILL)
    finally:
        os.kill(store, signal.SIGCONT)
    assert await counter.shop.behind(counter.event_id), "it was acknowledged"
    return ann


async def _after_the_mail_is_taken(counter: Counter) -> Purchase:
    with counter.office.mail.ordered(silent=True):
        ann = await counter.bought("ann", 2)
        await _until(lambda: _is_mailed(counter, ann), "the mail is there")
        await counter.office.kill()
    return ann


async def _before_it_is_noted_that_the_mail_is_taken(counter: Counter) -> Purchase:
    with counter.office.mail.ordered(silent=True):
        ann = await counter.bought("ann", 2)
        await _until(lambda: _is_mailed(counter, ann), "the mail is there")
        with counter.office.nobody_writes():
            counter.office.mail.order(silent=False)
            await asyncio.sleep(0.5)
            await counter.office.kill()
    return ann


async def _before_the_owner_is_told(counter: Counter) -> Purchase:
    with counter.office.mail.ordered(silent=True):
        ann = await counter.bought("ann", 2)
        await _until(lambda: _is_mailed(counter, ann), "the mail is there")
        owner = await counter.office.service.owner(counter.event_id)
        assert owner is not None
        with _frozen(owner.pid):
            counter.office.mail.order(silent=False)
            await _until(lambda: _is_sent(counter), "it is noted")
            await counter.office.kill()
    return ann


async def _before_it_is_noted_that_the_owner_knows(counter: Counter) -> Purchase:
    with counter.office.mail.ordered(silent=True):
        ann = await counter.bought("ann", 2)
        await _until(lambda: _is_mailed(counter, ann), "the mail is there")
        owner = await counter.office.service.owner(counter.event_id)
        assert owner is not None
        with _frozen(owner.pid):
            counter.office.mail.order(silent=False)
            await _until(lambda: _is_sent(counter), "it is noted")
            with counter.office.nobody_writes():
                os.kill(owner.pid, signal.SIGCONT)
                await _until(lambda: _is_delivered(counter), "the owner knows")
                await counter.office.kill()
    return ann


async def _behind(counter: Counter) -> bool:
    return await counter.shop.behind(counter.event_id) > 0


async def _is_entered(counter: Counter) -> bool:
    return len((await counter.office.books(counter.event_id)).tickets) == 2


async def _is_mailed(counter: Counter, purchase: Purchase) -> bool:
    return bool(counter.mails_to(purchase))


async def _is_sent(counter: Counter) -> bool:
    messages = (await counter.office.books(counter.event_id)).messages
    return [one.status.value for one in messages] == ["SENT"]


async def _is_delivered(counter: Counter) -> bool:
    return bool(await counter.records(TicketsDelivered))


@pytest.mark.parametrize(
    ("dies", "again"),
    [
        pytest.param(_before_the_books_are_written, 0, marks=pytest.mark.drill),
        (_after_the_books_are_written, 0),
        (_after_the_mail_is_taken, 1),
        pytest.param(_before_it_is_noted_that_the_mail_is_taken, 1, marks=pytest.mark.drill),
        pytest.param(_before_the_owner_is_told, 0, marks=pytest.mark.drill),
        (_before_it_is_noted_that_the_owner_knows, 0),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
async def test_killed_between_an_act_and_its_note_it_does_nothing_twice(
    office: Office, dies: Callable[[Counter], Awaitable[Purchase]], again: int
):
    """A mail may come again where nobody knows whether it was taken, under its Message-ID."""
    async with counter_of(office, 10) as counter:
        ann = await dies(counter)
        assert await counter.settled() == again
        await counter.delivered(ann)
        assert len(await counter.records(TicketsDelivered)) == 1
        (mail, *others) = counter.mails_to(ann)
        assert others == [mail] * again
        assert "application/pdf" in mail.attachments


# -- the scans -------------------------------------------------------------------------


async def _scan_at_two_gates(counter: Counter, code: str) -> None:
    for gate, result in (("North", "admitted"), ("South", "refused")):
        assert (await counter.gates.scan(gate, code))["result"] == result


async def _before_the_scans_are_written(counter: Counter, code: str) -> None:
    with counter.office.nobody_writes():
        await _scan_at_two_gates(counter, code)
        await _until(lambda: _behind(counter), "scans are in hand")
        await asyncio.sleep(0.5)
        await counter.office.kill()


async def _after_the_scans_are_written(counter: Counter, code: str) -> None:
    """They are, and the store hears of it no more."""
    office = counter.office
    back_office = (await office.at_work()).pid
    with office.nobody_writes():
        await _scan_at_two_gates(counter, code)
        await _until(lambda: _behind(counter), "scans are in hand")
        await asyncio.sleep(0.5)
        store = office.service.store()
        os.kill(store, signal.SIGSTOP)
    try:
        await _until(lambda: _has_scans(counter), "the scans are in the books")
        os.kill(back_office, signal.SIGKILL)
    finally:
        os.kill(store, signal.SIGCONT)
    assert await counter.shop.behind(counter.event_id), "they were acknowledged"


async def _has_scans(counter: Counter) -> bool:
    return bool((await counter.office.books(counter.event_id)).scans)


@pytest.mark.parametrize(
    "dies",
    [
        pytest.param(_before_the_scans_are_written, marks=pytest.mark.drill),
        _after_the_scans_are_written,
    ],
    ids=lambda dies: dies.__name__.strip("_"),
)
async def test_killed_between_the_log_of_scans_and_its_note_each_is_logged_once(
    office: Office, dies: Callable[[Counter, str], Awaitable[None]]
):
    """Flagged by what was before it, and not by itself when it is handed out again."""
    async with counter_of(office, 10) as counter:
        ann = await counter.bought("ann", 2)
        code, _ = await counter.codes(ann)
        await counter.settled()
        killed = await office.at_work()
        await dies(counter, code)
        assert (await office.next_one(killed)).pid != killed.pid
        await counter.settled()
        books = await office.books(counter.event_id)
        logged = [(scan.result, scan.gate, scan.flags) for scan in books.scans]
        assert logged == [("admitted", "North", ()), ("refused", "South", ("two_gates",))]
        became = [line.status for line in books.trail if line.cause == "scanned"]
        assert became == ["USED"]


# -- at any moment ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("buyers", "kills"), [(24, 2), pytest.param(300, 12, marks=pytest.mark.drill)]
)
async def test_killed_again_and_again_while_many_buy_return_and_go_in_nothing_is_lost(
    office: Office, buyers: int, kills: int
):
    seed = random.randrange(1 << 32)
    log = logging.getLogger(__name__)
    log.warning("seed %d", seed)
    chance = random.Random(seed)
    async with counter_of(office, 2 * buyers) as counter:

        async def buy(number: int) -> None:
            await asyncio.sleep(chance.uniform(0.0, 1.5))
            one = await counter.paid(f"buyer-{number}", 2)
            await counter.has_tickets(one)
            if number % 3 == 0:
                await counter.refund(one, 1 + number % 2)
            elif number % 3 == 1:
                first, _ = await counter.codes(one)
                for gate in ("North", "South"):
                    await counter.gates.scan(gate, first)

        for number in range(kills):
            buying = [asyncio.create_task(buy(one)) for one in range(number, buyers, kills)]
            await asyncio.sleep(chance.uniform(0.5, 3.0))
            await office.next_one(await office.kill())
            await asyncio.gather(*buying)
        again = await counter.settled(120.0)
        log.warning("%d mails, %d of them again", len(counter.addresses), again)
        bookings = (await counter.state()).bookings
        assert len(bookings) == len(counter.addresses) == buyers
        delivered = {record.booking_id for record in await counter.records(TicketsDelivered)}
        kept = [one for one in bookings.values() if one.payment and not one.payment.refund]
        assert kept
        assert {one.booking_id for one in kept} <= delivered


@pytest.mark.drill
async def test_frozen_it_is_noticed_and_replaced(office: Office):
    async with counter_of(office, 10) as counter:
        frozen = await office.at_work()
        with _frozen(frozen.pid):
            began = time.monotonic()
            ann = await counter.bought("ann", 2)
            await office.next_one(frozen)
            waited = time.monotonic() - began
            logging.getLogger(__name__).warning("replaced after %.1f s", waited)
            assert waited < 12.0, "it took long to notice"
            await counter.settled()
            await counter.delivered(ann)


# -- poison ----------------------------------------------------------------------------


@asynccontextmanager
async def _no_document(counter: Counter) -> AsyncIterator[None]:
    """Have nobody find the event for the length of a block."""
    document = event_keys(counter.event_id).document
    async with connect(counter.office.service.store_url) as client:
        await client.rename(document, f"{document}:aside")
        try:
            yield
        finally:
            await client.rename(f"{document}:aside", document)


async def _write_nonsense(counter: Counter) -> None:
    """Put an effect beside those of the event that the back office cannot read."""
    effect = {"event": counter.event_id, "entry": "1-999999", "n": "0", "r": b"\xc1"}
    fields = {**effect, TO: "back-office"}
    async with connect(counter.office.service.store_url) as client:
        await client.xadd(partition_keys(partition_of(counter.event_id)).effects, fields)


def _dead_letters(office: Office, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `onsale dead-letters` as an operator does."""
    command = [sys.executable, "-m", "gateway.cli.main", "dead-letters", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, "ONSALE_REDIS_URL": office.service.store_url, "COLUMNS": "250"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30.0,
        check=False,
    )


async def test_poison_is_put_aside_shown_and_replayed_and_the_rest_goes_on(office: Office):
    """One effect whose event cannot be found for a moment, and one that nobody can read."""
    async with counter_of(office, 10) as counter:
        back_office = await office.at_work()
        with _frozen(back_office.pid):
            ann = await counter.bought("ann", 2)
            async with _no_document(counter):
                os.kill(back_office.pid, signal.SIGCONT)
                await _until(lambda: _has_given_up(counter, 1), "it is put aside")
        await _write_nonsense(counter)
        bob = await counter.bought("bob", 1)
        await _until(lambda: _has_given_up(counter, 2), "both are put aside")
        await counter.becomes(bob, "TICKETS_DELIVERED")
        assert await counter.status(ann) == "CONFIRMED"
        with pytest.raises(Violation, match="I9"):
            await counter.settled()

        ours = [letter.letter_id for letter in await counter.given_up()]
        listed = await asyncio.to_thread(_dead_letters, office, "list", "--json")
        letters = {one["id"]: one for one in map(json.loads, listed.stdout.splitlines())}
        lost, nonsense = (letters[letter_id] for letter_id in ours)
        assert lost["reason"] == f"there is no event {counter.event_id}"
        assert "unreadable record" in nonsense["reason"]
        shown = await asyncio.to_thread(_dead_letters, office, "show", "back-office", lost["id"])
        message = json.loads(shown.stdout)["message"]
        assert message["record"] == "BookingConfirmed"
        assert message["fields"]["booking_id"] == ann.booking_id

        again = await asyncio.to_thread(_dead_letters, office, "replay", "back-office", *ours)
        assert again.returncode == 0, again.stderr
        await counter.becomes(ann, "TICKETS_DELIVERED")
        await _until(lambda: _is_back(counter), "nonsense stays nonsense")
        await _forget_dead(counter)
        await counter.settled()
        await counter.delivered(ann, bob)


async def _has_given_up(counter: Counter, count: int) -> bool:
    return len(await counter.given_up()) == count


async def _is_back(counter: Counter) -> bool:
    return [letter.replays for letter in await counter.given_up()] == [1]


async def _forget_dead(counter: Counter) -> None:
    """Drop what was put aside of this event, by any group, as an operator may in the end."""
    async with connect(counter.office.service.store_url) as client:
        for letter in await counter.dead_letters():
            prefix = partition_keys(letter.partition).dead
            for key in await client.keys(f"{prefix}*"):
                await client.xdel(key, letter.letter_id.partition("-")[2])
