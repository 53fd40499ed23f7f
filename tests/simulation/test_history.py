"""The checker by itself: each promise is broken by hand once, and each must be noticed."""

from dataclasses import replace

import pytest

from engine.journal.entry import START
from engine.journal.memory import MemoryJournal, MemoryStore
from gateway.views import booking_view
from tests.calls import GRANTED, HOLD, READ, REFUSED, RELEASE, UNKNOWN, Call, Seen
from tests.history import Verdict, gathered
from tests.samples import MINE
from tests.simulation.day import Break, Day, as_entry, broken
from tests.unit.engine.domain.given import (
    EVENT_ID,
    booking_id,
)


@pytest.fixture
def day() -> Day:
    return Day()


def test_a_history_that_keeps_every_promise_is_accepted(day) -> None:
    assert day.verify() == Verdict(
        entries=7,
        bookings=3,
        granted=5,
        refused=3,
        unknown=1,
        unknown_but_done=1,
        shortages_checked=2,
    )


def test_a_journal_without_its_claims_is_accepted_too(day) -> None:
    del day.entries[0]
    day.verify()


async def test_a_journal_is_gathered_as_it_replays(day) -> None:
    journal = MemoryJournal(MemoryStore(), EVENT_ID)
    head = await journal.claim(MINE, day.sale.now_ms)
    for entry in day.entries[1:]:
        await journal.append(entry, head)
        head = entry.position
    assert await gathered(journal.replay(START)) == day.entries[1:]


# -- broken by hand --------------------------------------------------------------------


GRANTS: dict[str, tuple[str, str, Break]] = {
    "a grant that is not in the journal": (
        "I2",
        "not in the journal|not what was asked",
        lambda day: day.change_seen(HOLD, "ann", booking_id=booking_id("ann", "9")),
    ),
    "a grant that was lost with the journal's end": (
        "I2",
        "the journal ends at 2",
        lambda day: day.entries.__delitem__(slice(3, None)),
    ),
    "another price": (
        "I2",
        "answered Seen",
        lambda day: day.change_seen(HOLD, "ann", items=(("ga", 6, 1, ()),)),
    ),
    "another time of expiry": (
        "I2",
        "answered Seen",
        lambda day: day.change_seen(HOLD, "ann", expires_at_ms=1),
    ),
    "another entry": ("I2", "answered Seen", lambda day: day.change_seen(HOLD, "ann", sequence=3)),
    "more than was asked for": (
        "I2",
        "not what was asked for",
        lambda day: day.change(HOLD, "ann", wanted=(("ga", 5),)),
    ),
    "somebody else's booking": (
        "I2",
        "not what was asked for",
        lambda day: day.change(HOLD, "ann", customer="zoe"),
    ),
    "a grant without a booking": (
        "I2",
        "without a booking",
        lambda day: day.change(HOLD, "ann", seen=None),
    ),
    "placed twice, as the answers have it": (
        "I6",
        "placed 2 times",
        lambda day: day.calls.append(day.calls[day.call(HOLD, "ann")]),
    ),
    "one booking for two keys": (
        "I6",
        "for two keys",
        lambda day: day.calls.append(
            replace(day.calls[day.call(HOLD, "ann")], key="2", replayed=True)
        ),
    ),
}

OTHER_ANSWERS: dict[str, tuple[str, str, Break]] = {
    "a refusal that was held all the same": (
        "I2",
        "nobody was told so",
        lambda day: day.change(HOLD, "bob", outcome=REFUSED, seen=None, code="sale_closed"),
    ),
    "a booking that nobody has asked for": (
        "I2",
        "nobody was told so",
        lambda day: day.calls.__delitem__(day.call(HOLD, "eve")),
    ),
    "an unknown that got something else": (
        "I2",
        "nobody was told so",
        lambda day: day.change(HOLD, "eve", wanted=(("ga", 2),)),
    ),
    "refused for want of stock that was there": (
        "I2",
        "there was stock at 2",
        lambda day: day.change(HOLD, "cid", sequence=2),
    ),
    "sold out while something is held": (
        "I2",
        "there was stock at 3",
        lambda day: day.change(HOLD, "cid", code="sold_out"),
    ),
    "refused for want of what does not exist": (
        "I2",
        "there is no vip",
        lambda day: day.change(HOLD, "cid", wanted=(("vip", 1),)),
    ),
    "paused when it was not": (
        "I2",
        "was not paused",
        lambda day: day.change(HOLD, "fay", sequence=5),
    ),
    "a refusal from a state that never became durable": (
        "I2",
        "the journal ends at 7",
        lambda day: day.change(HOLD, "cid", sequence=8),
    ),
    "a release that released nothing": (
        "I2",
        "released and still there",
        lambda day: day.change(RELEASE, "ann", seen=Seen.of(day.ann)),
    ),
    "a move that is not in the journal": (
        "I2",
        "answered Seen",
        lambda day: day.change_seen(
            READ, "ann", status="CONFIRMED", history=(("RESERVED", day.sale.now_ms), ("X", 1))
        ),
    ),
}

ORDER: dict[str, tuple[str, str, Break]] = {
    "granted behind what somebody was told before": (
        "I2",
        "granted behind 3",
        lambda day: day.change(HOLD, "bob", asked_at=-2.0, answered_at=-1.0),
    ),
    "a read from long before": (
        "I2",
        "seen further on before",
        lambda day: day.calls.append(
            replace(day.calls[day.call(READ, "ann")], asked_at=99.0, answered_at=99.5, sequence=7)
        ),
    ),
    "a read that says so itself": (
        "I2",
        "stale, 6 was told long before",
        lambda day: day.calls.append(
            replace(day.calls[day.call(READ, "ann")], asked_at=99.0, answered_at=99.5)
        ),
    ),
    "a booking that has vanished": (
        "I2",
        "seen further on before",
        lambda day: day.calls.append(
            Call(
                *(READ, "ann", 99.0, 99.5, REFUSED),
                booking_id=booking_id("ann"),
                code="booking_not_found",
            )
        ),
    ),
}


def test_two_bookings_under_one_key_are_noticed(day) -> None:
    again = day.sale.placed("ann", key="2", ga=1)
    day.entries.append(as_entry(day.sale.entries[-1]))
    day.say(HOLD, "ann", GRANTED, booking=again, ga=1)
    broken("I6", "two bookings under one key", day)


@pytest.mark.parametrize("what", GRANTS | OTHER_ANSWERS | ORDER)
def test_an_answer_that_does_not_hold_is_noticed(day, what: str) -> None:
    invariant, because, do = (GRANTS | OTHER_ANSWERS | ORDER)[what]
    do(day)
    broken(invariant, because, day)


# -- what must not be taken for a violation --------------------------------------------


def test_an_unknown_that_came_to_nothing_is_no_violation(day) -> None:
    day.calls.append(Call(HOLD, "gus", 3.0, 4.0, UNKNOWN, "1", (("ga", 2),), booking_id("gus")))
    assert day.verify().unknown_but_done == 1


def test_an_unknown_whose_booking_the_client_cannot_name_is_found_by_what_was_wanted(day) -> None:
    day.change(HOLD, "eve", booking_id=None)
    assert day.verify().unknown_but_done == 1


def test_one_unknown_accounts_for_one_booking_only(day) -> None:
    day.change(HOLD, "eve", booking_id=None, customer="bob", wanted=(("ga", 2),))
    broken("I2", "nobody was told so", day)


def test_a_repeat_under_the_same_key_shows_the_booking_as_it_was_placed(day) -> None:
    first = day.calls[day.call(HOLD, "ann")]
    later = replace(first, asked_at=90.0, answered_at=91.0, sequence=7, replayed=True)
    day.calls.append(later)
    day.verify()


def test_a_key_that_was_refused_first_may_be_granted_later(day) -> None:
    granted = day.calls[day.call(HOLD, "bob")]
    refused = replace(
        granted,
        outcome=REFUSED,
        seen=None,
        code="sale_not_open",
        sequence=1,
        asked_at=-2.0,
        answered_at=-1.0,
    )
    day.calls.append(refused)
    day.verify()


def test_what_overlaps_in_time_may_be_answered_in_any_order(day) -> None:
    day.change(HOLD, "bob", asked_at=0.2)
    day.verify()
    stale = replace(day.calls[day.call(READ, "ann")], asked_at=4.6, answered_at=5.2, sequence=None)
    day.calls.append(stale)
    day.verify()


def test_a_stranger_who_does_not_see_a_booking_has_seen_nothing_wrong(day) -> None:
    ids = {"booking_id": booking_id("ann"), "code": "booking_not_found", "sequence": 7}
    day.calls.append(Call(READ, "zoe", 99.0, 99.5, REFUSED, **ids))
    day.verify()


def test_a_booking_over_http_is_the_same_as_from_an_outcome(day) -> None:
    for booking in (day.ann, day.sale.booking("ann")):
        body = booking_view(booking, EVENT_ID, "EUR", day.sale.now_ms)
        assert Seen.from_json(body) == Seen.of(booking)
