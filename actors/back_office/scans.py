"""Scans at the doors as the log keeps them, and what is suspicious about them."""

from collections.abc import Sequence

import structlog
from msgspec.structs import replace

from engine.back_office_limits import FORGERIES_SUSPICIOUS, FORGERIES_WITHIN_MS, TWO_GATES_WITHIN_MS
from engine.domain.admission import DoorReason
from engine.domain.records import PassageUndone, TicketScanned
from engine.store.contract import ADMITTED, REFUSED, UNDONE, BackOffice, Scan

log = structlog.get_logger(__name__)

#: The same ticket was shown at two gates within a minute: it has been copied.
TWO_GATES = "two_gates"
#: This operator has seen many codes that were none of ours: somebody is trying.
MANY_FORGERIES = "many_forgeries"
#: A scan made offline contradicts what had happened meanwhile.
CONFLICT = "offline_conflict"


def scan_of(event_id: str, sequence: int, index: int, record: TicketScanned) -> Scan:
    """Return a scan as it is kept."""
    scan = record.scan
    return Scan(
        event_id=event_id,
        sequence=sequence,
        index=index,
        scan_id=scan.scan_id,
        ticket_id=scan.ticket_id or None,
        entry=record.entry,
        result=ADMITTED if scan.admitted else REFUSED,
        reason=scan.reason or None,
        gate=record.gate,
        operator=record.operator,
        at_ms=record.at_ms,
        noted_ms=record.noted_ms,
        offline=record.offline,
    )


async def undone(
    store: BackOffice, fresh: Sequence[Scan], sequence: int, index: int, record: PassageUndone
) -> list[Scan]:
    """Return the line of the log that takes a passage back, none if it is not there.

    Args:
        store: with the scans of earlier batches, and perhaps of this one.
        fresh: those of this batch.
        sequence: of the entry that took the passage back.
        index: of its record.
        record: that took it back.

    Raises:
        StoreAway: the database did not answer.
    """
    known = {
        (scan.sequence, scan.index): scan
        for scan in (*await store.passages([record.ticket_id], 0), *fresh)
        if scan.ticket_id == record.ticket_id and (scan.sequence, scan.index) < (sequence, index)
    }
    passages: list[Scan] = []
    for _, scan in sorted(known.items()):
        if scan.result == ADMITTED:
            passages.append(scan)
        elif scan.result == UNDONE and passages:
            passages.pop()
    if not passages:
        return []
    return [
        replace(
            passages[-1],
            sequence=sequence,
            index=index,
            result=UNDONE,
            operator=record.operator,
            at_ms=record.at_ms,
            noted_ms=record.at_ms,
            offline=False,
            flags=(),
        )
    ]


async def suspicions(store: BackOffice, scans: Sequence[Scan]) -> list[Scan]:
    """Return the scans of one event, oldest first, flagged where they are suspicious.

    Args:
        store: with the scans before these.
        scans: that are not in it, unless they were handled before.

    Raises:
        StoreAway: the database did not answer.
    """
    oldest_ms = min(scan.at_ms for scan in scans) - TWO_GATES_WITHIN_MS
    tickets = {scan.ticket_id for scan in scans if scan.ticket_id is not None}
    earlier = await store.passages(sorted(tickets), oldest_ms)
    # Staff may share a token: its gate tells one device from another.
    forgers = {(scan.operator, scan.gate) for scan in scans if scan.reason == DoorReason.FORGED}
    since_ms = scans[-1].noted_ms - FORGERIES_WITHIN_MS
    seen = {
        forger: await store.forgeries(scans[0].event_id, *forger, since_ms) for forger in forgers
    }
    flagged: list[Scan] = []
    for scan in scans:
        flags = []
        if scan.offline and scan.result == REFUSED:
            flags.append(CONFLICT)
        if any(_at_another_gate(scan, other) for other in (*earlier, *flagged)):
            flags.append(TWO_GATES)
        if scan.reason == DoorReason.FORGED:
            seen[scan.operator, scan.gate] += 1
            if seen[scan.operator, scan.gate] >= FORGERIES_SUSPICIOUS:
                flags.append(MANY_FORGERIES)
        if flags:
            log.warning(
                "suspicious_scan",
                event_id=scan.event_id,
                ticket_id=scan.ticket_id,
                gate=scan.gate,
                flags=flags,
            )
        flagged.append(replace(scan, flags=tuple(flags)))
    return flagged


def _at_another_gate(scan: Scan, other: Scan) -> bool:
    return (
        scan.ticket_id is not None
        and other.ticket_id == scan.ticket_id
        and other.result == ADMITTED
        and other.entry
        and scan.reason == DoorReason.ALREADY_USED
        and other.gate != scan.gate
        and abs(scan.at_ms - other.at_ms) <= TWO_GATES_WITHIN_MS
    )
