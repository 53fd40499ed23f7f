"""Idempotency keys: how a retry is told from a new request."""

import itertools
import re
import secrets

from gateway.problems import Problem

#: Keys for requests without one need only differ from all others: the booking id that is
#: made of them is a keyed hash and cannot be guessed from a number.
_NOBODY = secrets.token_hex(16)
_numbers = itertools.count()

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def key_of(header: str | None) -> str:
    """Return the client's key, bare; a new one that nobody can repeat where there is none.

    Raises:
        Problem: `invalid_idempotency_key`.
    """
    if header is None:
        return f"{_NOBODY}:{next(_numbers)}"
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key):
        raise Problem("invalid_idempotency_key")
    # A client's key must never meet one that was made for somebody without one.
    return "c:" + key
