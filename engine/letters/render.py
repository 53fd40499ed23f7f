"""From facts to a letter, in the language of whoever reads it."""

import re
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from msgspec import Struct

from engine.domain.event import Venue
from engine.letters import formats
from engine.letters.facts import Before, Facts, Line
from engine.letters.wording import Wording, frames, language_of, wording

#: Longest subject: what comes behind it no list of mails shows.
_SUBJECT_LENGTH_MAX = 150
#: Longest name that is greeted, and what has no place in one: whoever books for somebody
#: else's address must not have us send them a link.
_NAME_LENGTH_MAX = 80
_LINK = re.compile(r"[/@:]|www|\w\.\w", re.IGNORECASE)
#: Directions of writing that would go on into our own words.
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_INVISIBLE = frozenset({"Cc", "Cs"})
#: What money in a letter is, and the tickets in it; no other letter speaks of money.
_MONEY = {
    "order_confirmation": "paid",
    "refund": "returned",
    "late_payment_refunded": "returned",
    "event_cancelled": "returned",
}
_TICKETS = {"refund": "given_back"}

_Value = TypeVar("_Value")


class Letter(Struct, frozen=True):
    """A letter: its text and its HTML say the same, `summary` is the first of it."""

    subject: str
    summary: str
    text: str
    html: str


def render(kind: str, locale: str | None, facts: Facts) -> Letter:
    """Write a letter.

    Args:
        kind: what about; see the files of the languages.
        locale: of the reader, like `de-AT`; in English where it is none of ours.
        facts: all of them; what a letter has no use for is not said.
    """
    language = language_of(locale)
    words = wording(language)
    assert kind in words.letters, f"there is no letter about {kind}"
    letter, blanks = words.letters[kind], _blanks(facts, language)
    filled = (paragraph.render(blanks).strip() for paragraph in letter.paragraphs)
    paragraphs = [paragraph for paragraph in filled if paragraph]
    shown = {
        "language": language,
        "subject": one_line(letter.subject.render(blanks))[:_SUBJECT_LENGTH_MAX],
        "heading": blanks["event"],
        "greeting": words.greeting.render(blanks),
        "paragraphs": paragraphs,
        "colon": words.colon,
        "rows": _rows(kind, facts, language, words, blanks),
        "footer": words.footer.render(blanks),
    }
    return Letter(
        str(shown["subject"]),
        paragraphs[0],
        frames().text.render(shown),
        frames().html.render(shown),
    )


def one_line(text: str) -> str:
    """Return what people have typed as one line that changes nothing around it."""
    return "".join(
        character
        for character in " ".join(text.split())
        if character not in _TURNS and unicodedata.category(character) not in _INVISIBLE
    )


def _blanks(facts: Facts, language: str) -> dict[str, object]:
    """Return what phrases may speak of; None where there is nothing to say."""
    details, event = facts.details, facts.event
    money = partial(formats.money, currency=event.currency, language=language)
    name = one_line(facts.name or "")
    greeted = name and len(name) <= _NAME_LENGTH_MAX and not _LINK.search(name)
    deadline = details.pay_until_ms
    return {
        "event": one_line(event.name),
        "booking": facts.booking_id,
        "name": name if greeted else None,
        "count": sum(line.quantity for line in facts.lines),
        "valid": facts.valid,
        "attached": facts.tickets_attached,
        "calendar": facts.calendar_attached,
        "amount": money(details.amount_minor) if details.amount_minor else None,
        "free": details.amount_minor == 0,
        "kept": money(details.kept_minor) if details.kept_minor > 0 else None,
        "deadline": deadline and formats.moment(deadline, event.timezone, language),
        "reason": details.reason,
        "held": details.held,
    }


def _rows(
    kind: str, facts: Facts, language: str, words: Wording, blanks: dict[str, object]
) -> list[tuple[str, str]]:
    """Return what the letter is about, with a label for each."""
    event, labels = facts.event, words.labels
    before = facts.details.before or Before()
    when = partial(formats.moment, timezone=event.timezone, language=language)
    changed = partial(_changed, words)
    rows: list[tuple[str, str | None]] = [
        ("event", changed(event.name, before.name, one_line)),
        ("when", changed(event.starts_at_ms, before.starts_at_ms, when)),
        ("doors", changed(event.doors_open_at_ms, before.doors_open_at_ms, when)),
        ("where", changed(event.venue, before.venue, _place)),
    ]
    rows += [(_TICKETS.get(kind, "tickets"), _line(line, words)) for line in facts.lines]
    if kind in _MONEY and blanks["amount"]:
        rows.append((_MONEY[kind], str(blanks["amount"])))
    rows.append(("booking", facts.booking_id))
    return [(labels[label], value) for label, value in rows if value]


def _changed(
    words: Wording, now: _Value | None, then: _Value | None, shown: Callable[[_Value], str]
) -> str | None:
    """Return a value, with what it was if it has changed."""
    value = None if now is None else shown(now)
    if then is None or then == now:
        return value
    return words.before.render(now=value or words.nothing, then=shown(then))


def _place(venue: Venue) -> str:
    return one_line(", ".join(part for part in (venue.name, venue.city, venue.country) if part))


def _line(line: Line, words: Wording) -> str:
    parts = [f"{line.quantity} × {one_line(line.kind)}"]  # noqa: RUF001 - the sign for times
    if line.seats:
        parts.append(f"{words.labels['seats']}{words.colon} {', '.join(map(one_line, line.seats))}")
    if line.numbers:
        parts.append(f"{words.labels['numbers']}{words.colon} {', '.join(line.numbers)}")
    return " · ".join(parts)
