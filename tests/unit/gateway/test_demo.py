"""The demo tells the truth: it fails where a booking, a ticket or a cent is not as it should be."""

import json
from collections import Counter
from pathlib import Path

import pytest

from actors.back_office.channels import Attachment, Outgoing
from actors.back_office.mailbox import compose, file_name, sender_of
from engine.letters.render import Letter
from gateway.cli import demo_doors
from gateway.cli.demo import holds_expected, winners_of
from gateway.cli.demo import verdict as storm_verdict
from gateway.cli.demo_payments import Books, Winner, expected_of, purchases_of, verdict
from gateway.cli.surroundings import Runtime
from loadtests.crowd import Latency, Result
from loadtests.payers import Bought, Takings

LATENCY = Latency(1, 1, 1, 1)
WINNERS = [Winner(f"bk_{number}", f"token {number}") for number in range(40)]


def stormed(*, granted=150, expected=150, held=None, available=0, agree=True) -> bool:
    counts = {"held": 2 * granted if held is None else held, "available": available}
    report = {"recomputed": {"ticket_types": [counts]}, "agree": agree, "violations": []}
    result = Result(5_000, 1.0, 5_000, {"201": granted}, {"not_enough": 7}, LATENCY, 0, 50.0)
    return storm_verdict(result, report, expected, "fsync before every answer")


def test_exactly_the_tickets_there_were_is_proven(capsys):
    assert stormed()
    assert "Exactly the tickets there were" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [{"granted": 151}, {"granted": 149}, {"held": 298}, {"held": 302}, {"agree": False}],
)
def test_any_other_sale_is_not(wrong, capsys):
    assert not stormed(**wrong)
    assert "The audit does not hold." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("buyers", "tickets", "holds"), [(5_000, 300, 150), (100, 300, 100), (150, 301, 150)]
)
def test_a_crowd_is_granted_what_it_wants_as_far_as_it_is_there(buyers, tickets, holds):
    assert holds_expected(buyers, tickets) == holds


def test_a_crowd_that_is_smaller_than_the_stock_gets_all_it_wants(capsys):
    assert stormed(granted=100, expected=holds_expected(100, 300), available=100)
    assert "Everybody has what they wanted" in capsys.readouterr().err


def test_winners_are_those_who_were_granted_a_hold(tmp_path):
    record = tmp_path / "record.jsonl"
    answers = [(2, 201, '{"id":"bk_b"}'), (0, 409, '{"code":"x"}'), (1, 201, '{"id":"bk_a"}')]
    record.write_text(
        "".join(
            json.dumps({"number": number, "status": status, "body": body}) + "\n"
            for number, status, body in [*answers, (3, 0, "")]
        )
    )
    assert winners_of(record, ["t0", "t1", "t2", "t3"]) == [
        Winner("bk_b", "t2"),
        Winner("bk_a", "t1"),
    ]


def test_of_those_who_pay_one_fails_and_one_wants_the_money_back():
    purchases = purchases_of(WINNERS)
    assert [purchase.booking_id for purchase in purchases] == [one.booking_id for one in WINNERS]
    assert expected_of(purchases) == Counter(CONFIRMED=38, CANCELLED=1, REFUNDED=1)
    second_cards = [one for one in purchases if len(one.cards) == 2]
    assert len(second_cards) == 5


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_winners_are_enough(count):
    expected = expected_of(purchases_of(WINNERS[:count]))
    assert expected.total() == count


def judged(*, statuses=None, captured=39 * 9_000, sold=76, agree=True) -> bool:
    statuses = statuses or ["CANCELLED", "REFUNDED", *["CONFIRMED"] * 38]
    bought = [Bought("bk", "t", status, 5.0) for status in statuses]
    takings = Takings(bought, 1.0, dict(Counter(statuses)), LATENCY)
    counts = {"sold": sold, "held": 220, "available": 4}
    report = {"recomputed": {"ticket_types": [counts]}, "agree": agree, "violations": []}
    return verdict(purchases_of(WINNERS), takings, Books(captured, 9_000), report, 4_500, 2)


def test_everything_as_promised_is_proven():
    assert judged()


@pytest.mark.parametrize(
    "wrong",
    [
        {"captured": 40 * 9_000},
        {"captured": 39 * 9_000 - 1},
        {"sold": 78},
        {"agree": False},
        {"statuses": ["CANCELLED", "REFUND_DENIED", *["CONFIRMED"] * 38]},
        {"statuses": ["CANCELLED", *["CONFIRMED"] * 39]},
        {"statuses": ["CANCELLED", "REFUNDED", "PAYMENT_PENDING", *["CONFIRMED"] * 37]},
    ],
)
def test_anything_else_is_not(wrong):
    assert not judged(**wrong)


# -- at the doors ----------------------------------------------------------------------


PDF = Attachment("tickets-bk_0.pdf", "application/pdf", b"%PDF-1.7 and so on")
CALENDAR = Attachment("night.ics", "text/calendar", b"BEGIN:VCALENDAR")


def mailed(mail_dir: Path, booking_id: str, *attachments: Attachment) -> Path:
    """Write a mail as the back office does where no server takes it."""
    letter = Letter("Your tickets", "Here", "Here they are", "<p>Here they are</p>")
    key = f"confirmation:{booking_id}:email"
    outgoing = Outgoing(key, booking_id, "ann@example.org", letter, attachments, 1_800_000_000_000)
    path = mail_dir / f"{file_name(key)}.eml"
    path.write_bytes(compose(outgoing, sender_of("tickets@localhost")).content)
    return path


def at_the_doors(
    monkeypatch: pytest.MonkeyPatch,
    mail_dir: Path | None,
    *,
    count: int = 2,
    second: str = "refused",
) -> bool:
    """Return the verdict about two who have paid; `second` is what the other gate says."""
    scans = iter(["admitted", second])

    def answer(_url: str, method: str, path: str, *_: object) -> dict:
        if method == "GET":
            return {"data": [{"qr": "T1", "number": "K7QX-93DM"}]}
        result = next(scans)
        refused = result == "refused"
        first = {"at": "2026-01-01T01:39:13.105Z", "gate": "North"}
        return {
            "result": result,
            "reason": "already_used" if refused else None,
            "first_used": first if refused else None,
            "inside": 1,
        }

    monkeypatch.setattr(demo_doors, "_ask", answer)
    runtime = Runtime(1, "http://here", "", "", None, "", mail="somewhere")
    runtime.mail_dir = None if mail_dir is None else str(mail_dir)
    return demo_doors.show(runtime, "evt_1", WINNERS[:2], count, "staff")


def test_a_mail_with_tickets_is_shown(tmp_path, monkeypatch, capsys):
    mailed(tmp_path, "bk_1", PDF)
    path = mailed(tmp_path, "bk_0", CALENDAR, PDF)
    assert at_the_doors(monkeypatch, tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert f"{path}: tickets-bk_0.pdf, {len(PDF.content)} bytes" in said
    assert "Every ticket is in the mail, and lets one person in once." in said


@pytest.mark.parametrize(
    "attachments", [(), (CALENDAR,), (Attachment("t.pdf", "application/pdf", b"<html>"),)]
)
def test_a_mail_without_tickets_is_not_enough(tmp_path, monkeypatch, capsys, attachments):
    mailed(tmp_path, "bk_0", *attachments)
    assert not at_the_doors(monkeypatch, tmp_path)
    said = capsys.readouterr().err
    assert "Not every ticket is in the mail." in said
    assert "Every ticket is in the mail" not in said


def test_a_mail_of_another_booking_is_not_enough(tmp_path, monkeypatch):
    mailed(tmp_path, "bk_1", PDF)
    assert not at_the_doors(monkeypatch, tmp_path)


def test_where_mail_goes_by_smtp_the_demo_says_so(monkeypatch, capsys):
    assert at_the_doors(monkeypatch, None)
    assert "by SMTP" in capsys.readouterr().err


def test_the_demo_fails_where_somebody_has_no_mail_or_two_are_let_in(tmp_path, monkeypatch, capsys):
    mailed(tmp_path, "bk_0", PDF)
    assert not at_the_doors(monkeypatch, tmp_path, count=1)
    assert not at_the_doors(monkeypatch, tmp_path, second="admitted")
    assert "The doors do not do what they should." in capsys.readouterr().err
