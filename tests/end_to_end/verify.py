"""What every drill ends with: the audit agrees, and every promise to a client was kept."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from engine.journal.connect import connect
from engine.journal.entry import Entry, Position, decode_entry
from engine.journal.keys import event_keys
from tests.calls import Call
from tests.end_to_end.buyers import Buyers
from tests.history import Verdict
from tests.history import verify as verify_history


async def journalled(client: Redis, event_id: str) -> list[Entry]:
    """Return everything that an event's journal holds, claims too."""
    rows = await client.xrange(event_keys(event_id).journal)
    return [decode_entry(Position.parse(row_id.decode()), fields[b"e"]) for row_id, fields in rows]


async def verify(buyers: Buyers, *, settled_at_ms: int | None = None) -> Verdict:
    """Check what the buyers were told against the journal, and have the service audit itself.

    Raises:
        AssertionError: the audit does not agree.
        Violation: a promise is broken.
    """
    report = await buyers.audit()
    async with connect(buyers.service.store_url) as client:
        entries = await journalled(client, buyers.event_id)
    return check(buyers.calls, entries, report, settled_at_ms)


def check(
    calls: Sequence[Call],
    entries: Sequence[Entry],
    report: dict[str, Any],
    settled_at_ms: int | None = None,
) -> Verdict:
    """Check a history, its journal and an audit of the event at any time."""
    assert report["agree"], f"the audit does not agree: {report}"
    live = report["live"]
    digests = [] if live is None else [(report["sequence"], live["digest"])]
    return verify_history(calls, entries, digests=digests, settled_at_ms=settled_at_ms)
