"""The API over HTTP: keys, forms, idempotency and faults around each operation."""

import asyncio
import base64
import binascii
import hashlib
from typing import Any, NamedTuple

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loadtests.stripe_sandbox.books import Answer, Change
from loadtests.stripe_sandbox.errors import (
    Object,
    StripeError,
    not_executed,
    rate_limited,
    refused,
    server_error,
)
from loadtests.stripe_sandbox.expand import expanded
from loadtests.stripe_sandbox.faults import Kind, Strike
from loadtests.stripe_sandbox.forms import parse_form, read
from loadtests.stripe_sandbox.objects import API_VERSION, new_id
from loadtests.stripe_sandbox.operations import Operation
from loadtests.stripe_sandbox.sandbox import Sandbox

#: Where the protocol puts the way to break the connection off.
ABORT = "sandbox.abort"
#: How long a request that gets no answer is held, unless the fault says, seconds.
_HOLD_SECONDS = 30.0

_KINDS: tuple[Kind, ...] = (
    "latency",
    "timeout_before_commit",
    "timeout_after_commit",
    "rate_limit",
    "server_error_before_commit",
    "server_error_after_commit",
)
#: What a browser sees of an intent.
_PUBLIC = [
    "id",
    "object",
    "amount",
    "automatic_payment_methods",
    "canceled_at",
    "cancellation_reason",
    "capture_method",
    "client_secret",
    "confirmation_method",
    "created",
    "currency",
    "description",
    "last_payment_error",
    "livemode",
    "next_action",
    "payment_method",
    "payment_method_types",
    "processing",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "source",
    "status",
]


class NoAnswer(Exception):
    """The connection is to be broken off, after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Asked(NamedTuple):
    """A request, as far as it was understood."""

    operation: Operation
    object_id: str
    path: str
    request_id: str
    key: str | None
    form: Object
    public: bool


class Endpoint:
    """Answers one operation; an ASGI application."""

    def __init__(self, sandbox: Sandbox, operation: Operation, in_flight: set[str]) -> None:
        self._sandbox = sandbox
        self._operation = operation
        self._in_flight = in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or break off."""
        request = Request(scope, receive)
        try:
            if self._sandbox.away():
                raise NoAnswer(0.0)
            response = await self._answer(request)
        except NoAnswer as none:
            await break_off(request, none.seconds)
        except ClientDisconnect:
            pass  # it left before it had asked
        else:
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        headers = {
            "Request-Id": new_id("req"),
            "Stripe-Version": request.headers.get("stripe-version", API_VERSION),
        }
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            posted = (await request.body()).decode(errors="replace")
            form = parse_form(posted if request.method == "POST" else request.url.query)
            public = self._authorize(request, form)
            object_id = request.path_params.get("id", "")
            path = request.url.path
            asked = Asked(
                self._operation, object_id, path, headers["Request-Id"], key, form, public
            )
            answer, replayed = await self._with_faults(asked)
        except StripeError as error:
            answer, replayed = _failure(error), False
        if replayed:
            headers["Idempotent-Replayed"] = "true"
            headers["Original-Request"] = answer.request_id
        if answer.status >= 500:
            headers["Stripe-Should-Retry"] = "false"  # a key would only replay it
        return Response(bytes(answer.body), answer.status, headers, "application/json")

    def _authorize(self, request: Request, form: Object) -> bool:
        """Return whether a browser asks; it proves itself later, with the client secret."""
        settings = self._sandbox.settings
        given = _key(request.headers.get("authorization", "")) or str(form.pop("key", ""))
        if not given:
            message = (
                "You did not provide an API key. You need to provide your API key in the"
                " Authorization header, using Bearer auth (e.g. 'Authorization: Bearer"
                " YOUR_SECRET_KEY')."
            )
            raise not_executed(401, message)
        if given == settings.api_key:
            return False
        if given != settings.publishable_key:
            raise not_executed(401, f"Invalid API Key provided: {given[:8]}****{given[-4:]}")
        if not self._operation.public:
            message = (
                "This API call cannot be made with a publishable API key. Please use a secret API"
                " key."
            )
            raise not_executed(401, message, "secret_key_required")
        return True

    async def _with_faults(self, asked: Asked) -> tuple[Answer, bool]:
        strikes = self._sandbox.faults.draw(asked.operation.name, *_KINDS)
        if strike := strikes.get("timeout_before_commit"):
            raise NoAnswer(_hold(strike))
        if "rate_limit" in strikes:
            raise rate_limited()
        told = await self._once(asked, strikes)
        if strike := strikes.get("timeout_after_commit"):
            raise NoAnswer(_hold(strike))
        return told

    async def _once(self, asked: Asked, strikes: dict[Kind, Strike]) -> tuple[Answer, bool]:
        """Execute a request, unless its key remembers that it was; return whether it does."""
        key = asked.key
        if key is None:
            return await self._execute(asked, "", strikes), False
        if not 0 < len(key) <= 255:
            message = "Idempotency keys must have 1 to 255 characters."
            raise refused(message, kind="idempotency_error", began=False)
        fingerprint = _fingerprint(asked)
        known = self._sandbox.books.answered(key, self._sandbox.clock())
        if known is not None:
            if known.fingerprint != fingerprint:
                raise _other_request(key, known.fingerprint, asked.path)
            return known, True
        if key in self._in_flight:
            message = (
                "There is currently another in-progress request using this Idempotent Key (that"
                " probably means you submitted twice, and the other request is still going"
                f" through): {key}. Please try again later."
            )
            raise not_executed(409, message, "idempotency_key_in_use")
        self._in_flight.add(key)
        try:
            return await self._execute(asked, fingerprint, strikes), False
        finally:
            self._in_flight.discard(key)

    async def _execute(self, asked: Asked, fingerprint: str, strikes: dict[Kind, Strike]) -> Answer:
        params = read(asked.operation.takes, asked.form)
        await self._wait(asked, strikes)
        sandbox, key = self._sandbox, asked.key
        change = sandbox.change(asked.request_id, key)
        try:
            if "server_error_before_commit" in strikes:
                raise server_error()
            if asked.public:
                _check_secret(change, asked)
            done = asked.operation.run(change, params, asked.object_id)
            status, body = 200, expanded(change, done, params.expand)
            if "server_error_after_commit" in strikes:
                raise server_error()
        except StripeError as error:
            if not error.began:
                raise
            status, body = error.status, {"error": _with_request(error, asked)}
        content = msgspec.json.encode(_as_public(body) if asked.public else body)
        raw = msgspec.Raw(content)
        answer = Answer(key or "", fingerprint, status, raw, change.now, asked.request_id)
        sandbox.commit(change, None if key is None else answer)
        return answer

    async def _wait(self, asked: Asked, strikes: dict[Kind, Strike]) -> None:
        if strike := strikes.get("latency"):
            await asyncio.sleep(strike.wait)
        name = asked.operation.name
        if name == "payment_intents.cancel":
            races = self._sandbox.faults.draw(name, "success_after_cancel_race")
            for race in races.values():
                await self._sandbox.lose_race(asked.object_id, race.fault.seconds)


async def break_off(request: Request, seconds: float) -> None:
    """Close the connection without an answer, after so many seconds or with the client."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    try:
        async with asyncio.timeout(seconds):
            await gone()
    except TimeoutError:
        request.scope["extensions"][ABORT]["abort"]()
        await gone()


def _failure(error: StripeError) -> Answer:
    body = msgspec.json.encode({"error": error.error})
    return Answer("", "", error.status, msgspec.Raw(body), 0, "")


def _with_request(error: StripeError, asked: Asked) -> Object:
    url = f"https://dashboard.stripe.com/test/logs/{asked.request_id}"
    return {**error.error, "request_log_url": url}


def _hold(strike: Strike) -> float:
    return _HOLD_SECONDS if strike.fault.seconds is None else strike.fault.seconds


def _key(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _fingerprint(asked: Asked) -> str:
    """Return what a repetition has in common with the first request."""
    content = msgspec.json.encode(asked.form, order="deterministic")
    return f"{asked.path} {hashlib.sha256(content).hexdigest()}"


def _other_request(key: str, known: str, path: str) -> StripeError:
    first = known.partition(" ")[0]
    same = (
        "with the same parameters they were first used with"
        if first == path
        else f"for the same endpoint they were first used for ('{path}' vs '{first}')"
    )
    message = (
        f"Keys for idempotent requests can only be used {same}. Try using a key other than"
        f" '{key}' if you meant to execute a different request."
    )
    return refused(message, kind="idempotency_error", began=False)


def _check_secret(change: Change, asked: Asked) -> None:
    intent = change.get("payment_intent", asked.object_id, "intent")
    if asked.form.get("client_secret") != intent["client_secret"]:
        message = (
            "The client_secret provided does not match the client_secret associated with the"
            " PaymentIntent."
        )
        raise refused(message, "payment_intent_invalid_parameter", "client_secret")


def _as_public(body: Object) -> Object:
    """Return an answer without what is not for browsers."""

    def shown(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value.get("object") == "payment_intent":
            return {name: value[name] for name in _PUBLIC}
        return {name: shown(inner) for name, inner in value.items()}

    result: Object = shown(body)
    return result
