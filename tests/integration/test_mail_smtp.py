"""Mail to real SMTP servers: those that take it, that put it off, and that misbehave."""

# ruff: noqa: ARG002 - handlers take what the server gives them

import asyncio
import datetime as dt
import email
import email.policy
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.headerregistry import Address

import icalendar
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.back_office import smtp as module
from actors.back_office.channels import ChannelAway, Outgoing, Refused, TryLater
from actors.back_office.papers import Papers
from actors.back_office.providers import providers_of
from actors.back_office.smtp import SmtpChannel
from actors.back_office.writing import write
from engine.domain.event import Event
from engine.letters.render import Letter
from engine.store.contract import Contact, Message, MessageKind, MessageStatus, StoredTicket
from engine.tickets.seal import Seals
from tests.reading_codes import read_pdf, text_of
from tests.samples import NOW_MS, booking_id, event

SENDER = Address("Tickets", addr_spec="tickets@example.org")
LETTER = Letter("Ihre Tickets", "Bestätigt.", "Guten Tag\n.\n", "<p>Guten Tag</p>")
#: aiosmtpd warns of what these tests do on purpose.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),
    pytest.mark.filterwarnings("ignore:Session.login_data is deprecated"),
]


def outgoing(number: int = 1, address: str | None = None) -> Outgoing:
    address = address or f"ann{number}@example.org"
    return Outgoing(f"k:{number}", "bk_1", address, LETTER, (), NOW_MS)


class Mailroom:
    """Handler of a server: takes mail, unless it is told what to answer instead."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, bytes]] = []
        self.sessions: set[int] = set()
        #: Answers to RCPT and DATA, by address; a list is used up.
        self.rcpt: dict[str, list[str]] = {}
        self.data: list[str] = []
        self.mail_from: list[str] = []
        self.utf8 = 0

    async def handle_MAIL(self, server, session, envelope, address, options):  # noqa: N802
        self.sessions.add(id(session))
        self.utf8 += "SMTPUTF8" in options
        if self.mail_from:
            return self.mail_from.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if self.rcpt.get(address):
            return self.rcpt[address].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self.data:
            answer = self.data.pop(0)
            if answer == "close":
                server.transport.close()
                return "421 closing"
            if answer == "hang":
                await asyncio.sleep(3600)
            return answer
        self.mails.append((envelope.rcpt_tos[0], envelope.content))
        return "250 OK"


Start = Callable[..., tuple[Mailroom, str]]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:

        def started(scheme: str = "smtp", query: str = "", user: str = "", **options):
            room = Mailroom()
            server = Controller(room, hostname="127.0.0.1", port=_free_port(), **options)
            server.start()
            stack.callback(server.stop)
            return room, f"{scheme}://{user}localhost:{server.port}{query}"

        yield started


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def channel_to() -> Callable[..., SmtpChannel]:
    opened: list[SmtpChannel] = []

    def channel_to(*urls: str) -> SmtpChannel:
        channel = SmtpChannel(providers_of(",".join(urls)), SENDER)
        opened.append(channel)
        return channel

    yield channel_to
    for channel in opened:
        await channel.close()


# -- what arrives ------------------------------------------------------------------


async def test_a_confirmation_arrives_with_tickets_that_open_the_door(start, channel_to) -> None:
    room, url = start()
    seals = Seals((bytes(32),))
    papers = Papers(seals)
    sold: Event = event(timezone="Europe/Berlin")
    booking = booking_id(1)
    tickets = [
        StoredTicket(
            f"tkt_{booking[3:]}0{place}", booking, sold.event_id, "ann", f"K7QX-000{place}",
            "ga", None, "ACTIVE", 1, NOW_MS,
        )
        for place in range(2)
    ]  # fmt: skip
    message = Message(
        1, "order_confirmation:x", MessageKind.CONFIRMATION, "email", sold.event_id, booking,
        NOW_MS, b'{"amount_minor":9000}', MessageStatus.PENDING, 0, NOW_MS, None, None, None,
        told=False,
    )  # fmt: skip
    contact = Contact("ann@example.org", "Ann Müller", "de-AT", ("Ann Müller", "Bo Ek"))

    async def ask(booking_id: str) -> None: ...

    try:
        letter = await write(message, sold, contact, tickets, papers, ask)
    finally:
        await papers.close()
    name = await channel_to(url).send(letter)
    assert name == url.removeprefix("smtp://")
    ((recipient, content),) = room.mails
    read = email.message_from_bytes(content, policy=email.policy.default)
    assert recipient == read["To"] == "ann@example.org"
    assert read["Subject"] == "Ihre Tickets für Night of Strings"
    text = read.get_body(("plain",)).get_content()
    assert text.startswith("Guten Tag Ann Müller,")
    assert "Bezahlt: 90,00\u00a0€" in text
    pdf, ics = read.iter_attachments()
    assert read_pdf(pdf.get_content()) == [seals.seal(one.ticket_id, "ann") for one in tickets]
    assert "Bo Ek" in text_of(pdf.get_content())
    (entry,) = icalendar.Calendar.from_ical(ics.get_content()).walk("VEVENT")
    assert entry["summary"] == "Night of Strings"
    assert ics.get_param("method") == "PUBLISH"


async def test_many_mails_share_a_few_connections(start, channel_to) -> None:
    room, url = start()
    channel = channel_to(url)
    await asyncio.gather(*(channel.send(outgoing(number)) for number in range(200)))
    assert {recipient for recipient, _ in room.mails} == {
        f"ann{number}@example.org" for number in range(200)
    }
    assert len(room.mails) == 200
    assert len(room.sessions) <= module.SMTP_CONNECTIONS_MAX


async def test_a_lone_point_in_a_letter_does_not_end_it(start, channel_to) -> None:
    room, url = start()
    await channel_to(url).send(outgoing())
    read = email.message_from_bytes(room.mails[0][1], policy=email.policy.default)
    assert read.get_body(("plain",)).get_content().split() == ["Guten", "Tag", "."]


async def test_an_address_in_any_script_needs_a_server_that_takes_it(start, channel_to) -> None:
    old, first = start(enable_SMTPUTF8=False)
    new, second = start(enable_SMTPUTF8=True)
    assert second.endswith(await channel_to(first, second).send(outgoing(1, "änn@example.org")))
    assert (old.mails, len(new.mails), new.utf8) == ([], 1, 1)
    with pytest.raises(Refused):
        await channel_to(first).send(outgoing(1, "änn@example.org"))


# -- what is put off or refused ----------------------------------------------------


async def test_greylisting_is_taken_the_next_time(start, channel_to) -> None:
    room, url = start()
    room.rcpt["ann1@example.org"] = ["450 4.2.0 <ann1@example.org> greylisted, come back"]
    channel = channel_to(url)
    with pytest.raises(TryLater) as caught:
        await channel.send(outgoing())
    assert not isinstance(caught.value, ChannelAway)
    assert caught.value.reason == "450 4.2.0"
    await channel.send(outgoing(2))
    await channel.send(outgoing())
    assert [recipient for recipient, _ in room.mails] == ["ann2@example.org", "ann1@example.org"]
    assert len(room.sessions) == 1


@pytest.mark.parametrize(
    ("where", "answer", "reason"),
    [
        ("rcpt", "550 5.1.1 <ann1@example.org> no such user", "550 5.1.1"),
        ("rcpt", "553 mailbox name not allowed", "553"),
        ("data", "554 5.6.0 not with this content", "554 5.6.0"),
        ("mail_from", "552 too large", "552"),
    ],
)
async def test_a_refusal_is_of_this_letter_only(start, channel_to, where, answer, reason) -> None:
    room, url = start()
    other, second = start()
    if where == "rcpt":
        room.rcpt["ann1@example.org"] = [answer]
    else:
        getattr(room, where).append(answer)
    channel = channel_to(url, second)
    with pytest.raises(Refused) as caught:
        await channel.send(outgoing())
    assert caught.value.reason == reason
    await channel.send(outgoing(2))
    assert [recipient for recipient, _ in room.mails] == ["ann2@example.org"]
    assert other.mails == []


async def test_a_provider_that_does_not_like_us_is_passed_over_for_this_letter(
    start, channel_to
) -> None:
    room, url = start()
    other, second = start()
    room.rcpt["ann1@example.org"] = ["554 5.7.1 relay access denied"] * 2
    assert second.endswith(await channel_to(url, second).send(outgoing()))
    assert len(other.mails) == 1
    with pytest.raises(Refused):
        await channel_to(url).send(outgoing())


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("rcpt", "450 4.2.0 <ann1@example.org> greylisted, come back"),
        ("rcpt", "454 4.7.0 too many mails from you"),
        ("rcpt", "452 4.3.1 insufficient storage"),
        ("data", "451 4.3.0 try again later"),
    ],
)
async def test_what_one_provider_puts_off_the_next_one_takes(
    start, channel_to, where, answer
) -> None:
    room, url = start()
    other, second = start()
    last, third = start()
    if where == "rcpt":
        room.rcpt["ann1@example.org"] = [answer]
    else:
        room.data = [answer]
    channel = channel_to(url, second, third)
    assert second.endswith(await channel.send(outgoing()))
    assert (room.mails, len(other.mails), last.mails) == ([], 1, [])
    # It is there for the next letter: nobody has called it away.
    assert url.endswith(await channel.send(outgoing(2)))


async def test_what_nobody_takes_yet_is_put_off_in_the_words_of_the_first(
    start, channel_to
) -> None:
    (room, url), (other, second) = start(), start()
    dead = f"smtp://localhost:{_free_port()}"
    channel = channel_to(dead, url, second)
    room.rcpt["ann1@example.org"] = ["451 4.3.0 try again later"] * 3
    for answer in ("452 4.3.1 full", "554 5.7.1 relay access denied", "550 no relaying for you"):
        other.rcpt["ann1@example.org"] = [answer]
        with pytest.raises(TryLater) as caught:
            await channel.send(outgoing())
        assert not isinstance(caught.value, ChannelAway)
        assert caught.value.reason == "451 4.3.0"
    assert (room.mails, other.mails) == ([], [])


# -- who is away -------------------------------------------------------------------


async def test_the_next_provider_stands_in_and_the_first_is_left_alone(
    start, channel_to, monkeypatch
) -> None:
    room, url = start()
    dead = f"smtp://localhost:{_free_port()}"
    channel = channel_to(dead, url)
    for number in range(3):
        assert url.endswith(await channel.send(outgoing(number)))
    assert len(room.mails) == 3
    assert channel._lines[0].away_seconds() > 0
    with pytest.raises(ChannelAway) as caught:
        await channel_to(dead).send(outgoing())
    assert 0 < caught.value.seconds <= module.SMTP_AWAY_SECONDS


async def test_a_provider_is_tried_again_after_a_while(start, channel_to, monkeypatch) -> None:
    monkeypatch.setattr(module, "SMTP_AWAY_SECONDS", 0.05)
    room, url = start()
    room.mail_from = ["451 4.3.0 busy"]
    channel = channel_to(url)
    with pytest.raises(ChannelAway):
        await channel.send(outgoing())
    await asyncio.sleep(0.1)
    await channel.send(outgoing())
    assert len(room.mails) == 1


@pytest.mark.parametrize("trouble", ["close", "421 4.3.2 going down", "hang"])
async def test_a_server_that_breaks_off_or_hangs_costs_no_letter(
    start, channel_to, monkeypatch, trouble
) -> None:
    room, url = start()
    other, second = start()
    channel = channel_to(url, second)
    await channel.send(outgoing(1))
    if trouble == "hang":
        monkeypatch.setattr(module, "SMTP_TIMEOUT_SECONDS", 2.0)
    room.data = [trouble] * 2
    assert second.endswith(await channel.send(outgoing(2)))
    assert [recipient for recipient, _ in other.mails] == ["ann2@example.org"]


async def test_a_server_that_has_closed_a_kept_connection_gets_a_new_one(start, channel_to) -> None:
    room, url = start(timeout=0.2)
    channel = channel_to(url)
    await channel.send(outgoing(1))
    await asyncio.sleep(0.6)
    await channel.send(outgoing(2))
    room.mail_from = ["421 4.7.0 too many mails on this connection"]
    await channel.send(outgoing(3))
    assert len(room.mails) == 3
    assert len(room.sessions) >= 2


# -- TLS and log-in ----------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> tuple[str, str]:
    """A certificate for localhost that is its own authority, and its key: paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory = tmp_path_factory.mktemp("tls")
    paths = directory / "ca.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(paths[0]), str(paths[1])


@pytest.fixture
def tls(authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority)
    return context


async def test_starttls_is_used_and_its_certificate_is_checked(
    start, channel_to, authority, tls
) -> None:
    room, url = start(
        query=f"?starttls=1&ca={authority[0]}", tls_context=tls, require_starttls=True
    )
    await channel_to(url).send(outgoing())
    assert len(room.mails) == 1
    stranger = url.partition("?")[0] + "?starttls=1"
    with pytest.raises(ChannelAway):
        await channel_to(stranger).send(outgoing())
    # Also where it need not be used: whoever offers it is checked.
    with pytest.raises(ChannelAway):
        await channel_to(url.partition("?")[0]).send(outgoing())
    assert len(room.mails) == 1


async def test_a_server_without_the_starttls_that_is_asked_for_gets_nothing(
    start, channel_to
) -> None:
    room, url = start(query="?starttls=1")
    with pytest.raises(ChannelAway):
        await channel_to(url).send(outgoing())
    assert room.mails == []


async def test_tls_from_the_first_byte_on(start, channel_to, authority, tls) -> None:
    room, url = start("smtps", f"?ca={authority[0]}", ssl_context=tls)
    await channel_to(url).send(outgoing())
    assert len(room.mails) == 1


async def test_who_may_log_in_sends_and_who_may_not_does_not(start, channel_to) -> None:
    def authenticate(server, session, envelope, mechanism, data) -> AuthResult:
        known = (data.login, data.password) == (b"ann", b"p@ss")
        return AuthResult(success=known, handled=False)

    room, url = start(
        user="ann:p%40ss@",
        authenticator=authenticate,
        auth_require_tls=False,
        auth_required=True,
    )
    await channel_to(url).send(outgoing())
    assert len(room.mails) == 1
    with pytest.raises(ChannelAway):
        await channel_to(url.replace("p%40ss", "wrong")).send(outgoing())
