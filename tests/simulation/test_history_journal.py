"""The checker and the journal by itself: whatever no single owner would write is noticed."""

import msgspec
import pytest

from engine.domain.booking import Booking, Status
from engine.domain.records import HoldExpired, HoldPlaced
from engine.domain.snapshot import digest
from engine.journal.entry import Entry
from tests.calls import HOLD
from tests.samples import THEIRS
from tests.simulation.day import Break, Day, broken
from tests.unit.engine.domain.given import replayed


@pytest.fixture
def day() -> Day:
    return Day()


JOURNALS: dict[str, tuple[str, str, Break]] = {
    "a gap": ("I5", "1-4 follows entry 2", lambda day: day.entries.__delitem__(3)),
    "an entry twice": (
        "I5",
        "1-2 follows entry 2",
        lambda day: day.entries.insert(3, day.entries[2]),
    ),
    "an older owner's entry behind a claim": (
        "I5",
        "1-5 stands behind the claim of epoch 2",
        lambda day: day.entries.insert(5, Entry(2, 0, day.sale.now_ms, THEIRS)),
    ),
    "an epoch claimed twice": (
        "I5",
        "epoch 1 is claimed twice",
        lambda day: day.entries.insert(5, day.entries[0]),
    ),
    "two writers in one epoch": (
        "I5",
        "1-4 is not by the owner",
        lambda day: day.write(4, nonce=THEIRS),
    ),
    "time that goes back": ("I5", "1-4 is older", lambda day: day.write(4, at_ms=1)),
    "a hold placed twice": (
        "I6",
        "1-5 holds bk_\\w+ again",
        lambda day: day.write(5, HoldPlaced(msgspec.structs.replace(day.bob, sequence=5))),
    ),
    "a hold with the number of another entry": (
        "I3",
        "1-5 holds a booking of another entry",
        lambda day: day.write(5, HoldPlaced(msgspec.structs.replace(day.eve, sequence=4))),
    ),
    "an end to what never began": (
        "I3",
        "1-5 is about 'bk_none'",
        lambda day: day.write(5, HoldExpired("bk_none", day.sale.now_ms)),
    ),
    "more sold than there is": (
        "I1",
        "oversold by 2",
        lambda day: day.write(4, *day.entries[5].records[1:], HoldPlaced(too_many(day))),
    ),
}


def too_many(day: Day) -> Booking:
    line = msgspec.structs.replace(day.eve.lines[0], quantity=2)
    return msgspec.structs.replace(day.eve, lines=(line,), units=2, sequence=4)


@pytest.mark.parametrize("what", JOURNALS)
def test_a_journal_that_is_not_one_owners_story_is_noticed(day, what: str) -> None:
    invariant, because, do = JOURNALS[what]
    do(day)
    broken(invariant, because, day)


def test_counts_that_no_booking_accounts_for_are_noticed(day) -> None:
    line = msgspec.structs.replace(day.eve.lines[0], quantity=2)
    day.write(5, HoldPlaced(msgspec.structs.replace(day.eve, lines=(line,))))
    broken("I3", "stocks hold 4, bookings 5", day)


# -- digests, trimmed journals, the end ------------------------------------------------


def test_a_live_state_that_the_journal_does_not_give_is_noticed(day) -> None:
    right = (7, digest(day.sale.state))
    day.verify(digests=[right])
    broken("I4", "at 7", day, digests=[right, (7, "0" * 32)])
    broken("I2", "the journal ends at 7", day, digests=[(8, right[1])])


def test_a_trimmed_journal_is_checked_from_a_state_on(day) -> None:
    day.entries[:4] = []
    assert day.verify(base=replayed(day.sale.entries[:3])).entries == 4
    day.change_seen(HOLD, "ann", expires_at_ms=1)
    broken("I2", "answered Seen", day, base=replayed(day.sale.entries[:3]))


def test_a_hold_that_never_ends_is_noticed(day) -> None:
    assert day.bob.status is Status.RESERVED
    day.verify(settled_at_ms=day.bob.expires_at_ms - 1)
    broken("I9", "is held for ever", day, settled_at_ms=day.bob.expires_at_ms)


def test_a_history_of_which_only_a_part_is_known_may_hold_strangers_bookings(day) -> None:
    del day.calls[day.call(HOLD, "eve")]
    broken("I2", "nobody was told so", day)
    day.verify(complete=False)
