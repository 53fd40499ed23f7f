"""The demo tells the truth: it fails where a booking, a ticket or a cent is not as it should be."""

import json
from collections import Counter

import pytest

from gateway.cli.demo import winners_of
from gateway.cli.demo_payments import Books, Winner, expected_of, purchases_of, verdict
from loadtests.crowd import Latency
from loadtests.payers import Bought, Takings

WINNERS = [Winner(f"bk_{number}", f"token {number}") for number in range(40)]


def test_winners_are_those_who_were_granted_a_hold(tmp_path):
    record = tmp_path / "record.jsonl"
    answers = [(2, 201, '{"id":"bk_b"}'), (0, 409, '{"code":"x"}'), (1, 201, '{"id":"bk_a"}')]
    record.write_text(
        "".join(
            json.dumps({"number": number, "status": status, "body": body}) + "\n"
            for number, status, body in [*answers, (3, 0, "")]
        )
    )
    assert winners_of(record, ["t0", "t1", "t2", "t3"]) == [
        Winner("bk_b", "t2"),
        Winner("bk_a", "t1"),
    ]


def test_of_those_who_pay_one_fails_and_one_wants_the_money_back():
    purchases = purchases_of(WINNERS)
    assert [purchase.booking_id for purchase in purchases] == [one.booking_id for one in WINNERS]
    assert expected_of(purchases) == Counter(CONFIRMED=38, CANCELLED=1, REFUNDED=1)
    second_cards = [one for one in purchases if len(one.cards) == 2]
    assert len(second_cards) == 5


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_winners_are_enough(count):
    expected = expected_of(purchases_of(WINNERS[:count]))
    assert expected.total() == count


def judged(*, statuses=None, captured=39 * 9_000, sold=76, agree=True) -> bool:
    statuses = statuses or ["CANCELLED", "REFUNDED", *["CONFIRMED"] * 38]
    bought = [Bought("bk", "t", status, 5.0) for status in statuses]
    takings = Takings(bought, 1.0, dict(Counter(statuses)), Latency(1, 1, 1, 1))
    counts = {"sold": sold, "held": 220, "available": 4}
    report = {"recomputed": {"ticket_types": [counts]}, "agree": agree, "violations": []}
    return verdict(purchases_of(WINNERS), takings, Books(captured, 9_000), report, 4_500, 2)


def test_everything_as_promised_is_proven():
    assert judged()


@pytest.mark.parametrize(
    "wrong",
    [
        {"captured": 40 * 9_000},
        {"captured": 39 * 9_000 - 1},
        {"sold": 78},
        {"agree": False},
        {"statuses": ["CANCELLED", "REFUND_DENIED", *["CONFIRMED"] * 38]},
        {"statuses": ["CANCELLED", *["CONFIRMED"] * 39]},
        {"statuses": ["CANCELLED", "REFUNDED", "PAYMENT_PENDING", *["CONFIRMED"] * 37]},
    ],
)
def test_anything_else_is_not(wrong):
    assert not judged(**wrong)
