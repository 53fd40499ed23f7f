"""Letters: every kind in every language says the same, and what people typed changes nothing."""

# ruff: noqa: RUF001 - what letters say, sign for sign

import re
import tomllib
from html.parser import HTMLParser

import pytest
from jinja2 import Environment, UndefinedError, meta
from msgspec.structs import replace

from engine.domain.event import Venue
from engine.letters.facts import Before, Details, Facts, Line, Reason
from engine.letters.render import Letter, one_line, render
from engine.letters.wording import LANGUAGES, source, wording
from engine.store.contract import MessageKind
from tests.samples import NOW_MS, booking_id, event

EVENT = event(
    timezone="Europe/Berlin", starts_at_ms=1_803_927_600_000, doors_open_at_ms=1_803_924_000_000
)
DETAILS = Details(
    amount_minor=123_450,
    kept_minor=300,
    pay_until_ms=NOW_MS,
    reason=Reason.EVENT_CANCELLED,
    before=Before("Evening of Strings", 1_803_841_200_000, None, Venue("Fabrik")),
)
FACTS = Facts(
    EVENT,
    booking_id(1),
    DETAILS,
    "Ann Müller",
    (Line("General", 2, numbers=("K7QX-93DM", "P2AA-0QRS")), Line("Loge", 1, ("A-1",), ("Z",))),
    valid=3,
    tickets_attached=True,
    calendar_attached=True,
)
BARE = Facts(event(venue=None), booking_id(1), Details())


class _Words(HTMLParser):
    """Collects what an HTML letter shows, and what it loads or links to."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.remote: list[str] = []
        self._style = False

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self._style = tag == "style"
        self.remote += [value for name, value in attrs if name in ("src", "href", "background")]

    def handle_data(self, data) -> None:
        if not self._style:
            self.words.append(data)


def read(letter: Letter) -> _Words:
    parser = _Words()
    parser.feed(letter.html)
    parser.close()
    return parser


def words_of(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("facts", [FACTS, BARE], ids=["full", "bare"])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", MessageKind)
def test_text_and_html_say_the_same(kind: MessageKind, language: str, facts: Facts) -> None:
    letter = render(kind, language, facts)
    html = read(letter)
    shown = words_of(" ".join(html.words))
    for line in letter.text.split("\n"):
        for part in line.removeprefix("-- ").split(f"{wording(language).colon} ", 1):
            assert words_of(part).strip() in shown, part
    assert letter.subject in shown
    assert letter.summary in letter.text
    assert "\n" not in letter.subject
    assert facts.event.name in letter.subject
    assert facts.booking_id in letter.text
    assert "None" not in letter.text + letter.subject
    assert "{" not in letter.text
    assert html.remote == []
    assert not {"script", "img", "link", "iframe"} & set(html.tags)


@pytest.mark.parametrize("kind", MessageKind)
def test_no_two_languages_have_the_same_words(kind: MessageKind) -> None:
    letters = {render(kind, language, FACTS).summary for language in LANGUAGES}
    assert len(letters) == len(LANGUAGES)


def _blanks(text: str) -> set[str]:
    environment = Environment(autoescape=True)
    return meta.find_undeclared_variables(environment.parse(text))


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_all_languages_have_the_same_blanks(language: str) -> None:
    first, other = tomllib.loads(source(LANGUAGES[0])), tomllib.loads(source(language))
    assert first.keys() == other.keys()
    assert first["labels"].keys() == other["labels"].keys()
    assert set(MessageKind) <= first.keys()
    for kind in MessageKind:
        here, there = first[kind], other[kind]
        assert _blanks(here["subject"]) == _blanks(there["subject"])
        assert [_blanks(text) for text in here["paragraphs"]] == [
            _blanks(text) for text in there["paragraphs"]
        ], kind
    for phrase in ("greeting", "footer", "before"):
        assert _blanks(first[phrase]) == _blanks(other[phrase])


def test_a_blank_that_nothing_fills_is_a_mistake() -> None:
    with pytest.raises(UndefinedError):
        wording("en").greeting.render()


@pytest.mark.parametrize(
    ("locale", "greeting"),
    [
        ("de", "Guten Tag"), ("de-AT", "Guten Tag"), ("DE_ch", "Guten Tag"), ("fr-CA", "Bonjour"),
        ("es_MX", "Hola"), ("en-GB", "Hello"), ("pt-BR", "Hello"), ("xx", "Hello"), ("", "Hello"),
        (None, "Hello"), ("desert", "Hello"),
    ],
)  # fmt: skip
def test_whoever_reads_none_of_the_languages_reads_english(locale, greeting: str) -> None:
    assert render(MessageKind.EXPIRED, locale, FACTS).text.startswith(greeting)


@pytest.mark.parametrize("kind", MessageKind)
def test_what_an_organizer_typed_is_text_and_nothing_else(kind: MessageKind) -> None:
    nasty = '<script>alert(1)</script>{{ 7 * 7 }} & "quoted"\r\nBcc: eve@example.org\u202e\x00'
    named = event(name=nasty, venue=Venue(nasty, nasty))
    lines = (Line(nasty, 1, (nasty,)),)
    letter = render(kind, "de", replace(FACTS, event=named, lines=lines))
    html = read(letter)
    assert "script" not in html.tags
    assert "<script>" not in letter.html
    assert "<script>alert(1)</script>{{ 7 * 7 }}" in "".join(html.words)
    assert not re.search(r"[\r\n\u202e\x00]", letter.subject)
    assert not re.search(r"(?m)^Bcc:", letter.text)


def test_a_long_name_leaves_a_subject_that_fits() -> None:
    subject = render("refund", "en", replace(FACTS, event=event(name="x" * 200))).subject
    assert len(subject) == 150


@pytest.mark.parametrize(
    ("name", "greeting"),
    [
        ("Ann Müller", "Hello Ann Müller,"), ("Dr. Ann O’Neill-Ray", "Hello Dr. Ann O’Neill-Ray,"),
        ("Ann\nMüller", "Hello Ann Müller,"), ("https://bad.example/x", "Hello,"),
        ("you won! bad.example", "Hello,"), ("www bad", "Hello,"), ("a@b", "Hello,"),
        ("x" * 81, "Hello,"), ("", "Hello,"), (None, "Hello,"), ("<b>Ann</b>", "Hello,"),
    ],
)  # fmt: skip
def test_a_name_is_greeted_and_no_link_is_sent_in_its_place(name, greeting: str) -> None:
    letter = render("refund", "en", replace(FACTS, name=name))
    assert letter.text.split("\n")[0] == greeting
    assert greeting in read(letter).words


def test_one_line_keeps_what_scripts_need() -> None:
    assert one_line("می\u200cخواهم 👩\u200d👧") == "می\u200cخواهم 👩\u200d👧"
    assert one_line(" a\u2028b\x85c\ud800 ") == "a b c"


# -- what is said ------------------------------------------------------------------


def text(kind: str, **changes) -> str:
    facts = {name: changes.pop(name) for name in ("valid", "tickets_attached") if name in changes}
    changed = replace(FACTS, details=replace(DETAILS, **changes), **facts)
    return render(kind, "en", changed).text


def test_a_confirmation_lists_tickets_and_money() -> None:
    said = text("order_confirmation")
    assert "Monday, 1 March 2027, 20:00 (Europe/Berlin)" in said
    assert "Tickets: 2 × General · Numbers: K7QX-93DM, P2AA-0QRS\n" in said
    assert "Tickets: 1 × Loge · Seats: A-1 · Numbers: Z\n" in said
    assert "Paid: €1,234.50\n" in said
    assert "Where: Grünspan, Hamburg, DE (before: Fabrik)" in said


def test_a_confirmation_does_not_promise_what_is_not_attached() -> None:
    assert "Your 3 tickets are attached" in text("order_confirmation")
    assert "Your ticket is attached" in text("order_confirmation", valid=1)
    many = text("order_confirmation", tickets_attached=False)
    assert "online" in many
    assert "tickets are attached" not in many
    void = text("order_confirmation", valid=0, tickets_attached=False)
    assert "no longer valid" in void
    assert "attached" not in void
    assert "Each code" not in void


def test_a_free_booking_is_not_said_to_be_paid() -> None:
    assert "Paid" not in text("order_confirmation", amount_minor=0)


def test_a_failed_payment_says_until_when_another_one_may_be_made() -> None:
    assert "until Friday, 15 January 2027, 09:00 (Europe/Berlin)" in text("payment_failed")
    ended = text("payment_failed", pay_until_ms=None)
    assert "until" not in ended
    assert "has ended" in ended
    assert "Money back" not in text("payment_failed")


def test_a_refund_says_how_much_and_what_is_left() -> None:
    said = text("refund", valid=1)
    for part in (
        "we have sent you €1,234.50 back", "€3.00 of the price was kept", "event was cancelled",
        "One ticket of this booking stays valid", "Returned tickets: 2 × General",
        "Money back: €1,234.50",
    ):  # fmt: skip
        assert part in said, part
    free = text("refund", amount_minor=0, kept_minor=0, valid=0, reason=Reason.REQUESTED)
    assert "no money to send back" in free
    assert "bank" not in free
    assert "no longer valid" in free
    assert "cancelled" not in free


def test_a_refund_of_an_amount_that_is_not_known_is_a_refund_all_the_same() -> None:
    said = text("refund", amount_minor=None)
    assert "has been sent, the way you paid" in said
    assert "no money" not in said
    assert "Money back" not in said
    assert "bank" in said


def test_money_that_others_took_back_is_not_said_to_be_kept() -> None:
    assert "kept" not in text("refund", kept_minor=-500)


def test_a_cancelled_event_promises_money_only_where_there_is_some() -> None:
    assert "You get €1,234.50 back" in text("event_cancelled")
    assert "back" not in text("event_cancelled", amount_minor=None)


def test_who_had_not_paid_yet_is_not_told_of_tickets_of_theirs():
    said = text("event_cancelled", amount_minor=None, held=True)
    assert "no longer held for you" in said
    assert "Should a payment of yours still reach us" in said
    assert "Your tickets" not in said
    assert "Should a payment" not in text("event_cancelled")


def test_a_change_says_what_was_before() -> None:
    said = text("event_changed")
    assert "Event: Night of Strings (before: Evening of Strings)" in said
    assert "20:00 (Europe/Berlin) (before: Sunday, 28 February 2027, 20:00 (Europe/Berlin))" in said
    unchanged = text("event_changed", before=Before(name=EVENT.name))
    assert "before" not in unchanged
    gone = replace(FACTS, event=event(venue=None))
    assert "Where: not named (before: Fabrik)" in render("event_changed", "en", gone).text
