"""The vault: personal data is stored sealed, and an address is looked up without being read.

Two keys are derived from each secret: one seals contacts (Fernet: AES-128-CBC and HMAC), the
other makes the keyed hash by which the bookings of an address are found. Whoever has the
database and no secret learns which bookings have the same address, and nothing else.
"""

import base64
import hashlib
import time
from collections.abc import Callable

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from engine.store.contract import Contact

#: Bytes of the hash of an address: no two of any number of addresses share one.
_BLIND_BYTES = 16
#: Bytes that tell keys apart: there are never more than a handful.
_KEY_ID_BYTES = 4

_encoder = msgspec.msgpack.Encoder()
_contacts = msgspec.msgpack.Decoder(Contact)


class NoKeyOpens(Exception):
    """No key of this vault opens it: it is damaged, or its key was taken away too early."""


class _Key:
    def __init__(self, secret: bytes) -> None:
        self.cipher = Fernet(base64.urlsafe_b64encode(_derived(secret, b"contact seal", 32)))
        self.blinding = _derived(secret, b"contact look-up", 32)
        self.key_id = _derived(secret, b"contact key id", _KEY_ID_BYTES).hex()

    def blind(self, email: str) -> str:
        address = email.strip().casefold().encode()
        return hashlib.blake2b(address, digest_size=_BLIND_BYTES, key=self.blinding).hexdigest()


class Vault:
    """Seals with the newest key and opens with all of them.

    Args:
        secrets: of at least 32 bytes each, the newest first.
        now_s: the time in Unix seconds, which is written on everything that is sealed.
    """

    def __init__(self, secrets: tuple[bytes, ...], now_s: Callable[[], float] = time.time) -> None:
        assert secrets, "without a key nothing can be sealed"
        assert all(len(secret) >= 32 for secret in secrets), "a key is too short"
        self._keys = [_Key(secret) for secret in secrets]
        self._now_s = now_s

    @property
    def key_ids(self) -> list[str]:
        """What tells the keys apart, the newest first."""
        return [key.key_id for key in self._keys]

    def seal_contact(self, contact: Contact) -> bytes:
        """Return what nobody reads without the key; never the same bytes twice."""
        return self.seal(_encoder.encode(contact))

    def open_contact(self, sealed: bytes) -> Contact:
        """Return what was sealed.

        Raises:
            NoKeyOpens: it is damaged, or its key is not here.
        """
        return _contacts.decode(self.open(sealed))

    def seal(self, plain: bytes) -> bytes:
        """Seal anything else that must not be read in the database."""
        return self._keys[0].cipher.encrypt_at_time(plain, int(self._now_s()))

    def open(self, sealed: bytes) -> bytes:
        """Return the plain bytes.

        Raises:
            NoKeyOpens: it is damaged, or its key is not here.
        """
        return self._opened(sealed)[1]

    def renewed(self, sealed: bytes) -> bytes:
        """Return the same under the newest key, with the time at which it was first sealed.

        Raises:
            NoKeyOpens: it is damaged, or its key is not here.
        """
        key, plain = self._opened(sealed)
        if key is self._keys[0]:
            return sealed
        return self._keys[0].cipher.encrypt_at_time(plain, key.cipher.extract_timestamp(sealed))

    def sealed_s(self, sealed: bytes) -> int:
        """Return when it was first sealed, Unix seconds.

        Raises:
            NoKeyOpens: it is damaged, or its key is not here.
        """
        return self._opened(sealed)[0].cipher.extract_timestamp(sealed)

    def blind(self, email: str) -> str:
        """Return what stands for an address under the newest key, however it is written."""
        return self._keys[0].blind(email)

    def blinds(self, email: str) -> list[str]:
        """Return what stands for it under each key: rows of older ones are found too."""
        return [key.blind(email) for key in self._keys]

    def _opened(self, sealed: bytes) -> tuple[_Key, bytes]:
        for key in self._keys:
            try:
                return key, key.cipher.decrypt(sealed)
            except InvalidToken:
                continue
        raise NoKeyOpens


def _derived(secret: bytes, purpose: bytes, size: int) -> bytes:
    return hashlib.blake2b(secret, digest_size=size, person=purpose).digest()
