"""E-mails as they are sent, and a directory that takes them where no server does."""

import asyncio
import hashlib
import os
import re
from base64 import encodebytes
from binascii import b2a_qp
from collections.abc import Sequence
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from pathlib import Path

from msgspec import Struct

from actors.back_office.channels import Attachment, Outgoing, Refused

#: Everything of a dedupe key that is not safe in the name of a file.
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_LENGTH_MAX = 120
#: What may stand before the @ of an address in any script (RFC 6531): the parser of the
#: standard library takes it for a defect.
_INTERNATIONAL = re.compile(
    r"[^\s@<>()\[\],:;\"\\.\x00-\x1f]+(\.[^\s@<>()\[\],:;\"\\.\x00-\x1f]+)*"
)


class Mail(Struct, frozen=True):
    """An e-mail, ready to be handed over.

    `international`: its address needs a server that takes addresses in any script.
    """

    recipient: str
    content: bytes
    international: bool


def sender_of(text: str) -> Address:
    """Return who sends: an address, or a name and an address in angle brackets.

    Raises:
        ValueError: it is neither.
    """
    name, bracket, address = text.strip().rpartition("<")
    try:
        if bracket:
            address = address[: address.index(">")]
        sender = Address(name.strip().strip('"'), addr_spec=address)
    except (ValueError, IndexError, HeaderParseError) as error:
        raise ValueError(f"ONSALE_MAIL_FROM: {text!r} is no address") from error
    if not sender.username or not sender.domain or not sender.addr_spec.isascii():
        raise ValueError(f"ONSALE_MAIL_FROM: {text!r} is no address")
    return sender


def compose(outgoing: Outgoing, sender: Address) -> Mail:
    """Write an e-mail. The same letter always has the same Message-ID.

    Its parts are put together by hand: the standard library would parse the headers that it
    has just written, which takes three times as long as all else.

    Raises:
        Refused: there can be no such address.
    """
    recipient = _recipient(outgoing.address)
    name = _digest(outgoing.dedupe_key)
    international = not recipient.addr_spec.isascii()
    message = EmailMessage(SMTPUTF8 if international else SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = outgoing.letter.subject
    message["Date"] = datetime.fromtimestamp(outgoing.at_ms // 1_000, UTC)
    message["Message-ID"] = f"<{name}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"
    # No line of quoted-printable or base 64 has these two characters side by side.
    mixed, alternative = (f"=_{kind}_{name}" for kind in ("mixed", "alternative"))
    texts = _multipart(
        "alternative",
        alternative,
        [
            _text("text/plain", outgoing.letter.text),
            _text("text/html", outgoing.letter.html),
        ],
    )
    body = _multipart("mixed", mixed, [texts, *map(_file, outgoing.attachments)])
    headers = message.as_bytes().removesuffix(b"\r\n")
    content = b"%bMIME-Version: 1.0\r\n%b" % (headers, body)
    return Mail(recipient.addr_spec, content, international)


def _multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    head = f'Content-Type: multipart/{subtype}; boundary="{boundary}"\r\n\r\n'
    mark = f"--{boundary}".encode()
    between = b"".join(b"%b\r\n%b\r\n" % (mark, part) for part in parts)
    return b"%b%b%b--\r\n" % (head.encode(), between, mark)


def _text(media_type: str, text: str) -> bytes:
    head = (
        f"Content-Type: {media_type}; charset=utf-8\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    return head.encode() + b2a_qp(text.replace("\n", "\r\n").encode())


def _file(attachment: Attachment) -> bytes:
    head = (
        f"Content-Type: {attachment.media_type}\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{attachment.name}"\r\n\r\n'
    )
    return head.encode() + encodebytes(attachment.content).replace(b"\n", b"\r\n")


def _recipient(address: str) -> Address:
    local, at, domain = address.rpartition("@")
    try:
        domain = domain.encode("idna").decode()
        if _INTERNATIONAL.fullmatch(local) and not local.isascii():
            recipient = Address(username=local, domain=domain)
        else:
            recipient = Address(addr_spec=f"{local}{at}{domain}")
    except (ValueError, IndexError, HeaderParseError) as error:
        raise Refused("there is no such address") from error
    if not recipient.username or not recipient.domain:
        raise Refused("there is no such address")
    return recipient


def _digest(dedupe_key: str) -> str:
    return hashlib.blake2b(dedupe_key.encode(), digest_size=16).hexdigest()


class FileChannel:
    """Puts e-mails into a directory, as `.eml` files that mail programs open.

    Args:
        directory: made if need be; nobody but its owner may read it.
        sender: whom mails are from.
    """

    def __init__(self, directory: Path, sender: Address) -> None:
        self._directory = directory
        self._sender = sender

    async def send(self, outgoing: Outgoing) -> str:
        """See `Channel.send`."""
        content = compose(outgoing, self._sender).content
        await asyncio.to_thread(self._write, outgoing.dedupe_key, content)
        return "file"

    async def close(self) -> None:
        """See `Channel.close`."""

    def _write(self, dedupe_key: str, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{file_name(dedupe_key)}.eml"
        partial = path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)


def file_name(dedupe_key: str) -> str:
    """Return the name of a letter's file, without its ending; no two letters share one."""
    readable = _UNSAFE.sub("_", dedupe_key)[:_NAME_LENGTH_MAX]
    return f"{readable}-{_digest(dedupe_key)[:8]}"
