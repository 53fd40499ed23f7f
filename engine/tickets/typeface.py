"""Type for any name: which of the bundled fonts sets which character, cut to what is needed.

A document carries only the glyphs that it shows. Cutting a font to its text first is what
makes drawing fast: what comes after then reads a few kilobytes instead of a whole font.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

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


def cut(texts: Iterable[str], directory: Path) -> dict[str, Path]:
    """Cut every font that is needed to set texts, and return where it was written.

    Args:
        texts: as `settable` returns them.
        directory: to write to.
    """
    wanted = set().union(*texts)
    shaping = wanted & _JOINERS
    written: dict[str, Path] = {}
    for font in (REGULAR, BOLD):
        own = wanted & _characters(REGULAR) - _JOINERS
        written[font] = _cut(font, own | {_UNKNOWN}, directory)
    wanted -= _characters(REGULAR) - _JOINERS
    for font in FALLBACKS:
        own = wanted & _characters(font)
        if own - _JOINERS:
            written[font] = _cut(font, own | shaping, directory)
            wanted -= own - _JOINERS
    return written


def _cut(font: str, characters: set[str], directory: Path) -> Path:
    wanted = hb.SubsetInput()
    # With a space, what is not seen is set as nothing; without it, a text of nothing else
    # would have no glyph at all, over which the writer of PDFs stumbles.
    wanted.unicode_set.update(map(ord, characters | {" "}))
    path = directory / f"{font}.ttf"
    path.write_bytes(hb.subset(_face(font), wanted).blob.data)
    return path
