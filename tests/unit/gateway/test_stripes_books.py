"""I7 by Stripe's books: which differences from the journal are found, and which are none."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway.cli.stripes_books import Account, differences
from tests.unit.engine.domain.given import EVENT_ID, ORGANIZER, booking_id
from tests.unit.engine.domain.given_payments import (
    PRICE_MINOR,
    BoxOffice,
    disputed,
    refund,
    refund_said,
)
from tests.unit.engine.domain.situations import (
    cannot_be_returned,
    confirmed,
    paid_after_leaving,
)

ANN = booking_id("ann")


def account(**changes: Any) -> Account:
    told = {"id": "pi_1", "captured": PRICE_MINOR, "refunded": 0, "disputed": 0} | changes
    return Account(metadata={"booking": ANN, "event": EVENT_ID} | told.pop("metadata", {}), **told)


def found(sale: BoxOffice, *accounts: Account) -> list[str]:
    return list(differences(sale.state.bookings, accounts).values())


def given_back() -> BoxOffice:
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER, ga=1))
    sale.hear(refund_said("succeeded", 4_500))
    return sale


def test_books_that_agree_are_not_remarked_upon() -> None:
    assert found(confirmed(), account()) == []
    assert found(given_back(), account(refunded=4_500)) == []
    closed = account(id="pi_2", captured=0)
    assert found(confirmed(), account(), closed) == [], "an intent that took nothing"


@pytest.mark.parametrize(
    ("sale", "accounts", "says"),
    [
        (confirmed, [account(captured=PRICE_MINOR - 1)], f"took {PRICE_MINOR}, Stripe 8999"),
        (confirmed, [account(captured=0)], f"took {PRICE_MINOR}, Stripe nothing"),
        (confirmed, [], f"took {PRICE_MINOR}, Stripe nothing"),
        (confirmed, [account(refunded=4_500)], "gave 0 back, Stripe 4500"),
        (given_back, [account()], "gave 4500 back, Stripe 0"),
        (confirmed, [account(id="pi_2")], "was paid by pi_1, at Stripe by pi_2"),
        (confirmed, [account(), account(id="pi_2")], "was paid 2 times: pi_1, pi_2"),
    ],
    ids=["captured", "not captured", "no intent", "refunded", "not refunded", "other", "twice"],
)
def test_money_that_differs_is_said_with_both_sums(
    sale: Callable[[], BoxOffice], accounts: list[Account], says: str
) -> None:
    assert found(sale(), *accounts) == [f"{ANN} (CONFIRMED) {says}"]


def test_money_for_no_booking_is_found() -> None:
    nobody = account(metadata={"booking": ""})

    assert found(BoxOffice(), nobody) == [f"pi_1 took {PRICE_MINOR} for no booking"]
    sale = BoxOffice()
    sale.placed("ann", ga=2)
    assert found(sale, account()) == [f"{ANN} (RESERVED) took no money, Stripe {PRICE_MINOR}"]


def test_what_waits_for_stripe_is_under_way() -> None:
    sale = BoxOffice()
    sale.opened()

    assert found(sale, account()) == []
    assert found(paid_after_leaving(), account(refunded=PRICE_MINOR)) == []
    assert found(sale, account(), account(id="pi_2")) != [], "but never twice"


def test_money_that_could_not_be_returned_is_not_under_way() -> None:
    assert found(cannot_be_returned(), account()) == []
    differing = found(cannot_be_returned(), account(refunded=PRICE_MINOR))
    assert differing == [f"{ANN} (CANCELLED) gave 0 back, Stripe {PRICE_MINOR}"]


def test_a_dispute_takes_money_when_it_is_lost() -> None:
    sale = confirmed()
    sale.hear(disputed())
    assert found(sale, account(disputed=PRICE_MINOR)) == []

    sale.hear(disputed("lost"))

    assert found(sale, account(disputed=PRICE_MINOR)) == []
    assert found(sale, account()) != []


def test_an_account_is_of_the_event_that_it_or_its_booking_names() -> None:
    assert account().is_of(EVENT_ID)
    assert account(metadata={"event": "evt_000000000000"}).is_of(EVENT_ID)
    assert account(metadata={"booking": ""}).is_of(EVENT_ID)
    assert not account(metadata={"booking": "", "event": ""}).is_of(EVENT_ID)
