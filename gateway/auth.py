"""Who asks: tokens are made and verified here and nowhere else."""

import hashlib
import time
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from msgspec import Struct

from engine.domain.commands import Caller
from engine.limits import TOKENS_REMEMBERED_MAX
from gateway.problems import Problem

AUDIENCE = "onsale"
_ALGORITHM = "HS256"
ROLES = ("buyer", "staff", "organizer", "admin")
#: Roles that hold tickets for themselves.
BUYING_ROLES = ("buyer", "admin")
#: Roles that let people in at the doors, each for the organizer they act for.
DOOR_ROLES = ("staff", "organizer", "admin")
#: Roles of those between whom a booking is made: who has paid, and whose event it is.
PARTY_ROLES = ("buyer", "organizer", "admin")
#: A subject becomes part of keys and of every journalled booking.
_SUBJECT_LENGTH_MAX = 128
#: The longest address that mail knows, and no name is longer.
_CLAIM_LENGTH_MAX = 254
#: Ours have about 250 characters; others may carry more claims.
_HEADER_LENGTH_MAX = len("Bearer ") + 4_096


class Principal(Struct, frozen=True):
    """The holder of a valid token; `expires_at` in Unix seconds.

    `email`, `name` and `locale` are where the token says so; never logged.
    """

    sub: str
    role: str
    organizer: str | None
    expires_at: int
    email: str | None = None
    name: str | None = None
    locale: str | None = None

    @property
    def caller(self) -> Caller:
        """The same as the rules know it."""
        return Caller(self.sub, self.organizer, self.role == "admin")


class Tokens:
    """Makes and verifies tokens with one secret and one algorithm.

    A header with a valid token is remembered until it expires: verifying it again would give the
    same answer and costs as much as the rest of a request.
    """

    def __init__(self, secret: str) -> None:
        self._key = OctKey.import_key(secret)
        self._claims = jwt.JWTClaimsRegistry(
            aud={"essential": True, "value": AUDIENCE},
            sub={"essential": True},
            role={"essential": True},
            exp={"essential": True},
        )
        self._verified: dict[str, Principal] = {}

    def make(
        self,
        role: str,
        sub: str,
        *,
        org: str | None = None,
        email: str | None = None,
        lifetime_seconds: int = 86_400,
    ) -> str:
        """Return a signed token."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "sub": sub,
            "role": role,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + lifetime_seconds,
        }
        if org is not None:
            claims["org"] = org
        if email is not None:
            claims["email"] = email
        return jwt.encode({"alg": _ALGORITHM}, claims, self._key)

    def verify(self, authorization: str | None) -> Principal:
        """Return who sent this `Authorization` header.

        Raises:
            Problem: `unauthenticated`, whatever is wrong with it.
        """
        if authorization is None or authorization[:7].lower() != "bearer ":
            raise Problem("unauthenticated", "Send a token: Authorization: Bearer <token>.")
        if len(authorization) > _HEADER_LENGTH_MAX:
            raise Problem("unauthenticated", "The token is too long.")
        principal = self._verified.get(authorization)
        if principal is None:
            principal = self._verify(authorization[7:].strip())
            if len(self._verified) >= TOKENS_REMEMBERED_MAX:
                self._verified.clear()
            self._verified[authorization] = principal
        if principal.expires_at <= time.time():
            self._verified.pop(authorization, None)
            raise Problem("unauthenticated", "The token has expired.")
        return principal

    def _verify(self, token: str) -> Principal:
        try:
            claims = jwt.decode(token, self._key, algorithms=[_ALGORITHM]).claims
            # But for `iat`: a token that was issued just now by a clock before ours is good.
            self._claims.validate({name: claims[name] for name in claims if name != "iat"})
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            # The library reads a header before it has checked the signature, and stumbles
            # over some that nobody would write in good faith.
            raise Problem("unauthenticated", "The token is not valid here.") from error
        sub, role, org = claims["sub"], claims["role"], claims.get("org")
        if role not in ROLES:
            raise Problem("unauthenticated", "The token's role is not known.")
        if not _is_name(sub):
            raise Problem("unauthenticated", "The token's sub is not usable.")
        if org is not None and not _is_name(org):
            raise Problem("unauthenticated", "The token's org is not usable.")
        organizer = {"organizer": sub, "staff": org}.get(role)
        contact = [_text(claims.get(claim)) for claim in ("email", "name", "locale")]
        return Principal(sub, role, organizer, int(claims["exp"]), *contact)


def _is_name(claim: object) -> bool:
    """Tell whether a claim names somebody in a way that can be stored and shown."""
    return isinstance(claim, str) and 0 < len(claim) <= _SUBJECT_LENGTH_MAX and claim.isprintable()


def _text(claim: object) -> str | None:
    """Return what a claim says about a person, None if it says nothing of use."""
    if not isinstance(claim, str) or not 0 < len(claim) <= _CLAIM_LENGTH_MAX:
        return None
    return claim if claim.isprintable() else None


def derive_key(secret: str, purpose: str) -> bytes:
    """Return a key of 32 bytes for one purpose, so that no key serves two."""
    return hashlib.blake2b(secret.encode(), digest_size=32, person=purpose.encode()[:16]).digest()
