"""The audit trail: what came on two ways, in whatever order, is read as one."""

from itertools import permutations

from engine.store.contract import TicketChange
from engine.store.trails import steps

TICKET, OTHER = "tkt_1", "tkt_2"


def change(sequence: int, status: str, cause: str, ticket: str = TICKET) -> TicketChange:
    return TicketChange(ticket, status, cause, sequence, 1_000 + sequence)


def told(*changes: TicketChange, void: tuple[int, int] | None = None) -> list[tuple[int, str, str]]:
    lines = steps(changes, void)
    assert all(line.at_ms == 1_000 + line.sequence for line in lines)
    return [(line.sequence, line.status, line.cause) for line in lines]


CONFIRMED = change(1, "ACTIVE", "confirmed")
IN = change(3, "USED", "scanned")
DISPUTED = change(5, "VOID", "disputed")
WON = change(7, "ACTIVE", "disputed")
BACK = change(9, "ACTIVE", "unscanned")


def test_what_doors_and_payments_say_is_brought_together_in_whichever_order_it_came():
    for order in permutations([CONFIRMED, IN, DISPUTED, WON, BACK]):
        assert told(*order) == [
            (1, "ACTIVE", "confirmed"),
            (3, "USED", "scanned"),
            (5, "VOID", "disputed"),
            (7, "USED", "disputed"),
            (9, "ACTIVE", "unscanned"),
        ]


def test_out_and_in_again_changes_nothing_and_only_the_first_entry_undone_does():
    out, again = change(5, "USED", "scanned"), change(7, "USED", "scanned")
    passed = [CONFIRMED, IN, out, again]
    undone = [change(10 + number, "ACTIVE", "unscanned") for number in range(3)]
    assert told(*passed, *undone[:2])[1:] == [(3, "USED", "scanned")]
    assert told(*passed, *undone)[2:] == [(12, "ACTIVE", "unscanned")]


def test_what_is_taken_back_while_it_is_void_stays_void_until_it_is_good_again():
    undone = change(6, "ACTIVE", "unscanned")
    assert told(CONFIRMED, IN, DISPUTED, undone, WON)[2:] == [
        (5, "VOID", "disputed"),
        (7, "ACTIVE", "disputed"),
    ]


def test_the_end_of_the_event_is_the_end_of_every_ticket_that_there_was():
    other = change(2, "ACTIVE", "confirmed", OTHER)
    lines = steps([CONFIRMED, other, DISPUTED, IN, WON, BACK], (6, 1_006))
    assert [(line.ticket_id, line.sequence, line.status, line.cause) for line in lines] == [
        (TICKET, 1, "ACTIVE", "confirmed"),
        (OTHER, 2, "ACTIVE", "confirmed"),
        (TICKET, 3, "USED", "scanned"),
        (TICKET, 5, "VOID", "disputed"),
        (OTHER, 6, "VOID", "cancelled"),
    ]


def test_books_of_earlier_versions_are_read_as_they_were_written():
    """There, what came late was entered as it stood, with the cause of the moment."""
    used = change(1, "USED", "confirmed")
    called_off = change(20, "VOID", "cancelled")
    assert told(used, BACK, called_off, void=(20, 1_020)) == [
        (1, "USED", "confirmed"),
        (9, "ACTIVE", "unscanned"),
        (20, "VOID", "cancelled"),
    ]
