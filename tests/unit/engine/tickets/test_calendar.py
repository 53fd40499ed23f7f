"""Calendar entries, parsed back and at the right time in every zone."""

from datetime import UTC, datetime

import icalendar
import pytest
from msgspec.structs import replace

from engine.domain.event import Event, Venue
from engine.tickets import calendar

STARTS_AT = datetime(2027, 3, 1, 19, 0, tzinfo=UTC)
EVENT = Event(
    "evt_000000000000",
    "acme",
    "Night of Strings",
    int(STARTS_AT.timestamp()) * 1_000,
    "EUR",
    (),
    (),
    600_000,
    ends_at_ms=int(STARTS_AT.timestamp()) * 1_000 + 10_800_000,
    timezone="Europe/Berlin",
    venue=Venue("Halle 1", "Köln", "DE"),
)
BOOKING = "bk_" + "0" * 28


def entry(event: Event = EVENT) -> bytes:
    return calendar.entry(event, BOOKING, ("K7QX-93DM", "0000-0000"), 1_790_000_000_123)


def parsed(event: Event = EVENT) -> icalendar.Event:
    found = icalendar.Calendar.from_ical(entry(event))
    (occasion,) = found.walk("VEVENT")
    assert not occasion.errors
    return occasion


def test_an_entry_says_what_where_and_when() -> None:
    occasion = parsed()
    assert occasion["summary"] == "Night of Strings"
    assert occasion["location"] == "Halle 1, Köln, DE"
    assert occasion["uid"] == f"{BOOKING}@onsale"
    assert "K7QX-93DM, 0000-0000" in occasion["description"]
    assert occasion.start == STARTS_AT
    assert (occasion.end - occasion.start).total_seconds() == 10_800
    assert f"{occasion.start:%H:%M}" == "20:00"
    assert occasion.start.tzinfo is not UTC


@pytest.mark.parametrize(
    "zone",
    ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Africa/Casablanca", "UTC", "Etc/UTC",
     "America/Sao_Paulo", "Australia/Lord_Howe", "Etc/GMT+5", "Asia/Kolkata", "Pacific/Apia"],
)  # fmt: skip
@pytest.mark.parametrize("year", [2027, 2040, 2096])
@pytest.mark.parametrize("month", [1, 7])
def test_an_entry_is_right_for_who_knows_no_zones(zone: str, year: int, month: int) -> None:
    """The offset is worked out from the entry's own VTIMEZONE, not from our data."""
    starts_at = datetime(year, month, 15, 19, 0, tzinfo=UTC)
    event = replace(
        EVENT,
        starts_at_ms=int(starts_at.timestamp()) * 1_000,
        ends_at_ms=None,
        timezone=zone,
    )
    found = icalendar.Calendar.from_ical(entry(event))
    (occasion,) = found.walk("VEVENT")
    written = occasion["dtstart"]
    own = {zone.tz_name: zone.to_tz(lookup_tzid=False) for zone in found.timezones}
    if set(own) == {written.params.get("TZID")}:
        written.dt = written.dt.replace(tzinfo=own[written.params["TZID"]])
    else:
        assert not own
        assert b"DTSTART:" + f"{starts_at:%Y%m%dT%H%M%SZ}".encode() in entry(event)
    assert written.dt == starts_at


def test_without_a_zone_the_time_is_utc() -> None:
    event = replace(EVENT, timezone=None)
    assert b"DTSTART:20270301T190000Z" in entry(event)
    assert b"VTIMEZONE" not in entry(event)
    assert parsed(event).start == STARTS_AT


@pytest.mark.parametrize(
    "name",
    [
        "x" * 200,
        "音乐会之夜" * 40,
        "حفلة الليل",
        'a;b,c\\d:e"f',
        "🎉" * 50,
        "BEGIN:VEVENT",
        "\u2028",
    ],
)
def test_any_name_comes_back(name: str) -> None:
    occasion = parsed(replace(EVENT, name=name, venue=Venue(name)))
    assert occasion["summary"] == name
    assert occasion["location"] == name
    for line in entry(replace(EVENT, name=name)).split(b"\r\n"):
        assert len(line) <= 75


def test_the_same_entry_is_the_same_bytes() -> None:
    assert entry() == entry()
    assert b"DTSTAMP:20260921T141320Z" in entry()
