"""The order that entries must have, and the first one that has it not."""

import pytest

from engine.journal.contract import EpochStray, SequenceGap
from engine.journal.entry import START, Entry, Position
from engine.journal.replay import EntryOrder


def follow(after: Position, *texts: str) -> list[str]:
    """Return the ids that carry records; raises at the first that is out of order."""
    order = EntryOrder(after)
    accepted = [text for text in texts if order.accept(Entry(*Position.parse(text), 0, b""))]
    assert order.position.sequence == after.sequence + len(accepted)
    return accepted


def test_an_epoch_begins_with_its_claim_and_counts_on() -> None:
    assert follow(START, "1-0", "1-1", "1-2") == ["1-1", "1-2"]


def test_sequences_count_on_over_all_epochs() -> None:
    texts = ["1-0", "1-1", "2-0", "2-2", "3-0", "7-0", "7-3"]
    assert follow(START, *texts) == ["1-1", "2-2", "7-3"]


@pytest.mark.parametrize(
    ("after", "texts"),
    [
        (Position(1, 5), ["1-6"]),
        (Position(1, 5), ["2-0", "2-6"]),
        (Position(2, 5), ["2-6", "3-0", "3-7"]),
    ],
    ids=str,
)
def test_a_replay_goes_on_behind_a_snapshot(after: Position, texts: list[str]) -> None:
    assert follow(after, *texts) == [text for text in texts if not text.endswith("-0")]


def test_the_position_tells_the_epoch_in_force_and_the_last_sequence() -> None:
    order = EntryOrder(START)
    for text in ("1-0", "1-1", "2-0"):
        order.accept(Entry(*Position.parse(text), 0, b""))
    assert order.position == Position(2, 1)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ("1-0 1-2", 1),
        ("1-0 1-1 1-3", 2),
        ("1-0 1-1 1-1", 2),
        ("1-0 1-1 2-0 2-1", 2),
        ("1-0 1-1 2-0 2-3", 2),
        ("1-2", 1),
    ],
    ids=str,
)
def test_a_missing_or_repeated_entry_is_a_gap(texts: str, expected: int) -> None:
    with pytest.raises(SequenceGap) as gap:
        follow(START, *texts.split())
    assert gap.value.args == (Position.parse(texts.rsplit(maxsplit=1)[-1]), expected)


@pytest.mark.parametrize(
    ("texts", "in_force"),
    [
        ("1-1", 0),
        ("1-0 1-1 2-2", 1),
        ("1-0 1-1 3-0 2-2", 3),
        ("1-0 2-0 1-1", 2),
        ("1-0 1-0", 1),
        ("2-0 1-0", 2),
        ("0-0", 0),
    ],
    ids=str,
)
def test_an_entry_outside_the_epoch_in_force_is_a_stray(texts: str, in_force: int) -> None:
    with pytest.raises(EpochStray) as stray:
        follow(START, *texts.split())
    assert stray.value.args == (Position.parse(texts.rsplit(maxsplit=1)[-1]), in_force)


def test_a_refused_entry_leaves_the_order_where_it_was() -> None:
    order = EntryOrder(Position(1, 1))
    with pytest.raises(SequenceGap):
        order.accept(Entry(1, 3, 0, b""))
    assert order.accept(Entry(1, 2, 0, b""))
