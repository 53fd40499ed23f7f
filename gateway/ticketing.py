"""What a gateway needs for tickets: their keys, and a desk at which their files are drawn."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from engine.domain.tickets import Ticket, TicketStatus, number
from engine.limits import (
    DRAWINGS_KEPT_BYTES,
    DRAWINGS_WAITING_MAX,
    DRAWN_AT_ONCE_MAX,
    REQUEST_DEADLINE_MS,
)
from engine.tickets.seal import Seals
from gateway.problems import Problem


class Drawings:
    """Files that are drawn when somebody asks for them, beside the event loop.

    What was drawn is kept for the next who ask, the longest unused given up first; all who
    ask for the same file at the same time get the same drawing.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(DRAWN_AT_ONCE_MAX, "drawing")
        self._under_way: dict[str, asyncio.Future[bytes]] = {}
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0

    async def get(self, name: str, draw: Callable[[], bytes]) -> bytes:
        """Return what `draw` returns, or has returned.

        Args:
            name: tells this file from all others; another one if a single byte differs.
            draw: called in a thread.

        Raises:
            Problem: `overloaded`, if too many wait already, or this one takes too long.
        """
        kept = self._kept.get(name)
        if kept is not None:
            self._kept.move_to_end(name)
            return kept
        drawing = self._under_way.get(name)
        if drawing is None:
            if len(self._under_way) >= DRAWINGS_WAITING_MAX:
                raise Problem("overloaded")
            drawing = asyncio.get_running_loop().run_in_executor(self._pool, draw)
            self._under_way[name] = drawing
            drawing.add_done_callback(lambda done: self._drawn(name, done))
        try:
            async with asyncio.timeout(REQUEST_DEADLINE_MS / 1_000):
                # Whoever leaves must not take the drawing from the others.
                return await asyncio.shield(drawing)
        except TimeoutError as error:
            # It will be there when they ask again.
            raise Problem("overloaded") from error

    def _drawn(self, name: str, drawing: asyncio.Future[bytes]) -> None:
        del self._under_way[name]
        if drawing.cancelled() or drawing.exception() is not None:
            return
        self._kept[name] = drawing.result()
        self._kept_bytes += len(drawing.result())
        while self._kept_bytes > DRAWINGS_KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)


class Ticketing:
    """Numbers and codes of tickets, and their files.

    Args:
        seals: make and open the payloads of codes.
        number_key: makes the numbers that people read.
    """

    def __init__(self, seals: Seals, number_key: bytes) -> None:
        self.seals = seals
        self.drawings = Drawings()
        self._number_key = number_key

    def number(self, ticket_id: str) -> str:
        """Return the number of a ticket that people read to each other."""
        return number(self._number_key, ticket_id)

    def payload(self, ticket: Ticket, customer: str) -> str:
        """Return the payload of a ticket's code."""
        assert ticket.status is not TicketStatus.VOID, "a code of a void ticket helps nobody"
        return self.seals.seal(ticket.ticket_id, customer)
