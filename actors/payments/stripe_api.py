"""The real Stripe: keeps `actors.payments.contract.Stripe`.

What would be done twice if it were asked for twice has a key that depends on the booking
alone: whoever takes over from a process that died asks for the same thing, and gets it.
What cannot be done twice, to cancel and to capture, has a key of its own for each call, so that
attempts whose answer was lost are one, and no call is answered with what was true before.
Stripe forgets a key after a day, and remembers failures of its own (500), too: what may have
been done under such a key is looked for first, and only then asked for under another.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from actors.payments.calling import Call, Caller, KeySpent
from actors.payments.connections import AGAIN_SECONDS, Answer
from actors.payments.contract import (
    BOOKING,
    CUSTOMER,
    EVENT,
    NUMBER,
    DisputeFacts,
    Intent,
    Notice,
    Return,
    StripeAway,
    StripeRefused,
    Wanted,
)
from actors.payments.limiter import Priority
from actors.payments.objects import (
    KINDS,
    MONEY_BACK,
    BadBody,
    Json,
    read_disputes,
    read_intent,
    read_intents,
    read_notices,
    read_return,
    read_returns,
)

#: Objects on a page of a list: as many as Stripe gives.
PAGE_MAX = 100
#: Keys that are tried for one thing. Each is spent on a failure of Stripe's own, and the
#: pause before the next one doubles: the last is reached after three quarters of an hour in
#: which Stripe has failed, for a refund after eight hours.
KEYS_MAX = 10
#: The same for what cannot be done twice: whoever asked comes back with another key.
MOVE_KEYS_MAX = 2
#: How far back, and on how many pages, a payment is looked for that Stripe may have opened
#: before it failed, seconds. It is looked for right after the failure; one that is overlooked
#: costs nothing, because nobody can pay it without its secret, and reconciliation closes it.
LOOK_BACK_SECONDS = 300
LOOK_BACK_PAGES_MAX = 10
#: How long after a failure nothing is asked for under another key, seconds; twice as long
#: after the next. A buyer who waits gets a second key at once, as two payments do no harm.
#: Money must not be given back twice: Stripe may carry out a refund that has failed on its
#: own, when it has recovered.
CREATE_DOUBT_SECONDS = 5.0
REFUND_DOUBT_SECONDS = 60.0
#: Keys in doubt, remembered by one process; each is in somebody's hands.
DOUBTS_MAX = 10_000

_T = TypeVar("_T")
_INTENTS = "/v1/payment_intents"
_WITH_CHARGE = {"expand": ["latest_charge"]}


class StripeApi:
    """Stripe's API for one account; belongs to one event loop.

    Args:
        caller: makes the calls.
        now_s: Unix seconds.
        create_doubt_seconds: how long after a failure of Stripe's own a payment is not
            asked for under a third key.
        refund_doubt_seconds: the same for a refund, and its second key.
        attempt: returns names that no call of any process has had, for keys.
    """

    def __init__(
        self,
        caller: Caller,
        now_s: Callable[[], float],
        create_doubt_seconds: float = CREATE_DOUBT_SECONDS,
        refund_doubt_seconds: float = REFUND_DOUBT_SECONDS,
        attempt: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._caller = caller
        self._attempt = attempt
        self._now_s = now_s
        self._create_doubt_seconds = create_doubt_seconds
        self._refund_doubt_seconds = refund_doubt_seconds
        self._doubts: dict[str, float] = {}

    async def create(self, wanted: Wanted) -> Intent:
        """See `contract.Stripe`. One that was opened before is returned as it stands now."""
        params: dict[str, Any] = {
            "amount": wanted.amount_minor,
            "currency": wanted.currency.lower(),
            "capture_method": "manual" if wanted.manual_capture else "automatic",
            "automatic_payment_methods": {"enabled": True},
            "metadata": {
                BOOKING: wanted.booking_id,
                EVENT: wanted.event_id,
                CUSTOMER: wanted.customer,
            },
        }
        for attempt in range(KEYS_MAX):
            key = f"{wanted.booking_id}:create:{attempt + 1}"
            call = Call("payment_intents.create", Priority.OPENING, "post", _INTENTS, params, key)
            try:
                answer = await self._caller.call(call)
            except KeySpent:
                found = await self._opened_lately(wanted.booking_id)
                if found is not None:
                    return found
                self._wait_out(key, self._create_doubt_seconds * (2**attempt - 1))
                continue
            intent = _read(read_intent, answer)
            return await self.retrieve(intent.intent_id) if answer.replayed else intent
        raise StripeAway("fails each time", AGAIN_SECONDS)

    async def retrieve(self, intent_id: str) -> Intent:
        """See `contract.Stripe`."""
        call = Call(
            "payment_intents.retrieve", Priority.OWED, "get", _path(intent_id), _WITH_CHARGE
        )
        return _read(read_intent, await self._caller.call(call))

    async def cancel(self, intent_id: str) -> Intent:
        """See `contract.Stripe`."""
        return await self._move(intent_id, "cancel", Priority.CLOSING)

    async def capture(self, intent_id: str) -> Intent:
        """See `contract.Stripe`."""
        return await self._move(intent_id, "capture", Priority.OWED)

    async def refund(
        self, booking_id: str, event_id: str, intent_id: str, amount_minor: int, number: int
    ) -> Return:
        """See `contract.Stripe`.

        Raises:
            StripeRefused: `refund_number_reused` if there is one of another amount.
        """
        params = {
            "payment_intent": intent_id,
            "amount": amount_minor,
            "metadata": {BOOKING: booking_id, EVENT: event_id, NUMBER: str(number)},
        }
        key = first = f"{booking_id}:refund:{number}"
        for attempt in range(KEYS_MAX):
            # A look each time: Stripe forgets keys after a day, and a refund is for ever.
            made = await self._made(booking_id, intent_id, amount_minor, number)
            if made is not None:
                return made
            if attempt:
                self._wait_out(key, self._refund_doubt_seconds * 2 ** (attempt - 1))
                key = f"{first}:{attempt + 1}"
            call = Call("refunds.create", Priority.OWED, "post", "/v1/refunds", params, key)
            try:
                return _read(read_return, await self._caller.call(call))
            except KeySpent:
                continue
            except StripeRefused:
                made = await self._made(booking_id, intent_id, amount_minor, number)
                if made is None:
                    raise
                return made
        raise StripeAway("fails each time", AGAIN_SECONDS)

    async def refunds(self, intent_id: str) -> list[Return]:
        """See `contract.Stripe`."""
        found: list[Return] = []
        more = True
        while more:
            params = _page({"payment_intent": intent_id}, found[-1].refund_id if found else None)
            answer = await self._list("refunds", params)
            page, more = _read(read_returns, answer)
            found += page
        return found

    async def disputes(self, intent_id: str) -> list[DisputeFacts]:
        """See `contract.Stripe`."""
        found: list[DisputeFacts] = []
        more = True
        while more:
            params = _page({"payment_intent": intent_id}, found[-1].dispute_id if found else None)
            page, more = _read(read_disputes, await self._list("disputes", params))
            found += page
        return found

    async def opened_since(self, created: int, after: str | None) -> tuple[list[Intent], bool]:
        """See `contract.Stripe`. Each comes with its latest charge."""
        params = {"created": {"gte": created}, "expand": ["data.latest_charge"]}
        return _read(read_intents, await self._list("payment_intents", _page(params, after)))

    async def undelivered(self, created: int, after: str | None) -> tuple[list[Notice], bool]:
        """See `contract.Stripe`. Only events of kinds that say something to us."""
        params = {"created": {"gte": created}, "delivery_success": "false", "types": list(KINDS)}
        return _read(read_notices, await self._list("events", _page(params, after)))

    async def money_back(self, created: int, after: str | None) -> tuple[list[Notice], bool]:
        """See `contract.Stripe`."""
        params = {"created": {"gte": created}, "types": list(MONEY_BACK)}
        return _read(read_notices, await self._list("events", _page(params, after)))

    async def _list(self, what: str, params: dict[str, Any]) -> Answer:
        call = Call(f"{what}.list", Priority.OWED, "get", f"/v1/{what}", params)
        return await self._caller.call(call)

    async def _move(self, intent_id: str, step: str, priority: Priority) -> Intent:
        """Take a payment a step further, or return it as it is if that cannot be done.

        Stripe remembers for a day what it has answered to a key, refusals as well: a payment
        that could not be closed while a bank was at it may have to be closed later. So no key
        is a function of the payment alone.
        """
        path = f"{_path(intent_id)}/{step}"
        for _ in range(MOVE_KEYS_MAX):
            key = f"{intent_id}:{step}:{self._attempt()}"
            call = Call(f"payment_intents.{step}", priority, "post", path, _WITH_CHARGE, key)
            try:
                return _read(read_intent, await self._caller.call(call))
            except KeySpent:
                continue  # it failed: to ask again under another key does no harm
            except StripeRefused as refused:
                if refused.code != "payment_intent_unexpected_state":
                    raise
            return await self.retrieve(intent_id)
        raise StripeAway("fails each time", AGAIN_SECONDS)

    async def _opened_lately(self, booking_id: str) -> Intent | None:
        """Return the newest payment that was opened for a booking a short while ago."""
        created = int(self._now_s()) - LOOK_BACK_SECONDS
        after = None
        for _ in range(LOOK_BACK_PAGES_MAX):
            page, more = await self.opened_since(created, after)
            for intent in page:
                if intent.booking_id == booking_id:
                    return intent
            if not more:
                break
            after = page[-1].intent_id
        return None

    async def _made(
        self, booking_id: str, intent_id: str, amount_minor: int, number: int
    ) -> Return | None:
        """Return the refund that has this number, None if there is none."""
        for made in await self.refunds(intent_id):
            if (made.booking_id, made.number) == (booking_id, number):
                if made.amount_minor == amount_minor:
                    return made
                message = f"refund {number} of {booking_id} was over {made.amount_minor}"
                raise StripeRefused("refund_number_reused", message)
        return None

    def _wait_out(self, key: str, seconds: float) -> None:
        """Return if it is so long since this key was first found to be spent.

        Raises:
            StripeAway: it is not; says what is left. A new process begins from the beginning.
        """
        now = asyncio.get_running_loop().time()
        if len(self._doubts) >= DOUBTS_MAX:
            self._doubts.pop(next(iter(self._doubts)))
        left = seconds - (now - self._doubts.setdefault(key, now))
        if left > 0:
            raise StripeAway("it has failed, and may come about yet", left)


def _path(intent_id: str) -> str:
    return f"{_INTENTS}/{quote(intent_id, safe='')}"


def _page(params: dict[str, Any], after: str | None) -> dict[str, Any]:
    """Return the parameters of a list's first page, or of the one after this object."""
    cursor = {} if after is None else {"starting_after": after}
    return {**params, "limit": PAGE_MAX, **cursor}


def _read(read: Callable[[Json], _T], answer: Answer) -> _T:
    """Translate an answer; one that makes no sense leaves open what was done."""
    try:
        return read(answer.body)
    except BadBody as error:
        raise StripeAway(f"unreadable answer: {error.reason}", AGAIN_SECONDS) from error
