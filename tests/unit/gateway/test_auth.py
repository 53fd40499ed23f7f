"""Tokens: who made them, for whom, and until when."""

import time

import pytest

from engine.domain.commands import Caller
from engine.limits import TOKENS_REMEMBERED_MAX
from gateway import auth
from gateway.auth import ROLES, Principal, Tokens, derive_key
from gateway.problems import Problem
from tests.forged import forged
from tests.in_process import SECRET


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET)


def assert_refused(tokens: Tokens, authorization: str | None) -> None:
    with pytest.raises(Problem) as caught:
        tokens.verify(authorization)
    assert caught.value.code == "unauthenticated"
    assert caught.value.headers()["www-authenticate"].startswith("Bearer")


# -- what is taken ---------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_token_says_who_somebody_is(tokens: Tokens, role: str) -> None:
    token = tokens.make(role, "otto", org="acme", email="otto@example.org", lifetime_seconds=60)
    principal = tokens.verify(f"Bearer {token}")
    organizer = {"organizer": "otto", "staff": "acme"}.get(role)
    at, email = principal.expires_at, "otto@example.org"
    assert principal == Principal("otto", role, organizer, at, email)
    assert principal.expires_at == pytest.approx(time.time() + 60, abs=2)
    assert principal.caller == Caller("otto", organizer, role == "admin")


def test_staff_of_nobody_act_for_nobody(tokens: Tokens) -> None:
    assert tokens.verify(f"Bearer {tokens.make('staff', 'tom')}").organizer is None


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
def test_the_name_of_the_scheme_may_be_written_in_any_case(tokens: Tokens, scheme: str) -> None:
    assert tokens.verify(scheme + tokens.make("buyer", "ann")).sub == "ann"


@pytest.mark.parametrize("sub", ["a", "x" * 128, "auth0|5f7c", "ann@example.org", "Änne", "a:b c"])
def test_a_subject_is_any_printable_name(tokens: Tokens, sub: str) -> None:
    assert tokens.verify(f"Bearer {tokens.make('buyer', sub)}").sub == sub


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["onsale", "other"]},
        {"note": {"a": [1]}},
        {"nbf": 0},
        {"iat": 9_999_999_999},  # by a clock ahead of ours
    ],
)
def test_claims_that_say_nothing_against_it_are_no_reason_to_refuse(
    tokens: Tokens, claims: dict
) -> None:
    assert tokens.verify(f"Bearer {forged(**claims)}").sub == "ann"


# -- what is not -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer\tx", "Basic YTpi", "Token x", forged(), "Bearer null"],
    ids=lambda value: repr(value)[:12],
)
def test_what_is_no_bearer_token_proves_nothing(tokens: Tokens, authorization: str | None) -> None:
    assert_refused(tokens, authorization)


@pytest.mark.parametrize(
    "token",
    [
        "garbage",
        "a.b",
        "a.b.c",
        "....",
        "é.é.é",
        "\ud800.a.b",
        "eyJhbGciOiJIUzI1NiJ9..",
        forged()[:-3],
        forged() + "x",
        forged().rpartition(".")[0] + ".",
        forged(sub="bob").rpartition(".")[0] + "." + forged().rpartition(".")[2],
        "W" * 1_500 + ".e30.e30",
        "x" * 5_000,
        "x" * 1_000_000,
        forged(note="x" * 5_000),
    ],
    ids=lambda token: f"{token[:12]!r}-{len(token)}",
)
def test_a_token_that_is_damaged_or_too_long_proves_nothing(tokens: Tokens, token: str) -> None:
    assert_refused(tokens, f"Bearer {token}")


@pytest.mark.parametrize("alg", ["none", "None", "HS512", "RS256", "", "hs256"])
def test_the_algorithm_is_pinned(tokens: Tokens, alg: str) -> None:
    assert_refused(tokens, f"Bearer {forged(header={'alg': alg})}")


def test_an_unsigned_token_proves_nothing(tokens: Tokens) -> None:
    assert_refused(tokens, f"Bearer {forged(alg='none')}")
    assert_refused(tokens, f"Bearer {forged(alg='HS512')}")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": []},
        {"alg": {}},
        {"alg": 5},
        {"alg": None},
        {"crit": 5},
        {"crit": {"b64": 1}},
        {"crit": ["b64"], "b64": False},
        {"kid": 5},
        {"typ": []},
        {"jwk": "x"},
        {"x": "unknown"},
    ],
    ids=repr,
)
def test_a_header_that_nobody_would_write_in_good_faith_proves_nothing(
    tokens: Tokens, header: dict
) -> None:
    assert_refused(tokens, f"Bearer {forged(header=header)}")


@pytest.mark.parametrize("claim", ["sub", "role", "aud", "exp"])
@pytest.mark.parametrize("value", [..., None, [], {}, "", True, 5])
def test_every_claim_is_needed_and_of_its_type(tokens: Tokens, claim: str, value: object) -> None:
    assert_refused(tokens, f"Bearer {forged(**{claim: value})}")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": {"onsale": 1}},
        {"role": "root"},
        {"role": "Buyer"},
        {"role": ["buyer"]},
        {"sub": "x" * 129},
        {"sub": "two\nlines"},
        {"sub": "nul\x00"},
        {"sub": "\ud800"},
        {"sub": ["ann"]},
        {"org": 5},
        {"org": ""},
        {"org": ["acme"]},
        {"org": "\x1b[31m"},
        {"exp": "soon"},
        {"exp": 1e400},
        {"exp": float("nan")},
        {"exp": [9_999_999_999]},
        {"exp": 0},
        {"exp": -1},
        {"nbf": 9_999_999_999},
    ],
    ids=repr,
)
def test_a_claim_that_is_wrong_spoils_the_token(tokens: Tokens, claims: dict) -> None:
    assert_refused(tokens, f"Bearer {forged(**claims)}")


def test_a_key_that_comes_with_the_token_is_not_used(tokens: Tokens) -> None:
    own = {"jwk": {"kty": "oct", "k": "bXkgb3duIGtleSB3aGljaCBpcyBsb25nIGVub3VnaA"}}
    secret = "my own key which is long enough"
    assert_refused(tokens, f"Bearer {forged(header=own, secret=secret)}")


def test_the_secret_of_another_deployment_is_another_secret(tokens: Tokens) -> None:
    assert_refused(tokens, f"Bearer {forged(secret=SECRET + '!')}")
    assert_refused(tokens, f"Bearer {Tokens('x' * 40).make('buyer', 'ann')}")


def test_a_refusal_says_nothing_of_the_token(tokens: Tokens) -> None:
    with pytest.raises(Problem) as caught:
        tokens.verify(f"Bearer {forged(sub='the-subject', aud='other')}")
    assert "the-subject" not in str(caught.value.document("/", "1"))


# -- remembered ------------------------------------------------------------------------


def test_a_remembered_token_expires_all_the_same(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    authorization = f"Bearer {tokens.make('buyer', 'ann', lifetime_seconds=60)}"
    tokens.verify(authorization)
    later = time.time() + 61
    monkeypatch.setattr(auth.time, "time", lambda: later)
    for _ in range(2):
        assert_refused(tokens, authorization)


def test_a_token_is_verified_once(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    authorization = f"Bearer {tokens.make('buyer', 'ann')}"
    first = tokens.verify(authorization)

    def again(*_args: object) -> None:
        raise AssertionError("verified a second time")

    monkeypatch.setattr(tokens, "_verify", again)
    assert tokens.verify(authorization) is first


def test_what_was_refused_is_not_remembered(tokens: Tokens) -> None:
    for _ in range(3):
        assert_refused(tokens, "Bearer garbage")
    assert not tokens._verified


def test_no_more_tokens_are_remembered_than_the_limit(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TOKENS_REMEMBERED_MAX > 2
    monkeypatch.setattr(auth, "TOKENS_REMEMBERED_MAX", 2)
    for number in range(5):
        assert tokens.verify(f"Bearer {tokens.make('buyer', f'b{number}')}").sub == f"b{number}"
        assert len(tokens._verified) <= 2


# -- keys ------------------------------------------------------------------------------


def test_no_key_serves_two_purposes() -> None:
    keys = {derive_key(SECRET, "ids"), derive_key(SECRET, "qr"), derive_key(SECRET + "!", "ids")}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}
    assert derive_key(SECRET, "ids") == derive_key(SECRET, "ids")
    assert SECRET.encode() not in b"".join(keys)
