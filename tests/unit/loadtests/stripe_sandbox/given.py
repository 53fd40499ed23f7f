"""Small beginnings for tests of the sandbox without HTTP."""

from typing import Any

from loadtests.stripe_sandbox import events, intents, refunds
from loadtests.stripe_sandbox.books import Books, Change
from loadtests.stripe_sandbox.errors import Object, StripeError
from loadtests.stripe_sandbox.params import (
    EndpointCreate,
    IntentCapture,
    IntentConfirm,
    IntentCreate,
    RefundCreate,
)

NOW = 1_800_000_000


class Requests:
    """Books, and requests to them one after the other, each a second after the last."""

    def __init__(self, books: Books | None = None) -> None:
        self.books = Books() if books is None else books
        self.now = NOW
        self.told: list[str] = []

    def do(self, run: Any, *args: Any) -> Any:
        """Do and commit; what is refused is committed as well, and raised."""
        self.now += 1
        change = Change(self.books, self.now)
        try:
            return run(change, *args)
        finally:
            self.books.commit(change)
            self.told = [event["type"] for event in change.events]

    def refused(self, run: Any, *args: Any) -> StripeError:
        """Do what must be refused; return how."""
        try:
            done = self.do(run, *args)
        except StripeError as error:
            return error
        raise AssertionError(f"not refused: {done}")

    def intent(self, **params: Any) -> Object:
        return self.do(
            intents.create, IntentCreate(**{"amount": 4500, "currency": "eur"} | params), ""
        )

    def confirm(
        self, intent: Object, payment_method: str = "pm_card_visa", **params: Any
    ) -> Object:
        confirm = IntentConfirm(payment_method=payment_method, **params)
        return self.do(intents.confirm, confirm, intent["id"])

    def paid(self, payment_method: str = "pm_card_visa", **params: Any) -> Object:
        return self.confirm(self.intent(**params), payment_method)

    def capture(self, intent: Object, amount: int | None = None) -> Object:
        return self.do(intents.capture, IntentCapture(amount_to_capture=amount), intent["id"])

    def refund(self, intent: Object, amount: int | None = None) -> Object:
        params = RefundCreate(payment_intent=intent["id"], amount=amount)
        return self.do(refunds.create, params, "")

    def endpoint(self, *kinds: str) -> Object:
        params = EndpointCreate(url="http://127.0.0.1:1/x", enabled_events=list(kinds) or ["*"])
        return self.do(events.create_endpoint, params, "")

    def charge(self, intent: Object) -> Object:
        charge = self.books["charge"].get(
            self.books["payment_intent"].get(intent["id"])["latest_charge"]
        )
        assert charge is not None
        return charge
