"""Ids that carry their route.

`evt_` + 12 characters, `bk_` + the event's 12 + 16 of a keyed hash. The alphabet is
Crockford's base 32 in lower case: no i, l, o, u, so that an id survives being read aloud.
"""

import hashlib
import re

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: Two characters for ten bits: an id is made for every hold, and half as many look-ups do.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
#: Bytes of hash behind an id: sixteen characters.
_HASH_BYTES = 10

_EVENT_ID = re.compile(r"evt_[0-9a-hjkmnp-tv-z]{12}")
_BOOKING_ID = re.compile(r"bk_[0-9a-hjkmnp-tv-z]{28}")

EVENT_CODE_LENGTH = 12


def base32(data: bytes) -> str:
    """Return Crockford base 32 in lower case; `len(data)` is a multiple of five."""
    number = int.from_bytes(data)
    return "".join(
        [_PAIRS[number >> shift & 1_023] for shift in range(8 * len(data) - 10, -1, -10)]
    )


def _keyed_code(key: bytes, scope: str, owner: str, name: str) -> str:
    # Each part is preceded by its length: ("ab", "c") and ("a", "bc") must not collide.
    material = f"{len(scope)}:{scope}{len(owner)}:{owner}{len(name)}:{name}"
    digest = hashlib.blake2b(material.encode(), digest_size=_HASH_BYTES, key=key).digest()
    code, pairs = int.from_bytes(digest), _PAIRS
    # `base32(digest)` in half the time: this is on the way of every hold.
    return (
        f"{pairs[code >> 70]}{pairs[code >> 60 & 1023]}{pairs[code >> 50 & 1023]}"
        f"{pairs[code >> 40 & 1023]}{pairs[code >> 30 & 1023]}{pairs[code >> 20 & 1023]}"
        f"{pairs[code >> 10 & 1023]}{pairs[code & 1023]}"
    )


def event_id(key: bytes, organizer: str, idempotency_key: str) -> str:
    """Return the id of the event that this organizer creates under this key.

    Twelve characters carry 60 bits: five more than a billion events need to stay
    free of collisions in practice, and event ids are public anyway.
    """
    return "evt_" + _keyed_code(key, "event", organizer, idempotency_key)[:EVENT_CODE_LENGTH]


def booking_id(key: bytes, event: str, customer: str, idempotency_key: str) -> str:
    """Return the id of the booking that this customer makes under this key.

    The same three always give the same id, which is what makes a retry find its own
    booking without a table of keys. Eighty bits of a keyed hash cannot be guessed.

    Args:
        key: secret of the deployment, at most 64 bytes.
        event: a valid event id.
        customer: who books.
        idempotency_key: the client's, or one made for this request alone.
    """
    return "bk_" + event[4:] + _keyed_code(key, event, customer, idempotency_key)


def request_id(key: bytes, subject: str, caller: str, idempotency_key: str) -> str:
    """Return the name of a request that this caller makes under this key.

    Args:
        key: secret of the deployment, at most 64 bytes.
        subject: the id of what it is about: a booking, a ticket.
        caller: who asks.
        idempotency_key: the client's, or one made for this request alone.
    """
    return _keyed_code(key, subject, caller, idempotency_key)


def scan_id(key: bytes, event: str, operator: str, scan: str) -> str:
    """Return the name of a scan: the same for a repeat by the same operator."""
    return _keyed_code(key, event, operator, scan)


def is_event_id(text: str) -> bool:
    """Tell whether `text` has the form of an event id."""
    return _EVENT_ID.fullmatch(text) is not None


def is_booking_id(text: str) -> bool:
    """Tell whether `text` has the form of a booking id."""
    return _BOOKING_ID.fullmatch(text) is not None


def event_of_booking(booking: str) -> str:
    """Return the id of the event that a booking id names (its route)."""
    return "evt_" + booking[3 : 3 + EVENT_CODE_LENGTH]
