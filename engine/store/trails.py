"""The audit trail of tickets, read out of what single records have made of them."""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from engine.domain.records import PassageUndone, TicketScanned
from engine.domain.tickets import TicketStatus
from engine.store.contract import TicketChange

#: Causes: somebody passed a door with it, that was a mistake, its event was called off.
SCANNED = str(TicketScanned.__struct_config__.tag)
UNSCANNED = str(PassageUndone.__struct_config__.tag)
CANCELLED = "cancelled"

_ACTIVE, _USED, _VOID = (one.value for one in TicketStatus)


def steps(changes: Iterable[TicketChange], void: tuple[int, int] | None) -> list[TicketChange]:
    """Return what tickets became step by step, oldest first.

    What the doors say and what payments say of a ticket come on different ways, so that
    neither knows of the other when it is entered: whether a ticket is worth something and
    whether it was used are brought together only here. What changes nothing is left out.

    Args:
        changes: of any tickets, those of one sequence in their order.
        void: sequence and moment at which their event was called off; None: it was not.
    """
    passages: Counter[str] = Counter()
    worthless: set[str] = set()
    status: dict[str, str] = {}
    lines: list[TicketChange] = []
    for change in _with_cancellation(sorted(changes, key=_sequence), void):
        ticket_id = change.ticket_id
        if change.cause == SCANNED:
            passages[ticket_id] += 1
        elif change.cause == UNSCANNED:
            passages[ticket_id] = max(0, passages[ticket_id] - 1)
        elif change.status != _VOID:
            worthless.discard(ticket_id)
            if change.status == _USED:  # so it was entered when it came late
                passages[ticket_id] = max(1, passages[ticket_id])
        else:
            worthless.add(ticket_id)
        is_worth = _USED if passages[ticket_id] > 0 else _ACTIVE
        is_now = _VOID if ticket_id in worthless else is_worth
        if status.get(ticket_id) != is_now:
            status[ticket_id] = is_now
            lines.append(replace(change, status=is_now))
    return lines


def _with_cancellation(
    changes: Sequence[TicketChange], void: tuple[int, int] | None
) -> list[TicketChange]:
    """Return changes with the end of every ticket that there was when its event was called off.

    Nothing that comes behind makes one good again.
    """
    if void is None:
        return list(changes)
    sequence, at_ms = void
    before = [change for change in changes if change.sequence < sequence]
    ended = dict.fromkeys(change.ticket_id for change in before)
    ends = [TicketChange(one, _VOID, CANCELLED, sequence, at_ms) for one in ended]
    behind = [
        replace(change, status=_VOID) if change.ticket_id in ended else change
        for change in changes[len(before) :]
    ]
    return [*before, *ends, *behind]


def _sequence(change: TicketChange) -> int:
    return change.sequence
