"""What clients see: times, money, and each form written once."""

import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from engine.domain.booking import Booking, Line, Status
from engine.domain.event import Allotment, RefundPolicy, Venue
from engine.domain.outcomes import Cancellation
from engine.domain.payment import Part, Refund, RefundState
from engine.domain.views import Availability, TypeCounts
from gateway.event_views import EventView, event_view
from gateway.views import (
    AvailabilityView,
    BookingView,
    availability_view,
    booking_view,
    maybe_unix_ms,
    rfc3339,
    unix_ms,
)
from tests.unit.engine.domain.given import EVENT_ID, NOW_MS, a_type, an_event, booking_id

# -- times -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instant_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_000, "1970-01-01T00:00:01.000Z"),
        (1_803_927_600_000, "2027-03-01T19:00:00.000Z"),
        (951_782_400_120, "2000-02-29T00:00:00.120Z"),
        (253_370_764_799_999, "9998-12-31T23:59:59.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_shown_in_utc_with_milliseconds(instant_ms: int, text: str) -> None:
    assert rfc3339(instant_ms) == text


@given(st.integers(0, 253_402_300_799_999))
def test_what_is_shown_is_read_back_as_it_was(instant_ms: int) -> None:
    text = rfc3339(instant_ms)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert unix_ms(datetime.fromisoformat(text)) == instant_ms


@given(st.timedeltas(timedelta(days=366), timedelta(days=2_932_000)), st.integers(-1_439, 1_439))
def test_an_instant_is_the_same_whatever_its_offset(age: timedelta, minutes: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + age
    elsewhere = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert unix_ms(elsewhere) == unix_ms(moment)
    assert (
        timedelta(0)
        <= moment - datetime.fromisoformat(rfc3339(unix_ms(moment)))
        < timedelta(milliseconds=1)
    )


@given(st.integers(0, 999))
def test_no_millisecond_is_lost_between_here_and_there(ms: int) -> None:
    moment = datetime(2027, 3, 1, 19, tzinfo=UTC) + timedelta(milliseconds=ms)
    assert unix_ms(moment) == 1_803_927_600_000 + ms


def test_what_is_not_there_stays_away() -> None:
    assert maybe_unix_ms(None) is None
    assert maybe_unix_ms(datetime(1970, 1, 1, tzinfo=UTC)) == 0


# -- bookings --------------------------------------------------------------------------


def a_booking() -> Booking:
    lines = (Line("ga", 2, 4_500), Line("p", 2, 9_000, ("P-A-1", "P-A-2")))
    return Booking(booking_id("ann"), "ann", lines, 4, NOW_MS, NOW_MS + 600_000, 12)


def refunding(state: RefundState, reason: str = "") -> Booking:
    refund = Refund(1, 4_500, (Part("ga", 1),), state=state, refund_id="re_1", reason=reason)
    return a_booking().refunding(refund, NOW_MS + 1)


def test_a_booking_is_shown_with_the_sum_of_its_lines() -> None:
    view = booking_view(a_booking(), EVENT_ID, "JPY", NOW_MS + 5)
    assert view == {
        "id": booking_id("ann"),
        "event_id": EVENT_ID,
        "customer": "ann",
        "status": "RESERVED",
        "items": [
            {"ticket_type": "ga", "quantity": 2, "seats": [], "unit_price": 4_500},
            {"ticket_type": "p", "quantity": 2, "seats": ["P-A-1", "P-A-2"], "unit_price": 9_000},
        ],
        "total": {"amount": 27_000, "currency": "JPY"},
        "expires_at": "2027-01-15T08:10:00.000Z",
        "server_time": "2027-01-15T08:00:00.005Z",
        "sequence": 12,
        "tickets": [],
        "history": [{"status": "RESERVED", "at": "2027-01-15T08:00:00.000Z"}],
    }  # fmt: skip


def test_a_booking_shows_every_state_it_was_in() -> None:
    moved = a_booking().moved(Status.PAYMENT_PENDING, NOW_MS + 1).moved(Status.EXPIRED, NOW_MS + 2)
    view = booking_view(moved, EVENT_ID, "EUR", NOW_MS)
    assert view["status"] == "EXPIRED"
    assert [moment["status"] for moment in view["history"]] == [
        "RESERVED",
        "PAYMENT_PENDING",
        "EXPIRED",
    ]


@pytest.mark.parametrize(
    ("state", "reason", "shown"),
    [
        (RefundState.REQUESTED, "", None),
        (RefundState.SUCCEEDED, "", None),
        (RefundState.FAILED, "lost_or_stolen_card", "lost_or_stolen_card"),
    ],
)
def test_a_booking_shows_the_money_that_goes_back(
    state: RefundState, reason: str, shown: str | None
) -> None:
    view = booking_view(refunding(state, reason), EVENT_ID, "EUR", NOW_MS)
    assert view["refund"] == {"status": state.value, "amount": 4_500, "reason": shown}


# -- events ----------------------------------------------------------------------------


def test_a_type_with_a_stock_of_its_own_shows_no_allotment() -> None:
    view = event_view(an_event(a_type("ga"), a_type("vip")), paused=False)
    assert view["allotments"] == []
    assert [(kind["code"], kind["allotment"]) for kind in view["ticket_types"]] == [
        ("ga", None),
        ("vip", None),
    ]


def test_types_that_share_a_stock_name_it_and_show_its_capacity() -> None:
    event = an_event(a_type("full", draws_on="floor"), a_type("half", draws_on="floor"))
    view = event_view(event, paused=True)
    assert view["allotments"] == [{"code": "floor", "capacity": 10}]
    assert [(kind["allotment"], kind["capacity"]) for kind in view["ticket_types"]] == [
        ("floor", 10)
    ] * 2
    assert view["sale"]["paused"] is True


def test_everything_an_organizer_decided_is_shown() -> None:
    event = an_event(
        venue=Venue("Halle 1", "Berlin", "DE"),
        refund_policy=RefundPolicy(48, 80),
        ends_at_ms=0,
        doors_open_at_ms=1,
        opens_at_ms=2,
        closes_at_ms=3,
        timezone="Europe/Berlin",
        category="music",
        description="x",
        entry_policy="reentry",
        max_per_customer=6,
        created_at_ms=4,
        allotments=(Allotment("ga", 7),),
    )
    view = event_view(event, paused=False, cancellation=Cancellation(5, 2))
    assert None not in view.values()
    assert view["ends_at"] == "1970-01-01T00:00:00.000Z", "zero is a time, not its absence"
    assert view["venue"] == {"name": "Halle 1", "city": "Berlin", "country": "DE"}
    assert view["refund_policy"] == {"until_hours_before": 48, "percent": 80}
    assert view["sale"] == {
        "opens_at": "1970-01-01T00:00:00.002Z",
        "closes_at": "1970-01-01T00:00:00.003Z",
        "paused": False,
    }
    assert view["cancellation"] == {"at": "1970-01-01T00:00:00.005Z", "bookings_left": 2}


def test_how_an_event_is_paid_is_shown() -> None:
    view = event_view(an_event(capture_method="manual", payment_attempts_max=5), paused=False)
    assert (view["capture_method"], view["payment_attempts_max"]) == ("manual", 5)
    assert view["cancellation"] is None


COUNTS = Availability(
    EVENT_ID, 1, NOW_MS, True, False, (TypeCounts("ga", 9, 4, 3, 2, 0, max_per_booking=6),)
)


# -- each form is the documented one ---------------------------------------------------


@pytest.mark.parametrize(
    ("form", "view"),
    [
        (BookingView, booking_view(a_booking(), EVENT_ID, "EUR", NOW_MS)),
        (BookingView, booking_view(refunding(RefundState.FAILED), EVENT_ID, "EUR", NOW_MS)),
        (EventView, event_view(an_event(), paused=False)),
        (AvailabilityView, availability_view(COUNTS)),
    ],
    ids=["booking", "refund", "event", "availability"],
)
def test_a_view_has_exactly_the_documented_members(form: type, view: dict) -> None:
    needed = [
        name for name in form.__annotations__ if name in form.__required_keys__ or name in view
    ]
    assert list(view) == needed
    assert TypeAdapter(form).validate_python(view) == view
    assert msgspec.json.decode(msgspec.json.encode(view)) == view
