"""The hot route: `POST /api/v1/events/{id}/holds` as a plain callable.

Everything else goes through FastAPI. This route is measured in tens of microseconds, so
it does what a framework would do by hand: validate (pydantic-core, on the raw bytes), ask
the lane, write bytes. `gateway.openapi` documents it.
"""

import msgspec
from prometheus_client import Counter

from engine.domain.commands import PlaceHold, ReadBooking
from engine.domain.ids import booking_id
from engine.domain.outcomes import Granted, Refused, Shown
from gateway import metrics
from gateway.auth import BUYING_ROLES
from gateway.batcher import Lane, Unanswered
from gateway.bodies import parse_hold
from gateway.exchange import Exchange
from gateway.idempotency import key_of
from gateway.pointers import of_hold, pointed
from gateway.problems import Problem, of_refusal
from gateway.service import Service
from gateway.views import booking_view

PREFIX = "/api/v1/events/"
SUFFIX = "/holds"

_encode = msgspec.json.Encoder().encode
_REPLAYED = (b"idempotent-replayed", b"true")
#: Counters by outcome: finding one by its label takes a lock.
_counters: dict[str, Counter] = {}


def _count(outcome: str) -> None:
    counter = _counters.get(outcome)
    if counter is None:
        counter = _counters[outcome] = metrics.HOLDS.labels(outcome)
    counter.inc()


class PlaceHoldRoute:
    """Places holds for buyers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request.

        Raises:
            Problem: whatever is wrong; nothing was held.
        """
        service = self._service
        principal = service.tokens.verify(exchange.header(b"authorization"))
        if principal.role not in BUYING_ROLES:
            raise Problem("forbidden", "Only a buyer can hold tickets.")
        event_id = exchange.path[len(PREFIX) : -len(SUFFIX)]
        lane = await service.lane(event_id)
        idempotency_key = exchange.header(b"idempotency-key")
        key = key_of(idempotency_key)
        items = parse_hold(await exchange.body())
        if idempotency_key is None:
            # A request under a key may repeat one that was granted: only the owner knows.
            refusal = lane.refusal(items)
            if refusal is not None:
                _count(refusal[0].code)
                raise of_refusal(*refusal)
        customer = principal.sub
        booking = booking_id(service.id_key, event_id, customer, key)
        gate = service.gatekeeper.gate
        if gate is not None:
            try:
                gate.pass_hold(event_id)
            except Problem as problem:
                repeats = ReadBooking(booking, principal.caller)
                if idempotency_key is None or not await self._is_there(lane, repeats):
                    _count(problem.code)
                    raise
        outcome, sequence = await lane.ask(PlaceHold(booking, customer, items))
        if isinstance(outcome, Granted):
            # Without a key of the client's it was this gateway that asked twice.
            replayed = outcome.replayed and idempotency_key is not None
            _count("replayed" if replayed else "granted")
            # The answer is that of the moment when the hold was placed, also when repeated.
            held = outcome.booking
            view = booking_view(held, event_id, outcome.currency, held.held_at_ms)
            headers = [(b"location", b"/api/v1/bookings/" + booking.encode())]
            if replayed:
                headers.append(_REPLAYED)
            await exchange.answer(201, _encode(view), headers)
            return
        if isinstance(outcome, Refused):
            _count(outcome.code)
            raise pointed(of_refusal(outcome, sequence), of_hold(items))
        assert isinstance(outcome, Unanswered), f"a hold was answered with {outcome!r}"
        _count(outcome)
        raise Problem(outcome.value)

    @staticmethod
    async def _is_there(lane: Lane, command: ReadBooking) -> bool:
        """Tell whether a request repeats one that was granted: that is no new hold.

        Raises:
            Problem: its owner cannot say.
        """
        outcome, _ = await lane.ask(command)
        if isinstance(outcome, Unanswered):
            _count(outcome)
            raise Problem(outcome.value)
        return isinstance(outcome, Shown)
