"""One attempt over real sockets: to the address that was checked, whatever the far side does."""

import asyncio
import datetime as dt
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.back_office.posting import Answer, Poster, Unanswered
from actors.back_office.targets import Names, Target, Targets
from tests.receiver import (
    Behaviour,
    Receiver,
    answer,
    break_off,
    never_end,
    receiving,
    talk_nonsense,
)

BODY = b'{"type":"ping"}'
HEADERS = {"webhook-id": "msg_1", "content-type": "application/json"}


async def post(url: str, *addresses: str, trusted: ssl.SSLContext | None = None) -> Answer:
    poster = Poster(trusted)
    try:
        return await poster.post(_target(url, *addresses), HEADERS, BODY)
    finally:
        await poster.close()


def _target(url: str, *addresses: str) -> Target:
    return Target(httpx.URL(url), addresses or ("127.0.0.1",))


# -- over HTTP -------------------------------------------------------------------------


async def test_what_is_sent_arrives_whole_and_nothing_else_does() -> None:
    async with receiving(answer(204)) as receiver:
        assert await post(f"{receiver.url}?a=b%20c") == Answer(204)
    (got,) = receiver.got
    assert got.line == "POST /hook?a=b%20c HTTP/1.1"
    assert got.body == BODY
    place = receiver.url.removeprefix("http://").removesuffix("/hook")
    assert got.headers == {**HEADERS, "host": place, "content-length": str(len(BODY))}


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with (
        receiving(answer(200)) as inside,
        receiving(
            *[answer(status, location=inside.url) for status in (301, 302, 307, 308)]
        ) as receiver,
    ):
        for status in (301, 302, 307, 308):
            assert (await post(receiver.url)).status == status
    assert inside.got == []


async def test_a_wait_that_is_asked_for_is_told() -> None:
    async with receiving(answer(503, retry_after="120")) as receiver:
        assert await post(receiver.url) == Answer(503, "120")


async def test_an_answer_without_an_end_is_left() -> None:
    async with receiving(never_end) as receiver:
        assert await asyncio.wait_for(post(receiver.url), 10) == Answer(200)


async def test_an_answer_that_is_packed_is_not_unpacked() -> None:
    bomb = b"\x1f\x8b not gzip at all"
    async with receiving(answer(200, bomb, content_encoding="gzip")) as receiver:
        assert await post(receiver.url) == Answer(200)
    assert "accept-encoding" not in receiver.got[0].headers


@pytest.mark.parametrize("behaviour", [break_off, talk_nonsense])
async def test_what_is_no_answer_says_so(behaviour: Behaviour) -> None:
    async with receiving(behaviour) as receiver:
        with pytest.raises(Unanswered, match="broke"):
            await post(receiver.url)


async def test_nobody_there_is_no_connection_and_shows_no_address() -> None:
    async with receiving(answer(200)) as receiver:
        pass
    with pytest.raises(Unanswered, match=r"^no connection$"):
        await post(receiver.url)


async def test_no_cookie_and_no_connection_is_kept_for_the_next() -> None:
    async with receiving(answer(200, set_cookie="who=acme; Path=/")) as receiver:
        poster = Poster()
        for _ in range(2):
            await poster.post(_target(receiver.url), HEADERS, BODY)
        await poster.close()
    assert len(receiver.got) == receiver.connections == 2
    assert "cookie" not in receiver.got[1].headers


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving(answer(200)) as receiver, receiving(answer(200)) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/hook"))
        await post(receiver.url)
    assert (len(receiver.got), proxy.got) == (1, [])


# -- to the address that was checked ---------------------------------------------------


async def test_the_name_is_not_looked_up_a_second_time() -> None:
    async with receiving(answer(200)) as receiver:
        url = receiver.url.replace("127.0.0.1", "hooks.invalid")
        assert await post(url, "127.0.0.1") == Answer(200)
    assert receiver.got[0].headers["host"].startswith("hooks.invalid:")


async def test_the_next_address_is_tried_where_the_first_does_not_answer() -> None:
    async with receiving(answer(200)) as receiver:
        assert await post(receiver.url, "127.0.0.9", "127.0.0.1") == Answer(200)
        with pytest.raises(Unanswered):
            await post(receiver.url, "127.0.0.9", "127.0.0.8")
    assert len(receiver.got) == 1


async def test_what_was_sent_once_is_not_sent_to_another_address() -> None:
    async with receiving(break_off) as receiver:
        with pytest.raises(Unanswered):
            await post(receiver.url, "127.0.0.1", "127.0.0.1")
    assert len(receiver.got) == 1


async def test_the_systems_resolver_is_asked_in_a_thread() -> None:
    names = Names(1)
    assert "127.0.0.1" in await names("localhost", 80)
    with pytest.raises(socket.gaierror):
        await names("no-such-host.invalid", 80)
    target = await Targets(names, private=True).check("http://127.0.0.1:8080/")
    assert target.addresses == ("127.0.0.1",)


# -- over TLS --------------------------------------------------------------------------


class Authority:
    """Certificates that nobody else trusts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._make("authority", self._key, None)
        self.trusted = ssl.create_default_context(cadata=_pem(self._certificate).decode())

    def serving(self, *names: str) -> ssl.SSLContext:
        """Return what a server of these names shows."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._make(names[0], key, [x509.DNSName(name) for name in names])
        file = self._directory / f"{names[0]}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + _pem(certificate)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(file)
        return context

    def _make(
        self, name: str, key: ec.EllipticCurvePrivateKey, names: list[x509.DNSName] | None
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if names is None else self._certificate.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(names is None, None), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def at(receiver: Receiver, host: str) -> str:
    return receiver.url.replace("127.0.0.1", host)


async def test_the_certificate_has_to_be_for_the_name_not_for_the_address(
    authority: Authority,
) -> None:
    async with receiving(answer(200), tls=authority.serving("hooks.test")) as receiver:
        there = await post(at(receiver, "hooks.test"), trusted=authority.trusted)
        assert there == Answer(200)
        for host in ("other.test", "127.0.0.1"):
            with pytest.raises(Unanswered, match=r"certificate is not valid: .*mismatch"):
                await post(at(receiver, host), trusted=authority.trusted)
    assert len(receiver.got) == 1


async def test_a_certificate_of_nobody_we_trust_is_refused(authority: Authority) -> None:
    async with receiving(answer(200), tls=authority.serving("hooks.test")) as receiver:
        with pytest.raises(Unanswered, match="certificate is not valid"):
            await post(at(receiver, "hooks.test"))
    assert receiver.got == []


async def test_a_connection_of_one_host_does_not_serve_another_at_the_same_address(
    authority: Authority,
) -> None:
    """A kept connection would skip the check of the certificate."""
    async with receiving(answer(200), tls=authority.serving("hooks.test")) as receiver:
        poster = Poster(authority.trusted)
        await poster.post(_target(at(receiver, "hooks.test")), HEADERS, BODY)
        with pytest.raises(Unanswered, match="certificate"):
            await poster.post(_target(at(receiver, "other.test")), HEADERS, BODY)
        await poster.close()
    assert len(receiver.got) == 1


async def test_a_server_without_tls_gets_nothing(authority: Authority) -> None:
    async with receiving(answer(200)) as receiver:
        url = receiver.url.replace("http://", "https://")
        with pytest.raises(Unanswered):
            await asyncio.wait_for(post(url, trusted=authority.trusted), 10)
    assert receiver.got == []
