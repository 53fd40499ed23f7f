"""What is written beside an entry follows from its records alone."""

import pytest

from engine.domain.records import (
    EFFECTS,
    EventAmended,
    EventCreated,
    HoldReleased,
    SalePaused,
    SaleResumed,
)
from engine.journal.entry import Entry, Position
from engine.journal.projection import (
    Projection,
    booking_member,
    booking_of_member,
    decode_event,
    decode_record,
    encode_event,
    encode_record,
    event_member,
    event_of_member,
    project,
)
from tests.samples import EVENT_ID, MINE, NOW_MS, booking_id, entry, event, expired, placed
from tests.samples import one_of_each as every_record

AT = Position(1, 1)
PAUSED, RESUMED = SalePaused(NOW_MS), SaleResumed(NOW_MS)


def test_a_claim_writes_nothing_beside_itself() -> None:
    assert project(Entry(1, 0, NOW_MS, MINE)) == Projection([], [], [])


def test_holds_are_listed_for_their_customers_in_the_order_of_the_records() -> None:
    projection = project(
        entry(AT, placed(1, "ann"), placed(2, "bob"), placed(3, "ann", NOW_MS + 1))
    )
    assert projection.bookings == [
        ("ann", booking_member(NOW_MS, booking_id(1))),
        ("bob", booking_member(NOW_MS, booking_id(2))),
        ("ann", booking_member(NOW_MS + 1, booking_id(3))),
    ]
    assert projection.effects == []


def test_effects_are_named_by_their_place_in_the_entry() -> None:
    records = every_record()
    effects = project(entry(AT, *records)).effects
    assert [index for index, _ in effects] == [5, 7, 9]
    assert all(records[index] is record for index, record in effects)


def test_every_kind_of_effect_is_written_and_no_other_record_is() -> None:
    records = every_record()
    found = [type(record) for _, record in project(entry(AT, *records)).effects]
    assert set(found) == EFFECTS & {type(record) for record in records}


def test_the_last_word_about_the_event_is_what_is_written() -> None:
    first, last = event(name="first"), event(name="last")
    assert project(entry(AT, EventCreated(first), EventAmended(last, NOW_MS))).event == last
    assert project(entry(AT, EventAmended(last, NOW_MS), EventAmended(first, 1))).event == first
    assert project(entry(AT, expired(1))).event is None


@pytest.mark.parametrize(
    ("records", "paused"),
    [
        ((PAUSED,), True),
        ((RESUMED,), False),
        ((PAUSED, RESUMED), False),
        ((RESUMED, PAUSED), True),
        ((HoldReleased("bk_1", NOW_MS),), None),
    ],
    ids=["paused", "resumed", "paused and resumed", "resumed and paused", "neither"],
)
def test_the_last_word_about_the_sale_is_what_is_written(records, paused) -> None:
    assert project(entry(AT, *records)).paused is paused


@pytest.mark.parametrize("record", every_record(), ids=lambda record: type(record).__name__)
def test_a_record_is_read_from_the_effects_as_it_was_written(record) -> None:
    assert decode_record(encode_record(record)) == record


def test_an_event_is_read_from_its_document_as_it_was_written() -> None:
    assert decode_event(encode_event(event())) == event()


def test_members_of_the_indexes_sort_by_time_and_name_what_they_stand_for() -> None:
    instants = [0, 9, 10, NOW_MS, NOW_MS + 1, 999_999_999_999_999]
    members = [booking_member(at_ms, booking_id(1)) for at_ms in instants]
    assert members == sorted(members)
    assert {booking_of_member(member) for member in members} == {booking_id(1)}
    members = [event_member(at_ms, EVENT_ID) for at_ms in instants]
    assert members == sorted(members)
    assert {event_of_member(member) for member in members} == {EVENT_ID}
