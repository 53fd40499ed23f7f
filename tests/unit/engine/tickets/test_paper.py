"""Tickets on paper: every code reads, every name is set, and the bytes are always the same."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.domain.event import Event, RefundPolicy, Venue
from engine.tickets import paper, typeface
from engine.tickets.seal import Seals
from engine.tickets.sheet import Sheet
from tests.reading_codes import pages, read_pdf, text_of

SEALS = Seals((bytes(32),))
ISSUED_AT_MS = 1_790_000_000_000
EVENT = Event(
    "evt_000000000000",
    "acme",
    "Night of Strings",
    1_803_927_600_000,  # 2027-03-01 19:00 UTC
    "EUR",
    (),
    (),
    600_000,
    timezone="Europe/Berlin",
    doors_open_at_ms=1_803_924_000_000,
    venue=Venue("Halle 1", "Köln", "DE"),
    refund_policy=RefundPolicy(48, 80),
)


def sheet(place: int = 0, **changes: str) -> Sheet:
    payload = SEALS.seal(f"tkt_{'0' * 28}{place:02d}", "ann")
    return replace(Sheet(f"K7QX-93D{place}", payload, "Standing"), **changes)


def test_a_ticket_says_all_that_somebody_at_the_door_needs() -> None:
    drawn = paper.draw(EVENT, (sheet(seat="P-A-1", holder="Ann Müller"),), ISSUED_AT_MS)
    text = text_of(drawn)
    for part in (
        "Night of Strings", "Monday, 1 March 2027, 20:00 (Europe/Berlin)",
        "Monday, 1 March 2027, 19:00 (Europe/Berlin)", "Halle 1, Köln, DE", "Standing",
        "P-A-1", "Ann Müller", "K7QX-93D0", "Until 48 hours before the start, 80 %",
    ):  # fmt: skip
        assert part in text.replace("\r\n", " ").replace("\n", " "), part
    assert read_pdf(drawn) == [sheet().payload]


def test_an_event_of_which_little_is_known_has_tickets_too() -> None:
    bare = Event("evt_000000000000", "acme", "x", 0, "EUR", (), (), 1)
    text = text_of(paper.draw(bare, (sheet(),), 0))
    assert "Thursday, 1 January 1970, 00:00 (UTC)" in text
    assert "not refundable" in text


def test_each_ticket_has_a_page_and_its_own_code() -> None:
    sheets = tuple(sheet(place) for place in range(9))
    drawn = paper.draw(EVENT, sheets, ISSUED_AT_MS)
    assert [len(pages(drawn)), *read_pdf(drawn)] == [9, *(one.payload for one in sheets)]


def test_the_same_tickets_are_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = paper.draw(EVENT, (sheet(),), ISSUED_AT_MS)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400.0)
    assert paper.draw(EVENT, (sheet(),), ISSUED_AT_MS) == first
    assert paper.draw(EVENT, (sheet(1),), ISSUED_AT_MS) != first
    assert paper.draw(replace(EVENT, name="Day"), (sheet(),), ISSUED_AT_MS) != first
    assert len(first) < 20_000


NAMES = {
    "arabic": "حفلة الليل الكبرى",
    "arabic with a number": "مهرجان 2027 الكبير",
    "persian": "کنسرت می‌خواهم",
    "hebrew": "היכל התרבות תל אביב",
    "chinese": "音乐会之夜",
    "traditional chinese": "國家音樂廳",
    "japanese": "東京ドームのコンサート",
    "korean": "서울 올림픽 공원",
    "thai": "คอนเสิร์ตที่กรุงเทพฯ",
    "hindi": "संगीत की शाम",
    "bengali": "কলকাতা সঙ্গীত",
    "tamil": "சென்னை இசை",
    "georgian": "თბილისის ღამე",
    "armenian": "Երևանի գիշեր",
    "greek": "Νύχτα Αθηνών",
    "cyrillic": "Ночь в Києві",
    "vietnamese": "Đêm nhạc Hà Nội",
    "emoji": "Party 🎉 Night 🎸",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_in_any_script_is_set(name: str) -> None:
    event = replace(EVENT, name=name, venue=Venue(name))
    drawn = paper.draw(event, (sheet(holder=name),), ISSUED_AT_MS)
    assert read_pdf(drawn) == [sheet().payload]
    assert "\ufffd" not in typeface.settable(name)
    found = text_of(drawn).replace(" ", "")
    letters = {letter for letter in name if letter.isalnum()}
    missing = {letter for letter in letters if letter not in found}
    # What shaping joins into one glyph may be read as another spelling of it.
    assert len(missing) <= len(letters) // 3, missing


@pytest.mark.parametrize(
    "name",
    [
        "W" * 200, "x" * 100 + " " + "y" * 99, "夜" * 200, "ก" * 200, "ש" * 200, "🎉" * 200,
        "\u200b", "\u200d", "\u202e\u2066", "\u0301", "\ufe0f", "\u3164", "\u00ad", "\U000f0000",
        "👩\u200d👩\u200d👧 family", "🇩🇪", "e\u0301\u0323" * 40, "ሰላም", "\\(x) ) <</Type", "{nb}",
        "a\u00a0b\u2003c", "**bold** __x__ [a](https://b)",
    ],
)  # fmt: skip
def test_a_name_that_is_hard_to_set_does_not_keep_anybody_out(name: str) -> None:
    event = replace(EVENT, name=name, venue=Venue(name, name, "DE"))
    drawn = paper.draw(event, (sheet(kind=name, seat=name[:64], holder=name),), ISSUED_AT_MS)
    assert len(pages(drawn)) == 1
    assert read_pdf(drawn) == [sheet().payload]


def test_nothing_is_written_over_the_code_or_off_the_page() -> None:
    """As long as names get, in the widest letters: the terms still stand below them."""
    name = "W" * 200
    event = replace(EVENT, name=name, venue=Venue(name, name, "DE"))
    full = sheet(kind=name, seat="W" * 64, holder=name)
    (page,) = pages(paper.draw(event, (full,), ISSUED_AT_MS))
    grey = page.convert("L")
    width, height = grey.size
    for box in (
        (0, 0, width, height // 20),
        (0, height * 19 // 20, width, height),
        (0, 0, width // 12, height),
        (width * 11 // 12, 0, width, height),
        (0, height * 252 // 297, width, height * 261 // 297),
    ):
        assert grey.crop(box).getextrema() == (255, 255), box


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_whatever_it_is_called_the_code_reads(name: str, venue: str) -> None:
    event = replace(EVENT, name=name, venue=Venue(venue))
    assert read_pdf(paper.draw(event, (sheet(),), ISSUED_AT_MS)) == [sheet().payload]


def test_what_is_read_from_the_right_stands_on_the_right() -> None:
    for name, right in (("היכל", True), ("حفلة", True), ("Halle", False), ("1 היכל", True)):
        (page,) = pages(paper.draw(replace(EVENT, name=name), (sheet(),), ISSUED_AT_MS))
        head = page.convert("L").crop((0, 0, page.width, page.height // 9))
        left, _, end, _ = head.point(lambda value: 255 - value).getbbox()
        assert (left > page.width // 2) == right
        assert (end < page.width // 2) == (not right)


def test_a_page_takes_no_longer_than_a_blink() -> None:
    """At most 50 ms of the processor for a document of one page."""
    paper.draw(EVENT, (sheet(),), ISSUED_AT_MS)
    spent = []
    for _ in range(5):
        began = time.process_time()
        paper.draw(EVENT, (sheet(),), ISSUED_AT_MS)
        spent.append(time.process_time() - began)
    assert min(spent) < 0.05
