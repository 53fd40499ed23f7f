"""Servers that take mail, as an operator names them."""

import ssl
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

_PORTS = {"smtp": 587, "smtps": 465}
_OPTIONS = ("starttls", "ca")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Provider(Struct, frozen=True):
    """One server.

    Attributes:
        host: its name, for which its certificate must be.
        port: of TCP.
        tls: from the first byte on.
        starttls: after the first words; None: if the server offers it.
        username: None where it asks for none.
        password: the same.
        ca: file of the authority that its certificate is of; None: those of the system.
    """

    host: str
    port: int
    tls: bool = False
    starttls: bool | None = None
    username: str | None = None
    password: str | None = None
    ca: str | None = None

    @property
    def name(self) -> str:
        """What it is called in books and logs."""
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Provider {self.name}>"

    def trusted(self) -> ssl.SSLContext:
        """Return what its certificate is checked against.

        Raises:
            ValueError: `ca` is no file of certificates.
        """
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise ValueError(
                f"ONSALE_SMTP_URL: the certificates for {self.name} cannot be read from {self.ca}"
            ) from error


def providers_of(text: str) -> tuple[Provider, ...]:
    """Return the servers of a list of URLs, separated by commas, the first to be tried first.

    `smtp://user:password@host:587?starttls=1` or `smtps://…:465`; what is special in a user
    or a password is percent-encoded, also a comma. Where there is a password, STARTTLS is
    required of any server that is not on this machine, unless `starttls=0` says otherwise.

    Raises:
        ValueError: what is wrong with which of them; it shows no password.
    """
    urls = [url.strip() for url in text.split(",")]
    return tuple(_provider(url, number) for number, url in enumerate(urls, 1))


def _provider(url: str, number: int) -> Provider:
    def wrong(what: str) -> ValueError:
        return ValueError(f"ONSALE_SMTP_URL, number {number}: {what}")

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        # The text of the error may be the password, if a character of it is not encoded.
        raise wrong("it is no URL; encode what is special in a password") from None
    if parts.scheme not in _PORTS:
        raise wrong("it must begin with smtp:// or smtps://")
    if not host:
        raise wrong("it names no host")
    if parts.path not in ("", "/") or parts.fragment:
        raise wrong("behind the host there is only a port and a ?; encode / and # in a password")
    if (parts.username is None) != (parts.password is None):
        raise wrong("a user has a password, and a password a user")
    username = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if options.keys() - set(_OPTIONS):
        # Not named: it may be the rest of a password that is not encoded.
        raise wrong(f"the only options are {' and '.join(_OPTIONS)}")
    tls = parts.scheme == "smtps"
    chosen = options.get("starttls")
    if chosen not in (None, "0", "1") or (tls and chosen is not None):
        raise wrong("starttls is 0 or 1, for smtp:// only")
    starttls = None if chosen is None else chosen == "1"
    if chosen is None and not tls and password is not None and host not in _LOOPBACK:
        starttls = True
    return Provider(
        host,
        port or _PORTS[parts.scheme],
        tls,
        False if tls else starttls,
        username,
        password,
        options.get("ca"),
    )
