"""The sandbox behind its HTTP: books, faults and courier, and what happens by itself."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from loadtests.stripe_sandbox import intents, refunds
from loadtests.stripe_sandbox.accounts import accounts
from loadtests.stripe_sandbox.books import Answer, Books, Change
from loadtests.stripe_sandbox.errors import Object, StripeError
from loadtests.stripe_sandbox.faults import Active, Fault, Faults
from loadtests.stripe_sandbox.objects import new_endpoint
from loadtests.stripe_sandbox.webhooks import Courier, Patience

#: Of the endpoint that the command line names: it is the same one after a restart.
_OWN_ENDPOINT = "we_commandline"
#: How long a cancellation is held for a confirmation to win, unless the fault says, seconds.
_RACE_SECONDS = 1.0


class Settings(Struct, frozen=True, kw_only=True):
    """What the command line says.

    Attributes:
        api_key: the secret key.
        data_dir: where the books are; None keeps nothing.
        webhook_url: of an endpoint for all events.
        webhook_secret: of that endpoint.
        seed: of all faults.
        settle_seconds: how long a payment is processing, and a refund pending.
        patience: with endpoints.
    """

    api_key: str = "sk_test_sandbox"
    data_dir: Path | None = None
    webhook_url: str | None = None
    webhook_secret: str = "whsec_sandbox"  # noqa: S105 - known to everyone, as is the key
    seed: int = 0
    settle_seconds: float = 0.5
    patience: Patience = Patience()

    @property
    def publishable_key(self) -> str:
        """The key for browsers."""
        return self.api_key.replace("sk_", "pk_", 1)


class Sandbox:
    """One account of a payment provider that moves no money.

    Args:
        settings: what it is started with.
        clock: seconds since 1970.

    Attributes:
        site: where it is, once that is known.

    Raises:
        DamagedBooks: the file in `data_dir` cannot be read.
        BooksInUse: another sandbox has it.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.site = ""
        self._clock = clock
        data_dir = settings.data_dir
        self.books = Books(None if data_dir is None else data_dir / "books.jsonl")
        self.faults = Faults(settings.seed)
        self.courier = Courier(self.books, self.faults, self.clock, settings.patience)
        self._racing: dict[str, asyncio.Event] = {}
        if settings.webhook_url is not None:
            fields = {"id": _OWN_ENDPOINT, "secret": settings.webhook_secret}
            change = self.change()
            change.put(new_endpoint(change.now, settings.webhook_url, ["*"], fields))
            self.books.commit(change)

    def clock(self) -> int:
        """Return the time, seconds since 1970."""
        return int(self._clock())

    def start(self) -> None:
        """Begin: send what was not taken, end what was pending when the last process ended."""
        self.courier.start()
        for kind in ("payment_intent", "refund"):
            for thing in self.books[kind]:
                self._settle_later(thing)

    async def stop(self) -> None:
        """End in good order."""
        await self.courier.stop()
        self.books.close()

    def change(self, request_id: str | None = None, key: str | None = None) -> Change:
        """Return a change that begins now, for a request with this id and key."""
        return Change(self.books, self.clock(), request_id, key, self.site)

    def commit(self, change: Change, answer: Answer | None = None) -> None:
        """Make a change true and lasting, and set off all that follows from it."""
        self.courier.send(self.books.commit(change, answer))
        for thing in change.things.values():
            self._settle_later(thing)
            if thing["id"] in self._racing:
                self._racing[thing["id"]].set()

    def do(self, run: Callable[[Change], Object]) -> Object:
        """Do something that no request of the API asked for.

        Raises:
            StripeError: it was refused; what it changed nevertheless is committed.
        """
        change = self.change()
        try:
            done = run(change)
        except StripeError:
            self.commit(change)
            raise
        self.commit(change)
        return done

    def away(self) -> bool:
        """Return whether there is an outage."""
        return self.faults.outage(asyncio.get_running_loop().time())

    async def lose_race(self, intent_id: str, seconds: float | None) -> None:
        """Wait until somebody else has changed an intent, or for `seconds`."""
        changed = self._racing.setdefault(intent_id, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RACE_SECONDS if seconds is None else seconds):
                await changed.wait()
        self._racing.pop(intent_id, None)

    def add_faults(self, faults: Iterable[Fault]) -> list[Active]:
        """Let these things go wrong from now on."""
        return self.faults.add(faults, asyncio.get_running_loop().time())

    def send_again(self, event_id: str, copies: int) -> Object:
        """Send an event again to all endpoints, whatever became of it before.

        Raises:
            StripeError: there is no such event.
        """
        event = self.change().get("event", event_id)
        self.courier.send_again(event_id, copies)
        return event

    def accounts(self) -> Object:
        """Return what the books add up to."""
        return accounts(self.books)

    def reset(self) -> None:
        """Forget everything but the endpoints."""
        self.faults.clear()
        self.books.reset()

    def _settle_later(self, thing: Object) -> None:
        """Let a payment that is processing, or a refund, go on by itself after a while."""
        if thing["object"] == "payment_intent" and thing["status"] == "processing":
            self._soon(lambda change: intents.settle(change, thing["id"]))
        elif thing["object"] == "refund":
            status = refunds.next_status(self.books, thing)
            if status is not None:
                self._soon(lambda change: refunds.settle(change, thing["id"], status))

    def _soon(self, run: Callable[[Change], Object]) -> None:
        def settle() -> None:
            # Somebody may have been faster: canceled it, settled it by hand, or forgot it.
            with contextlib.suppress(StripeError):
                self.do(run)

        asyncio.get_running_loop().call_later(self.settings.settle_seconds, settle)
