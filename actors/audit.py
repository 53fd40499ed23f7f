"""The audit of one event: what is live against what the journal says, and every invariant."""

from typing import Any

from actors.recovery import rebuild, replay_entry
from actors.wire import LiveFacts
from engine.domain.books import Money, count_money, not_sent_back
from engine.domain.records import HoldPlaced
from engine.domain.snapshot import digest
from engine.domain.state import EventState, check_fully
from engine.domain.views import Availability, availability
from engine.journal.contract import (
    EpochStray,
    Journal,
    SequenceGap,
)
from engine.journal.entry import START, CorruptEntry


async def audit(journal: Journal, live: LiveFacts | None) -> dict[str, Any]:
    """Recompute an event from its journal and compare.

    Checks I1, I3 and I7 by recounting (money that waits for an operator to be sent back is a
    violation of I7, too), I4 by comparing digests (live, newest snapshot and
    tail, oldest kept entries), I5 by replaying in order, I6 by counting each booking once.

    Args:
        journal: of the event.
        live: the owner's side, None to audit what is stored without an owner.

    Returns:
        `agree`, the `violations` found, both sides' counts and the money that the journal
        accounts for, ready for JSON.

    Raises:
        Unavailable: the store does not answer.
    """
    while True:
        refs = await journal.snapshots()
        report = await _compare(journal, live)
        # What the owner has trimmed while it was read here is no violation.
        if report["agree"] or await journal.snapshots() == refs:
            return report


async def _compare(journal: Journal, live: LiveFacts | None) -> dict[str, Any]:
    violations: list[str] = []
    until = None if live is None else live.sequence
    state = EventState()
    entries = 0
    try:
        recovered = await rebuild(journal, until)
        state = recovered.state
        check_fully(state)
        older, entries = await _from_oldest(journal, until)
        if older is not None and digest(older) != digest(state):
            violations.append("I4: the journal's entries and the newest snapshot disagree")
    except (CorruptEntry, SequenceGap, EpochStray) as error:
        violations.append(f"I5: {type(error).__name__}: {', '.join(map(str, error.args))}")
    except AssertionError as error:
        violations.append(str(error))
    violations.extend(not_sent_back(state.bookings.values()))
    recomputed = availability(state, state.now_ms)
    found = digest(state)
    if live is not None and live.digest != found:
        violations.append(f"I4: live state {live.digest}, replayed state {found}")
    return {
        "event_id": journal.event_id,
        "sequence": state.sequence,
        "agree": not violations,
        "violations": violations,
        "entries_replayed": entries,
        "bookings": len(state.bookings),
        "money": _money(count_money(state.bookings.values())),
        "live": None if live is None else _side(live.digest, live.availability),
        "recomputed": _side(found, recomputed),
    }


async def _from_oldest(journal: Journal, until: int | None) -> tuple[EventState | None, int]:
    """Replay everything that is kept, without the newest snapshot.

    Returns:
        The state, None where the journal was trimmed and no older snapshot covers it,
        and how many entries were replayed.
    """
    refs = [ref for ref in await journal.snapshots() if until is None or ref.sequence <= until]
    state, position, entries = EventState(), START, 0
    if len(refs) > 1:
        recovered = await rebuild(journal, refs[-1].sequence)
        state, position = recovered.state, refs[-1].position
    elif refs and await journal.read_back(START._replace(epoch=1)) is None:
        return None, 0
    async for entry in journal.replay(position):
        if until is not None and entry.sequence > until:
            break
        for record in entry.records:
            if isinstance(record, HoldPlaced):
                placed = record.booking.booking_id
                assert placed not in state.bookings, f"I6: {entry.position} holds {placed} again"
        replay_entry(state, entry)
        entries += 1
    return state, entries


def _money(money: Money) -> dict[str, int]:
    return {
        "captured": money.captured_minor,
        "refunded": money.refunded_minor,
        "kept": money.kept_minor,
        "sold": money.sold_minor,
        "returning": money.returning_minor,
    }


def _side(digest_: str, counts: Availability | None) -> dict[str, Any]:
    kinds = () if counts is None else counts.ticket_types
    return {
        "digest": digest_,
        "ticket_types": [
            {
                "code": kind.code,
                "capacity": kind.capacity,
                "available": kind.available,
                "held": kind.held,
                "sold": kind.sold,
                "blocked": kind.blocked,
            }
            for kind in kinds
        ],
    }
