"""FAULTS 21: expiry and payment in the same millisecond. One wins, the loser's money goes back.

A race takes a millisecond: 2 000 with every commit, fifty for each world of
`ONSALE_SIMULATE=<n>`, which makes the 100 000 of `make simulate`. A failure names its seed:
`tests.simulation.racers.run_race(<seed>)` gives the same race to the last byte.
"""

import os
from collections import Counter

import pytest

from tests.calls import Violation
from tests.simulation import payment_mistakes as mistakes
from tests.simulation.racers import run_race
from tests.simulation.simulate import Plant

#: Races of one test: as many as a seed that failed should be searched among.
_RACES = 500
#: Races that are counted by kind. Among half as many, with half the bounds, a rare kind was
#: missing in one block of ten.
_RACES_OF_EVERY_KIND = 1_000
#: Races in which a mistake must have been found.
_RACES_WITH_MISTAKE = 1_000


def starts() -> range:
    wanted = os.environ.get("ONSALE_SIMULATE", "quick")
    races = 50 * int(wanted) if wanted.isdigit() else {"quick": 2_000, "long": 50_000}[wanted]
    first = 50 * int(os.environ.get("ONSALE_SIMULATE_FROM", "0"))
    return range(first, first + races, _RACES)


@pytest.mark.parametrize("start", starts())
def test_of_payment_and_expiry_exactly_one_wins(start: int) -> None:
    for seed in range(start, start + _RACES):
        assert run_race(seed).seen, "nothing happened; a broken promise raises a Violation"


def test_races_are_of_every_kind() -> None:
    seen: Counter[str] = Counter()
    for seed in range(_RACES_OF_EVERY_KIND):
        seen.update(run_race(seed).seen)

    for what, at_least in {
        "both in one millisecond": 50,
        "confirmed from PAYMENT_PENDING": 500,
        "confirmed from PAYMENT_FAILED": 10,
        "confirmed from EXPIRED": 50,
        "returned from EXPIRED": 6,
        "returned from CANCELLED": 60,
        "HoldExpired": 900,
        "RefundSettled": 120,
        "RefundFailed": 40,
        "again after a refund failed": 6,
        "MoneyTakenBack": 60,
        "DisputeNoted": 25,
        "CallingOff": 80,
        "bounced": 6,
        "kills": 600,
    }.items():
        assert seen[what] >= at_least, f"{what}: hardly any, this proves little: {seen}"


def test_a_seed_gives_the_same_race_to_the_last_byte() -> None:
    first, again, other = run_race(7), run_race(7), run_race(8)

    assert first.journal == again.journal
    assert first.seen == again.seen
    assert first.journal != other.journal


def run_races(races: int) -> None:
    for seed in range(races):
        run_race(seed)


@pytest.mark.parametrize(
    ("mistake", "promises"),
    [
        (mistakes.count_every_failure, {"I6"}),
        (mistakes.expire_whatever_is_paid, {"I1", "I3"}),
        (mistakes.confirm_without_looking, {"I1"}),
        (mistakes.keep_late_money, {"I7", "I9"}),
        (mistakes.count_refunds_twice, {"I7"}),
        (mistakes.forget_what_failed, {"I7"}),
        (mistakes.never_look_closer, {"I7"}),
        (mistakes.settle_what_failed, {"I7"}),
        (mistakes.keep_what_a_bank_sent_back, {"I7", "I9"}),
        (mistakes.lose_more_than_was_disputed, {"I7"}),
    ],
)
def test_a_planted_mistake_is_found(
    mistake: Plant, promises: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)

    with pytest.raises(Violation) as violation:
        run_races(_RACES_WITH_MISTAKE)

    assert violation.value.invariant in promises
