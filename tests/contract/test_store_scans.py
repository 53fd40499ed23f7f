"""What the back office promises of the scan log, in every database."""

from msgspec.structs import replace

from engine.domain.tickets import ticket_id
from engine.store.contract import UNDONE, GateCount, Scan, Writes
from engine.store.sql import SqlBackOffice
from tests.contract.store_rigs import StoreRig
from tests.samples import EVENT_ID, NOW_MS, booking_id

TICKET, OTHER = ticket_id(booking_id(1), 0), ticket_id(booking_id(1), 1)


def scan(sequence: int, index: int = 0, **changes) -> Scan:
    one = Scan(
        EVENT_ID,
        sequence,
        index,
        f"scan-{sequence}-{index}",
        TICKET,
        True,
        "admitted",
        None,
        "north",
        "op-1",
        NOW_MS + sequence,
        NOW_MS + sequence,
    )
    return replace(one, **changes)


def refused(sequence: int, reason: str, **changes) -> Scan:
    return scan(sequence, **{"result": "refused", "reason": reason, **changes})


async def filled(rig: StoreRig, *scans: Scan) -> SqlBackOffice:
    store = rig.store()
    await store.migrate()
    await store.write(Writes(scans=list(scans)))
    return store


async def test_scans_are_read_back_as_they_were_newest_first(store_rig: StoreRig) -> None:
    late = scan(2, offline=True, at_ms=NOW_MS - 5, flags=("late", "two_gates"))
    nothing = refused(3, "forged", ticket_id=None, entry=False, flags=("forger",))
    elsewhere = scan(9, event_id="evt_0000000000bb")
    store = await filled(store_rig, scan(1, 1), nothing, scan(1), late, elsewhere)
    assert await store.scans(EVENT_ID, 10) == [nothing, late, scan(1, 1), scan(1)]
    assert await store.scans("evt_0000000000cc", 10) == []


async def test_scans_are_paged(store_rig: StoreRig) -> None:
    written = [scan(sequence, index) for sequence in (9, 10, 11) for index in (0, 1, 2)]
    store = await filled(store_rig, *written)
    seen: list[Scan] = []
    before = None
    while page := await store.scans(EVENT_ID, 2, before):
        seen += page
        before = (page[-1].sequence, page[-1].index)
    assert seen == written[::-1]


async def test_a_scan_is_written_once(store_rig: StoreRig) -> None:
    store = await filled(store_rig, scan(1), scan(1, gate="south"))
    await store.write(Writes(scans=[scan(1, gate="west"), scan(2)]))
    assert await store.scans(EVENT_ID, 10) == [scan(2), scan(1)]


async def test_passages_of_tickets_are_found(store_rig: StoreRig) -> None:
    other = scan(5, ticket_id=OTHER, at_ms=NOW_MS + 2)
    store = await filled(
        store_rig,
        scan(1),
        scan(3, entry=False),
        refused(4, "already_used"),
        other,
        scan(6, ticket_id=ticket_id(booking_id(2), 0)),
    )
    undone = scan(7, result=UNDONE)
    await store.write(Writes(scans=[undone]))
    out = scan(3, entry=False)
    assert await store.passages([TICKET, OTHER], NOW_MS + 1) == [scan(1), out, other, undone]
    assert await store.passages([TICKET, OTHER], NOW_MS + 2) == [out, other, undone]
    assert await store.passages([], 0) == []


async def test_forged_codes_of_an_operator_at_a_gate_are_counted(store_rig: StoreRig) -> None:
    store = await filled(
        store_rig,
        refused(1, "forged", ticket_id=None),
        refused(2, "forged", ticket_id=None),
        refused(3, "void"),
        refused(4, "forged", ticket_id=None, operator="op-2"),
        refused(5, "forged", ticket_id=None, event_id="evt_0000000000bb"),
        refused(6, "forged", ticket_id=None, gate="south"),
    )
    assert await store.forgeries(EVENT_ID, "op-1", "north", NOW_MS) == 2
    assert await store.forgeries(EVENT_ID, "op-1", "north", NOW_MS + 2) == 1
    assert await store.forgeries(EVENT_ID, "op-3", "north", NOW_MS) == 0
    assert await store.forgeries(EVENT_ID, "op-1", "south", NOW_MS) == 1


async def test_scans_are_counted_by_gate(store_rig: StoreRig) -> None:
    store = await filled(
        store_rig,
        scan(1),
        scan(2),
        scan(3, entry=False),
        refused(4, "not_inside", entry=False),
        refused(5, "void", gate="south"),
        scan(6),
        scan(7, result=UNDONE),
        scan(8, result=UNDONE, entry=False, gate="west"),
        scan(8, 1, entry=False, gate="west"),
    )
    assert await store.gates(EVENT_ID) == [
        GateCount("north", entries=2, exits=1, refused=1),
        GateCount("south", entries=0, exits=0, refused=1),
        GateCount("west", entries=0, exits=0, refused=0),
    ]
    assert await store.gates("evt_0000000000cc") == []
