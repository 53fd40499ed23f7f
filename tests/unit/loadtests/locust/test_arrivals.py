"""Arrivals are taken in time, or counted as skipped."""

from loadtests.locust.arrivals import Arrivals


def test_arrivals_come_in_their_order():
    arrivals = Arrivals([1.0, 2.0, 3.0], patience=0.5)
    assert [arrivals.take(0.0), arrivals.take(0.0), arrivals.take(3.2)] == [1.0, 2.0, 3.0]
    assert arrivals.take(3.2) is None
    assert (arrivals.begun, arrivals.skipped) == (3, 0)


def test_what_is_late_within_patience_keeps_its_own_moment():
    assert Arrivals([1.0], patience=0.5).take(1.5) == 1.0


def test_what_nobody_was_free_for_is_skipped_and_counted():
    arrivals = Arrivals([1.0, 2.0, 3.0, 4.0], patience=0.5)
    assert arrivals.take(0.0) == 1.0
    # Whoever took the first was served for three seconds.
    assert arrivals.take(3.6) == 4.0
    assert (arrivals.begun, arrivals.skipped) == (2, 2)


def test_what_was_due_and_not_taken_is_skipped_at_the_end():
    arrivals = Arrivals([1.0, 2.0, 3.0], patience=0.5)
    assert arrivals.take(0.0) == 1.0
    arrivals.close(2.1)
    assert (arrivals.begun, arrivals.skipped) == (1, 1)
