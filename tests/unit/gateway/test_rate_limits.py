"""Rate limits: counted for each token and each address, told in headers."""

import re

import pytest
from limits import RateLimitItemPerMinute

from gateway import rate_limits
from gateway.problems import Problem
from gateway.rate_limits import PER_ADDRESS, PER_TOKEN, RateLimits


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> RateLimits:
    """Three requests a minute for a token, five for an address."""
    monkeypatch.setattr(rate_limits, "PER_TOKEN", RateLimitItemPerMinute(3))
    monkeypatch.setattr(rate_limits, "PER_ADDRESS", RateLimitItemPerMinute(5))
    return RateLimits()


def hit(limits: RateLimits, token: str | None, address: str) -> dict[str, str]:
    headers: list[tuple[bytes, bytes]] = []
    limits.hit(token, address, headers)
    return {name.decode(): value.decode() for name, value in headers}


def refused(limits: RateLimits, token: str | None, address: str) -> Problem:
    headers: list[tuple[bytes, bytes]] = []
    with pytest.raises(Problem) as caught:
        limits.hit(token, address, headers)
    assert [name for name, _ in headers] == [b"ratelimit-policy", b"ratelimit"]
    return caught.value


def test_a_token_has_its_own_count(limits: RateLimits) -> None:
    for remaining in (2, 1, 0):
        told = re.fullmatch(r'"token";r=(\d+);t=(\d+)', hit(limits, "a", "10.0.0.1")["ratelimit"])
        assert int(told[1]) == remaining
        assert 1 <= int(told[2]) <= 61
    problem = refused(limits, "a", "10.0.0.2")
    assert (problem.code, problem.kind.status) == ("rate_limited", 429)
    assert 1 <= int(problem.headers()["retry-after"]) <= 63
    hit(limits, "b", "10.0.0.2")


def test_those_who_are_turned_away_together_do_not_come_back_together(
    limits: RateLimits,
) -> None:
    for _ in range(3):
        hit(limits, "a", "10.0.0.1")
    waits = {
        int(refused(limits, "a", f"10.0.1.{number}").headers()["retry-after"])
        for number in range(100)
    }
    assert len(waits) >= 3
    assert min(waits) >= 1


def test_an_address_is_counted_whatever_tokens_come_from_it(limits: RateLimits) -> None:
    for number in range(5):
        hit(limits, f"token-{number}", "10.0.0.1")
    assert "address" in refused(limits, "another", "10.0.0.1").detail
    assert "address" in refused(limits, None, "10.0.0.1").detail
    hit(limits, "another", "10.0.0.2")


def test_without_a_token_the_address_is_what_counts(limits: RateLimits) -> None:
    assert hit(limits, None, "10.0.0.1")["ratelimit"].startswith('"address";r=4;')
    assert hit(limits, "", "10.0.0.1")["ratelimit"].startswith('"address";r=3;')


def test_the_policy_names_both_limits() -> None:
    policy = hit(RateLimits(), "a", "10.0.0.1")["ratelimit-policy"]
    assert policy == f'"token";q={PER_TOKEN.amount};w=60, "address";q={PER_ADDRESS.amount};w=60'


def test_what_is_kept_of_a_token_is_short_and_not_the_token() -> None:
    limits = RateLimits()
    hit(limits, "Bearer " + "secret" * 10_000, "10.0.0.1")
    kept = "".join(limits._limiter.storage.storage)
    assert "secret" not in kept
    assert len(kept) < 500
