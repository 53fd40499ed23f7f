"""The phrases of each language, read from its file once."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from msgspec import Struct

#: Languages that letters come in, the first for whoever reads none of them.
LANGUAGES = ("en", "de", "fr", "es")


class Letterhead(Struct, frozen=True):
    """What one language says about one matter."""

    subject: Template
    paragraphs: tuple[Template, ...]


class Wording(Struct, frozen=True):
    """Everything that one language says.

    `before` tells what applies now and what did then, `colon` stands behind a label, `nothing`
    for what has no value.
    """

    greeting: Template
    footer: Template
    before: Template
    colon: str
    nothing: str
    labels: Mapping[str, str]
    letters: Mapping[str, Letterhead]


class Frames(Struct, frozen=True):
    """What every letter looks like."""

    text: Template
    html: Template


def language_of(locale: str | None) -> str:
    """Return the language to write in: that of the locale if there is one, else the first."""
    spoken = (locale or "").replace("_", "-").partition("-")[0].lower()
    return spoken if spoken in LANGUAGES else LANGUAGES[0]


@cache
def wording(language: str) -> Wording:
    """Return the phrases of a language that letters come in."""
    # Phrases make plain text; the HTML frame escapes what is put into it.
    plain = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701
    read = tomllib.loads(source(language))
    labels = read.pop("labels")
    phrases = {name: read.pop(name) for name in ("greeting", "footer", "before")}
    return Wording(
        plain.from_string(phrases["greeting"]),
        plain.from_string(phrases["footer"]),
        plain.from_string(phrases["before"]),
        read.pop("colon"),
        read.pop("nothing"),
        labels,
        {
            kind: Letterhead(
                plain.from_string(letter["subject"]),
                tuple(plain.from_string(paragraph) for paragraph in letter["paragraphs"]),
            )
            for kind, letter in read.items()
        },
    )


def source(language: str) -> str:
    """Return the file of a language."""
    return (files("engine.letters") / "languages" / f"{language}.toml").read_text("utf-8")


@cache
def frames() -> Frames:
    """Return the frames that all languages share."""
    environment = Environment(
        loader=PackageLoader("engine.letters", "frames"),
        autoescape=lambda name: name == "letter.html",  # noqa: S701 - the other is plain text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return Frames(environment.get_template("letter.txt"), environment.get_template("letter.html"))
