"""A snapshot gives back exactly the state it was taken of, or nothing at all."""

from itertools import islice
from unittest.mock import patch

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.domain import snapshot
from engine.domain.booking import Status
from engine.domain.snapshot import (
    SnapshotCounts,
    SnapshotUnusable,
    capture,
    digest,
    digest_of,
    encode_slices,
    restore,
)
from engine.domain.state import EventState, check_fully, check_turn
from tests.unit.engine.domain.given import (
    NOW_MS,
    PAUSE,
    TTL_MS,
    Sale,
    a_type,
    amend,
    booking_id,
    everything,
    hold,
    release,
    replayed,
)


@pytest.fixture
def small_slices(monkeypatch):
    """Two bookings to a slice, so that a handful of bookings needs several."""
    monkeypatch.setattr(snapshot, "SNAPSHOT_SLICE_BOOKINGS", 2)


def a_busy_sale() -> Sale:
    """Return a sale with something held, released and expired, amended and paused."""
    sale = Sale(
        a_type("ga"),
        a_type("early", draws_on="floor"),
        a_type("late", draws_on="floor"),
        max_per_customer=6,
        opens_at_ms=NOW_MS,
    )
    sale.placed("old", late=1)
    sale.wait(TTL_MS)
    sale.expire_due()
    sale.ask(hold("ann", ga=2, early=1), hold("bob", late=2), hold("cid", ga=1))
    sale.wait(1_000)
    sale.ask(hold("dan", ga=3), release("bob"))
    sale.ask(amend(name="Another", capacities={"ga": 7}, closes_at_ms=sale.now_ms + 1_000), PAUSE)
    return sale


SLICES = tuple(encode_slices(capture(a_busy_sale().state)))


# -- restored ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sale",
    [
        pytest.param(a_busy_sale, id="busy"),
        pytest.param(Sale, id="nothing sold yet"),
    ],
)
def test_a_restored_state_is_the_state_it_was_taken_of(small_slices, sale):
    state = sale().state

    restored = restore(encode_slices(capture(state)))

    assert digest(restored) == digest(state)
    check_fully(restored)


def test_every_status_survives_a_snapshot():
    sale = Sale(capacities={"ga": 20})
    for status in Status:
        sale.placed(status, ga=1)
        sale.brought_into(status, booking_id(status))

    restored = restore(encode_slices(capture(sale.state)))

    assert digest(restored) == digest(sale.state)
    assert {booking.customer: booking.status for booking in restored.bookings.values()} == {
        status: status for status in Status
    }


def test_the_snapshot_of_no_event_at_all_can_be_restored():
    assert digest(restore(encode_slices(capture(EventState())))) == digest(EventState())


def test_blocked_units_are_neither_free_nor_anybodys_after_a_restore():
    sale = Sale(capacities={"ga": 5})
    sale.placed("ann", ga=1)
    picture = capture(sale.state)
    # No command blocks units yet, but a snapshot already has room for them.
    blocked = SnapshotCounts("ga", available=1, held=1, sold=0, blocked=3)
    picture.head = replace(picture.head, stocks=(blocked,))

    sale.state = restore(encode_slices(picture))

    assert capture(sale.state).head.stocks == (blocked,)
    assert sale.refusal(amend(capacities={"ga": 3})).limit == 4
    assert sale.refusal(hold("bob", ga=2)).available == 1


def test_a_restored_state_knows_what_the_snapshot_does_not_spell_out():
    state = a_busy_sale().state

    restored = restore(encode_slices(capture(state)))

    original, copy = everything(state), everything(restored)
    # Expiries and customers' units may lack what is long over; the model compares those.
    for name in ("expiring_at", "units_of"):
        del original[name], copy[name]
    assert copy == original


def test_a_restored_sale_goes_on_as_if_nothing_had_happened():
    ours, theirs = a_busy_sale(), a_busy_sale()
    theirs.state = restore(encode_slices(capture(theirs.state)))

    for sale in (ours, theirs):
        # A repeat, a limit that counts what was held before, expiry in order.
        sale.outcomes = [
            sale.ask(hold("ann", ga=2, early=1)),
            sale.ask(amend(closes_at_ms=None)),
            sale.ask(hold("cid", ga=6, key="2")),
            sale.ask(release("dan")),
        ]
        sale.wait(TTL_MS)
        sale.outcomes.append(sale.expire_due())

    assert theirs.outcomes == ours.outcomes
    assert digest(theirs.state) == digest(ours.state)


# -- I4: live == replayed == snapshot + tail ---------------------------------------


def test_replaying_every_entry_gives_the_live_state():
    sale = a_busy_sale()

    again = replayed(sale.entries)

    assert digest(again) == digest(sale.state)
    assert everything(again) == everything(sale.state)


def test_a_snapshot_of_any_entry_and_the_rest_of_the_journal_give_the_live_state(small_slices):
    sale = a_busy_sale()

    for taken_after in range(len(sale.entries) + 1):
        early = replayed(sale.entries[:taken_after])
        restored = restore(list(encode_slices(capture(early))))
        assert restored.sequence == taken_after

        later = replayed(sale.entries[taken_after:], restored)

        assert digest(later) == digest(sale.state), f"snapshot taken after entry {taken_after}"


def test_a_picture_stays_what_it_was_while_the_sale_goes_on(small_slices):
    sale = a_busy_sale()
    before = digest(sale.state)
    slices = encode_slices(capture(sale.state))
    head = next(slices)

    # As the owner does it: turns are taken between two slices.
    sale.ask(release("ann"), release("cid"))
    sale.wait(TTL_MS)
    sale.expire_due()

    assert digest_of([head, *slices]) == before
    assert digest(sale.state) != before


@given(st.lists(st.sampled_from(["hold", "pay", "release", "expire", "read"]), max_size=30))
def test_a_picture_read_between_any_turns_is_that_of_one_moment(steps):
    sale = Sale(capacities={"ga": 1_000})
    for number in range(7):
        sale.placed(f"early-{number}", ga=1)
    with patch.object(snapshot, "SNAPSHOT_SLICE_BOOKINGS", 2):
        before = digest(sale.state)
        slices = encode_slices(capture(sale.state))
        read = [next(slices)]
        for number, step in enumerate(steps):
            held = [one for one in sale.state.bookings.values() if one.status is Status.RESERVED]
            if step == "hold":
                sale.placed(f"late-{number}", ga=1)
            elif step == "read":
                read += islice(slices, 1)
            elif step == "expire":
                sale.wait(TTL_MS // 3)
                sale.expire_due()
            elif held:
                one = held[number % len(held)]
                sale.paid(one.booking_id) if step == "pay" else sale.ask(release(one.customer))
        read += slices

    assert digest_of(read) == before
    check_fully(sale.state)


def test_pictures_that_are_read_or_dropped_keep_nothing_any_more(small_slices):
    sale = a_busy_sale()
    given_up = capture(sale.state)
    read = list(encode_slices(capture(sale.state)))
    assert len(sale.state.captures) == 1

    del given_up

    assert read
    assert not sale.state.captures


# -- the digest --------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda sale: sale.placed("ann", ga=1, key="2"),
        lambda sale: sale.ask(release("ann")),
        lambda sale: sale.ask(PAUSE),
        lambda sale: sale.ask(amend(name="Another")),
        lambda sale: sale.ask(amend(prices_minor={"vip": 1})),
        lambda sale: sale.ask(amend(capacities={"ga": 11})),
        lambda sale: sale.paid(booking_id("ann")),
    ],
    ids=["hold", "release", "pause", "name", "price", "capacity", "payment"],
)
def test_the_digest_tells_states_apart(change):
    sale = Sale(a_type("ga"), a_type("vip"))
    sale.placed("ann", ga=1)
    before = digest(sale.state)

    change(sale)

    assert digest(sale.state) != before


def test_the_digest_depends_on_who_came_first():
    one, other = Sale(), Sale()
    one.ask(hold("ann", ga=1), hold("bob", ga=1))
    other.ask(hold("bob", ga=1), hold("ann", ga=1))

    assert digest(one.state) != digest(other.state)


# -- torn and garbled --------------------------------------------------------------


def test_a_snapshot_without_slices_is_unusable():
    with pytest.raises(SnapshotUnusable):
        restore([])


@pytest.mark.parametrize("index", range(len(SLICES)))
def test_a_slice_cut_anywhere_makes_the_snapshot_unusable(index):
    for length in range(len(SLICES[index])):
        torn = [*SLICES[:index], SLICES[index][:length], *SLICES[index + 1 :]]
        with pytest.raises(SnapshotUnusable):
            restore(torn)


def parts_by_name() -> dict[str, bytes]:
    """Return the slices of a sale in which each holds stock, and some that do not belong."""
    sale = Sale()
    for buyer in ("ann", "bob", "cid", "dan"):
        sale.placed(buyer, ga=1)
    head, one, two = encode_slices(capture(sale.state))
    return {
        "head": head,
        "one": one,
        "two": two,
        "two-and-a-byte": two + b"\x00",
        "empty": b"",
        "other-head": SLICES[0],
        "other-bookings": SLICES[1],
        "head-of-no-event": next(encode_slices(capture(EventState()))),
    }


@pytest.mark.parametrize(
    "names",
    [
        "head one",
        "head two",
        "head",
        "one two",
        "head one one",
        "head one two two",
        "head head one two",
        "head one two empty",
        "head one two-and-a-byte",
        "other-head one two",
        "head-of-no-event one two",
        "head other-bookings",
        "head one two other-bookings",
    ],
)
def test_slices_that_do_not_belong_together_are_unusable(small_slices, names):
    parts = parts_by_name()
    # The control: the right ones in the right order are usable.
    restore([parts["head"], parts["one"], parts["two"]])

    with pytest.raises(SnapshotUnusable):
        restore([parts[name] for name in names.split()])


def flipped(position: int, mask: int) -> list[bytes]:
    """Return the slices with some bits of one byte, counted over all of them, turned over."""
    slices = [bytearray(part) for part in SLICES]
    for part in slices:
        if position < len(part):
            part[position] ^= mask
            break
        position -= len(part)
    return [bytes(part) for part in slices]


@given(st.integers(0, sum(map(len, SLICES)) - 1), st.integers(1, 255))
# The first byte of a text: what is no longer UTF-8 is refused as any other garble is.
@example(SLICES[0].index(b"Night of Strings"), 0xFF)
def test_a_flipped_bit_is_refused_or_seen_in_the_digest_and_never_anything_else(position, mask):
    garbled = flipped(position, mask)
    assert digest_of(garbled) != digest_of(SLICES)

    try:
        state = restore(garbled)
    except SnapshotUnusable:
        event("refused")
    else:
        event("seen in the digest only")
        check_turn(state)


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_noise_is_unusable(noise):
    with pytest.raises(SnapshotUnusable):
        restore(noise)
