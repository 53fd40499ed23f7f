"""Ids are stored, printed and routed by: their form may never change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain import ids

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
KEY = b"secret of the deployment"
EVENT = ids.event_id(KEY, "acme", "first")
BOOKING = ids.booking_id(KEY, EVENT, "ann", "key-1")
TEXTS = st.text(max_size=20)


def in_base_32(data: bytes) -> str:
    """Say the same by arithmetic."""
    number = int.from_bytes(data)
    digits = len(data) * 8 // 5
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(digits)))


def test_the_ids_of_yesterday_are_still_found_today():
    # Computed once and written down. Another id here means that no retry finds its booking.
    assert EVENT == "evt_jy39a09ymej3"
    assert BOOKING == "bk_jy39a09ymej3p50g9gr3sgkc5kgk"


@given(st.integers(0, 4).flatmap(lambda n: st.binary(min_size=5 * n, max_size=5 * n)))
def test_base_32_is_the_number_written_in_crockfords_digits(data):
    assert ids.base32(data) == in_base_32(data)


@given(TEXTS, TEXTS)
def test_an_event_id_has_its_form_whatever_it_is_made_of(organizer, key):
    made = ids.event_id(KEY, organizer, key)

    assert ids.is_event_id(made)
    assert made[:4] == "evt_"
    assert len(made) == 4 + 12
    assert set(made[4:]) <= set(ALPHABET)


@given(TEXTS, TEXTS)
def test_a_booking_id_has_its_form_and_names_its_event(customer, key):
    made = ids.booking_id(KEY, EVENT, customer, key)

    assert ids.is_booking_id(made)
    assert len(made) == 3 + 12 + 16
    assert ids.event_of_booking(made) == EVENT


@given(st.tuples(TEXTS, TEXTS), st.tuples(TEXTS, TEXTS))
def test_two_requests_share_a_booking_id_only_if_customer_and_key_are_the_same(one, other):
    same_id = ids.booking_id(KEY, EVENT, *one) == ids.booking_id(KEY, EVENT, *other)

    assert same_id == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("", "ab"), ("ab", "")),
        (("1:a", "b"), ("1", ":ab")),
        (("a1:b", ""), ("a", "b")),
    ],
)
def test_parts_that_join_to_the_same_text_make_different_ids(one, other):
    assert ids.booking_id(KEY, EVENT, *one) != ids.booking_id(KEY, EVENT, *other)
    assert ids.event_id(KEY, *one) != ids.event_id(KEY, *other)


def test_the_same_key_at_another_event_is_another_booking():
    elsewhere = ids.event_id(KEY, "acme", "second")

    made = ids.booking_id(KEY, elsewhere, "ann", "key-1")

    assert ids.event_of_booking(made) == elsewhere
    assert made[15:] != BOOKING[15:], "the hash must cover the event, not only be put behind it"


def test_ids_cannot_be_computed_without_the_deployments_secret():
    assert ids.booking_id(b"another secret", EVENT, "ann", "key-1")[15:] != BOOKING[15:]
    assert ids.event_id(b"another secret", "acme", "first") != EVENT


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "evt_",
        EVENT[:-1],
        EVENT + "0",
        EVENT + "\n",
        " " + EVENT,
        EVENT.upper(),
        "bk_" + EVENT[4:],
        *(EVENT[:-1] + letter for letter in "ilou-٣"),
    ],
)
def test_what_is_not_an_event_id_is_told(malformed):
    assert not ids.is_event_id(malformed)


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "bk_",
        BOOKING[:-1],
        BOOKING + "0",
        BOOKING + "\n",
        " " + BOOKING,
        BOOKING.upper(),
        "evt" + BOOKING[2:],
        *(BOOKING[:-1] + letter for letter in "ilou-٣"),
    ],
)
def test_what_is_not_a_booking_id_is_told(malformed):
    assert not ids.is_booking_id(malformed)
