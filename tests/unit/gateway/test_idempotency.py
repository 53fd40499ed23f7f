"""Idempotency keys: quoted or bare, and never one that somebody else could have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.idempotency import key_of
from gateway.problems import Problem

printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255)


def test_without_a_key_every_request_has_one_of_its_own() -> None:
    assert len({key_of(None) for _ in range(1_000)}) == 1_000


@given(printable)
def test_a_clients_key_never_meets_one_that_was_made_for_somebody_else(key: str) -> None:
    made = key_of(None)
    assert key_of(f'"{key}"') != made
    assert key_of(f'"{made}"') != made
    assert not made.startswith("c:")


@given(printable.map(str.strip).filter(lambda key: key and key[0] != '"'))
def test_quotes_around_a_key_mean_nothing(key: str) -> None:
    assert key_of(key) == key_of(f'"{key}"') == key_of(f'  "{key}" ')


@given(printable, printable)
def test_different_keys_stay_different(one: str, other: str) -> None:
    assert (key_of(f'"{one}"') == key_of(f'"{other}"')) is (one == other)


@pytest.mark.parametrize("key", ["x", "x" * 255, '"' + "x" * 255 + '"', '"', 'a"', "~ !"])
def test_what_is_printable_and_short_enough_is_a_key(key: str) -> None:
    assert key_of(key)


@pytest.mark.parametrize(
    "key", ["", "  ", '""', "x" * 256, "a\tb", "a\nb", "\x00", "\x7f", "ü", "\ud800", "٣"]
)
def test_anything_else_is_refused(key: str) -> None:
    with pytest.raises(Problem) as caught:
        key_of(key)
    assert (caught.value.code, caught.value.kind.status) == ("invalid_idempotency_key", 400)
