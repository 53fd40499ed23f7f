"""An entry for the buyer's calendar (RFC 5545), at the time that clocks at the doors show."""

from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

import icalendar

from engine.domain.event import Event

#: Years around the event for which its zone's changes are written down: calendars ask for
#: no more than the day of the event, and some refuse a zone that begins after it.
_YEARS_AROUND = 1


def entry(event: Event, booking_id: str, numbers: tuple[str, ...], issued_at_ms: int) -> bytes:
    """Return a calendar with the event in it.

    Nothing but the arguments decides about its bytes, and the entry of a booking keeps its
    name: a calendar that takes in a later version replaces the earlier one.

    Args:
        event: as it stands.
        booking_id: names the entry.
        numbers: of the booking's tickets.
        issued_at_ms: when the booking was confirmed, Unix milliseconds.
    """
    zone: tzinfo = UTC if event.timezone is None else ZoneInfo(event.timezone)
    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//onsale//tickets//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    starts_at = _moment(event.starts_at_ms, zone)
    occasion = icalendar.Event()
    occasion.add("uid", f"{booking_id}@onsale")
    occasion.add("dtstamp", _moment(issued_at_ms, UTC))
    occasion.add("dtstart", starts_at)
    if event.timezone is not None and "TZID" in occasion["dtstart"].params:
        calendar.add_component(_zone(event.timezone, starts_at.year))
    if event.ends_at_ms is not None:
        occasion.add("dtend", _moment(event.ends_at_ms, zone))
    occasion.add("summary", event.name)
    if event.venue is not None:
        venue = event.venue
        place = ", ".join(part for part in (venue.name, venue.city, venue.country) if part)
        occasion.add("location", place)
    occasion.add("description", _description(event, numbers, zone))
    occasion.add("status", "CONFIRMED")
    calendar.add_component(occasion)
    written: bytes = calendar.to_ical()
    return written


def _zone(name: str, year: int) -> icalendar.Timezone:
    first = date(year - _YEARS_AROUND, 1, 1)
    last = date(year + _YEARS_AROUND + 1, 1, 1)
    return icalendar.Timezone.from_tzid(name, first_date=first, last_date=last)


def _moment(at_ms: int, zone: tzinfo) -> datetime:
    """Return a time to the second, as calendars have no smaller unit."""
    return datetime.fromtimestamp(at_ms // 1_000, zone)


def _description(event: Event, numbers: tuple[str, ...], zone: tzinfo) -> str:
    lines = [f"Tickets: {', '.join(numbers)}"]
    if event.doors_open_at_ms is not None:
        lines.insert(0, f"Doors open at {_moment(event.doors_open_at_ms, zone):%H:%M}.")
    return "\n".join(lines)
