"""What goes with a letter: tickets to print, an entry for the calendar."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from actors.back_office.channels import Attachment, TryLater
from engine.domain.event import Event
from engine.domain.tickets import place_of_ticket
from engine.limits import DRAWN_AT_ONCE_MAX
from engine.store.contract import Contact, StoredTicket
from engine.tickets import calendar
from engine.tickets.draftsman import Draftsman, NotDrawn
from engine.tickets.seal import Seals
from engine.tickets.sheet import Sheet

log = structlog.get_logger(__name__)


class Papers:
    """Draws attachments, beside the event loop.

    Args:
        seals: make the payloads of codes.
    """

    def __init__(self, seals: Seals) -> None:
        self._seals = seals
        self._draftsman = Draftsman()
        self._pool = ThreadPoolExecutor(DRAWN_AT_ONCE_MAX, "papers")

    async def tickets(
        self, event: Event, tickets: Sequence[StoredTicket], contact: Contact, issued_at_ms: int
    ) -> Attachment:
        """Return a PDF with a page for each ticket; see `engine.tickets.paper.draw`.

        Raises:
            TryLater: it could not be drawn.
        """
        kinds = {kind.code: kind.name for kind in event.ticket_types}
        sheets = tuple(
            Sheet(
                ticket.number,
                self._seals.seal(ticket.ticket_id, ticket.customer),
                kinds[ticket.ticket_type],
                ticket.seat,
                contact.holder(place_of_ticket(ticket.ticket_id)),
            )
            for ticket in tickets
        )
        loop = asyncio.get_running_loop()
        try:
            drawn = await loop.run_in_executor(
                self._pool, self._draftsman.draw, event, sheets, issued_at_ms
            )
        except NotDrawn as error:
            log.error("paper_not_drawn", event_id=event.event_id, reason=str(error))
            raise TryLater(None, "the tickets could not be drawn") from error
        return Attachment(f"tickets-{tickets[0].booking_id}.pdf", "application/pdf", drawn)

    async def calendar(
        self, event: Event, booking_id: str, tickets: Sequence[StoredTicket], issued_at_ms: int
    ) -> Attachment:
        """Return an entry for a calendar; see `engine.tickets.calendar.entry`."""
        numbers = tuple(ticket.number for ticket in tickets)
        # Not in the queue of drawings, which may be long.
        entry = await asyncio.to_thread(calendar.entry, event, booking_id, numbers, issued_at_ms)
        media_type = "text/calendar; charset=utf-8; method=PUBLISH"
        return Attachment(f"{event.event_id}.ics", media_type, entry)

    async def close(self) -> None:
        """Draw nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._draftsman.close)
