"""The back office at work beside the application in this process, its mail read from files.

async with at_work(onsale, store, tmp_path) as office:
    booking = await office.bought(event, "ann", contact=ANN)
    (mail,) = await office.mails()
"""

import asyncio
import email
import email.policy
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from actors.back_office.desk import BackOfficeDesk
from actors.back_office.settings import BackOfficeSettings
from engine.journal.embedded import EmbeddedStore
from engine.journal.groups import BACK_OFFICE, DOORS
from engine.journal.keys import partition_keys
from engine.journal.redis_streams import RedisStreams
from engine.limits import PARTITIONS, STREAM_BLOCK_MS_MAX
from gateway.auth import derive_key
from tests.in_process import BASE, SECRET, InProcess, in_process

#: Longest that a test waits for what the back office has to do, seconds.
_PATIENCE_SECONDS = 15.0

#: Whoever has not asked for so long reads no more, milliseconds: three questions long.
_SILENT_MS = 3 * STREAM_BLOCK_MS_MAX

_POLICY = email.policy.default
#: Where the tasks of a back office come from.
_OF_THE_DESK = (
    "back_office/desk.py",
    "back_office/share.py",
    "back_office/postman.py",
    "back_office/receipts.py",
    "back_office/courier.py",
    "back_office/counting.py",
    "actors/consumer.py",
)

ANN = {"email": "ann@example.org", "name": "Ann Perkins", "locale": "en"}


def settings_of(store: EmbeddedStore, directory: Path, **changes: Any) -> BackOfficeSettings:
    """Return the settings that go with those of `InProcess`."""
    return BackOfficeSettings(
        store.url,
        f"sqlite:///{directory}/onsale.db",
        (derive_key(SECRET, "personal data"),),
        (derive_key(SECRET, "ticket codes"),),
        derive_key(SECRET, "ticket numbers"),
        str(directory / "mail"),
        **changes,
    )


async def perish(working: Sequence[asyncio.Task[None]]) -> None:
    """Have all back offices of this process perish where they stand; these are their tasks."""
    for task in working:
        task.cancel()
    # A connection of SQLite that is cancelled twice leaves a task that never ends.
    await asyncio.wait(working, timeout=5.0)
    while not all(task.done() for task in working):
        # Early releases of Python 3.11 may lose a cancellation in a group of tasks
        # that is being left: each task of the desk is told by itself.
        for task in asyncio.all_tasks():
            code = getattr(task.get_coro(), "cr_code", None)
            if code is not None and code.co_filename.endswith(_OF_THE_DESK):
                task.cancel()
        await asyncio.wait(working, timeout=0.5)


class Office:
    """The application, and the back office that a test opens and closes."""

    def __init__(self, onsale: InProcess, settings: BackOfficeSettings) -> None:
        self.onsale = onsale
        self.settings = settings
        self._working: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Have the back office work."""
        desk = BackOfficeDesk(self.settings, self.onsale.owners, 0)
        self._working = asyncio.create_task(desk.work())

    async def close(self) -> None:
        """Have it perish where it stands."""
        if self._working is not None:
            working, self._working = self._working, None
            await perish([working])
            assert working.cancelled(), working.exception()

    async def bought(
        self,
        event_id: str,
        buyer: str = "ann",
        *,
        contact: Any = ANN,
        holders: Any = (),
        units: int = 1,
    ) -> str:
        """Have somebody book free tickets, and return the booking's id."""
        booking_id: str = (await self.onsale.held(event_id, buyer, ga=units))["id"]
        answer = await self.onsale.post(
            f"{BASE}/bookings/{booking_id}/payment-intent",
            self.onsale.token("buyer", buyer),
            json={"contact": contact, "holders": list(holders)},
        )
        assert answer.status_code == 200, answer.text
        return booking_id

    async def status(self, booking_id: str, buyer: str = "ann") -> str:
        """Return the state of a booking."""
        answer = await self.onsale.get(
            f"{BASE}/bookings/{booking_id}", self.onsale.token("buyer", buyer)
        )
        found: str = answer.json()["status"]
        return found

    async def until(self, booking_id: str, status: str, buyer: str = "ann") -> None:
        """Wait until a booking is in a state."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while (found := await self.status(booking_id, buyer)) != status:
            assert time.monotonic() < give_up, f"{booking_id} is {found}, not {status}"
            await asyncio.sleep(0.02)

    async def settled(self) -> None:
        """Wait until every effect is handled and every message has met its fate."""
        streams = RedisStreams(self.onsale.redis)
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            lags = [*await streams.lag(BACK_OFFICE), *await streams.lag(DOORS)]
            behind = sum(lag.pending + lag.undelivered for lag in lags)
            tallies = await self.onsale.store.statistics(None)
            waiting = sum(one.count for one in tallies if one.status.value == "PENDING")
            untold = await self.onsale.store.untold(1)
            if len(lags) == 2 * PARTITIONS and not behind and not waiting and not untold:
                return
            assert time.monotonic() < give_up, f"{behind} effects, {waiting} messages are left"
            await asyncio.sleep(0.05)

    async def mails(self) -> list[EmailMessage]:
        """Return every mail that was written, in the order of their names."""
        await self.settled()
        return read_mails(Path(self.settings.mail_dir))


def read_mails(directory: Path) -> list[EmailMessage]:
    """Return the mails that were written to a directory, in the order of their names."""
    return [
        email.message_from_bytes(
            path.read_bytes(), _class=EmailMessage, policy=email.policy.default
        )
        for path in sorted(directory.glob("*.eml"))
    ]


@asynccontextmanager
async def at_work(
    redis: Redis, store: EmbeddedStore, directory: Path, **changes: Any
) -> AsyncIterator[Office]:
    """Run the application with a back office, over a store and a new database."""
    settings = settings_of(store, directory, **changes)
    async with in_process(redis, database_url=settings.database_url) as onsale:
        office = Office(onsale, settings)
        office.open()
        try:
            yield office
        finally:
            await office.close()


async def who_reads(redis: Redis) -> dict[int, set[str]]:
    """Return who has lately asked for the effects of each partition, by their names there."""
    found = {}
    for partition in range(PARTITIONS):
        key = partition_keys(partition).effects
        try:
            consumers = await redis.xinfo_consumers(key, BACK_OFFICE.name)
        except ResponseError:
            consumers = []  # nobody has ever been here
        found[partition] = {one["name"].decode() for one in consumers if one["idle"] < _SILENT_MS}
    return found


def shared_among(count: int) -> dict[int, set[str]]:
    """Return what `who_reads` finds where so many share the work."""
    return {partition: {f"back-office-{partition % count}"} for partition in range(PARTITIONS)}
