"""Payloads of codes: the same every time, opened by us alone, and forged by any change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tickets.seal import PAYLOAD_LENGTH, Forged, Forgery, Opened, Seals

OLD, NEW, FOREIGN = bytes(32), bytes(range(32)), b"\xff" * 32
SEALS = Seals((NEW,))
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TICKET = "tkt_" + "0123456789abcdefghjkmnpqrstvwx"

ticket_ids = st.text(ALPHABET.lower(), min_size=30, max_size=30).map("tkt_".__add__)
customers = st.text(min_size=1, max_size=128)


@given(ticket_ids, customers)
def test_what_was_sealed_opens(ticket_id: str, customer: str) -> None:
    payload = SEALS.seal(ticket_id, customer)
    assert len(payload) == PAYLOAD_LENGTH
    assert set(payload) <= set(ALPHABET)
    opened = SEALS.open(payload)
    assert isinstance(opened, Opened)
    assert opened.ticket_id == ticket_id
    assert opened.event_id == "evt_" + ticket_id[4:16]


@given(ticket_ids, customers, customers)
def test_a_ticket_has_another_payload_in_other_hands(
    ticket_id: str, customer: str, other: str
) -> None:
    one, two = SEALS.seal(ticket_id, customer), SEALS.seal(ticket_id, other)
    assert (one == two) == (customer == other)
    opened = SEALS.open(one)
    assert isinstance(opened, Opened)
    assert opened.bearer.is_customer(opened.event_id, customer)
    assert opened.bearer.is_customer(opened.event_id, other) == (customer == other)
    assert not opened.bearer.is_customer("evt_" + 12 * "z", customer) or ticket_id[4:16] == 12 * "z"


@given(ticket_ids, ticket_ids, customers)
def test_two_tickets_never_have_the_same_payload(one: str, two: str, customer: str) -> None:
    """Of the same event or another: the whole id is sealed, the event is part of it."""
    assert (SEALS.seal(one, customer) == SEALS.seal(two, customer)) == (one == two)


@given(ticket_ids, customers, st.integers(0, PAYLOAD_LENGTH - 1), st.sampled_from(ALPHABET))
def test_one_other_character_is_forged(
    ticket_id: str, customer: str, place: int, other: str
) -> None:
    payload = SEALS.seal(ticket_id, customer)
    changed = payload[:place] + other + payload[place + 1 :]
    assert isinstance(SEALS.open(changed), Opened if changed == payload else Forged)


def test_other_keys_or_another_order_are_another_edition() -> None:
    sets = [(NEW,), (OLD,), (NEW, OLD), (OLD, NEW), (NEW, FOREIGN)]
    assert len({Seals(keys).edition for keys in sets}) == len(sets)
    assert Seals((NEW, OLD)).edition == Seals((NEW, OLD)).edition


def test_every_flipped_bit_is_forged() -> None:
    payload = SEALS.seal(TICKET, "ann")
    for place, digit in enumerate(payload):
        for bit in range(5):
            flipped = ALPHABET[ALPHABET.index(digit) ^ 1 << bit]
            changed = payload[:place] + flipped + payload[place + 1 :]
            assert isinstance(SEALS.open(changed), Forged), (place, bit)


@given(st.text() | st.text(ALPHABET, min_size=PAYLOAD_LENGTH, max_size=PAYLOAD_LENGTH))
def test_what_somebody_makes_up_is_forged(text: str) -> None:
    assert isinstance(SEALS.open(text), Forged)


@given(st.data())
def test_pieces_of_two_tickets_make_no_third(data: st.DataObject) -> None:
    one = SEALS.seal(TICKET, "ann")
    two = SEALS.seal(TICKET[:-1] + "y", "ann")
    cut = data.draw(st.integers(1, PAYLOAD_LENGTH - 1))
    mixed = one[:cut] + two[cut:]
    assert isinstance(SEALS.open(mixed), Opened if mixed in (one, two) else Forged)


def test_why_a_payload_does_not_open() -> None:
    payload = SEALS.seal(TICKET, "ann")
    for text in ("", "https://example.org", payload.lower(), payload[:-1], payload + "0",
                 payload + "\n", "T2" + payload[2:], payload.replace("T1", "TI")):  # fmt: skip
        assert SEALS.open(text) == Forged(Forgery.NOT_A_TICKET), text
    assert SEALS.open(Seals((FOREIGN,)).seal(TICKET, "ann")) == Forged(Forgery.UNKNOWN_KEY)
    broken = payload[:-1] + ALPHABET[ALPHABET.index(payload[-1]) - 1]
    assert SEALS.open(broken) == Forged(Forgery.BROKEN_SEAL)


def test_the_payload_is_the_same_in_every_release() -> None:
    """Pinned: it is printed on paper that outlives this release."""
    assert (
        SEALS.seal(TICKET, "ann")
        == "T1N7485BE6QCNXV2M53QDAZ86ADJSNATY24THDHMQ87CT24845R15BBN40JNWYB0AJKVC3F3THWR"
    )


def test_nothing_of_the_ticket_can_be_read_in_it() -> None:
    """Tickets of one booking differ in their last digit only; their payloads everywhere."""
    payloads = [SEALS.seal(TICKET[:-1] + digit, "ann")[4:] for digit in "0123456789"]
    for place in range(PAYLOAD_LENGTH - 4):
        assert len({payload[place] for payload in payloads}) > 2


# -- rotation --------------------------------------------------------------------------


def test_the_newest_key_seals_and_every_key_opens() -> None:
    before, both, after = Seals((OLD,)), Seals((NEW, OLD)), Seals((NEW,))
    old, new = before.seal(TICKET, "ann"), both.seal(TICKET, "ann")
    assert new == after.seal(TICKET, "ann") != old
    for payload in (old, new):
        opened = both.open(payload)
        assert isinstance(opened, Opened)
        assert opened.ticket_id == TICKET
    assert after.open(old) == Forged(Forgery.UNKNOWN_KEY)


def test_a_payload_cannot_be_passed_off_as_another_keys() -> None:
    old, both = Seals((OLD,)).seal(TICKET, "ann"), Seals((NEW, OLD))
    header = both.seal(TICKET, "ann")[:4]
    assert both.open(header + old[4:]) == Forged(Forgery.BROKEN_SEAL)


def test_keys_whose_ids_are_the_same_are_all_tried() -> None:
    by_id: dict[str, bytes] = {}
    for number in range(1 << 16):
        key = number.to_bytes(32)
        first = by_id.setdefault(Seals((key,)).seal(TICKET, "ann")[:4], key)
        if first != key:
            break
    one, other = Seals((first,)), Seals((key,))
    for seals in (Seals((first, key)), Seals((key, first))):
        for payload in (one.seal(TICKET, "ann"), other.seal(TICKET, "ann")):
            assert isinstance(seals.open(payload), Opened)
    assert one.open(other.seal(TICKET, "ann")) == Forged(Forgery.BROKEN_SEAL)


@pytest.mark.parametrize("secrets", [(), (b"short",), (NEW, b"short")])
def test_keys_that_protect_nothing_are_refused(secrets: tuple[bytes, ...]) -> None:
    with pytest.raises(AssertionError):
        Seals(secrets)
