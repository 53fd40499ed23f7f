"""What every route of one gateway process shares, made once and passed in."""

import asyncio

import structlog
from msgspec import Struct

from actors.back_office.targets import Targets
from actors.contract import Owners
from engine.domain.commands import Command
from engine.domain.ids import is_event_id
from engine.domain.outcomes import Outcome, Refusal, Refused
from engine.journal.catalogue import Catalogue
from engine.journal.contract import Unavailable
from engine.limits import REQUEST_DEADLINE_MS
from engine.store.webhook_contract import Webhooks
from gateway.auth import Tokens
from gateway.batcher import Answer, Batcher, Lane, Unanswered
from gateway.books import Books
from gateway.gate import Gatekeeper
from gateway.lookout import Lookout
from gateway.paying import Paying
from gateway.problems import Problem, of_refusal
from gateway.rate_limits import RateLimits
from gateway.ticketing import Ticketing

log = structlog.get_logger(__name__)


class Desks(Struct, frozen=True):
    """What a gateway has for everything that is not a hold."""

    paying: Paying
    ticketing: Ticketing
    books: Books
    webhooks: Webhooks
    targets: Targets


class Oversight(Struct, frozen=True):
    """What a gateway has for operators."""

    gatekeeper: Gatekeeper
    lookout: Lookout


class Service:
    """The parts of a gateway.

    Args:
        id_key: makes event and booking ids unguessable; the same in every gateway.
        limits: None where rate limits are off.
    """

    def __init__(
        self,
        owners: Owners,
        catalogue: Catalogue,
        tokens: Tokens,
        id_key: bytes,
        limits: RateLimits | None,
        desks: Desks,
        oversight: Oversight,
    ) -> None:
        self.owners = owners
        self.catalogue = catalogue
        self.tokens = tokens
        self.id_key = id_key
        self.limits = limits
        self.paying = desks.paying
        self.ticketing = desks.ticketing
        self.books = desks.books
        self.webhooks = desks.webhooks
        self.targets = desks.targets
        self.gatekeeper = oversight.gatekeeper
        self.lookout = oversight.lookout
        self.batcher = Batcher(owners)
        self._lookups: dict[str, asyncio.Task[bool | None]] = {}
        self.streams = 0
        self.stopping = asyncio.Event()

    async def lane(self, event_id: str) -> Lane:
        """Return the way to an event's owner.

        An event that was never created gets none: otherwise anyone could have processes
        started by asking for events that do not exist.

        Raises:
            Problem: `event_not_found`, `store_unavailable`.
        """
        known = self.batcher.known_lane(event_id)
        if known is not None:
            return known
        if not is_event_id(event_id):
            raise Problem(Refusal.EVENT_NOT_FOUND)
        lookup = self._lookups.get(event_id)
        if lookup is None:
            # One for all who ask at the same time: a sale may open on a new gateway.
            lookup = asyncio.create_task(self._look_up(event_id))
            self._lookups[event_id] = lookup
            lookup.add_done_callback(lambda _: self._lookups.pop(event_id))
        known_here = await asyncio.shield(lookup)
        if known_here is None:
            raise Problem("store_unavailable")
        if not known_here:
            raise Problem(Refusal.EVENT_NOT_FOUND)
        return self.batcher.lane(event_id)

    async def _look_up(self, event_id: str) -> bool | None:
        """Tell whether there is such an event; None where nobody can say."""
        try:
            return await self.catalogue.event(event_id) is not None
        except Unavailable as error:
            log.warning("store_unreachable", error=str(error))
            return None

    async def ask(
        self, event_id: str, command: Command, budget_ms: int = REQUEST_DEADLINE_MS
    ) -> tuple[Outcome, int]:
        """Ask an event's owner and return the outcome and its sequence.

        Raises:
            Problem: a refusal, or no answer in time.
        """
        lane = await self.lane(event_id)
        return outcome_of(await lane.ask(command, budget_ms))


def outcome_of(answer: Answer) -> tuple[Outcome, int]:
    """Return an outcome that is neither a refusal nor missing, and its sequence.

    Raises:
        Problem: it is.
    """
    outcome, sequence = answer
    if isinstance(outcome, Unanswered):
        raise Problem(outcome.value)
    if isinstance(outcome, Refused):
        raise of_refusal(outcome, sequence)
    return outcome, sequence
