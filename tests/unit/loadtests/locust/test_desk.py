"""Shares of a run have nothing in common, and what they count adds up."""

import itertools

import pytest

from loadtests.locust.desk import Desk, NobodyFree, Share, total
from loadtests.locust.outcomes import Answer, Kind

GRANTED = Answer(Kind.OUTCOME, "granted")


def test_no_buyer_and_no_ticket_is_dealt_twice():
    whole = Share("evt_1", "evt_2", [f"t{n}" for n in range(10)], [f"q{n}" for n in range(7)])
    parts = whole.dealt(3)
    for name in ("buyers", "codes"):
        dealt = list(itertools.chain.from_iterable(getattr(part, name) for part in parts))
        assert sorted(dealt) == sorted(getattr(whole, name))
    assert [(part.number, part.of) for part in parts] == [(0, 3), (1, 3), (2, 3)]
    assert {part.event_id for part in parts} == {"evt_1"}


def desk(**share) -> Desk:
    found = Desk()
    found.take_share(Share(**share))
    return found


def test_a_buyer_is_lent_to_one_at_a_time_and_comes_back_last():
    counter = desk(buyers=["a", "b", "c"])
    with counter.buyer() as first, counter.buyer() as second:
        assert (first, second) == ("a", "b")
    with counter.buyer() as third:
        assert third == "c"


def test_more_visitors_than_buyers_is_an_error():
    counter = desk(buyers=["a"])
    with counter.buyer(), pytest.raises(NobodyFree), counter.buyer():
        pass


def test_a_buyer_comes_back_after_an_error_too():
    counter = desk(buyers=["a"])
    with pytest.raises(ZeroDivisionError), counter.buyer():
        _ = 1 / 0
    with counter.buyer() as token:
        assert token == "a"


def test_each_ticket_is_shown_once_before_any_is_shown_again():
    counter = desk(codes=["q1", "q2"])
    assert [counter.code() for _ in range(4)] == ["q1", "q2", "q1", "q2"]


def test_parts_of_an_open_loop_are_the_whole():
    whole = Share(legs=[(4, 0, 1), (2, 1, 1)], peak=10)
    due = []
    for part in whole.dealt(3):
        counter = Desk()
        counter.take_share(part)
        counter.open(100.0, 1.0)
        due.append(list(iter(lambda arrivals=counter.arrivals: arrivals.take(0.0), None)))
    merged = sorted(itertools.chain.from_iterable(due))
    assert len(merged) == 40
    assert [len(part) for part in due] == [14, 13, 13]
    assert 100 < merged[0] < merged[-1] < 106


def test_counts_of_all_processes_add_up():
    one, other = desk(), desk()
    one.count("hold", GRANTED)
    one.count_units(2)
    other.count("hold", GRANTED)
    other.count("hold", Answer(Kind.TURNED_AWAY, "overloaded"))
    other.count("webhook", Answer(Kind.FAILURE, "500"))
    other.count_units(2)
    other.count_units(-2)
    assert total([one.counts(), other.counts()]) == {
        "outcomes": {
            "hold: granted": 2,
            "hold: turned away (overloaded)": 1,
            "webhook: failure (500)": 1,
        },
        "answers": 4,
        "turned_away": 1,
        "units": 2,
        "begun": 0,
        "skipped": 0,
    }


def test_a_new_share_begins_with_nothing_counted():
    counter = desk(buyers=["a"])
    counter.count("hold", GRANTED)
    counter.count_units(2)
    counter.take_share(Share())
    assert counter.counts() == Desk().counts()
