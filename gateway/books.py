"""What a gateway needs of the back office: its books, and contacts on their way there.

Buying and doors never wait for it: who asks for something that only it knows is told when
it is away.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from engine.journal.contacts import Contacts
from engine.journal.contract import Unavailable
from engine.store.contract import BackOffice, Contact, StoreAway
from engine.store.vault import Vault
from gateway.problems import Problem

log = structlog.get_logger(__name__)

#: Pause between attempts to reach a database that is away at the start, seconds.
_RETRY_SECONDS = 2.0


class Books:
    """The back office as one gateway process sees it.

    Args:
        contacts: where a contact waits until its booking is confirmed.
        vault: seals contacts before they leave this process.
    """

    def __init__(self, store: BackOffice, contacts: Contacts, vault: Vault) -> None:
        self._store = store
        self._contacts = contacts
        self._vault = vault
        self._ready = False
        self._one_each: set[str] = set()

    async def open(self) -> None:
        """Bring the books up to date; until that is done they are away."""
        while not self._ready:
            try:
                await self._store.migrate()
                self._ready = True
            except StoreAway as error:
                log.warning("back_office_away", error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    @contextmanager
    def asking(self) -> Iterator[BackOffice]:
        """Give the store for the length of a block.

        Raises:
            Problem: `back_office_unavailable`.
        """
        if not self._ready:
            raise Problem("back_office_unavailable")
        try:
            yield self._store
        except StoreAway as error:
            log.warning("back_office_away", error=str(error))
            raise Problem("back_office_unavailable") from error

    @contextmanager
    def only_one(self, booking_id: str) -> Iterator[None]:
        """Keep others who want the same of a booking out for the length of a block.

        Raises:
            Problem: `rate_limited`, somebody is in it already.
        """
        if booking_id in self._one_each:
            raise Problem("rate_limited", "The same is being done for this booking.")
        self._one_each.add(booking_id)
        try:
            yield
        finally:
            self._one_each.discard(booking_id)

    async def keep_contact(self, booking_id: str, contact: Contact) -> None:
        """Keep a contact until its booking is confirmed, and then for good.

        Raises:
            Problem: `store_unavailable`.
        """
        try:
            await self._contacts.put(booking_id, self._vault.seal_contact(contact))
        except Unavailable as error:
            raise Problem("store_unavailable") from error

    async def has_contact(self, booking_id: str) -> bool:
        """Tell whether the buyer of a booking can be written to. Raises Problem."""
        with self.asking() as store:
            return await store.contact(booking_id) is not None

    async def contact(self, booking_id: str) -> Contact | None:
        """Return whom the tickets of a booking are for: nobody while the books are away.

        A ticket without a name admits as well as one with it.
        """
        try:
            with self.asking() as store:
                return await store.contact(booking_id)
        except Problem:
            return None
