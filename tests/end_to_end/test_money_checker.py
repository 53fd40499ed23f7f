"""With an error planted, the checker of money must find it; else the drills prove nothing."""

import copy
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from actors.payments.contract import Return, StripeAway
from actors.payments.stripe_api import StripeApi
from engine.domain import decide, payments
from engine.domain.booking import EXPIRING, Booking
from engine.domain.commands import ExpireHold
from engine.domain.decision import Decision
from engine.domain.outcomes import DONE
from engine.domain.payment import Payment, PaymentState
from engine.domain.records import HoldExpired, PaymentClosed, Record
from engine.domain.state import EventState
from engine.journal.entry import Entry
from tests.calls import Violation
from tests.end_to_end.money import compare
from tests.end_to_end.verify import journalled
from tests.in_process import in_process
from tests.paying import Shop, account
from tests.stripe_sandbox import Sandbox, running_sandbox

Accounts = list[dict[str, Any]]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[StripeApi]:
    sandbox.reset()
    async with account(sandbox) as api:
        yield api


@pytest.fixture
async def till(redis: Redis, sandbox: Sandbox, api: StripeApi) -> AsyncIterator[Shop]:
    async with in_process(redis, stripe=api) as onsale:
        yield Shop(onsale, sandbox)


async def books(till: Shop, event_id: str) -> tuple[list[Entry], Accounts]:
    """Return our journal and Stripe's accounts, once nothing is under way."""
    await till.settled()
    return await journalled(till.onsale.redis, event_id), till.sandbox.books()["intents"]


# -- errors of ours --------------------------------------------------------------------


async def _paid_and_told_twice(till: Shop) -> str:
    """Let ann pay; her payment's success is told, and told again."""
    event_id = await till.onsale.event(capacity=2)
    await till.bought(event_id, ga=2)
    (event,) = [one for one in _all_mail(till) if one["type"] == "payment_intent.succeeded"]
    await till.deliver([event])
    return event_id


def _all_mail(till: Shop) -> list[dict[str, Any]]:
    till.sent.clear()
    return till.mail()


async def test_without_an_error_nothing_is_found(till: Shop):
    compare(*await books(till, await _paid_and_told_twice(till)))


async def test_a_success_that_counts_twice_is_found(till: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(payments, "_OVER", payments._OVER - {PaymentState.CAPTURED})
    event_id = await _paid_and_told_twice(till)
    with pytest.raises(Violation, match="I7"):
        compare(*await books(till, event_id))


class _Forgetful(StripeApi):
    """Asks for a refund again under another key, when the first answer was lost."""

    calls = 0

    async def refund(
        self, booking_id: str, event_id: str, intent_id: str, amount_minor: int, number: int
    ) -> Return:
        self.calls += 1
        other = number + 1_000 * self.calls
        made = await super().refund(booking_id, event_id, intent_id, amount_minor, other)
        if self.calls == 1:
            raise StripeAway("the answer was lost", 0.01)
        return replace(made, number=number)


@pytest.mark.parametrize("kind", [StripeApi, _Forgetful])
async def test_a_refund_that_is_made_twice_is_found(
    redis: Redis, sandbox: Sandbox, api: StripeApi, kind: type[StripeApi]
):
    async with in_process(redis, stripe=kind(api._caller, api._now_s)) as onsale:
        till = Shop(onsale, sandbox)
        event_id = await onsale.event(capacity=4)
        booking_id = await till.confirmed(event_id, ga=4)
        assert (await till.refund(booking_id, "organizer", "acme", ga=1)).status_code == 202
        await till.until(booking_id, "CONFIRMED", also=lambda one: "refund" in one)
        if kind is StripeApi:
            compare(*await books(till, event_id))
            return
        with pytest.raises(Violation, match="I7"):
            compare(*await books(till, event_id))


def _expire_whoever_pays(state: EventState, command: ExpireHold, now_ms: int) -> Decision:
    booking = state.bookings[command.booking_id]
    assert booking.status in EXPIRING
    ended = HoldExpired(booking.booking_id, now_ms)
    if booking.payment is None:
        return DONE, (ended,)
    return DONE, (ended, PaymentClosed(booking.booking_id))


_succeeded = payments.succeeded


def _succeeds_in_time(
    state: EventState, booking: Booking, payment: Payment, captured_minor: int, now_ms: int
) -> Record:
    if payment.state is PaymentState.CLOSED:
        return PaymentClosed(booking.booking_id)
    return _succeeded(state, booking, payment, captured_minor, now_ms)


@pytest.mark.parametrize("told", [True, False], ids=["told of it", "not told"])
@pytest.mark.parametrize("broken", [True, False], ids=["broken", "in order"])
async def test_an_expiry_that_ignores_the_payment_is_found(
    till: Shop, monkeypatch: pytest.MonkeyPatch, *, broken: bool, told: bool
):
    if broken:
        monkeypatch.setitem(decide._DECIDE, ExpireHold, _expire_whoever_pays)
        monkeypatch.setattr(payments, "succeeded", _succeeds_in_time)
    event_id = await till.onsale.event(capacity=2, hold_ttl_seconds=60)
    ann = await till.held(event_id, ga=2)
    intent_id = await till.opened(ann)
    till.sandbox.pay(intent_id)
    till.onsale.owners.ahead_ms += 61_000
    await till.booking(ann)
    if broken:
        await till.until(ann, "EXPIRED")
        await till.bought(event_id, "bob", ga=2)
    if told or not broken:
        await till.deliver()
    if not broken:
        await till.until(ann, "CONFIRMED")
        compare(*await books(till, event_id))
        return
    with pytest.raises(Violation, match="I7"):
        compare(*await books(till, event_id))


# -- differences of any kind -----------------------------------------------------------


def _again(accounts: Accounts) -> None:
    accounts.append({**accounts[0], "id": "pi_again"})


def _gone(accounts: Accounts) -> None:
    del accounts[0]


def _of_nobody(accounts: Accounts) -> None:
    accounts[0]["metadata"]["booking"] = "bk_of_nobody"


def _still_payable(accounts: Accounts) -> None:
    accounts[1]["status"] = "requires_payment_method"


def _less(accounts: Accounts) -> None:
    accounts[0]["captured"] -= 1


def _given_back(accounts: Accounts) -> None:
    accounts[0]["refunded"] += 4_500


def _given_back_twice(accounts: Accounts) -> None:
    accounts[0]["refunds"] += 1


def _captured_after_all(accounts: Accounts) -> None:
    accounts[1]["captured"] = accounts[1]["amount"]


_CHANGES = [
    _again,
    _gone,
    _of_nobody,
    _still_payable,
    _less,
    _given_back,
    _given_back_twice,
    _captured_after_all,
]


async def test_every_difference_between_the_books_is_found(till: Shop):
    event_id = await till.onsale.event(capacity=4)
    await till.confirmed(event_id, ga=2)
    left = await till.held(event_id, "bob", ga=2)
    await till.opened(left, "bob")
    path = f"/api/v1/bookings/{left}"
    await till.onsale.ask("DELETE", path, till.onsale.token("buyer", "bob"))
    entries, accounts = await books(till, event_id)
    accounts.sort(key=lambda one: -one["captured"])
    compare(entries, accounts)
    for change in _CHANGES:
        found = _found(entries, accounts, change)
        assert found, f"{change.__name__} was not found"


def _found(entries: list[Entry], accounts: Accounts, change: Callable[[Accounts], None]) -> bool:
    changed = copy.deepcopy(accounts)
    change(changed)
    try:
        compare(entries, changed)
    except Violation as violation:
        return violation.invariant == "I7"
    return False
