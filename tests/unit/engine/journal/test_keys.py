"""Names in the store are for ever: a stored event could not be found under another."""

from collections import Counter

import pytest

from engine.journal.keys import event_keys, partition_keys, partition_of
from engine.limits import PARTITIONS


@pytest.mark.parametrize(
    ("event_id", "partition"),
    [("evt_0000000000aa", 47), ("evt_zzzzzzzzzzzz", 44), ("evt_7h3k2m9qwert", 52), ("", 0)],
)
def test_the_partition_of_an_event_never_changes(event_id: str, partition: int) -> None:
    assert partition_of(event_id) == partition


def test_the_keys_of_an_event_never_change() -> None:
    assert event_keys("evt_0000000000aa") == (
        "{p47}:journal:evt_0000000000aa",
        "{p47}:event:evt_0000000000aa",
        "{p47}:snapshots:evt_0000000000aa",
        "{p47}:snapshot:evt_0000000000aa:",
    )
    assert partition_keys(7) == (
        "{p07}:effects",
        "{p07}:scans",
        "{p07}:events",
        "{p07}:openings",
        "{p07}:awake",
        "{p07}:bookings:",
        "{p07}:inbox",
        "{p07}:dead:",
        "{p07}:contact:",
    )


def test_events_spread_evenly_over_all_partitions() -> None:
    counts = Counter(partition_of(f"evt_{number:012d}") for number in range(64_000))
    assert sorted(counts) == list(range(PARTITIONS))
    assert max(counts.values()) < 2 * min(counts.values())


def test_no_two_names_are_the_same() -> None:
    events = [f"evt_{number:012d}" for number in range(200)]
    names = [name for event_id in events for name in event_keys(event_id)]
    names += [name for number in range(PARTITIONS) for name in partition_keys(number)]
    assert len(set(names)) == len(names)
    journals = {event_keys(event_id).journal for event_id in events}
    snapshots = tuple(event_keys(event_id).snapshot for event_id in events)
    assert not any(name.startswith(snapshots) for name in journals)
