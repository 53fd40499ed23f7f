"""What single records make of the tickets of their booking.

Each is entered by its own sequence and time, however late it comes. What the record does not
say is taken from what is past and stays: the states that the booking has been in.
"""

from collections.abc import Iterable, Sequence

from engine.domain.booking import Booking, Status
from engine.domain.payment import DISPUTE_OVER, quantities
from engine.domain.records import (
    BookingConfirmed,
    DisputeNoted,
    MoneyTakenBack,
    PassageUndone,
    Record,
    RefundFailed,
    RefundRequested,
    RefundSettled,
    TicketScanned,
)
from engine.domain.tickets import TicketStatus, booking_of_ticket, tickets_of
from engine.store.contract import BackOffice, TicketChange
from engine.store.trails import SCANNED, UNSCANNED

#: Records that void tickets or make them good again: which ones depends on those before.
_ON_TOP = (RefundRequested, RefundSettled, RefundFailed, MoneyTakenBack, DisputeNoted)

_ACTIVE, _USED, _VOID = TicketStatus.ACTIVE, TicketStatus.USED, TicketStatus.VOID
_BY_REFUND, _BY_BANK = (str(kind.__struct_config__.tag) for kind in (RefundRequested, DisputeNoted))


async def of_batch(
    store: BackOffice, facts: Sequence[tuple[int, Record, Booking]]
) -> list[TicketChange]:
    """Return what records have made of the tickets of their bookings.

    Args:
        store: with what those before them have.
        facts: the sequence of each record and its booking as it stands now, in their order.

    Raises:
        StoreAway: the database did not answer.
    """
    on_top = {booking.booking_id for _, record, booking in facts if isinstance(record, _ON_TOP)}
    known: dict[str, list[TicketChange]] = {}
    for change in await store.changes(sorted(on_top)) if on_top else ():
        known.setdefault(booking_of_ticket(change.ticket_id), []).append(change)
    fresh: dict[str, list[TicketChange]] = {}
    for sequence, record, booking in facts:
        made = fresh.setdefault(booking.booking_id, [])
        stored = known.get(booking.booking_id, ())
        # Handled again, these records are in the store themselves.
        before = dict.fromkeys(one for one in stored if one.sequence < sequence)
        earlier = sorted(before | dict.fromkeys(made), key=lambda one: one.sequence)
        made += of(record, sequence, booking, earlier)
    return [change for changes in fresh.values() for change in changes]


def of(
    record: Record, sequence: int, booking: Booking, earlier: Iterable[TicketChange]
) -> list[TicketChange]:
    """Return what a record has made of the tickets of its booking, nothing if there are none.

    Args:
        record: about this booking.
        sequence: of its entry.
        booking: as it stands now, whatever has happened behind the record.
        earlier: what records before it have made of them, in order; those of `_ON_TOP` need it.
    """
    if isinstance(record, TicketScanned):
        return [TicketChange(record.scan.ticket_id, _USED, SCANNED, sequence, record.noted_ms)]
    if isinstance(record, PassageUndone):
        return [TicketChange(record.ticket_id, _ACTIVE, UNSCANNED, sequence, record.at_ms)]
    tickets = [(one.ticket_id, one.ticket_type) for one in tickets_of(booking)]
    ids = [ticket_id for ticket_id, _ in tickets]
    if isinstance(record, BookingConfirmed):
        return _changes(record, sequence, ids, _ACTIVE)
    if not isinstance(record, _ON_TOP):
        return []
    void = _void(earlier)
    good = [one for one in ids if one not in void]
    if isinstance(record, RefundRequested):
        asked_back: list[str] = []
        for ticket_type, quantity in quantities(record.refund.parts).items():
            left = [one for one, its in tickets if its == ticket_type and one not in void]
            asked_back += left[max(0, len(left) - quantity) :]
        return _changes(record, sequence, asked_back, _VOID)
    if isinstance(record, DisputeNoted) and record.status not in DISPUTE_OVER:
        return _changes(record, sequence, good, _VOID)
    if isinstance(record, RefundFailed | DisputeNoted):
        return _changes(record, sequence, _good_again(record, booking, void), _ACTIVE)
    over = _came_to(booking, Status.REFUNDED, record.at_ms)
    return _changes(record, sequence, good if over else [], _VOID)


def _good_again(
    record: RefundFailed | DisputeNoted, booking: Booking, void: dict[str, TicketChange]
) -> list[str]:
    """Return the tickets that are worth something again: a refund failed, a dispute is decided.

    A refund may also fail after it was made: then the tickets are gone already. So they are
    where a dispute was lost over everything. What was owed beside them was for no ticket.
    """
    if isinstance(record, DisputeNoted):
        gone = _came_to(booking, Status.REFUNDED, record.at_ms)
        stays = gone or _is_disputed(booking, record.dispute_id)
        return [] if stays else _last_by(void, _BY_BANK)
    if record.owed_minor is not None or not record.units:
        return []
    denied = _came_to(booking, Status.REFUND_DENIED, record.at_ms)
    return _last_by(void, _BY_REFUND) if denied else []


def _changes(
    record: Record, sequence: int, ticket_ids: Sequence[str], status: TicketStatus
) -> list[TicketChange]:
    cause, at_ms = str(record.__struct_config__.tag), getattr(record, "at_ms", 0)
    return [TicketChange(one, status.value, cause, sequence, at_ms) for one in ticket_ids]


def _void(earlier: Iterable[TicketChange]) -> dict[str, TicketChange]:
    """Return the change that voided a ticket, by ticket, of those that are void by then."""
    void: dict[str, TicketChange] = {}
    for change in earlier:
        if change.cause in {SCANNED, UNSCANNED}:
            continue
        if change.status == _VOID:
            void.setdefault(change.ticket_id, change)
        else:
            void.pop(change.ticket_id, None)
    return void


def _last_by(void: dict[str, TicketChange], cause: str) -> list[str]:
    """Return the tickets that were voided last by a cause."""
    of_cause = {one: change.sequence for one, change in void.items() if change.cause == cause}
    last = max(of_cause.values(), default=0)
    return [one for one, sequence in of_cause.items() if sequence == last]


def _came_to(booking: Booking, status: Status, at_ms: int) -> bool:
    return any(moment.status is status and moment.at_ms == at_ms for moment in booking.later)


def _is_disputed(booking: Booking, but_for: str) -> bool:
    """Tell whether there is another dispute that is not decided."""
    disputes = () if booking.payment is None else booking.payment.disputes
    return any(one != but_for and status not in DISPUTE_OVER for one, status in disputes)
