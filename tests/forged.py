"""Tokens that no library would make: put together by hand, as somebody in bad faith does."""

import base64
import hashlib
import hmac
import json
import time
from functools import partial
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


def wrong_headers(role: str, secret: str = SECRET) -> dict[str, str | None]:
    """Return what may stand in `Authorization` and proves nothing, by what is wrong."""
    make = partial(forged, secret=secret)
    bearer = {
        "garbage": "garbage",
        "three empty parts": "..",
        "empty": "",
        "alg none": make(role=role, alg="none"),
        "alg none, signature kept": make(role=role, alg="none")
        + make(role=role).rpartition(".")[2],
        "another algorithm": make(role=role, alg="HS512"),
        "another secret": make(role=role, secret="another secret that is long enough"),
        "wrong audience": make(role=role, aud="offsale"),
        "no audience": make(role=role, aud=...),
        "expired": make(role=role, exp=int(time.time()) - 1),
        "without expiry": make(role=role, exp=...),
        "not yet valid": make(role=role, nbf=int(time.time()) + 60),
        "no subject": make(role=role, sub=...),
        "subject of another type": make(role=role, sub=["ann"]),
        "no role": make(role=...),
        "unknown role": make(role="root"),
        "roles in a list": make(role=[role]),
        "cut short": make(role=role)[:-1],
        "oversized": make(role=role, note="x" * 20_000),
        "nested": "W" * 3_000 + ".e30.e30",
    }
    return {
        "none": None,
        "another scheme": f"Basic {make(role=role)}",
        "no scheme": make(role=role),
        **{name: f"Bearer {token}" for name, token in bearer.items()},
    }
