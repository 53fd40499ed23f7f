"""Every situation of a booking and its payment and everything that can be asked or heard of it.

The table says what is journalled: a letter for each record. What has no place is refused, or
is old news and leaves nothing; it never breaks a count or the books.
"""

from collections.abc import Callable

import pytest

from engine.domain.apply import apply
from engine.domain.commands import Command
from engine.domain.decide import decide
from engine.domain.outcomes import DONE, PaymentShown, Refused, Shown
from engine.domain.records import Record
from engine.domain.snapshot import digest
from engine.domain.state import check_fully
from tests.unit.engine.domain.given import ORGANIZER, expire, release
from tests.unit.engine.domain.given_payments import (
    AUTHORISED,
    CANCELED,
    OPENED,
    PRICE_MINOR,
    SUCCEEDED,
    BoxOffice,
    charged,
    disputed,
    failed,
    pay,
    refund,
    refund_said,
)
from tests.unit.engine.domain.situations import SITUATIONS

LETTERS = {
    "PaymentStarted": "P",
    "IntentOpened": "O",
    "PaymentRetried": "T",
    "PaymentFailed": "F",
    "PaymentGivenUp": "U",
    "PaymentAuthorised": "A",
    "PaymentClosing": "L",
    "PaymentClosed": "X",
    "HoldReleased": "H",
    "HoldExpired": "E",
    "BookingConfirmed": "C",
    "PaymentReturning": "R",
    "RefundRequested": "Q",
    "RefundSettled": "S",
    "RefundFailed": "N",
    "MoneyTakenBack": "B",
    "DisputeNoted": "D",
}
REFUSALS = {
    "booking_not_found": "no",
    "payment_mismatch": "mis",
    "not_payable": "pay!",
    "not_releasable": "rel!",
    "refund_not_allowed": "ref!",
}


def _refund_said(status: str) -> Callable[[BoxOffice], Command]:
    """Return news about the refund that was asked for last, of everything if none was."""

    def said(sale: BoxOffice) -> Command:
        payment = sale.booking("ann").payment
        if payment is None or payment.refund is None:
            return refund_said(status)
        return refund_said(status, payment.refund.amount_minor, payment.refund.number)

    return said


COMMANDS: dict[str, Command | Callable[[BoxOffice], Command]] = {
    "pay": pay(),
    "leave": release("ann"),
    "time": expire("ann"),
    "open": OPENED,
    "fail": failed("ch_new"),
    "auth": AUTHORISED,
    "paid": SUCCEEDED,
    "close": CANCELED,
    "part": charged(1_000),
    "all": charged(PRICE_MINOR),
    "back": refund(caller=ORGANIZER),
    "done": _refund_said("succeeded"),
    "fails": _refund_said("failed"),
    "disp": disputed(),
    "lost": disputed("lost"),
    "won": disputed("won"),
}
TABLE = """
                                    pay   leave time  open  fail  auth  paid  close part  all   back  done  fails disp  lost  won
reserved                            P     H     E     mis   mis   mis   mis   mis   no    no    ref!  no    no    no    no    no
opening                             -     HL    L     O     OF    OA    OC    OXU   OCB   OCB   ref!  mis   mis   mis   mis   mis
opened                              -     HL    L     -     F     A     C     XU    CB    CB    ref!  mis   mis   mis   mis   mis
card_failed                         T     HL    L     -     F     A     C     XU    CB    CB    ref!  mis   mis   mis   mis   mis
authorised                          pay!  HL    L     -     -     -     C     XU    CB    CB    ref!  mis   mis   mis   mis   mis
authorised_after_a_failure          pay!  HL    L     -     -     -     C     XU    CB    CB    ref!  mis   mis   mis   mis   mis
time_up_before_its_intent_was_known pay!  H     E     O     O     O     OC    OXE   OCB   OCB   ref!  mis   mis   mis   mis   mis
time_up                             pay!  H     E     -     -     -     C     XE    CB    CB    ref!  mis   mis   mis   mis   mis
time_up_after_a_failure             pay!  H     E     -     -     -     C     XE    CB    CB    ref!  mis   mis   mis   mis   mis
unpaid                              pay!  rel!  no    mis   mis   mis   mis   mis   no    no    ref!  no    no    no    no    no
expired                             pay!  rel!  no    -     -     -     C     X     CB    CB    ref!  mis   mis   mis   mis   mis
expired_and_closed                  pay!  rel!  no    -     -     -     C     -     CB    CB    ref!  mis   mis   mis   mis   mis
expired_and_sold_out                pay!  rel!  no    -     -     -     R     X     RB    RB    ref!  mis   mis   mis   mis   mis
left                                pay!  -     no    mis   mis   mis   mis   mis   no    no    ref!  no    no    no    no    no
released                            pay!  -     no    -     -     -     R     X     RB    RB    ref!  mis   mis   mis   mis   mis
released_and_closed                 pay!  -     no    -     -     -     R     -     RB    RB    ref!  mis   mis   mis   mis   mis
given_up                            pay!  -     no    -     -     -     C     X     CB    CB    ref!  mis   mis   mis   mis   mis
given_up_and_closed                 pay!  -     no    -     -     -     C     -     CB    CB    ref!  mis   mis   mis   mis   mis
closed_at_stripe                    pay!  -     no    -     -     -     C     -     CB    CB    ref!  mis   mis   mis   mis   mis
confirmed                           -     rel!  no    -     -     -     -     -     B     B     Q     mis   mis   D     DB    D
delivered                           -     rel!  no    -     -     -     -     -     B     B     Q     mis   mis   D     DB    D
free                                -     rel!  no    mis   mis   mis   mis   mis   no    no    QS    no    no    no    no    no
in_dispute                          -     rel!  no    -     -     -     -     -     B     B     ref!  mis   mis   -     DB    D
refund_asked                        pay!  rel!  no    -     -     -     -     -     B     -     -     S     N     D     DB    D
refund_of_a_part_asked              pay!  rel!  no    -     -     -     -     -     B     B     ref!  S     N     D     DB    D
refunded_in_part                    -     rel!  no    -     -     -     -     -     -     B     Q     -     NQ    D     DB    D
refund_denied                       pay!  rel!  no    -     -     -     -     -     B     B     Q     -     -     D     DB    D
refunded                            pay!  rel!  no    -     -     -     -     -     -     -     -     -     NQ    D     D     D
refund_bounced                      pay!  rel!  no    -     -     -     -     -     B     -     -     S     NQ    D     DB    D
refund_bounced_too_often            pay!  rel!  no    -     -     -     -     -     B     -     Q     -     -     D     DB    DQ
refund_bounced_before_it_was_made   pay!  rel!  no    -     -     -     -     -     B     -     Q     Q     -     D     DB    D
part_bounced                        pay!  rel!  no    -     -     -     -     -     B     B     ref!  S     NQ    D     DB    D
part_bounced_too_often              pay!  rel!  no    -     -     -     -     -     B     B     Q     -     -     D     DB    DQ
taken_back                          pay!  rel!  no    -     -     -     -     -     -     -     -     mis   mis   D     D     D
too_late                            pay!  rel!  no    -     -     -     -     -     B     -     ref!  S     NR    D     DB    D
returned_too_late                   pay!  rel!  no    -     -     -     -     -     -     -     ref!  -     NR    D     D     D
paid_after_leaving                  pay!  -     no    -     -     -     -     -     B     -     ref!  S     NR    D     DB    D
returned                            pay!  -     no    -     -     -     -     -     -     -     ref!  -     NR    D     D     D
return_bounced                      pay!  -     no    -     -     -     -     -     B     -     ref!  S     NR    D     DB    D
cannot_be_returned                  pay!  -     no    -     -     -     -     -     B     B     R     -     -     D     DB    DR
"""  # noqa: E501


def rows() -> dict[str, list[str]]:
    head, *lines = (line.split() for line in TABLE.strip().splitlines())
    assert head == list(COMMANDS)
    return {name: cells for name, *cells in lines}


def command_for(sale: BoxOffice, name: str) -> Command:
    command = COMMANDS[name]
    return command(sale) if callable(command) else command


def ask(sale: BoxOffice, name: str) -> str:
    """Ask, apply what comes of it, and return it as it stands in the table."""
    if name == "time":  # once it is time
        sale.now_ms = max(sale.now_ms, sale.booking("ann").expires_at_ms)
    before = digest(sale.state)
    outcome, records = decide(sale.state, command_for(sale, name), sale.now_ms)
    for record in records:
        apply(sale.state, record)
    check_fully(sale.state)
    if isinstance(outcome, Refused):
        assert not records
        assert digest(sale.state) == before
        return REFUSALS[outcome.code]
    if name in ("pay", "leave", "back"):
        assert isinstance(outcome, Shown | PaymentShown)
    else:
        assert outcome == DONE
    assert (digest(sale.state) != before) == bool(records)
    return in_letters(records)


def in_letters(records: tuple[Record, ...]) -> str:
    return "".join(LETTERS[type(record).__name__] for record in records) or "-"


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_command_meets_every_situation_as_the_table_says(situation):
    expected = dict(zip(COMMANDS, rows()[situation], strict=True))

    assert {name: ask(SITUATIONS[situation](), name) for name in COMMANDS} == expected


@pytest.mark.parametrize("situation", SITUATIONS)
def test_whatever_is_asked_after_whatever_else_breaks_no_count_and_no_book(situation):
    for first in COMMANDS:
        for second in COMMANDS:
            sale = SITUATIONS[situation]()
            ask(sale, first)
            ask(sale, second)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_news_that_is_heard_twice_leaves_nothing_the_second_time(situation):
    for name in COMMANDS:
        sale = SITUATIONS[situation]()
        again = command_for(sale, name)
        ask(sale, name)
        if name not in ("pay", "leave", "time", "back"):
            assert decide(sale.state, again, sale.now_ms)[1] == (), name


def test_the_table_has_every_situation_and_nothing_else():
    assert list(rows()) == list(SITUATIONS)
