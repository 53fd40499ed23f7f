"""A sale whose owner is asked as the payment desk asks it, and everything around it.

There is no journal and no stream: what the owner has decided is handed on by the test.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from actors.contract import OwnerGone
from actors.payments.contract import Intent
from actors.payments.pursuit import Pursuit
from actors.telling import Telling
from actors.wire import Answers, Reply, decode_batch, encode_reply
from engine.domain.booking import Booking
from engine.domain.commands import Caller, OpenPayment, RequestRefund
from engine.domain.outcomes import PaymentShown, Refusal, Refused, UnsettledPayment
from engine.domain.payment import Part
from engine.journal.catalogue import EventDocument
from engine.journal.contract import Unavailable
from engine.journal.entry import Position
from engine.journal.projection import encode_record
from engine.journal.streams import Delivery, Effect, StreamKind
from tests.unit.actors.payments.fake_stripe import FakeStripe
from tests.unit.engine.domain.given import EVENT_ID, ORGANIZER, Sale, booking_id


class SaleOwners:
    """The owner of one sale; keeps `actors.contract.Owners` as far as payments need it.

    `instead` is what is replied without asking: a reply, or an owner that is gone.
    """

    def __init__(self, sale: Sale) -> None:
        self.instead: Reply | OwnerGone | None = None
        self.batches: list[int] = []
        self._sale = sale

    async def submit(self, event_id: str, batch: bytes) -> bytes:
        if isinstance(self.instead, OwnerGone):
            raise self.instead
        if self.instead is not None:
            return encode_reply(self.instead)
        commands = [envelope.command for envelope in decode_batch(batch)]
        self.batches.append(len(commands))
        if event_id != EVENT_ID:
            return encode_reply(Answers([Refused(Refusal.EVENT_NOT_FOUND)] * len(commands), None))
        return encode_reply(Answers([self._sale.ask(one) for one in commands], None))


class OneEvent:
    """A catalogue with one event in it; `away`: it does not answer; `rests`: the event does."""

    def __init__(self, sale: Sale) -> None:
        self.away = False
        self.rests = False
        self._sale = sale

    async def event(self, event_id: str) -> EventDocument | None:
        if self.away:
            raise Unavailable("the test took it away")
        assert self._sale.state.event is not None
        return EventDocument(self._sale.state.event, False, 1) if event_id == EVENT_ID else None

    async def awake(self) -> list[str]:
        if self.away:
            raise Unavailable("the test took it away")
        return [] if self.rests else [EVENT_ID]


class Killed(BaseException):
    """The process is no more."""


class Perishing:
    """Stands before something and has its process killed at one of its calls.

    Attributes:
        calls: how many there were, before and after the thing itself was done.
        at: the one at which it ends; None: never.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.at: int | None = None

    def before(self, thing: Any) -> Any:
        """Return what looks like the thing, to its callers."""
        return _Guarded(thing, self)

    def pass_by(self) -> None:
        self.calls += 1
        if self.calls - 1 == self.at:
            raise Killed


class _Guarded:
    def __init__(self, thing: Any, perishing: Perishing) -> None:
        self._thing = thing
        self._perishing = perishing

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            self._perishing.pass_by()
            answer = await getattr(self._thing, name)(*arguments)
            self._perishing.pass_by()
            return answer

        return call


class Desk:
    """A sale, a Stripe, and the parts of the desk between them."""

    def __init__(self, **event: Any) -> None:
        self.sale = Sale(**event)
        self.stripe = FakeStripe()
        self.owners = SaleOwners(self.sale)
        self.catalogue = OneEvent(self.sale)
        self.perishing = Perishing()
        self.told = 0
        self.restart()

    def restart(self) -> None:
        """Begin again with nothing in memory."""
        self.telling = Telling(self.perishing.before(self.owners))
        self.pursuit = Pursuit(
            self.perishing.before(self.stripe), self.telling, self.perishing.before(self.catalogue)
        )

    def begun(self, customer: str = "ann", units: int = 2) -> UnsettledPayment:
        """Have somebody hold and begin to pay."""
        self.sale.placed(customer, ga=units)
        shown = self.sale.ask(OpenPayment(booking_id(customer), Caller(customer)))
        assert isinstance(shown, PaymentShown), shown
        return UnsettledPayment(booking_id(customer), customer, shown.payment)

    async def opened(self, customer: str = "ann", units: int = 2) -> str:
        """Have somebody begin to pay, and return the id of the intent."""
        unsettled = self.begun(customer, units)
        await self.pursuit.pursue(unsettled)
        return self.booking(customer).payment.intent_id

    async def paid(self, customer: str = "ann", units: int = 2) -> str:
        """Have somebody pay, and return the id of the intent."""
        intent_id = await self.opened(customer, units)
        self.stripe.pay(intent_id)
        await self.pursuit.pursue(self.unsettled(customer))
        return intent_id

    def refund(self, customer: str = "ann", **parts: int) -> None:
        """Have the organizer ask for money of a booking to go back."""
        wanted = tuple(Part(code, count) for code, count in parts.items())
        self.sale.ask(RequestRefund(booking_id(customer), ORGANIZER, wanted))

    def booking(self, customer: str = "ann") -> Booking:
        return self.sale.booking(customer)

    def unsettled(self, customer: str = "ann") -> UnsettledPayment:
        booking = self.booking(customer)
        assert booking.payment is not None
        return UnsettledPayment(booking.booking_id, customer, booking.payment)

    def intent(self, customer: str = "ann") -> Intent:
        return self.stripe.intents[self.booking(customer).payment.intent_id]

    def effects(self) -> Sequence[Delivery]:
        """Return what the owner has decided since the last time, as effects."""
        entries, self.told = self.sale.entries[self.told :], len(self.sale.entries)
        return [
            delivery(Effect(EVENT_ID, Position(1, entry.sequence), index, encode_record(record)))
            for entry in entries
            for index, record in enumerate(entry.records)
        ]


def delivery(message: Any, kind: StreamKind = StreamKind.EFFECTS) -> Delivery:
    return Delivery(kind, 0, "1-0", message)
