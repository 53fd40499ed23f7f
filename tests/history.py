"""The checker of FAULTS.md: what clients were told, against what the journal says.

A history is a list of `Call`s, from a simulation or from a drill over HTTP: who asked what,
when, and what came of it. `verify` replays the journal beside it and raises `Violation`
for the first broken promise. It knows the records and how they are applied, and nothing
of owners, gateways or stores.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from engine.domain.booking import Booking, Status
from engine.domain.state import EventState
from engine.journal.entry import Entry
from engine.limits import AVAILABILITY_AGE_MS_MAX, FENCE_CHECK_MS
from tests.calls import GRANTED, HOLD, REFUSED, RELEASE, UNKNOWN, Call, Seen, Violation, told
from tests.reading import Reading

#: What an answer other than a grant may lag behind: the age of what a gateway refuses from,
#: and of an owner's proof that it has no successor. A grant never lags.
STALE_SECONDS = (AVAILABILITY_AGE_MS_MAX + FENCE_CHECK_MS) / 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a history that keeps every promise consisted of; says whether it proves much."""

    entries: int
    bookings: int
    granted: int
    refused: int
    unknown: int
    unknown_but_done: int
    shortages_checked: int


async def gathered(entries: AsyncIterable[Entry]) -> list[Entry]:
    """Return the entries of `Journal.replay`."""
    return [entry async for entry in entries]


def verify(
    calls: Sequence[Call],
    entries: Iterable[Entry],
    *,
    base: EventState | None = None,
    digests: Iterable[tuple[int, str]] = (),
    complete: bool = True,
    stale_seconds: float = STALE_SECONDS,
    settled_at_ms: int | None = None,
) -> Verdict:
    """Check one event's history against its journal.

    Args:
        entries: in the order in which they were written; claims may be among them.
        base: the state before the first entry, of a journal that was trimmed; it is used up.
        digests: (sequence, digest) of live states and of snapshots (I4).
        complete: `calls` are all that was ever asked of this event.
        settled_at_ms: no hold that expired before this may still stand at the end (I9).

    Raises:
        Violation: the first promise found broken.
    """
    stamped = defaultdict(list)
    for call in calls:
        if call.outcome == REFUSED and call.sequence is not None:
            stamped[call.sequence].append(call)
    known_digests = defaultdict(list)
    for sequence, found in digests:
        known_digests[sequence].append(found)
    reading = Reading(base or EventState(), stamped, known_digests)
    for entry in entries:
        reading.take(entry)
    reading.finish(settled_at_ms)
    newest = max((told(call) for call in calls), default=0)
    if max(newest, *known_digests, 0) > reading.state.sequence:
        raise Violation("I2", f"{newest} was told, the journal ends at {reading.state.sequence}")
    unknown_but_done = _check_answers(calls, reading, complete=complete)
    _check_order(calls, stale_seconds)
    outcomes = Counter(call.outcome for call in calls)
    return Verdict(
        reading.entries,
        len(reading.state.bookings),
        outcomes[GRANTED],
        outcomes[REFUSED],
        outcomes[UNKNOWN],
        unknown_but_done,
        reading.shortages_checked,
    )


# -- the answers, one by one -----------------------------------------------------------


def _check_answers(calls: Sequence[Call], reading: Reading, *, complete: bool) -> int:
    """Check every answer for itself; return how many unknowns were carried out."""
    bookings = reading.state.bookings
    keys: dict[tuple[str, str], str] = {}
    first_answers: Counter[str] = Counter()
    for call in calls:
        if call.outcome != GRANTED:
            continue
        if call.seen is None:
            raise Violation("I2", f"a grant without a booking: {call}")
        _check_shown(call, call.seen, bookings, reading.versions)
        if call.what != HOLD:
            continue
        booking_id = call.seen.booking_id
        if keys.setdefault((call.customer, call.key), booking_id) != booking_id:
            raise Violation("I6", f"two bookings under one key: {call}")
        if not call.replayed:
            first_answers[booking_id] += 1
    for booking_id, times in first_answers.items():
        if times > 1:
            raise Violation("I6", f"{booking_id} was placed {times} times, as the answers have it")
    if len(set(keys.values())) < len(keys):
        raise Violation("I6", "one booking was given for two keys")
    return _check_unasked(calls, reading, keys) if complete else 0


def _check_shown(
    call: Call,
    seen: Seen,
    bookings: Mapping[str, Booking],
    versions: Mapping[str, list[Booking]],
) -> None:
    booking = bookings.get(seen.booking_id)
    if booking is None:
        raise Violation("I2", f"not in the journal: {call}")
    if call.what == HOLD and (seen.wanted != call.wanted or seen.customer != call.customer):
        raise Violation("I2", f"not what was asked for: {call}")
    if call.what == HOLD or len(seen.history) > len(booking.history):
        version = booking.as_placed()
    else:
        version = _version(booking, len(seen.history))
    paying = () if call.what == HOLD else versions.get(seen.booking_id, ())
    if seen not in (Seen.of(version), *map(Seen.of, paying)):
        raise Violation("I2", f"answered {seen}, journalled {booking}")
    if call.what == RELEASE and seen.status != Status.CANCELLED:
        raise Violation("I2", f"released and still there: {call}")


def _version(booking: Booking, moments: int) -> Booking:
    """Return the booking as it was after so many moments of its history."""
    version = booking.as_placed()
    for moment in booking.later[: moments - 1]:
        version = version.moved(moment.status, moment.at_ms)
    return version


def _check_unasked(
    calls: Sequence[Call], reading: Reading, keys: Mapping[tuple[str, str], str]
) -> int:
    """Check that every booking was granted to somebody or is one unknown's, carried out once."""
    granted = set(keys.values())
    open_wishes: dict[tuple[str, str], set[_Wish]] = defaultdict(set)
    for call in calls:
        if call.what == HOLD and call.outcome == UNKNOWN and (call.customer, call.key) not in keys:
            wish = (call.booking_id, call.customer, call.wanted)
            open_wishes[call.customer, call.key].add(wish)
    open_count = Counter(wish for wishes in open_wishes.values() for wish in wishes)
    done = 0
    for booking_id, booking in reading.state.bookings.items():
        if booking_id in granted or booking.sequence <= reading.first:
            continue
        seen = Seen.of(booking)
        wishes = ((booking_id, seen.customer, seen.wanted), (None, seen.customer, seen.wanted))
        wish = next((wish for wish in wishes if open_count[wish]), None)
        if wish is None:
            raise Violation("I2", f"held though nobody was told so nor left waiting: {booking}")
        open_count[wish] -= 1
        done += 1
    return done


#: Booking id if known, customer, and what is wanted.
_Wish = tuple[str | None, str, tuple[tuple[str, int], ...]]


# -- the order of the answers ----------------------------------------------------------


class _Told:
    """The largest of the numbers that were told before some time."""

    def __init__(self, told: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(told)
        self._times = [time for time, _ in ordered]
        self._largest = list(accumulate((number for _, number in ordered), max, initial=-1))

    def before(self, time: float) -> int:
        return self._largest[bisect_left(self._times, time)]


def _check_order(calls: Sequence[Call], stale_seconds: float) -> None:
    """Check that whoever asks after an answer is answered from behind it."""
    sequences = _Told((call.answered_at, told(call)) for call in calls)
    asked_first: dict[tuple[str, str], float] = {}
    for call in calls:
        if call.what == HOLD:
            key = (call.customer, call.key)
            asked_first[key] = min(call.asked_at, asked_first.get(key, call.asked_at))
    for call in calls:
        if call.what == HOLD and call.seen is not None:
            before = sequences.before(asked_first[call.customer, call.key])
            if call.seen.sequence <= before:
                raise Violation("I2", f"granted behind {before}, which was told before: {call}")
        if call.outcome != UNKNOWN and call.sequence is not None:
            before = sequences.before(call.asked_at - stale_seconds)
            if call.sequence < before:
                raise Violation("I2", f"stale, {before} was told long before: {call}")
    _check_versions(calls, stale_seconds)


def _check_versions(calls: Sequence[Call], stale_seconds: float) -> None:
    """Check that nobody sees a booking go back in its history, or vanish."""
    lengths = defaultdict(list)
    owners: dict[str, str] = {}
    for call in calls:
        if call.seen is not None:
            lengths[call.seen.booking_id].append((call.answered_at, len(call.seen.history)))
            owners[call.seen.booking_id] = call.seen.customer
    known = {booking_id: _Told(seen) for booking_id, seen in lengths.items()}
    for call in calls:
        if call.what == HOLD or call.booking_id not in known or call.outcome == UNKNOWN:
            continue
        before = known[call.booking_id].before(call.asked_at - stale_seconds)
        length = 0 if call.seen is None else len(call.seen.history)
        vanished = call.code == "booking_not_found" and call.customer == owners[call.booking_id]
        if length < before and (call.seen is not None or vanished):
            raise Violation("I2", f"seen further on before: {call}")
