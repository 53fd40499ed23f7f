"""Scans as the log keeps them: what is suspicious, and what was taken back."""

import pytest
from msgspec.structs import replace

from actors.back_office.scans import (
    CONFLICT,
    MANY_FORGERIES,
    TWO_GATES,
    scan_of,
    suspicions,
    undone,
)
from engine.back_office_limits import FORGERIES_SUSPICIOUS, FORGERIES_WITHIN_MS, TWO_GATES_WITHIN_MS
from engine.domain.admission import Scanned
from engine.domain.records import PassageUndone, TicketScanned
from engine.domain.tickets import ticket_id
from engine.store.contract import Scan, StoreAway, Writes
from tests.samples import EVENT_ID, NOW_MS, booking_id
from tests.unit.actors.back_office.fake_ledger import FakeLedger

TICKET, OTHER = ticket_id(booking_id(1), 0), ticket_id(booking_id(1), 1)


def scanned(
    sequence: int,
    reason: str = "",
    *,
    ticket: str = TICKET,
    gate: str = "North",
    at_ms: int = NOW_MS,
    entry: bool = True,
    operator: str = "tom",
    offline: bool = False,
    late_ms: int = 5,
) -> Scan:
    said = Scanned(f"scan-{sequence}", not reason, reason, ticket)
    record = TicketScanned(said, entry, gate, operator, at_ms, at_ms + late_ms, offline)
    return scan_of(EVENT_ID, sequence, 0, record)


def again(sequence: int, gate: str = "South", at_ms: int = NOW_MS, **more) -> Scan:
    return scanned(sequence, "already_used", gate=gate, at_ms=at_ms, **more)


def forged(sequence: int, at_ms: int = NOW_MS, operator: str = "tom", gate: str = "North") -> Scan:
    return scanned(sequence, "forged", ticket="", at_ms=at_ms, operator=operator, gate=gate)


async def flags(scans: list[Scan], *earlier: Scan) -> list[tuple[str, ...]]:
    """Return the flags of these scans, when those before them are in the books."""
    books = FakeLedger()
    await books.write(Writes(scans=list(earlier)))
    found = await suspicions(books, scans)
    assert [replace(one, flags=()) for one in found] == scans
    return [one.flags for one in found]


def test_a_scan_is_kept_as_it_was_journalled():
    record = TicketScanned(
        Scanned("s-1", True, "", TICKET, "ga", "A-1"), False, "North", "tom", 7, 9, True
    )
    assert scan_of(EVENT_ID, 4, 2, record) == Scan(
        EVENT_ID, 4, 2, "s-1", TICKET, False, "admitted", None, "North", "tom", 7, 9, True
    )


def test_a_refused_scan_of_nothing_has_a_reason_and_no_ticket():
    one = forged(1)
    assert (one.result, one.reason, one.ticket_id) == ("refused", "forged", None)


# -- two gates -------------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
async def test_the_same_ticket_at_two_gates_within_a_minute_is_flagged(*, together: bool):
    first, second = scanned(1), again(2, at_ms=NOW_MS + TWO_GATES_WITHIN_MS)
    if together:
        assert await flags([first, second]) == [(), (TWO_GATES,)]
    else:
        assert await flags([second], first) == [(TWO_GATES,)]


@pytest.mark.parametrize(
    "second",
    [
        again(2, gate="North"),
        again(2, at_ms=NOW_MS + TWO_GATES_WITHIN_MS + 1),
        again(2, ticket=OTHER),
        scanned(2, "void", gate="South"),
        scanned(2, "wrong_event", gate="South"),
    ],
    ids=["same gate", "later", "another ticket", "void", "of another event"],
)
async def test_what_has_another_reason_is_not_flagged(second: Scan):
    assert await flags([second], scanned(1)) == [()]


async def test_who_came_out_before_was_not_copied():
    out = scanned(1, entry=False)
    assert await flags([again(2)], out) == [()]


async def test_a_scan_from_offline_that_was_made_before_is_compared_by_its_own_time():
    offline = again(2, at_ms=NOW_MS - 30_000, offline=True, late_ms=3_600_000)
    assert await flags([offline], scanned(1)) == [(CONFLICT, TWO_GATES)]


# -- forgeries and conflicts -----------------------------------------------------------


async def test_an_operator_who_sees_many_forgeries_is_flagged_from_the_fifth_on():
    scans = [forged(n, NOW_MS + n) for n in range(1, FORGERIES_SUSPICIOUS + 2)]
    quiet = [()] * (FORGERIES_SUSPICIOUS - 1)
    assert await flags(scans) == [*quiet, (MANY_FORGERIES,), (MANY_FORGERIES,)]
    assert await flags(scans[-2:], *scans[:-2]) == [(MANY_FORGERIES,), (MANY_FORGERIES,)]


async def test_devices_that_share_a_token_are_told_apart_by_their_gates():
    gates = [forged(n, NOW_MS + n, gate=f"gate-{n}") for n in range(1, 20)]
    assert await flags(gates) == [()] * 19
    assert await flags(gates[-1:], *gates[:-1]) == [()]


async def test_forgeries_of_others_and_of_long_ago_do_not_count():
    of_others = [forged(n, operator=f"op-{n}") for n in range(1, 20)]
    assert await flags([forged(30)], *of_others) == [()]
    old = [forged(n, NOW_MS - FORGERIES_WITHIN_MS - 100 + n) for n in range(1, 20)]
    assert await flags([forged(30)], *old) == [()]


async def test_a_scan_from_offline_that_would_have_been_refused_is_a_conflict():
    assert await flags([again(1, offline=True)]) == [(CONFLICT,)]
    assert await flags([scanned(1, offline=True)]) == [()]


async def test_books_that_do_not_answer_are_not_taken_for_empty():
    books = FakeLedger()
    books.calls_left = 0
    with pytest.raises(StoreAway):
        await suspicions(books, [scanned(1)])
    with pytest.raises(StoreAway):
        await undone(books, [], 2, 0, PassageUndone(TICKET, "tom", NOW_MS))


# -- what is taken back ----------------------------------------------------------------


async def took_back(sequence: int, fresh: list[Scan], *earlier: Scan) -> list[Scan]:
    books = FakeLedger()
    await books.write(Writes(scans=list(earlier)))
    return await undone(books, fresh, sequence, 1, PassageUndone(TICKET, "otto", NOW_MS + 9))


async def test_the_line_that_takes_a_passage_back_is_of_its_gate_and_of_who_did_it():
    (line,) = await took_back(2, [], scanned(1, gate="South"))
    assert (line.sequence, line.index, line.result, line.reason) == (2, 1, "undone", None)
    assert (line.gate, line.entry, line.operator) == ("South", True, "otto")
    assert (line.at_ms, line.noted_ms, line.flags) == (NOW_MS + 9, NOW_MS + 9, ())
    assert line.ticket_id == TICKET


async def test_the_last_passage_is_taken_back_wherever_it_stands():
    into, out = scanned(1), scanned(2, entry=False, gate="South")
    for fresh, earlier in (([into, out], []), ([out], [into]), ([], [into, out])):
        (line,) = await took_back(3, fresh, *earlier)
        assert (line.entry, line.gate) == (False, "South")


async def test_what_was_taken_back_is_not_taken_back_again():
    into, out = scanned(1), scanned(2, entry=False)
    (first,) = await took_back(3, [], into, out)
    (second,) = await took_back(4, [], into, out, first)
    assert (first.entry, second.entry) == (False, True)
    assert await took_back(5, [], into, out, first, second) == []


async def test_handled_again_it_is_the_same_line():
    into = scanned(1)
    (line,) = await took_back(2, [], into)
    assert await took_back(2, [into], into, line) == [line]
    later = scanned(3, gate="South")
    assert await took_back(2, [], into, line, later) == [line]


async def test_passages_of_others_and_refusals_are_left_alone():
    assert await took_back(3, [], scanned(1, ticket=OTHER), again(2)) == []
