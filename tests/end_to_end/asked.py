"""A request that becomes a `Call` of the history once it is known what came of it."""

from typing import Any

import msgspec
from msgspec import Struct

from actors.wire import Answers, Reply
from engine.domain import ids
from engine.domain.commands import Caller, Command, Item, PlaceHold, ReadBooking, ReleaseHold
from engine.domain.outcomes import Granted, Refused, Shown
from gateway.auth import derive_key
from gateway.settings import LOOPBACK_SECRET
from tests.calls import GRANTED, HOLD, READ, REFUSED, RELEASE, UNKNOWN, Call, Seen

_ID_KEY = derive_key(LOOPBACK_SECRET, "ids")


class Asked(Struct, frozen=True):
    """What was asked, by whom, about which booking."""

    what: str
    customer: str
    booking_id: str
    key: str = ""
    wanted: tuple[tuple[str, int], ...] = ()

    @property
    def command(self) -> Command:
        if self.what == READ:
            return ReadBooking(self.booking_id, Caller(self.customer))
        if self.what == RELEASE:
            return ReleaseHold(self.booking_id, Caller(self.customer))
        items = tuple(Item(kind, quantity) for kind, quantity in self.wanted)
        return PlaceHold(self.booking_id, self.customer, items)

    def unanswered(self, asked_at: float, gave_up_at: float) -> Call:
        return self._call(asked_at, gave_up_at, UNKNOWN)

    def answered(
        self,
        asked_at: float,
        answered_at: float,
        status: int,
        body: bytes,
        *,
        replayed: bool = False,
    ) -> Call:
        """Take an HTTP answer. Nobody knows what became of a request answered with a 503."""
        told = msgspec.json.decode(body)
        if status in (200, 201):
            seen = Seen.from_json(told)
            return self._call(asked_at, answered_at, GRANTED, seen=seen, replayed=replayed)
        assert 400 <= status < 500 or status == 503, f"{status}: {told}"
        outcome = UNKNOWN if status == 503 else REFUSED
        return self._call(
            asked_at, answered_at, outcome, code=told["code"], sequence=told.get("sequence")
        )

    def told(self, asked_at: float, answered_at: float, reply: Reply, place: int = 0) -> Call:
        """Take what an owner answered to the command at this place of a batch."""
        outcome = reply.outcomes[place] if isinstance(reply, Answers) else None
        if isinstance(outcome, Refused):
            assert isinstance(reply, Answers)
            assert reply.availability is not None
            sequence = reply.availability.sequence
            code = outcome.code.value
            return self._call(asked_at, answered_at, REFUSED, code=code, sequence=sequence)
        if isinstance(outcome, Granted | Shown):
            replayed = isinstance(outcome, Granted) and outcome.replayed
            seen = Seen.of(outcome.booking)
            return self._call(asked_at, answered_at, GRANTED, seen=seen, replayed=replayed)
        assert outcome is None
        return self.unanswered(asked_at, answered_at)

    def _call(self, asked_at: float, answered_at: float, outcome: str, **what: Any) -> Call:
        return Call(
            self.what,
            self.customer,
            asked_at,
            answered_at,
            outcome,
            self.key,
            self.wanted,
            self.booking_id,
            **what,
        )


def hold_of(event_id: str, customer: str, key: str, wanted: tuple[tuple[str, int], ...]) -> Asked:
    """Return the request for a hold; its booking's id is the one that a gateway gives it."""
    booking_id = ids.booking_id(_ID_KEY, event_id, customer, f"c:{key}")
    return Asked(HOLD, customer, booking_id, key, wanted)
