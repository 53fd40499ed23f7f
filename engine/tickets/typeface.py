"""Type for any name: which of the bundled fonts sets which character, cut to what is needed.

A document carries only the glyphs that it shows. Cutting a font to its text first is what
makes drawing fast: what comes after then reads a few kilobytes instead of a whole font.
"""

import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

import uharfbuzz as hb

REGULAR = "NotoSans-Regular"
BOLD = "NotoSans-Bold"
#: Tried in this order for what the text font does not have. Pictures come last: their font
#: has digits of its own.
FALLBACKS = (
    "NotoNaskhArabic-Regular",
    "NotoSerifHebrew-Regular",
    "NotoSerifThai-Regular",
    "NotoSerifLao-Regular",
    "NotoSerifKhmer-Regular",
    "NotoSerifArmenian-Regular",
    "NotoSerifGeorgian-Regular",
    "NotoSerifDevanagari-Regular",
    "NotoSerifBengali-Regular",
    "NotoSerifGujarati-Regular",
    "NotoSerifGurmukhi-Regular",
    "NotoSerifTamil-Regular",
    "NotoSerifTelugu-Regular",
    "NotoSerifKannada-Regular",
    "NotoSerifMalayalam-Regular",
    "DroidSansFallback",
    "NotoEmoji-Regular",
)
#: Joiners and selectors shape their neighbours, so that they must be set in their font.
_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")
#: Shown for a character that no bundled font has.
_UNKNOWN = "\ufffd"
#: Tables of a font that only shaping reads, and some that nothing in a PDF does.
_SHAPING_TABLES = frozenset(
    int.from_bytes(tag) for tag in (b"GDEF", b"GPOS", b"GSUB", b"kern", b"STAT", b"gasp", b"DSIG")
)
#: Not shown at all: they only say how other characters are to be set.
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Mn", "Me"})


@cache
def _face(font: str) -> hb.Face:
    data = (files("engine.tickets") / "fonts" / f"{font}.ttf").read_bytes()
    return hb.Face(hb.Blob(data))


@cache
def _characters(font: str) -> frozenset[str]:
    return frozenset(map(chr, _face(font).unicodes))


def settable(text: str) -> str:
    """Return a text with what no font can set replaced, and what nobody sees left out."""
    return "".join(_settable(character) for character in unicodedata.normalize("NFC", text))


@cache
def _settable(character: str) -> str:
    if any(character in _characters(font) for font in (REGULAR, *FALLBACKS)):
        return character
    return "" if unicodedata.category(character) in _UNSEEN else _UNKNOWN


def needs_shaping(texts: Iterable[str]) -> bool:
    """Tell whether a text is more than letters of the text font side by side."""
    return any(
        character not in _characters(REGULAR) or unicodedata.category(character)[0] in "MC"
        for character in set().union(*texts)
    )


def is_right_to_left(text: str) -> bool:
    """Tell whether a text begins with a word that is read from right to left."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False


class AsCut:
    """A cut font as the writer of PDFs embeds it: as it is.

    It would cut and pack it once more, which takes a quarter of a page's time. To whoever
    cuts, this is a font of the same glyphs and no tables, of which nothing can be taken.

    Args:
        font: of fontTools, as it was read.
        path: from where.
    """

    def __init__(self, font: Any, path: Path) -> None:
        self._glyphs: list[str] = font.getGlyphOrder()
        self._places = {glyph: place for place, glyph in enumerate(self._glyphs)}
        self._path = path
        #: Let go of the file that it was read from.
        self.close: Callable[[], None] = font.close

    def __contains__(self, tag: str) -> bool:
        return False

    def keys(self) -> list[str]:
        """Return its tables."""
        return []

    def getGlyphOrder(self) -> list[str]:  # noqa: N802
        """Return its glyphs."""
        return self._glyphs

    def getReverseGlyphMap(self) -> dict[str, int]:  # noqa: N802
        """Return the places of its glyphs."""
        return self._places

    def getGlyphID(self, glyph: str) -> int:  # noqa: N802
        """Return the place of a glyph."""
        return self._places[glyph]

    def setGlyphOrder(self, glyphs: list[str]) -> None:  # noqa: N802
        """Keep every glyph where it is."""

    def save(self, file: BinaryIO) -> None:
        """Write it as it was cut."""
        file.write(self._path.read_bytes())


def cut(
    texts: Iterable[str], bold_texts: Iterable[str], directory: Path, *, shaped: bool
) -> dict[str, Path]:
    """Cut every font that is needed to set texts, and return where it was written.

    Args:
        texts: as `settable` returns them.
        bold_texts: those of them that are set in bold.
        directory: to write to.
        shaped: whether they need shaping; see `needs_shaping`.
    """
    wanted = set().union(*texts)
    bold = wanted & set().union(*bold_texts)
    shaping = wanted & _JOINERS
    written: dict[str, Path] = {}
    for font, shown in ((REGULAR, wanted), (BOLD, bold)):
        own = shown & _characters(REGULAR) - _JOINERS
        written[font] = _cut(font, own | {_UNKNOWN}, directory, shaped=shaped)
    wanted -= _characters(REGULAR) - _JOINERS
    for font in FALLBACKS:
        own = wanted & _characters(font)
        if own - _JOINERS:
            written[font] = _cut(font, own | shaping, directory, shaped=shaped)
            wanted -= own - _JOINERS
    return written


def _cut(font: str, characters: set[str], directory: Path, *, shaped: bool) -> Path:
    wanted = hb.SubsetInput()
    # With a space, what is not seen is set as nothing; without it, a text of nothing else
    # would have no glyph at all, over which the writer of PDFs stumbles.
    wanted.unicode_set.update(map(ord, characters | {" "}))
    if not shaped:
        wanted.drop_table_tag_set.update(_SHAPING_TABLES)
    path = directory / f"{font}.ttf"
    path.write_bytes(hb.subset(_face(font), wanted).blob.data)
    return path
