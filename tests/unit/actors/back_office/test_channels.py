"""Channels as operators set them, and mails as they are written."""

import email
import email.policy
import logging
from email.headerregistry import Address

import pytest

from actors.back_office.channels import Attachment, Outgoing, Refused
from actors.back_office.mailbox import FileChannel, compose, file_name, sender_of
from actors.back_office.providers import Provider, providers_of
from actors.back_office.push import AppriseChannel
from actors.back_office.settings import BackOfficeSettings
from actors.back_office.smtp import SmtpChannel
from actors.back_office.ways import channels_of
from engine.letters.render import Letter
from engine.store.contract import EMAIL, PUSH

SENDER = Address("Onsale Tickets", addr_spec="tickets@example.org")
LETTER = Letter("Ihre Tickets für Ü", "Bestätigt.", "Hallo Ü\n", "<p>Hallo Ü</p>\n")


def outgoing(address: str = "ann@example.org", key: str = "k:1", **changes) -> Outgoing:
    files = (
        Attachment("tickets-bk_1.pdf", "application/pdf", b"%PDF-1.4\n\x00\xff"),
        Attachment("e.ics", "text/calendar; charset=utf-8; method=PUBLISH", b"BEGIN:VCALENDAR"),
    )
    given = {"letter": LETTER, "attachments": files, **changes}
    return Outgoing(key, "bk_1", address, at_ms=1_800_000_000_000, **given)


def parsed(content: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


# -- providers ---------------------------------------------------------------------


def test_a_url_names_a_server() -> None:
    assert providers_of(
        "smtp://user:p%2Ca%40s%2Fs@mx1.example:2525?starttls=1, smtps://u:p@mx2.example,"
        "smtp://localhost:1025,smtp://relay.example?starttls=0&ca=/etc/ca.pem"
    ) == (
        Provider("mx1.example", 2525, False, True, "user", "p,a@s/s"),
        Provider("mx2.example", 465, True, False, "u", "p"),
        Provider("localhost", 1025, False, None),
        Provider("relay.example", 587, False, False, ca="/etc/ca.pem"),
    )


def test_a_password_does_not_go_over_a_network_in_the_clear() -> None:
    assert providers_of("smtp://u:p@mx.example")[0].starttls is True
    assert providers_of("smtp://u:p@localhost")[0].starttls is None
    assert providers_of("smtp://u:p@mx.example?starttls=0")[0].starttls is False


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("", "must begin with"), ("mx.example", "must begin with"),
        ("http://u:s3cret@mx.example", "must begin with"), ("smtp://", "names no host"),
        ("smtp://u:s3cret@mx.example:port", "no URL"), ("smtp://u:s3/cret@mx.example", "no URL"),
        ("smtp://u:s3#cret@mx.example", "no URL"), ("smtp://u:12/s3cret@mx.example", "behind"),
        ("smtp://u:1?s3cret@mx.example", "only options"), ("smtp://u@mx.example", "has a password"),
        ("smtp://mx.example?tls=1", "only options"), ("smtp://mx.example?starttls=yes", "0 or 1"),
        ("smtps://mx.example?starttls=1", "0 or 1"), ("smtp://u:s3,cret@mx.example", "URL"),
        ("smtp://[::1", "no URL"),
    ],
)  # fmt: skip
def test_a_url_that_is_wrong_is_named_without_its_password(url: str, what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        providers_of(f"smtp://ok.example,{url}")
    assert "number 2" in str(caught.value)
    for part in ("s3", "cret"):
        assert part not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_provider_does_not_show_its_password() -> None:
    (provider,) = providers_of("smtp://user:s3cret@mx.example")
    assert repr(provider) == "<Provider mx.example:587>"
    assert "s3cret" not in f"{provider}"


def test_certificates_that_cannot_be_read_are_named() -> None:
    with pytest.raises(ValueError, match=r"/nowhere\.pem"):
        SmtpChannel(providers_of("smtps://mx.example?ca=/nowhere.pem"), SENDER)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("tickets@localhost", "tickets@localhost"), ("<a@b.example>", "a@b.example"),
        ("Halle 1 <a@b.example>", "Halle 1 <a@b.example>"),
        ('"Smith, J." <a@b.example>', '"Smith, J." <a@b.example>'),
    ],
)  # fmt: skip
def test_a_sender_is_an_address_with_or_without_a_name(text: str, written: str) -> None:
    assert str(sender_of(text)) == written


@pytest.mark.parametrize(
    "text", ["", "tickets", "@b", "a@", "a b@c", "Ann <a@b", "ä@b.example", "x\nBcc: e@f <a@b>"]
)
def test_who_cannot_send_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="ONSALE_MAIL_FROM"):
        sender_of(text)


# -- mails -------------------------------------------------------------------------


def test_a_mail_has_all_that_servers_and_readers_need() -> None:
    mail = compose(outgoing(), SENDER)
    read = parsed(mail.content)
    assert read["From"] == "Onsale Tickets <tickets@example.org>"
    assert read["To"] == "ann@example.org"
    assert read["Subject"] == LETTER.subject
    assert read["Date"].datetime.timestamp() == 1_800_000_000
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["Message-ID"].endswith("@example.org>")
    assert read.get_body(("plain",)).get_content().replace("\r\n", "\n") == LETTER.text
    assert read.get_body(("html",)).get_content().replace("\r\n", "\n") == LETTER.html
    pdf, ics = read.iter_attachments()
    assert (pdf.get_filename(), pdf.get_content_type()) == ("tickets-bk_1.pdf", "application/pdf")
    assert pdf.get_content() == b"%PDF-1.4\n\x00\xff"
    assert (ics.get_content_type(), ics.get_param("method")) == ("text/calendar", "PUBLISH")
    assert mail.content.isascii()
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    assert read.defects == []


def test_the_same_letter_has_the_same_id_and_another_another() -> None:
    ids = [
        parsed(compose(outgoing(key=key), SENDER).content)["Message-ID"] for key in ("a", "a", "b")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_no_header_can_be_put_into_a_subject() -> None:
    letter = Letter("x\r\nBcc: eve@example.org", "", "", "")
    with pytest.raises(ValueError, match="linefeed"):
        compose(outgoing(letter=letter), SENDER)


@pytest.mark.parametrize(
    ("address", "written", "international"),
    [
        ("ann@münchen.example", "ann@xn--mnchen-3ya.example", False),
        ("änn@example.org", "änn@example.org", True),
        ('"a b"@example.org', '"a b"@example.org', False),
        ("Ann.O'Neill+x@Example.ORG", "Ann.O'Neill+x@Example.ORG", False),
    ],
)
def test_addresses_in_any_script(address: str, written: str, international: bool) -> None:
    mail = compose(outgoing(address), SENDER)
    assert (mail.recipient, mail.international) == (written, international)
    assert parsed(mail.content)["To"].addresses[0].domain == written.rpartition("@")[2]


@pytest.mark.parametrize(
    "address",
    ["", "ann", "@example.org", "ann@", "ann@x\r\nBcc: e@f", "a@b, e@f", "a@b>", "a@.."],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Refused) as caught:
        compose(outgoing(address), SENDER)
    assert caught.value.reason == "there is no such address"


# -- files -------------------------------------------------------------------------


def test_no_two_letters_share_a_file() -> None:
    assert len({file_name(key) for key in ("a:b", "a/b", "a_b", "x" * 200, "x" * 201)}) == 5


# -- push --------------------------------------------------------------------------

#: One of the many libraries behind Apprise has not kept up with Python.
_OLD = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@_OLD
def test_a_service_that_apprise_does_not_know_is_named_without_its_secret(caplog) -> None:
    caplog.set_level(logging.CRITICAL, "apprise")
    with pytest.raises(ValueError, match="number 2") as caught:
        AppriseChannel(["json://localhost", "nonsense://s3cret"])
    assert "s3cret" not in str(caught.value)


def settings(**changes) -> BackOfficeSettings:
    given = {"mail_dir": "/nowhere", **changes}
    return BackOfficeSettings("redis://", "sqlite:///x", (), (), b"", **given)


@_OLD
def test_mail_goes_to_files_until_a_server_is_named() -> None:
    assert isinstance(channels_of(settings())[EMAIL], FileChannel)
    set_up = channels_of(
        settings(smtp_urls="smtp://localhost", notify_urls="json://a/?x=1,2, json://b")
    )
    assert isinstance(set_up[EMAIL], SmtpChannel)
    assert [one.name for one in set_up[PUSH]._services] == ["json-1", "json-2"]
    assert channels_of(settings()).keys() == {EMAIL}
