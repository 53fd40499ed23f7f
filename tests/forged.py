"""Tokens that no library would make: put together by hand, as somebody in bad faith does."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from tests.in_process import SECRET


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(
    header: dict[str, Any] | None = None, *, alg: str = "HS256", secret: str = SECRET, **claims: Any
) -> str:
    """Return a token as somebody might put it together by hand; `...` leaves a claim out."""
    now = int(time.time())
    stated = {"sub": "ann", "role": "buyer", "aud": "onsale", "iat": now, "exp": now + 60, **claims}
    stated = {name: value for name, value in stated.items() if value is not ...}
    signed = f"{_part({'alg': alg, 'typ': 'JWT', **(header or {})})}.{_part(stated)}"
    if alg == "none":
        return f"{signed}."
    digest = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[alg]
    mac = hmac.new(secret.encode(), signed.encode(), digest).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
