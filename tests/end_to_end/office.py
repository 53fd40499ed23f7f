"""A shop with its back office: a mail server and a database that are in the test's hands.

async with counter_of(office, capacity=10) as counter:
    ann = await counter.bought("ann", 2)
    await counter.settled()
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg

from actors.contract import back_office_name
from actors.wire import Health
from engine.domain.booking import Status
from engine.journal.connect import connect
from engine.journal.redis_streams import RedisStreams
from engine.journal.streams import DeadLetter
from engine.store.connect import Database, default_url
from engine.store.contract import StoreAway
from loadtests.peers.postgres import programs
from tests.calls import Violation
from tests.contract.store_rigs import (
    PostgresRig,
    SqliteRig,
    StoreRig,
    running_postgres,
)
from tests.end_to_end import money
from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.gates import Gates
from tests.end_to_end.mail_server import Mail, MailServer, Orders
from tests.end_to_end.service import Service
from tests.end_to_end.shop import Shop
from tests.end_to_end.tickets import Books, compare, compare_mails, read_books
from tests.end_to_end.till import Purchase, Till

_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.05
_WITH_TICKETS = ("CONFIRMED", "TICKETS_DELIVERED")


class Office:
    """The service, its Stripe, its mail server, and its books.

    Args:
        directory: of all of them.
        rig: of the database; None: the file that a service has by itself.
        settings: of the service, beside those of its surroundings.
    """

    def __init__(
        self, directory: Path, rig: StoreRig | None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.mail = MailServer(directory / "mail")
        environment = {**(settings or {}), "ONSALE_SMTP_URL": self.mail.url}
        if rig is not None:
            environment["ONSALE_DATABASE_URL"] = rig.url
        self.shop = Shop(directory, gateways=2, environment=environment)
        self.rig = rig or SqliteRig(_file_of(directory / "service"))

    @property
    def service(self) -> Service:
        return self.shop.service

    def mend(self) -> None:
        """Have everything run and nothing go wrong."""
        self.rig.come_back()
        self.mail.order(**msgspec.structs.asdict(Orders()))
        self.mail.start()
        if not self.service.alive():
            self.shop.close()
            self.shop.start()
        self.shop.sandbox.clear_faults()

    def end(self) -> None:
        self.shop.end()
        self.mail.kill()

    async def kill(self, place: int = 0) -> Health:
        """Kill -9 the back office of a place; return who that was."""
        found = await self.at_work(place)
        os.kill(found.pid, signal.SIGKILL)
        return found

    async def next_one(self, killed: Health, place: int = 0) -> Health:
        """Return who takes the work over from somebody who was killed, once it has begun."""
        return await self.service.successor(back_office_name(place), killed, _PATIENCE_SECONDS)

    async def at_work(self, place: int = 0) -> Health:
        """Return who is the back office of a place now, as soon as it is there."""
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while True:
                found = await self.service.owner(back_office_name(place))
                if found is not None and found.pid in self.service.processes():
                    return found
                await asyncio.sleep(_POLL_SECONDS)

    @contextmanager
    def nobody_writes(self) -> Iterator[None]:
        """Have whoever would write to the books wait for the end of a block."""
        if isinstance(self.rig, SqliteRig):
            self.rig.go_away()
            try:
                yield
            finally:
                self.rig.come_back()
            return
        with psycopg.connect(self.rig.url) as connection:
            connection.execute("LOCK TABLE tickets, messages IN EXCLUSIVE MODE")
            yield

    async def books(self, event_id: str) -> Books:
        """Return the books of an event, as soon as they can be read."""
        database = Database(self.rig.url)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    try:
                        return await read_books(database, event_id)
                    except StoreAway:
                        await asyncio.sleep(_POLL_SECONDS)
        finally:
            await database.close()


def _file_of(directory: Path) -> Path:
    return Path(default_url(directory).removeprefix("sqlite:///"))


class Counter(Till):
    """The till of one event, whose buyers all leave an address; beside it are the doors."""

    def __init__(self, office: Office, buyers: Buyers, gates: Gates) -> None:
        super().__init__(office.shop, buyers)
        self.office = office
        self.gates = gates
        #: Addresses by booking.
        self.addresses: dict[str, str] = {}

    async def ask_to_pay(self, customer: str, booking_id: str) -> httpx.Response:
        """Begin to pay, once, and leave an address of this booking's own."""
        address = address_of(customer, booking_id)
        body = {"contact": {"email": address, "name": "Ann Perkins", "locale": "en"}}
        path = f"bookings/{booking_id}/payment-intent"
        answer = await self._post(path, "buyer", customer, body)
        if answer.status_code in (200, 201):
            self.addresses[booking_id] = address
        return answer

    async def bought(self, customer: str, quantity: int = 1) -> Purchase:
        """Hold tickets, pay for them and wait until they are there, in the mail or not yet."""
        purchase = await self.paid(customer, quantity)
        await self.has_tickets(purchase)
        return purchase

    async def has_tickets(self, purchase: Purchase) -> None:
        """Return when a booking is confirmed."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (found := await self.status(purchase)) not in _WITH_TICKETS:
            assert time.monotonic() < deadline, f"{purchase} is {found}"
            await asyncio.sleep(_POLL_SECONDS)

    async def codes(self, purchase: Purchase) -> list[str]:
        """Return the codes of a booking's tickets."""
        path = f"bookings/{purchase.booking_id}/tickets"
        answer = await self._insist(lambda: self._get(path, "buyer", purchase.customer))
        assert answer.status_code == 200, answer.text
        return [ticket["qr"] for ticket in answer.json()["data"]]

    async def notifications(self, purchase: Purchase) -> httpx.Response:
        """Ask once what the buyer was told."""
        path = f"bookings/{purchase.booking_id}/notifications"
        return await self._get(path, "buyer", purchase.customer)

    async def told(self, purchase: Purchase) -> list[tuple[str, str, int]]:
        """Return kind, status and attempts of every message about a booking."""
        answer = await self._insist(lambda: self.notifications(purchase))
        assert answer.status_code == 200, answer.text
        return [(one["kind"], one["status"], one["attempts"]) for one in answer.json()["data"]]

    def mails_to(self, purchase: Purchase) -> list[Mail]:
        """Return the mails that the server has taken for a booking."""
        address = self.addresses[purchase.booking_id]
        return [mail for mail in self.office.mail.mails() if mail.recipient == address]

    async def settled(self, seconds: float = 60.0) -> int:
        """Wait until nothing is under way anywhere, check everything, return mails sent twice.

        Raises:
            AssertionError: it does not settle (I9), or the audit does not agree.
            Violation: a promise is broken: I2 to I9.
        """
        deadline = time.monotonic() + seconds
        while True:
            # Effects become messages, and messages that were sent become effects: those that were
            # there before the books were read, and those that have come since.
            behind = await self._behind()
            waiting = (await self.office.books(self.event_id)).waiting
            if not (behind or waiting or await self._behind()):
                break
            assert time.monotonic() < deadline, (
                f"I9: {waiting} messages, {behind} effects\n{self.office.service.log()[-2_000:]}"
            )
            await asyncio.sleep(_POLL_SECONDS)
        if dead := await self.dead_letters():
            raise Violation("I9", f"given up: {[letter.reason for letter in dead]}")
        await money.settled(self)
        books, entries = await self.office.books(self.event_id), await self.entries()
        compare(entries, books, self.addresses)
        again = compare_mails(self.office.mail.mails(), books.messages, self.addresses)
        if again:
            logging.getLogger(__name__).warning("%d mails came twice", again)
        return again

    async def _behind(self) -> int:
        return await self.shop.behind(self.event_id)

    async def delivered(self, *purchases: Purchase) -> None:
        """Assert that the tickets of these bookings are said to be delivered."""
        bookings = (await self.state()).bookings
        found = {one.booking_id: bookings[one.booking_id].status for one in purchases}
        assert set(found.values()) == {Status.TICKETS_DELIVERED}, found

    async def given_up(self) -> list[DeadLetter]:
        """Return what the back office has given up on."""
        async with connect(self.office.service.store_url) as client:
            streams = RedisStreams(client)
            (group,) = [one for one in await streams.groups() if one.name == "back-office"]
            letters = await streams.dead_letters(group, 1_000)
        return [one for one in letters if one.message.event_id == self.event_id]


def address_of(customer: str, booking_id: str) -> str:
    """Return the address that a customer leaves for a booking, and for no other."""
    return f"{customer}-{booking_id[-8:]}@example.org"


@asynccontextmanager
async def counter_of(office: Office, capacity: int, **different: Any) -> AsyncIterator[Counter]:
    """Put an event on sale, with a counter and doors."""
    async with on_sale(office.service, capacity, **different) as buyers:
        gates = Gates(buyers)
        try:
            yield Counter(office, buyers, gates)
        finally:
            await gates.close()


@contextmanager
def running_office(directory: Path, settings: Mapping[str, str] | None = None) -> Iterator[Office]:
    """Make an office that `Office.mend` starts; its books are in PostgreSQL if that is here."""
    installed = programs()
    with ExitStack() as ends:
        rig = None
        if installed is not None:
            rig = ends.enter_context(running_postgres(installed)).new_database("office")
        office = Office(directory, rig, settings)
        ends.callback(office.end)
        yield office


def is_postgres(office: Office) -> bool:
    """Tell whether the books are in a server that can be killed."""
    return isinstance(office.rig, PostgresRig)
