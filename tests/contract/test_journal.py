"""What every journal promises its owner: `engine.journal.contract`, held against each of them."""

from collections.abc import Callable

import pytest

from engine.domain.admission import Scanned
from engine.domain.records import PassageUndone, TicketScanned
from engine.journal import redis as redis_journal
from engine.journal.contract import (
    EpochStray,
    Fenced,
    InDoubt,
    JournalLost,
    SequenceGap,
    Unavailable,
)
from engine.journal.entry import START, CorruptEntry, Entry, Position, encode_entry
from tests.contract.rigs import Entries, Rig, filled, flip_bit, gather, replayed
from tests.samples import MINE, NOW_MS, THEIRS, entry, expired, one_of_each, placed

# -- head and claim --------------------------------------------------------------------


async def test_a_new_journal_has_its_head_before_the_first_claim(rig: Rig) -> None:
    assert await rig.journal().head() == START
    assert await replayed(rig.journal()) == []


async def test_every_claim_opens_the_next_epoch_and_stands_at_the_head(rig: Rig) -> None:
    assert await rig.journal().claim(MINE, NOW_MS) == Position(1, 0)
    assert await rig.journal().claim(THEIRS, NOW_MS) == Position(2, 0)
    assert await rig.journal().head() == Position(2, 0)


async def test_a_claim_is_stored_with_the_nonce_of_who_made_it(rig: Rig) -> None:
    position = await rig.journal().claim(THEIRS, NOW_MS)
    assert await rig.journal().read_back(position) == Entry(1, 0, NOW_MS, THEIRS)


async def test_a_claim_says_that_the_event_needs_an_owner(rig: Rig) -> None:
    assert not await rig.is_awake()
    await rig.journal().claim(MINE, NOW_MS)
    assert await rig.is_awake()


async def test_a_claim_leaves_who_claimed_last_in_its_own_words(rig: Rig) -> None:
    assert await rig.claimant() is None
    claim = await rig.journal().claim(MINE, NOW_MS, b"mine \0\xff")
    await rig.journal().append(entry(Position(1, 1), *one_of_each()), claim)
    assert await rig.claimant() == b"mine \0\xff"
    await rig.journal().claim(THEIRS, NOW_MS, b"theirs")
    assert await rig.claimant() == b"theirs"
    await rig.journal().claim(THEIRS, NOW_MS)
    assert await rig.claimant() is None, "an old word would lead to the wrong process"


async def test_a_claim_fences_the_owner_before_it(rig: Rig) -> None:
    old, new = rig.journal(), rig.journal()
    await filled(old, 2)
    claim = await new.claim(THEIRS, NOW_MS)
    before = await rig.contents()
    late = entry(Position(1, 3), *one_of_each())
    with pytest.raises(Fenced) as fenced:
        await old.append(late, Position(1, 2))
    assert fenced.value.args == (late.position, claim)
    assert await rig.contents() == before, "a fenced append wrote something"


async def test_an_old_owner_stays_fenced_after_its_successor_has_written(rig: Rig) -> None:
    old, new = rig.journal(), rig.journal()
    await filled(old, 1)
    claim = await new.claim(THEIRS, NOW_MS)
    await new.append(entry(Position(2, 2), nonce=THEIRS), claim)
    before = await rig.contents()
    for after in (Position(1, 1), Position(1, 0)):
        with pytest.raises(Fenced):
            await old.append(entry(Position(1, 2)), after)
    assert await rig.contents() == before


async def test_a_claim_whose_reply_was_lost_is_in_doubt_and_may_be_repeated(rig: Rig) -> None:
    rig.lose_reply()
    with pytest.raises(InDoubt):
        await rig.journal().claim(MINE, NOW_MS)
    assert await rig.is_awake(), "the claim and its mark are one step"
    assert await rig.journal().head() == Position(1, 0)
    assert await rig.journal().claim(MINE, NOW_MS) == Position(2, 0)


async def test_a_claim_that_never_arrived_is_in_doubt_and_may_be_repeated(rig: Rig) -> None:
    rig.lose_request()
    with pytest.raises(InDoubt):
        await rig.journal().claim(MINE, NOW_MS)
    assert not await rig.is_awake()
    assert await rig.journal().claim(MINE, NOW_MS) == Position(1, 0)


# -- append ----------------------------------------------------------------------------


async def test_an_appended_entry_is_the_head_and_reads_back_as_it_was(rig: Rig) -> None:
    journal = rig.journal()
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    await journal.append(written, claim)
    assert await journal.head() == Position(1, 1)
    assert await rig.journal().read_back(Position(1, 1)) == written
    assert await replayed(rig.journal()) == [written]


async def test_an_entry_appended_twice_is_written_once(rig: Rig) -> None:
    journal = rig.journal()
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    await journal.append(written, claim)
    before = await rig.contents()
    await journal.append(written, claim)
    assert await rig.contents() == before


async def test_an_old_entry_appended_again_is_known_even_behind_a_newer_claim(rig: Rig) -> None:
    journal = rig.journal()
    first, second = await filled(journal, 2)
    await rig.journal().claim(THEIRS, NOW_MS)
    before = await rig.contents()
    await journal.append(first, Position(1, 0))
    await journal.append(second, Position(1, 1))
    assert await rig.contents() == before


async def test_an_append_whose_reply_was_lost_is_found_by_reading_back(rig: Rig) -> None:
    journal = rig.journal()
    claim = await journal.claim(MINE, NOW_MS)
    written = entry(Position(1, 1), *one_of_each())
    rig.lose_reply()
    with pytest.raises(InDoubt):
        await journal.append(written, claim)
    before = await rig.contents()
    assert await journal.read_back(written.position) == written
    await journal.append(written, claim)
    assert await rig.contents() == before, "the repeated append wrote something"


async def test_an_append_that_never_arrived_is_absent_and_may_be_repeated(rig: Rig) -> None:
    journal = rig.journal()
    claim = await journal.claim(MINE, NOW_MS)
    before = await rig.contents()
    written = entry(Position(1, 1), *one_of_each())
    rig.lose_request()
    with pytest.raises(InDoubt):
        await journal.append(written, claim)
    assert await journal.read_back(written.position) is None
    assert await rig.contents() == before
    await journal.append(written, claim)
    assert await replayed(journal) == [written]


async def test_another_owner_of_the_same_epoch_is_told_by_its_nonce(rig: Rig) -> None:
    journal = rig.journal()
    await filled(journal, 1)
    before = await rig.contents()
    with pytest.raises(Fenced):
        await journal.append(entry(Position(1, 1), *one_of_each(), nonce=THEIRS), Position(1, 0))
    assert await rig.contents() == before


async def test_an_owner_notices_that_the_journal_was_emptied(rig: Rig) -> None:
    journal = rig.journal()
    await filled(journal, 2)
    await rig.change_entries(Entries.clear)
    before = await rig.contents()
    with pytest.raises(JournalLost) as lost:
        await journal.append(entry(Position(1, 3), *one_of_each()), Position(1, 2))
    assert lost.value.args == (Position(1, 2), START)
    assert await rig.contents() == before


@pytest.mark.parametrize("kept", [Position(1, 0), Position(1, 1)], ids=str)
async def test_an_owner_notices_that_the_journal_was_cut(rig: Rig, kept: Position) -> None:
    journal = rig.journal()
    await filled(journal, 3)
    await rig.change_entries(lambda entries: [entries.pop(p) for p in [*entries] if p > kept])
    before = await rig.contents()
    with pytest.raises(JournalLost) as lost:
        await journal.append(entry(Position(1, 4), *one_of_each()), Position(1, 3))
    assert lost.value.args == (Position(1, 3), kept)
    assert await rig.contents() == before


async def test_an_owner_notices_that_its_own_claim_was_lost(rig: Rig) -> None:
    await filled(rig.journal(), 2)
    successor = rig.journal()
    claim = await successor.claim(THEIRS, NOW_MS)
    await rig.change_entries(lambda entries: entries.pop(claim))
    with pytest.raises(JournalLost):
        await successor.append(entry(Position(2, 3), nonce=THEIRS), claim)


# -- what is written beside an entry ---------------------------------------------------


async def test_effects_are_written_once_and_in_order_with_their_entry(rig: Rig) -> None:
    journal = rig.journal()
    after = await journal.claim(MINE, NOW_MS)
    records = one_of_each()
    for sequence, content in enumerate([records, (placed(9),), (expired(7), expired(9))], 1):
        written = entry(Position(1, sequence), *content)
        rig.lose_reply()
        with pytest.raises(InDoubt):
            await journal.append(written, after)
        await journal.append(written, after)
        after = written.position
    assert await rig.effects() == [
        (Position(1, 1), 5, records[5]),
        (Position(1, 1), 7, records[7]),
        (Position(1, 1), 9, records[9]),
        (Position(1, 3), 0, expired(7)),
        (Position(1, 3), 1, expired(9)),
    ]


async def test_scans_have_a_stream_of_their_own(rig: Rig) -> None:
    journal = rig.journal()
    after = await journal.claim(MINE, NOW_MS)
    scanned = TicketScanned(Scanned("s1", admitted=False), True, "N", "sam", 1, 1, False)
    undone = PassageUndone("tkt_1", "otto", 2)
    await journal.append(
        entry(Position(1, 1), scanned, placed(7), expired(7), undone, placed(8)), after
    )
    assert await rig.scans() == [(Position(1, 1), 0, scanned), (Position(1, 1), 3, undone)]
    assert await rig.effects() == [(Position(1, 1), 2, expired(7))]


# -- reading back and replaying --------------------------------------------------------


async def test_reading_back_where_nothing_stands_gives_nothing(rig: Rig) -> None:
    await filled(rig.journal(), 1)
    for nowhere in (Position(1, 2), Position(2, 0), Position(0, 1)):
        assert await rig.journal().read_back(nowhere) is None


async def test_replay_leaves_the_claims_out_and_counts_on_over_the_epochs(rig: Rig) -> None:
    entries = await filled(rig.journal(), 2)
    claim = await rig.journal().claim(THEIRS, NOW_MS)
    entries.append(entry(Position(2, 3), nonce=THEIRS))
    await rig.journal().append(entries[-1], claim)
    await rig.journal().claim(MINE, NOW_MS)
    assert await replayed(rig.journal()) == entries


async def test_replay_begins_behind_the_position_it_is_given(rig: Rig) -> None:
    first, second, third = await filled(rig.journal(), 3)
    assert await replayed(rig.journal(), Position(1, 0)) == [first, second, third]
    assert await replayed(rig.journal(), Position(1, 1)) == [second, third]
    assert await replayed(rig.journal(), Position(1, 3)) == []


async def test_replay_goes_on_from_a_state_that_a_later_epoch_has_only_read(rig: Rig) -> None:
    await filled(rig.journal(), 2)
    claim = await rig.journal().claim(THEIRS, NOW_MS)
    last = entry(Position(2, 3), nonce=THEIRS)
    await rig.journal().append(last, claim)
    assert await replayed(rig.journal(), Position(2, 2)) == [last]


@pytest.mark.parametrize("count", [5, 6, 7])
async def test_replay_gives_every_entry_whatever_the_page_holds(
    rig: Rig, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_journal, "REPLAY_PAGE_ENTRIES", 3)
    entries = await filled(rig.journal(), count - 1)  # the claim is a row of its own
    assert await replayed(rig.journal()) == entries


def put(at: Position, sealed: bytes | None = None) -> Callable[[Entries], object]:
    """Store these bytes at a position, or a sound entry that belongs there."""
    if sealed is None:
        sealed = encode_entry(entry(at, expired(at.sequence)))
    return lambda entries: entries.update({at: sealed})


def spoil(entries: Entries) -> None:
    entries[Position(1, 2)] = flip_bit(entries[Position(1, 2)], 99)


def repeat(entries: Entries) -> None:
    entries[Position(1, 2)] = entries[Position(1, 1)]


@pytest.mark.parametrize(
    ("damage", "error", "at", "good"),
    [
        (lambda entries: entries.pop(Position(1, 2)), SequenceGap, Position(1, 3), 1),
        (lambda entries: entries.pop(Position(1, 0)), EpochStray, Position(1, 1), 0),
        (put(Position(2, 3)), SequenceGap, Position(2, 3), 3),
        (put(Position(2, 4)), EpochStray, Position(2, 4), 3),
        (put(Position(1, 5)), SequenceGap, Position(1, 5), 3),
        (put(Position(1, 2), b""), CorruptEntry, Position(1, 2), 1),
        (spoil, CorruptEntry, Position(1, 2), 1),
        (repeat, CorruptEntry, Position(1, 2), 1),
    ],
    ids=["gap", "no claim", "twice", "stray", "lost before the last", "empty", "bit", "moved"],
)
async def test_replay_halts_at_the_damaged_entry_and_names_it(rig, damage, error, at, good) -> None:
    entries = await filled(rig.journal(), 3)
    await rig.change_entries(damage)
    seen: list[Entry] = []
    with pytest.raises(error) as raised:
        await gather(rig.journal(), seen)
    assert raised.value.args[0] == at
    assert seen == entries[:good], "what stands before the damage is good"


async def test_reading_back_a_damaged_entry_says_so(rig: Rig) -> None:
    await filled(rig.journal(), 1)
    at = Position(1, 1)
    await rig.change_entries(lambda entries: entries.update({at: flip_bit(entries[at], 80)}))
    with pytest.raises(CorruptEntry):
        await rig.journal().read_back(at)


# -- rest, and a store that is away ----------------------------------------------------


async def test_an_event_rests_only_if_nothing_was_written_meanwhile(rig: Rig) -> None:
    journal = rig.journal()
    await filled(journal, 2)
    for stale in (START, Position(1, 0), Position(1, 1), Position(1, 3), Position(2, 0)):
        assert await journal.rest(stale) is False
        assert await rig.is_awake()
    assert await journal.rest(Position(1, 2)) is True
    assert not await rig.is_awake()
    await rig.journal().claim(THEIRS, NOW_MS)
    assert await rig.is_awake(), "a new owner wakes the event"


async def test_a_store_that_is_away_is_told_from_one_that_is_empty(rig: Rig) -> None:
    journal = rig.journal()
    (written,) = await filled(journal, 1)
    await rig.go_away()
    for ask in (journal.head, journal.snapshots, journal.trim):
        with pytest.raises(Unavailable):
            await ask()
    for ask in (journal.read_back, journal.rest):
        with pytest.raises(Unavailable):
            await ask(written.position)
    with pytest.raises(Unavailable):
        await replayed(journal)
    with pytest.raises(InDoubt):
        await journal.append(entry(Position(1, 2)), written.position)
    with pytest.raises(InDoubt):
        await journal.claim(MINE, NOW_MS)
    await rig.come_back()
    assert await replayed(journal) == [written]
