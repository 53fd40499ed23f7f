"""The other side of the sandbox, at `/_sandbox`: what is done to it, not asked of it."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from loadtests.stripe_sandbox import disputes, intents, refunds
from loadtests.stripe_sandbox.api import break_off
from loadtests.stripe_sandbox.books import Change
from loadtests.stripe_sandbox.errors import Object, StripeError, refused
from loadtests.stripe_sandbox.faults import Fault
from loadtests.stripe_sandbox.params import IntentConfirm
from loadtests.stripe_sandbox.sandbox import Sandbox

_ABOUT = "THIS IS A SANDBOX. NO MONEY MOVES."
_PAGE = f"""<!doctype html><title>Stripe sandbox</title>
<h1>{_ABOUT}</h1>
<p>It behaves as Stripe documents, for tests and load runs on this machine, and has nothing
to do with Stripe. The API is at /v1; its accounts are at <a href="/_sandbox/books">
/_sandbox/books</a>, what goes wrong on purpose at <a href="/_sandbox/faults">
/_sandbox/faults</a>.</p>
"""


_BANK = "payment_intents/{id}/authenticate"
_BANK_PAGE = f"""<!doctype html><title>3-D Secure</title>
<h1>{_ABOUT}</h1>
<p>This is where a buyer's bank would ask whether the payment is really theirs.</p>
<form method="post" action="authenticate/succeed"><button>It is</button></form>
<form method="post" action="authenticate/fail"><button>It is not</button></form>
"""


class Pay(Struct, forbid_unknown_fields=True):
    """Who pays."""

    payment_method: str = "pm_card_visa"


class Authenticate(Struct, forbid_unknown_fields=True):
    """What 3-D Secure found."""

    outcome: Literal["succeed", "fail"]


class Nothing(Struct, forbid_unknown_fields=True):
    """No parameters."""


class OpenDispute(Struct, forbid_unknown_fields=True):
    """Why the buyer wants the money back, and how much of it, in minor units; None: all."""

    reason: str = "general"
    amount: int | None = None


class CloseDispute(Struct, forbid_unknown_fields=True):
    """How the bank decided; seen from the merchant."""

    status: Literal["won", "lost"]


class SettleRefund(Struct, forbid_unknown_fields=True):
    """What became of a refund."""

    status: Literal["succeeded", "failed"]


class Resend(Struct, forbid_unknown_fields=True):
    """How often."""

    copies: int = 1


class Action(NamedTuple):
    """Something that happens to an object, as a buyer or a bank would have it."""

    path: str
    takes: type[Struct]
    run: Callable[[Change, Any, str], Object]


def _dispute(change: Change, params: OpenDispute, intent_id: str) -> Object:
    intent = change.get("payment_intent", intent_id, "intent")
    if intent["latest_charge"] is None:
        raise refused(f"Nothing was charged for {intent_id}.")
    return disputes.open_dispute(change, intent["latest_charge"], params.reason, params.amount)


_ACTIONS = [
    Action(
        "payment_intents/{id}/pay",
        Pay,
        lambda change, params, object_id: intents.confirm(
            change, IntentConfirm(payment_method=params.payment_method), object_id
        ),
    ),
    Action(
        _BANK,
        Authenticate,
        lambda change, params, object_id: intents.authenticate(
            change, object_id, params.outcome == "succeed"
        ),
    ),
    Action(
        "payment_intents/{id}/settle",
        Nothing,
        lambda change, _, object_id: intents.settle(change, object_id),
    ),
    Action("payment_intents/{id}/dispute", OpenDispute, _dispute),
    Action(
        "disputes/{id}/close",
        CloseDispute,
        lambda change, params, object_id: disputes.close_dispute(change, object_id, params.status),
    ),
    Action(
        "refunds/{id}/settle",
        SettleRefund,
        lambda change, params, object_id: refunds.settle(change, object_id, params.status),
    ),
]


class Control:
    """Everything under `/_sandbox`, and the front page.

    Args:
        sandbox: what it is done to.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[BaseRoute]:
        """Return where everything is."""
        return [
            *(
                Route(f"/_sandbox/{action.path}", self._acting(action), methods=["POST"])
                for action in _ACTIONS
            ),
            Route("/", self._about, methods=["GET"]),
            Route(f"/_sandbox/{_BANK}", self._bank, methods=["GET"]),
            Route(f"/_sandbox/{_BANK}/{{outcome}}", self._decide, methods=["POST"]),
            Route("/_sandbox/faults", self._show_faults, methods=["GET"]),
            Route("/_sandbox/faults", self._add_faults, methods=["POST"]),
            Route("/_sandbox/faults", self._clear_faults, methods=["DELETE"]),
            Route("/_sandbox/faults/{id:int}", self._clear_faults, methods=["DELETE"]),
            Route("/_sandbox/books", self._show_books, methods=["GET"]),
            Route("/_sandbox/events/{id}/resend", self._resend, methods=["POST"]),
            Route("/_sandbox/reset", self._reset, methods=["POST"]),
        ]

    def _acting(self, action: Action) -> Callable[[Request], Any]:
        async def act(request: Request) -> Response:
            if self._sandbox.away():
                await break_off(request, 0.0)
                return Response()
            try:
                params = _read(await request.body(), action.takes)
                object_id = request.path_params["id"]
                return _json(self._sandbox.do(lambda change: action.run(change, params, object_id)))
            except StripeError as error:
                return _json({"error": error.error}, error.status)

        return act

    async def _about(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(_PAGE)
        return _json({"sandbox": True, "about": _ABOUT})

    async def _bank(self, _: Request) -> Response:
        """Ask the buyer, on the page that `next_action` leads to."""
        return HTMLResponse(_BANK_PAGE)

    async def _decide(self, request: Request) -> Response:
        """Take the buyer's answer, and send the buyer back to the shop."""
        intent_id, succeeds = request.path_params["id"], request.path_params["outcome"] == "succeed"
        try:
            before = self._sandbox.change().get("payment_intent", intent_id, "intent")
            after = self._sandbox.do(
                lambda change: intents.authenticate(change, intent_id, succeeds)
            )
        except StripeError as error:
            return _json({"error": error.error}, error.status)
        back = (before["next_action"].get("redirect_to_url") or {}).get("return_url")
        if back is None:
            return HTMLResponse(f"<h1>{_ABOUT}</h1><p>Go back to the shop.</p>")
        told = {
            "payment_intent": intent_id,
            "payment_intent_client_secret": after["client_secret"],
            "redirect_status": "succeeded" if succeeds else "failed",
        }
        return RedirectResponse(f"{back}{'&' if '?' in back else '?'}{urlencode(told)}", 303)

    async def _show_faults(self, _: Request) -> Response:
        return _json({"faults": self._sandbox.faults.shown()})

    async def _add_faults(self, request: Request) -> Response:
        """Begin with a fault, or with several in a list."""
        body = (await request.body()).strip()
        try:
            faults = _read(body if body.startswith(b"[") else b"[%s]" % body, list[Fault])
        except StripeError as error:
            return _json({"error": error.error}, error.status)
        return _json({"faults": self._sandbox.add_faults(faults)})

    async def _clear_faults(self, request: Request) -> Response:
        self._sandbox.faults.clear(request.path_params.get("id"))
        return await self._show_faults(request)

    async def _show_books(self, _: Request) -> Response:
        return _json(self._sandbox.accounts())

    async def _resend(self, request: Request) -> Response:
        """Send an event again to all its endpoints, whatever became of it before."""
        try:
            params = _read(await request.body(), Resend)
            event = self._sandbox.send_again(request.path_params["id"], params.copies)
        except StripeError as error:
            return _json({"error": error.error}, error.status)
        return _json(event)

    async def _reset(self, _: Request) -> Response:
        self._sandbox.reset()
        return _json(self._sandbox.accounts())


def _read(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.MsgspecError as error:
        raise refused(str(error)) from None


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
