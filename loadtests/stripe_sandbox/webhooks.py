"""Webhooks: signed, sent side by side, repeated until they are taken."""

import asyncio
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from loadtests.signature import sign
from loadtests.stripe_sandbox.books import Books, Delivery
from loadtests.stripe_sandbox.errors import Object
from loadtests.stripe_sandbox.faults import Faults, Kind
from loadtests.stripe_sandbox.post import Connection

#: Requests to all endpoints that are under way at once.
_CONNECTIONS = 32
#: How long a webhook waits for its neighbour to overtake it, unless the fault says, seconds.
_REORDER_SECONDS = 2.0
#: How often it looks whether an outage is over, seconds.
_OUTAGE_POLL_SECONDS = 0.05


class Patience(Struct, frozen=True):
    """How webhooks are repeated; seconds.

    Attributes:
        first: pause before the first repetition. Each pause is twice the last one.
        longest: no pause is longer.
        total: nothing is repeated after this time.
        answer: how long an endpoint may take to answer.
    """

    first: float = 0.2
    longest: float = 10.0
    total: float = 3_600.0
    answer: float = 10.0


class Errand(Struct):
    """A delivery to be made, the pause that comes if it fails, and when to give up."""

    delivery: Delivery
    pause: float
    until: float


class Courier:
    """Takes events to endpoints.

    Args:
        books: where events and endpoints are, and where it notes what was taken.
        faults: what befalls events on the way.
        clock: seconds since 1970.
        patience: how it repeats.
    """

    def __init__(
        self, books: Books, faults: Faults, clock: Callable[[], int], patience: Patience
    ) -> None:
        self._books = books
        self._faults = faults
        self._clock = clock
        self._patience = patience
        self._queue: asyncio.Queue[Errand] = asyncio.Queue()
        self._held: dict[str, list[Errand]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._encode = msgspec.json.Encoder().encode

    def start(self) -> None:
        """Begin, with what was left over from the last time."""
        self._workers = [asyncio.create_task(self._work()) for _ in range(_CONNECTIONS)]
        for delivery, wanted in self._books.undelivered.items():
            if wanted:
                self._queue.put_nowait(self._errand(delivery))

    async def stop(self) -> None:
        """End; what was not taken is still in the books."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def send(self, deliveries: Iterable[Delivery]) -> None:
        """Take these, some of them late, twice or never if faults say so."""
        for delivery in deliveries:
            event = self._books["event"].get(delivery.event)
            assert event is not None
            kinds: list[Kind] = ["webhook_drop", "webhook_delay", "webhook_duplicate"]
            if not self._held.get(delivery.endpoint):  # else this is the neighbour
                kinds.append("webhook_reorder")
            strikes = self._faults.draw(event["type"], *kinds)
            if "webhook_drop" in strikes:
                self._books.gave_up(delivery)
                continue
            delay = strikes["webhook_delay"].wait if "webhook_delay" in strikes else 0.0
            duplicate = strikes.get("webhook_duplicate")
            for _ in range(1 if duplicate is None else 1 + duplicate.fault.copies):
                errand = self._errand(delivery)
                if reorder := strikes.get("webhook_reorder"):
                    self._hold(errand, reorder.fault.seconds)
                else:
                    self._later(delay, errand)

    def send_again(self, event_id: str, copies: int = 1) -> None:
        """Take an event to all its endpoints again, whatever became of it before."""
        for endpoint in self._books["webhook_endpoint"]:
            for _ in range(copies):
                delivery = Delivery(event_id, endpoint["id"])
                self._queue.put_nowait(self._errand(delivery))

    def _errand(self, delivery: Delivery) -> Errand:
        until = asyncio.get_running_loop().time() + self._patience.total
        return Errand(delivery, self._patience.first, until)

    def _hold(self, errand: Errand, seconds: float | None) -> None:
        """Keep an errand until another one of its endpoint is done, or for so long."""
        endpoint = errand.delivery.endpoint
        self._held.setdefault(endpoint, []).append(errand)
        wait = _REORDER_SECONDS if seconds is None else seconds
        asyncio.get_running_loop().call_later(wait, self._let_go, endpoint, [errand])

    def _let_go(self, endpoint: str, errands: Iterable[Errand]) -> None:
        """Send what was held, as far as it is held still."""
        held = self._held.get(endpoint, [])
        for errand in list(errands):
            if errand in held:
                held.remove(errand)
                self._queue.put_nowait(errand)

    def _later(self, seconds: float, errand: Errand) -> None:
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._queue.put_nowait, errand)
        else:
            self._queue.put_nowait(errand)

    async def _work(self) -> None:
        loop, connection = asyncio.get_running_loop(), Connection()
        try:
            while True:
                errand = await self._queue.get()
                # It ends when its time is over, or when somebody says so.
                while self._faults.outage(loop.time()):  # noqa: ASYNC110
                    await asyncio.sleep(_OUTAGE_POLL_SECONDS)
                if await self._deliver(errand.delivery, connection):
                    self._books.delivered(errand.delivery)
                    endpoint = errand.delivery.endpoint
                    self._let_go(endpoint, self._held.get(endpoint, ()))
                elif loop.time() + errand.pause < errand.until:
                    self._later(errand.pause, errand)
                    errand.pause = min(2 * errand.pause, self._patience.longest)
                else:
                    self._books.gave_up(errand.delivery)
        finally:
            connection.close()

    async def _deliver(self, delivery: Delivery, connection: Connection) -> bool:
        """Take an event to its endpoint; return whether that is done with."""
        event = self._books["event"].get(delivery.event)
        endpoint = self._books["webhook_endpoint"].get(delivery.endpoint)
        if event is None or endpoint is None:
            return True  # forgotten meanwhile
        try:
            status = await self._post(event, endpoint, connection)
        except OSError:
            return False
        return 200 <= status < 300

    async def _post(self, event: Object, endpoint: Object, connection: Connection) -> int:
        payload = self._encode(event)
        headers = {
            "Accept": "*/*; q=0.5, application/xml",
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(payload, endpoint["secret"], self._clock()),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks) sandbox",
        }
        return await connection.post(endpoint["url"], headers, payload, self._patience.answer)
