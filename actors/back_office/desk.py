"""The back office: everything that happens after a sale, as one object."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from actors.back_office.clerk import Clerk, Sources
from actors.back_office.counting import LetterCounter
from actors.back_office.courier import Courier
from actors.back_office.papers import Papers
from actors.back_office.posting import Poster
from actors.back_office.postman import Postman
from actors.back_office.settings import BackOfficeSettings
from actors.back_office.share import Share
from actors.back_office.targets import Names, Targets
from actors.back_office.ways import channels_of
from actors.consumer import Consumer
from actors.contract import Owners
from actors.group_commit import insist
from actors.measures import Meter, Unmetered
from actors.telling import Telling
from engine.back_office_limits import CLERK_PAUSE_SECONDS, SCANS_TOGETHER_MAX
from engine.domain.commands import NoteDelivery
from engine.domain.tickets import number
from engine.journal.catalogue import Catalogue
from engine.journal.connect import connect
from engine.journal.contacts import Contacts
from engine.journal.groups import BACK_OFFICE, DOORS
from engine.journal.offices import Offices
from engine.journal.redis_streams import RedisStreams
from engine.limits import CONSUMER_BATCH_MAX, PARTITIONS
from engine.store.contract import StoreAway
from engine.store.sql import open_store
from engine.store.vault import NoKeyOpens, Vault
from engine.store.webhooks import SqlWebhooks
from engine.tickets.seal import Seals

log = structlog.get_logger(__name__)

#: Pause between attempts to reach a database that is away at the start, seconds.
_RETRY_SECONDS = 2.0
#: Contacts sealed anew at a time, after a key was replaced.
_RESEALED_TOGETHER = 200
#: Groups that a back office reads for, each with the messages that it handles together.
_READ = ((BACK_OFFICE, CONSUMER_BATCH_MAX), (DOORS, SCANS_TOGETHER_MAX))
#: Names of webhook endpoints that are looked up at the same time.
_RESOLVERS = 8


class BackOfficeDesk:
    """Keeps the books, writes to buyers, and announces to organizers.

    Args:
        settings: the same for every process of it.
        owners: of the events.
        place: which of the processes that share the work this one is, from 0; see `share`.
        meter: takes what is measured.
        leaving: called once there is no such place any more, before the work ends.
    """

    def __init__(
        self,
        settings: BackOfficeSettings,
        owners: Owners,
        place: int,
        meter: Meter | None = None,
        leaving: Callable[[], None] = lambda: None,
    ) -> None:
        meter = meter or Unmetered()
        self._leaving = leaving
        vault = Vault(settings.data_keys)
        self._store = open_store(settings.database_url, vault)
        self._webhooks = SqlWebhooks(self._store.database, vault)
        # One for readers that wait at the store, one for everything else.
        self._clients = reading, client = connect(settings.redis_url), connect(settings.redis_url)
        self._telling = Telling(owners)
        sources = Sources(
            self._telling,
            Catalogue(client),
            Contacts(client),
            lambda ticket_id: number(settings.number_key, ticket_id),
        )
        name = f"back-office-{place}"
        self._channels = channels = channels_of(settings)
        self._papers = Papers(Seals(settings.seal_keys))
        self._postman = Postman(
            self._store,
            channels,
            self._papers,
            self._tell_delivered,
            self._telling.booking,
            name,
            meter=meter,
        )
        self._counter = LetterCounter(self._store, meter) if place == 0 else None
        keeper = Clerk(self._store, self._webhooks, sources, list(channels), self._postman.poke)
        self._streams = RedisStreams(client)

        def consumers(partitions: range) -> list[Consumer]:
            streams = RedisStreams(reading)
            return [
                Consumer(
                    streams,
                    group,
                    name,
                    keeper.handle,
                    partitions=partitions,
                    batch_max=together,
                    pause_seconds=CLERK_PAUSE_SECONDS,
                    meter=meter,
                )
                for group, together in _READ
            ]

        self._share = Share(Offices(client), place, consumers)
        self._poster = Poster()
        targets = Targets(Names(_RESOLVERS), private=settings.private_targets)
        self._courier = Courier(self._webhooks, targets, self._poster)

    async def work(self) -> None:
        """Work until cancelled, or until there is no such place any more.

        Raises:
            ExceptionGroup: a mistake in here; what was in hand is handed out again.
        """
        try:
            if not await self._share.is_there():
                return
            await self._join_readers()
            await self._open_books()
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(self._postman.work()),
                    tasks.create_task(self._courier.work()),
                ]
                if self._counter is not None:
                    beside.append(tasks.create_task(self._counter.work()))
                await self._share.work()
                self._leaving()
                for task in beside:
                    task.cancel()
            await self._postman.leave()
        finally:
            await self._close()

    async def _close(self) -> None:
        """Let go of everything that was connected."""
        await self._papers.close()
        await self._poster.close()
        for channel in self._channels.values():
            await channel.close()
        for client in self._clients:
            await client.aclose()
        await self._store.close()

    async def _tell_delivered(self, event_id: str, booking_ids: Sequence[str]) -> None:
        """Have the owner note that these tickets were handed over."""
        await self._telling.tell(event_id, [NoteDelivery(one) for one in booking_ids])

    async def _join_readers(self) -> None:
        """Be known to the streams before there are books: how far behind shows from the start."""
        for group, _ in _READ:
            await insist(partial(self._streams.ensure_group, group, range(PARTITIONS)))

    async def _open_books(self) -> None:
        """Bring the tables up to date, and what lies under old keys under the newest."""
        while True:
            try:
                await self._store.migrate()
                await self._reseal_contacts()
                await self._webhooks.reseal()
            except StoreAway as error:
                log.warning("back_office_away", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    async def _reseal_contacts(self) -> None:
        try:
            while await self._store.reseal(_RESEALED_TOGETHER):
                pass
        except NoKeyOpens as error:
            # A damaged one is no reason to send nothing to all others.
            log.critical("contacts_not_resealed", error=str(error))
