"""Tickets on paper: a PDF of one page for each, the same bytes for the same tickets."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from fpdf import FPDF, Align, XPos, YPos
from fpdf.enums import WrapMode
from fpdf.fonts import TTFFont

from engine.domain.event import Event, RefundPolicy
from engine.tickets import code, typeface
from engine.tickets.sheet import Sheet

#: A4, millimetres.
_MARGIN = 20.0
_WIDTH = 170.0
#: The code: a millimetre and a bit for each module, which phones read at arm's length.
_CODE = 56.0
_FACTS_WIDTH = _WIDTH - _CODE - 6.0
_TERMS_TOP = 262.0
#: Size of a name by its length, points: even two hundred capitals stay on the page.
_NAME_SIZES = ((40, 26.0), (90, 19.0), (200, 14.0))
#: Longest that is shown of anything else; the rest could not be read at a door.
_FACT_LENGTH_MAX = 120

_TERMS = (
    "This code admits one person once: whoever shows it first. Do not publish it. A ticket that "
    "was refunded, disputed or whose event is cancelled admits nobody."
)


def draw(event: Event, sheets: tuple[Sheet, ...], issued_at_ms: int) -> bytes:
    """Return a PDF with a page for each ticket.

    Nothing but the arguments decides about its bytes.

    Args:
        event: as it stands.
        sheets: at least one.
        issued_at_ms: when the booking was confirmed, Unix milliseconds.
    """
    assert sheets, "a document without pages is none"
    name = typeface.settable(event.name)
    terms = typeface.settable(_TERMS + _refunds(event.refund_policy))
    pages = [[(label, _short(fact)) for label, fact in _facts(event, sheet)] for sheet in sheets]
    shown = [name, terms, *(text for page in pages for fact in page for text in fact)]
    numbers = [sheet.number for sheet in sheets]
    shown += numbers
    # Latin, Greek and Cyrillic stand letter by letter: half the time of a page is saved.
    shaped = typeface.needs_shaping(shown)
    with tempfile.TemporaryDirectory(prefix="onsale-fonts-") as directory:
        document = FPDF(format="A4", unit="mm")
        document.set_creation_date(datetime.fromtimestamp(issued_at_ms // 1_000, UTC))
        document.set_title(event.name)
        document.set_margin(_MARGIN)
        document.set_auto_page_break(auto=False)
        fonts = typeface.cut(shown, [name, *numbers], Path(directory), shaped=shaped)
        _add_fonts(document, fonts)
        document.set_text_shaping(use_shaping_engine=shaped)
        if not shaped:
            _embed_as_cut(document)
        for sheet, page in zip(sheets, pages, strict=True):
            _draw_page(document, name, page, sheet, terms)
        return bytes(document.output())


def _add_fonts(document: FPDF, fonts: dict[str, Path]) -> None:
    document.add_font("text", "", fonts.pop(typeface.REGULAR))
    document.add_font("text", "B", fonts.pop(typeface.BOLD))
    for font, path in fonts.items():
        document.add_font(font, "", path)
    document.set_fallback_fonts(list(fonts), exact_match=False)


def _embed_as_cut(document: FPDF) -> None:
    for font in document.fonts.values():
        if isinstance(font, TTFFont):
            font.ttfont = typeface.AsCut(font.ttfont, Path(font.ttffile))


def _draw_page(
    document: FPDF, name: str, facts: list[tuple[str, str]], sheet: Sheet, terms: str
) -> None:
    document.add_page()
    size = next(size for length, size in _NAME_SIZES if len(name) <= length)
    _write(document, name, _WIDTH, size, bold=True)
    top = document.get_y() + 8
    document.image(
        code.image(code.matrix(sheet.payload)), _MARGIN + _FACTS_WIDTH + 6, top, _CODE, _CODE
    )
    document.set_xy(_MARGIN + _FACTS_WIDTH + 6, top + _CODE)
    document.set_font("text", "B", 15)
    document.cell(_CODE, 8, sheet.number, align=Align.C)
    document.set_y(top)
    for label, fact in facts:
        document.set_text_color(110)
        _write(document, label, _FACTS_WIDTH, 8.5)
        document.set_text_color(0)
        _write(document, fact, _FACTS_WIDTH, 12.5)
        document.ln(3.5)
    document.set_y(_TERMS_TOP)
    document.set_text_color(110)
    _write(document, terms, _WIDTH, 8.5)
    document.set_text_color(0)


def _write(document: FPDF, text: str, width: float, size: float, *, bold: bool = False) -> None:
    """Write a paragraph from the left margin, or from the right where it is read so."""
    document.set_font("text", "B" if bold else "", size)
    align = Align.R if typeface.is_right_to_left(text) else Align.L
    document.multi_cell(
        width,
        size * 0.46,
        text,
        align=align,
        new_x=XPos.LMARGIN,
        new_y=YPos.NEXT,
        wrapmode=WrapMode.WORD,
    )


def _facts(event: Event, sheet: Sheet) -> list[tuple[str, str]]:
    """Return what a ticket says, with a label for each."""
    facts = [("When", _when(event.starts_at_ms, event.timezone))]
    if event.doors_open_at_ms is not None:
        facts.append(("Doors open", _when(event.doors_open_at_ms, event.timezone)))
    if event.venue is not None:
        venue = event.venue
        place = ", ".join(part for part in (venue.name, venue.city, venue.country) if part)
        facts.append(("Where", place))
    facts.append(("Ticket", sheet.kind))
    if sheet.seat is not None:
        facts.append(("Seat", sheet.seat))
    if sheet.holder is not None:
        facts.append(("Holder", sheet.holder))
    return facts


def _short(text: str) -> str:
    text = typeface.settable(text)
    return text if len(text) <= _FACT_LENGTH_MAX else text[: _FACT_LENGTH_MAX - 1] + "…"


def _when(at_ms: int, timezone: str | None) -> str:
    """Return a time as the clocks at the doors show it."""
    zone = UTC if timezone is None else ZoneInfo(timezone)
    moment = datetime.fromtimestamp(at_ms // 1_000, zone)
    day = f"{moment:%A}, {moment.day} {moment:%B} {moment.year}"
    return f"{day}, {moment:%H:%M} ({timezone or 'UTC'})"


def _refunds(policy: RefundPolicy | None) -> str:
    if policy is None:
        return " It is not refundable."
    return (
        f" Until {policy.until_hours_before} hours before the start, {policy.percent} % of its "
        "price is refunded."
    )
