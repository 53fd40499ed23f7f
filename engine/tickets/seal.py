"""The payload of a ticket's QR code: sealed, opaque, and the same every time.

    T1 K7 0JZ4…          76 characters of the QR alphanumeric alphabet
    │  │  └ AES-256-SIV of the ticket's id and a tag of its customer, 45 bytes in base 32
    │  └ which key: two characters of its hash
    └ which form of payload this is; authenticated together with the key's

AES-SIV (RFC 5297) is deterministic and needs no nonce, so that a ticket always has the same
payload: nothing has to be stored, and a code that is printed twice is the same code. In
other hands the same ticket has another payload: the tag is compared with the customer of the
booking when somebody is to be let in, as a code of another one is none. What that gives
away is only whether two payloads are of the same ticket and customer, which anybody sees who
holds both. Its synthetic nonce of 16 bytes is also what authenticates: who
does not have the key can make no payload that opens, and can read nothing in one.
"""

import hashlib
import re
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from msgspec import Struct

from engine.domain.ids import base32, event_of_booking
from engine.domain.tickets import (
    CUSTOMER_TAG_BYTES,
    Bearer,
    booking_of_ticket,
    customer_tag,
    is_ticket_id,
)

_FORM = "T1"
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#: Our digits as Python's own: `int` reads a whole payload in a microsecond, and each scan is one.
_AS_PYTHON = str.maketrans(_DIGITS, "0123456789abcdefghijklmnopqrstuv")
_KEY_ID_LENGTH = 2
_HEADER_LENGTH = len(_FORM) + _KEY_ID_LENGTH

#: A ticket id without its prefix: thirty characters of five bits, the last byte filled up.
_TICKET_DIGITS = 30
_TICKET_BYTES = 19
_TICKET_FILL_BITS = 2
#: Sealed: 16 bytes of synthetic nonce more. A multiple of five, so that base 32 fits without
#: a rest, and each payload has one spelling.
_SEALED_BYTES = 16 + _TICKET_BYTES + CUSTOMER_TAG_BYTES

#: Characters of a payload. Version 5 of a QR code at error correction Q takes 87 of them.
PAYLOAD_LENGTH = _HEADER_LENGTH + _SEALED_BYTES * 8 // 5

_PAYLOAD = re.compile(f"{_FORM}[{_DIGITS}]{{{PAYLOAD_LENGTH - len(_FORM)}}}")


class Forgery(StrEnum):
    """Why a payload is not one of ours."""

    #: Not even the form is right: some other code, or one that was read badly.
    NOT_A_TICKET = "not_a_ticket"
    #: Sealed with a key that was never ours, or is not any more.
    UNKNOWN_KEY = "unknown_key"
    #: The seal is broken.
    BROKEN_SEAL = "broken_seal"


class Forged(Struct, frozen=True):
    """The payload opens nothing."""

    reason: Forgery


class Opened(Struct, frozen=True):
    """What a payload says; whether it is the bearer's ticket, its booking must tell."""

    ticket_id: str
    event_id: str
    bearer: Bearer


class _Key:
    def __init__(self, secret: bytes) -> None:
        self.cipher = AESSIV(_derived(secret, b"ticket seal", 64))
        self.customers = _derived(secret, b"ticket customer", 32)
        self.key_id = base32(_derived(secret, b"ticket key id", 5))[:_KEY_ID_LENGTH].upper()
        self.header = _FORM + self.key_id


class Seals:
    """Seals with the newest key and opens with all of them.

    Args:
        secrets: of at least 32 bytes each, the newest first.
    """

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        assert secrets, "without a key nothing can be sealed"
        assert all(len(secret) >= 32 for secret in secrets), "a key is too short"
        self._keys = [_Key(secret) for secret in secrets]
        #: Names these keys in this order: with others, a ticket has other payloads.
        self.edition = base32(b"".join(_derived(one, b"ticket keys", 10) for one in secrets))

    def seal(self, ticket_id: str, customer: str) -> str:
        """Return the payload of a ticket in the hands of this customer."""
        return self._sealed(self._keys[0], ticket_id, customer)

    def payloads(self, ticket_id: str, customer: str) -> list[str]:
        """Return every payload of a ticket that opens, the newest key's first."""
        return [self._sealed(key, ticket_id, customer) for key in self._keys]

    @staticmethod
    def _sealed(key: _Key, ticket_id: str, customer: str) -> str:
        assert is_ticket_id(ticket_id), f"{ticket_id} is no ticket"
        tag = customer_tag(key.customers, _event_of(ticket_id), customer)
        plain = _packed(ticket_id) + tag
        sealed = key.cipher.encrypt(plain, [key.header.encode()])
        return key.header + base32(sealed).upper()

    def open(self, payload: str) -> Opened | Forged:
        """Return what a payload says, or why it is none of ours."""
        if _PAYLOAD.fullmatch(payload) is None:
            return Forged(Forgery.NOT_A_TICKET)
        header, sealed = payload[:_HEADER_LENGTH], _bytes_of(payload[_HEADER_LENGTH:])
        # Two keys may share an id of ten bits: both are tried then.
        keys = [key for key in self._keys if key.header == header]
        for key in keys:
            try:
                plain = key.cipher.decrypt(sealed, [header.encode()])
            except InvalidTag:
                continue
            ticket_id = _unpacked(plain[:_TICKET_BYTES])
            bearer = Bearer(plain[_TICKET_BYTES:], key.customers)
            return Opened(ticket_id, _event_of(ticket_id), bearer)
        return Forged(Forgery.BROKEN_SEAL if keys else Forgery.UNKNOWN_KEY)


def _derived(secret: bytes, purpose: bytes, size: int) -> bytes:
    return hashlib.blake2b(secret, digest_size=size, person=purpose).digest()


def _event_of(ticket_id: str) -> str:
    return event_of_booking(booking_of_ticket(ticket_id))


def _packed(ticket_id: str) -> bytes:
    return (_number_of(ticket_id[4:].upper()) << _TICKET_FILL_BITS).to_bytes(_TICKET_BYTES)


def _unpacked(packed: bytes) -> str:
    # One byte more makes a multiple of five; the digits of the filling are cut off.
    return "tkt_" + base32(packed + b"\0")[:_TICKET_DIGITS]


def _bytes_of(text: str) -> bytes:
    return _number_of(text).to_bytes(len(text) * 5 // 8)


def _number_of(digits: str) -> int:
    return int(digits.translate(_AS_PYTHON), 32)
