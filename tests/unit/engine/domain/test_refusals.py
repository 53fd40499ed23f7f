"""Which refusal a hold gets, and which one wins where several apply (API.md)."""

from itertools import combinations
from typing import get_args

import pytest

from engine.domain.commands import (
    AmendEvent,
    Caller,
    CancelEvent,
    Changes,
    CheckIn,
    Command,
    CreateEvent,
    ExpireHold,
    Item,
    NoteDelivery,
    ObserveCharge,
    ObserveDispute,
    ObservePayment,
    ObserveRefund,
    OpenPayment,
    PauseSale,
    PlaceHold,
    ReadAvailability,
    ReadBooking,
    ReadPayments,
    ReleaseHold,
    RequestRefund,
    ResumeSale,
    UndoPassage,
)
from engine.domain.decide import decide
from engine.domain.outcomes import TRANSIENT, Granted, Refusal, Refused
from engine.domain.state import EventState
from tests.unit.engine.domain.given import (
    NOW_MS,
    PAUSE,
    RESUME,
    TTL_MS,
    Sale,
    a_type,
    amend,
    booking_id,
    hold,
    release,
)
from tests.unit.engine.domain.given_doors import scan, undo
from tests.unit.engine.domain.given_payments import (
    SUCCEEDED,
    charged,
    disputed,
    pay,
    refund,
    refund_said,
)

#: From API.md, "refusal codes of a hold, in the order in which they win", as far as a
#: counted stock can give them. `event_not_found` has a test of its own.
WINS_BEFORE = (
    "idempotency_key_reused",
    "sale_paused",
    "sale_not_open",
    "sale_closed",
    "unknown_ticket_type",
    "unknown_seat",
    "limit_per_booking",
    "limit_per_customer",
    "sold_out",
    "not_enough",
)

#: What each reason adds to a request for one `ga`; the rest of it is in `refused_for`.
ITEM_OF = {
    "unknown_ticket_type": Item("nosuch", 1),
    "unknown_seat": Item("ga", 1, seats=("P-A-1",)),
    "limit_per_booking": Item("strict", 2),
    "limit_per_customer": Item("other", 3),
    "sold_out": Item("gone", 1),
    "not_enough": Item("short", 1),
}
TYPES = (
    a_type("ga"),
    a_type("other"),
    a_type("strict", max_per_booking=1),
    a_type("short"),
    a_type("gone"),
)


def refused_for(reasons: set[str], *, backwards: bool) -> Refused:
    """Ask for a hold with exactly these reasons against it."""
    limit = 3 if "limit_per_customer" in reasons else 100
    sale = Sale(*TYPES, capacities={"short": 1, "gone": 1}, max_per_customer=limit)
    sale.placed("first", gone=1)
    sale.placed("second", short=1)
    sale.paid(booking_id("first"))
    if "idempotency_key_reused" in reasons:
        sale.placed("ann", other=1)
    if "sale_paused" in reasons:
        sale.ask(PAUSE)
    sale.wait(1_000)
    if "sale_not_open" in reasons:
        sale.ask(amend(opens_at_ms=sale.now_ms + 1))
    if "sale_closed" in reasons:
        sale.ask(amend(closes_at_ms=sale.now_ms))
    items = [Item("ga", 1), *(item for reason, item in ITEM_OF.items() if reason in reasons)]
    if backwards:
        items.reverse()
    return sale.refusal(hold("ann", *items))


PAIRS = [
    pair
    for pair in combinations(WINS_BEFORE, 2)
    # No sale is both before its opening and after its closing: `amend` refuses the window.
    if pair != ("sale_not_open", "sale_closed")
]


def test_refusals_are_listed_in_the_order_in_which_they_win():
    listed = [code.value for code in Refusal]

    assert [code for code in listed if code in WINS_BEFORE] == list(WINS_BEFORE)
    assert listed[0] == "event_not_found"


@pytest.mark.parametrize("reason", WINS_BEFORE)
def test_each_reason_alone_refuses_a_hold_with_its_own_code(reason):
    assert refused_for({reason}, backwards=False).code == reason


@pytest.mark.parametrize("backwards", [False, True], ids=["as listed", "backwards"])
@pytest.mark.parametrize("pair", PAIRS, ids=" before ".join)
def test_of_two_reasons_the_one_that_is_listed_first_wins(pair, backwards):
    assert refused_for(set(pair), backwards=backwards).code == pair[0]


def test_of_all_reasons_together_the_next_in_the_list_wins_once_the_first_is_gone():
    reasons = [reason for reason in WINS_BEFORE if reason != "sale_not_open"]

    for gone in range(len(reasons)):
        left = set(reasons[gone:])
        assert refused_for(left, backwards=True).code == reasons[gone]


@pytest.mark.parametrize(
    ("reason", "facts"),
    [
        ("unknown_ticket_type", Refused(Refusal.UNKNOWN_TICKET_TYPE, "nosuch")),
        ("unknown_seat", Refused(Refusal.UNKNOWN_SEAT, "P-A-1")),
        ("limit_per_booking", Refused(Refusal.LIMIT_PER_BOOKING, "strict", 1)),
        ("limit_per_customer", Refused(Refusal.LIMIT_PER_CUSTOMER, limit=3)),
        ("sold_out", Refused(Refusal.SOLD_OUT, "gone")),
        ("not_enough", Refused(Refusal.NOT_ENOUGH, "short", available=0, held=1)),
    ],
)
def test_a_refusal_says_what_stands_in_the_way(reason, facts):
    assert refused_for({reason}, backwards=False) == facts


def test_the_best_seats_of_a_type_without_seats_are_an_unknown_seat():
    wanted = Item("ga", 2, best_available=True)

    assert Sale().refusal(hold("ann", wanted)) == Refused(Refusal.UNKNOWN_SEAT, "ga")


def test_some_left_but_too_few_is_not_enough_however_much_is_sold():
    sale = Sale(capacities={"ga": 3})
    sale.placed("ann", ga=2)
    sale.paid(booking_id("ann"))

    assert sale.refusal(hold("bob", ga=2)) == Refused(Refusal.NOT_ENOUGH, "ga", available=1, held=0)


def test_an_allotment_without_units_is_sold_out():
    assert Sale(capacities={"ga": 0}).refusal(hold("ann", ga=1)).code is Refusal.SOLD_OUT


@pytest.mark.parametrize(
    ("items", "subject"),
    [
        ((Item("early", 2), Item("late", 2)), "early"),
        ((Item("late", 2), Item("early", 2)), "late"),
        ((Item("ga", 1), Item("late", 1), Item("early", 3)), "late"),
    ],
)
def test_a_shared_stock_is_named_by_the_type_that_was_asked_for_first(items, subject):
    sale = Sale(
        a_type("ga"),
        a_type("early", draws_on="floor"),
        a_type("late", draws_on="floor"),
        capacities={"floor": 3},
    )

    assert sale.refusal(hold("ann", *items)) == Refused(
        Refusal.NOT_ENOUGH, subject, available=3, held=0
    )


@pytest.mark.parametrize(
    ("meanwhile", "code"),
    [
        pytest.param(lambda sale: sale.ask(RESUME), "sale_paused", id="resumed"),
        pytest.param(lambda sale: sale.wait(1_000), "sale_not_open", id="opened"),
        pytest.param(lambda sale: sale.ask(release("bob")), "not_enough", id="given back"),
        pytest.param(
            lambda sale: sale.ask(release("ann", "0")),
            "limit_per_customer",
            id="own one given back",
        ),
    ],
)
def test_the_same_request_may_overcome_a_transient_refusal(meanwhile, code):
    sale = Sale(
        capacities={"ga": 2 if code == "not_enough" else 10},
        max_per_customer=2,
        opens_at_ms=None,
    )
    if code == "sale_paused":
        sale.ask(PAUSE)
    elif code == "sale_not_open":
        sale.ask(amend(opens_at_ms=NOW_MS + 1_000))
    elif code == "not_enough":
        sale.placed("bob", ga=2)
    else:
        sale.placed("ann", ga=1, key="0")
    request = hold("ann", ga=2)
    assert sale.refusal(request).code == code

    meanwhile(sale)

    assert isinstance(sale.ask(request), Granted)
    assert Refusal(code) in TRANSIENT


def test_no_other_refusal_is_called_transient():
    assert {
        Refusal.SALE_PAUSED,
        Refusal.SALE_NOT_OPEN,
        Refusal.NOT_ENOUGH,
        Refusal.SEAT_TAKEN,
        Refusal.LIMIT_PER_CUSTOMER,
    } == TRANSIENT


ANYONE = Caller("ann", organizer="acme")
ASKED_OF_NOTHING: dict[type[Command], Command] = {
    PlaceHold: hold("ann", ga=1),
    ReleaseHold: ReleaseHold(booking_id("ann"), ANYONE),
    ExpireHold: ExpireHold(booking_id("ann")),
    ReadBooking: ReadBooking(booking_id("ann"), ANYONE),
    ReadAvailability: ReadAvailability(),
    AmendEvent: AmendEvent(ANYONE, Changes(name="Another")),
    PauseSale: PauseSale(ANYONE),
    ResumeSale: ResumeSale(ANYONE),
    CancelEvent: CancelEvent(ANYONE),
    OpenPayment: pay(),
    ObservePayment: SUCCEEDED,
    ObserveCharge: charged(0),
    ObserveRefund: refund_said("succeeded"),
    ObserveDispute: disputed(),
    RequestRefund: refund(),
    ReadPayments: ReadPayments(),
    CheckIn: scan(caller=ANYONE),
    UndoPassage: undo(caller=ANYONE),
    NoteDelivery: NoteDelivery(booking_id("ann")),
}


@pytest.mark.parametrize("kind", ASKED_OF_NOTHING, ids=lambda kind: kind.__name__)
def test_before_its_event_exists_every_command_is_told_so(kind):
    answer = decide(EventState(), ASKED_OF_NOTHING[kind], NOW_MS + TTL_MS)

    assert answer == (Refused(Refusal.EVENT_NOT_FOUND), ())


def test_no_command_is_missing_from_the_test_above():
    assert {*ASKED_OF_NOTHING, CreateEvent} == set(get_args(Command))
