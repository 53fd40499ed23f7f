"""One call of Stripe's API from begin to end: paced, repeated where that helps, understood."""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from actors.payments.breaker import Breaker
from actors.payments.connections import AGAIN_SECONDS, Answer
from actors.payments.contract import StripeAway, StripeRefused
from actors.payments.limiter import Limiter, Priority

#: Attempts at one call, and the time in which the last one must have begun, seconds. Who
#: asked has its own way of waiting for longer.
ATTEMPTS_MAX = 3
BUDGET_SECONDS = 10.0
#: Up to so much is added to the pause after the first attempt, seconds, twice as much to
#: the next, by chance, so that those who failed together do not come back together.
JITTER_SECONDS = 0.25
#: A pause after a 429 that does not name one, seconds.
PATIENCE_SECONDS = 1.0


def _nothing(operation: str, end: str, seconds: float) -> None:
    """Measure nothing."""


class Call(Struct, frozen=True):
    """A call of the API.

    Attributes:
        operation: what Stripe limits the pace of.
        priority: where not all calls can go at once.
        method: of HTTP.
        path: from "/v1/" on.
        params: as the API names them.
        key: of idempotency, the same for every attempt; None gives each its own.
    """

    operation: str
    priority: Priority
    method: str
    path: str
    params: Mapping[str, Any] = {}
    key: str | None = None


class KeySpent(StripeAway):
    """Stripe failed, and repeats that for this key, without having another try.

    What was asked for may have been done nevertheless, or may be yet.
    """


class Line(Protocol):
    """Something that asks once; see `connections.Connections`."""

    async def ask(
        self, method: str, path: str, params: Mapping[str, Any], key: str | None
    ) -> Answer:
        """Return the answer, whatever it is. Raises StripeAway if none came."""
        ...


class Caller:
    """Makes calls.

    Args:
        line: asks once.
        limiter: says when.
        breaker: says whether.
        chance: numbers from 0 to 1.
        ended: is told of every attempt: operation, ok, refused or away, seconds it took.
    """

    def __init__(
        self,
        line: Line,
        limiter: Limiter,
        breaker: Breaker,
        chance: Callable[[], float] = random.random,
        ended: Callable[[str, str, float], None] = _nothing,
    ) -> None:
        self._line = line
        self._limiter = limiter
        self._breaker = breaker
        self._chance = chance
        self._ended = ended

    async def call(self, call: Call) -> Answer:
        """Return the answer, which is a good one.

        Raises:
            KeySpent: it has failed before under this key.
            StripeAway: after all attempts, or without any.
            StripeRefused: it is not wanted.
        """
        loop = asyncio.get_running_loop()
        end, attempt = loop.time() + BUDGET_SECONDS, 0
        while True:
            self._breaker.check()
            await self._limiter.wait(call.operation, call.priority)
            self._breaker.check()
            try:
                return await self._timed(call)
            except KeySpent:
                raise
            except StripeAway as away:
                jitter = self._chance() * JITTER_SECONDS * 2**attempt
                pause = away.retry_after_seconds + jitter
                attempt += 1
                if attempt == ATTEMPTS_MAX or loop.time() + pause > end:
                    raise
            await asyncio.sleep(pause)

    async def _timed(self, call: Call) -> Answer:
        loop = asyncio.get_running_loop()
        began, end = loop.time(), "away"
        try:
            answer = await self._try(call)
            end = "ok"
        except StripeRefused:
            end = "refused"
            raise
        finally:
            self._ended(call.operation, end, loop.time() - began)
        return answer

    async def _try(self, call: Call) -> Answer:
        with self._breaker.calling():
            answer = await self._line.ask(call.method, call.path, call.params, call.key)
            if _is_failure(answer) and not answer.replayed:
                seconds = _retry_after(answer, AGAIN_SECONDS)
                raise StripeAway(f"status {answer.status}", seconds)
        if answer.status < 300:
            return answer
        if _is_failure(answer):
            raise KeySpent(f"status {answer.status}, repeated", AGAIN_SECONDS)
        if answer.status == 409:
            raise StripeAway("at it already", _retry_after(answer, AGAIN_SECONDS))
        code, message = _error(answer)
        if answer.status == 429 or code == "rate_limit":
            seconds = _retry_after(answer, PATIENCE_SECONDS)
            self._slow_down(call.operation, answer.headers, seconds)
            raise StripeAway(f"patience: {code}", seconds)
        raise StripeRefused(code, message)

    def _slow_down(self, operation: str, headers: Mapping[str, str], seconds: float) -> None:
        """Heed what Stripe says was too much; one object that is busy is not."""
        reason = headers.get("stripe-rate-limited-reason", "")
        if reason != "resource-specific":
            self._limiter.slow_down(operation, seconds, not reason.startswith("endpoint"))


class _Error(Struct):
    type: str = ""
    code: str | None = None
    message: str | None = None


class _Body(Struct):
    error: _Error


_bodies = msgspec.json.Decoder(_Body)


def _is_failure(answer: Answer) -> bool:
    """Return whether something broke on the far side: 424 is for what Stripe itself needs."""
    return answer.status >= 500 or answer.status == 424


def _retry_after(answer: Answer, otherwise: float) -> float:
    value = answer.headers.get("retry-after", "")
    is_number = value.isascii() and value.isdigit() and len(value) < 6
    return float(value) if is_number else otherwise


def _error(answer: Answer) -> tuple[str, str]:
    """Return code and message of a refusal; of a bad key, whatever Stripe's code says of it."""
    try:
        error = _bodies.decode(answer.body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"status_{answer.status}", "no message"
    key = {401: "unauthorized", 403: "forbidden"}.get(answer.status)
    return key or error.code or error.type or f"status_{answer.status}", error.message or ""
