"""A Stripe in memory that keeps `actors.payments.contract.Stripe`, and can perish anywhere.

`tests/contract/test_stripe.py` holds it and the real thing to the same.
"""

import json
from typing import Any

from msgspec.structs import replace

from actors.payments.contract import (
    DisputeFacts,
    Intent,
    Notice,
    Return,
    Secret,
    StripeAway,
    StripeRefused,
    Wanted,
)

#: Objects of one page of a list.
PAGE = 2
#: Unix seconds before everything that happens.
_BEGAN = 1_800_000_000
_CAN_BE_CLOSED = ("requires_payment_method", "requires_action", "requires_capture")


class FakeStripe:
    """Books of an account.

    Attributes:
        away: nothing answers; what is asked for is not done.
        refuses: what every call but those that only look is answered with.
        patient: refunds stay pending until `settle` says what became of them.
        lost: events whose webhooks did not arrive, newest first.
        told: events about refunds and disputes, newest first; no webhook tells of them.
        calls: what was asked for, in order.
    """

    def __init__(self) -> None:
        self.away = False
        self.refuses: StripeRefused | None = None
        self.patient = False
        self.lost: list[Notice] = []
        self.told: list[Notice] = []
        self.calls: list[str] = []
        self.intents: dict[str, Intent] = {}
        self._wanted: dict[str, tuple[Wanted, str]] = {}
        self._manual: set[str] = set()
        self._made: dict[str, list[Return]] = {}
        self._disputes: dict[str, list[DisputeFacts]] = {}
        self._charges = 0

    # -- the contract ------------------------------------------------------------------

    async def create(self, wanted: Wanted) -> Intent:
        self._reach("create")
        known, intent_id = self._wanted.get(wanted.booking_id, (wanted, ""))
        if known != wanted:
            raise StripeRefused("idempotency_error", "the same key for something else")
        return self.intents[intent_id or self._open(wanted)]

    async def retrieve(self, intent_id: str) -> Intent:
        self._reach("retrieve", looks=True)
        return self._intent(intent_id)

    async def cancel(self, intent_id: str) -> Intent:
        self._reach("cancel")
        if self._intent(intent_id).status in _CAN_BE_CLOSED:
            self._change(intent_id, status="canceled")
        return self.intents[intent_id]

    async def capture(self, intent_id: str) -> Intent:
        self._reach("capture")
        intent = self._intent(intent_id)
        if intent.status == "requires_capture":
            self._change(intent_id, status="succeeded", received_minor=intent.amount_minor)
        return self.intents[intent_id]

    async def refund(
        self, booking_id: str, event_id: str, intent_id: str, amount_minor: int, number: int
    ) -> Return:
        self._reach("refund")
        intent, made = self._intent(intent_id), self._made.setdefault(intent_id, [])
        for one in made:
            if (one.booking_id, one.number) == (booking_id, number):
                if one.amount_minor != amount_minor:
                    raise StripeRefused("refund_number_reused", str(number))
                return one
        left_minor = intent.received_minor - intent.refunded_minor
        if amount_minor > left_minor:
            code = "amount_too_large" if left_minor else "charge_already_refunded"
            raise StripeRefused(code, f"{left_minor} are left")
        refund_id = f"re_{len(made) + 1}_{intent_id}"
        status = "pending" if self.patient else "succeeded"
        made.insert(
            0,
            Return(
                refund_id,
                status,
                amount_minor,
                intent.currency,
                intent_id,
                booking_id,
                event_id,
                number,
            ),
        )
        self._change(intent_id, refunded_minor=intent.refunded_minor + amount_minor)
        self._tell_of_refund("refund.created", made[0])
        return made[0]

    async def refunds(self, intent_id: str) -> list[Return]:
        self._reach("refunds", looks=True)
        self._intent(intent_id)
        return list(self._made.get(intent_id, []))

    async def disputes(self, intent_id: str) -> list[DisputeFacts]:
        self._reach("disputes", looks=True)
        self._intent(intent_id)
        return list(self._disputes.get(intent_id, []))

    async def opened_since(self, created: int, after: str | None) -> tuple[list[Intent], bool]:
        self._reach("opened_since", looks=True)
        newest = [one for one in reversed(self.intents.values()) if one.created >= created]
        first = 1 + [one.intent_id for one in newest].index(after) if after else 0
        return newest[first : first + PAGE], len(newest) > first + PAGE

    async def undelivered(self, created: int, after: str | None) -> tuple[list[Notice], bool]:
        self._reach("undelivered", looks=True)
        return _page(self.lost, created, after)

    async def money_back(self, created: int, after: str | None) -> tuple[list[Notice], bool]:
        self._reach("money_back", looks=True)
        return _page(self.told, created, after)

    # -- what buyers and banks do ------------------------------------------------------

    def pay(self, intent_id: str) -> Intent:
        """Pay with a card that works."""
        intent = self._intent(intent_id)
        if intent_id in self._manual:
            return self._change(intent_id, status="requires_capture", failure="")
        received_minor = intent.amount_minor
        return self._change(
            intent_id, status="succeeded", received_minor=received_minor, failure=""
        )

    def decline(self, intent_id: str) -> Intent:
        """Try to pay with a card that fails."""
        self._charges += 1
        failure = f"ch_{self._charges}"
        return self._change(intent_id, status="requires_payment_method", failure=failure)

    def give_back(self, intent_id: str, amount_minor: int) -> Intent:
        """Give money back by hand, at Stripe's dashboard."""
        made, intent = self._made.setdefault(intent_id, []), self._intent(intent_id)
        refund_id = f"re_{len(made) + 1}_{intent_id}"
        by_hand = Return(refund_id, "succeeded", amount_minor, intent.currency, intent_id, "", "")
        made.insert(0, by_hand)
        intent = self._change(intent_id, refunded_minor=intent.refunded_minor + amount_minor)
        charge = {
            "id": f"ch_{intent_id}",
            "object": "charge",
            "currency": intent.currency.lower(),
            "captured": True,
            "amount_captured": intent.received_minor,
            "amount_refunded": intent.refunded_minor,
            "payment_intent": intent_id,
            "metadata": {"booking": intent.booking_id, "event": intent.event_id},
        }
        self._tell("charge.refunded", charge)
        return intent

    def dispute(self, intent_id: str) -> DisputeFacts:
        """Ask one's bank for the money of a payment."""
        intent = self._change(intent_id, disputed=True)
        opened = DisputeFacts(
            f"dp_{intent_id}",
            "needs_response",
            intent.received_minor,
            intent.currency,
            f"ch_{intent_id}",
            intent_id,
            "general",
        )
        self._disputes[intent_id] = [opened]
        self._tell_of_dispute("charge.dispute.created", opened)
        return opened

    def close_dispute(self, intent_id: str, status: str) -> None:
        """Decide as a bank."""
        closed = replace(self._disputes[intent_id][0], status=status)
        self._disputes[intent_id] = [closed]
        self._tell_of_dispute("charge.dispute.closed", closed)

    def settle(self, intent_id: str, status: str, reason: str = "") -> Return:
        """Say what became of the newest refund."""
        made = self._made[intent_id]
        made[0] = replace(made[0], status=status, reason=reason)
        if status in ("failed", "canceled"):
            left_minor = self.intents[intent_id].refunded_minor - made[0].amount_minor
            self._change(intent_id, refunded_minor=left_minor)
        self._tell_of_refund("refund.updated", made[0])
        return made[0]

    # ----------------------------------------------------------------------------------

    def _reach(self, call: str, *, looks: bool = False) -> None:
        self.calls.append(call)
        if self.away:
            raise StripeAway("the test took it away", 7.0)
        if self.refuses is not None and not looks:
            raise self.refuses

    def _tell_of_refund(self, kind: str, refund: Return) -> None:
        metadata = {
            "booking": refund.booking_id,
            "event": refund.event_id,
            "refund_number": str(refund.number),
        }
        thing = {
            "id": refund.refund_id,
            "object": "refund",
            "amount": refund.amount_minor,
            "currency": refund.currency.lower(),
            "status": refund.status,
            "failure_reason": refund.reason or None,
            "payment_intent": refund.intent_id,
            "metadata": metadata if refund.number else {},
        }
        self._tell(kind, thing)

    def _tell_of_dispute(self, kind: str, dispute: DisputeFacts) -> None:
        thing = {
            "id": dispute.dispute_id,
            "object": "dispute",
            "status": dispute.status,
            "amount": dispute.amount_minor,
            "currency": dispute.currency.lower(),
            "charge": dispute.charge_id,
            "payment_intent": dispute.intent_id,
            "reason": dispute.reason,
        }
        self._tell(kind, thing)

    def _tell(self, kind: str, thing: dict[str, Any]) -> None:
        number = len(self.told) + 1
        event = {
            "id": f"evt_back_{number}",
            "object": "event",
            "type": kind,
            "created": _BEGAN + number,
            "data": {"object": thing},
        }
        body = json.dumps(event).encode()
        self.told.insert(0, Notice(event["id"], kind, event["created"], body))

    def _open(self, wanted: Wanted) -> str:
        number = len(self.intents) + 1
        intent_id = f"pi_{number}"
        self.intents[intent_id] = Intent(
            intent_id,
            "requires_payment_method",
            wanted.amount_minor,
            0,
            wanted.currency,
            wanted.booking_id,
            wanted.event_id,
            wanted.customer,
            created=_BEGAN + number,
            client_secret=Secret(f"{intent_id}_secret_{number}"),
        )
        self._wanted[wanted.booking_id] = wanted, intent_id
        if wanted.manual_capture:
            self._manual.add(intent_id)
        return intent_id

    def _intent(self, intent_id: str) -> Intent:
        if intent_id not in self.intents:
            raise StripeRefused("resource_missing", f"No such payment_intent: {intent_id!r}")
        return self.intents[intent_id]

    def _change(self, intent_id: str, **changes: object) -> Intent:
        self.intents[intent_id] = replace(self._intent(intent_id), **changes)
        return self.intents[intent_id]


def _page(told: list[Notice], created: int, after: str | None) -> tuple[list[Notice], bool]:
    newest = [one for one in told if one.created >= created]
    first = 1 + [one.event_id for one in newest].index(after) if after else 0
    return newest[first : first + PAGE], len(newest) > first + PAGE
