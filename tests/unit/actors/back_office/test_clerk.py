"""The clerk: what every effect leaves in the books, alone, together, twice and in trouble.

`Desk.handle` has the clerk handle everything twice; that it changes nothing is part of each
test here.
"""

import asyncio

import msgspec
import pytest

from actors.back_office import clerk
from actors.consumer import Hopeless, RetryLater
from engine.back_office_limits import HOLDERS_PAGE
from engine.domain.booking import Status
from engine.domain.commands import Command, NoteDelivery
from engine.domain.payment import RefundState
from engine.domain.records import (
    DOOR_EFFECTS,
    EFFECTS,
    PAYMENT_EFFECTS,
    BookingConfirmed,
    DisputeNoted,
    EventAmended,
    EventCancelled,
    HoldExpired,
    MoneyTakenBack,
    PassageUndone,
    PaymentFailed,
    PaymentGivenUp,
    PaymentReturning,
    RefundFailed,
    RefundRequested,
    RefundSettled,
    TicketScanned,
)
from engine.domain.tickets import ticket_id
from engine.journal.streams import Delivery, Incoming, StreamKind
from engine.letters.facts import Details
from tests.unit.actors.back_office.clerking import Desk, effect
from tests.unit.engine.domain.given import (
    EVENT_ID,
    ORGANIZER,
    a_type,
    amend,
    booking_id,
    release,
)
from tests.unit.engine.domain.given_doors import scan, undo
from tests.unit.engine.domain.given_payments import (
    CANCEL,
    SUCCEEDED,
    charged,
    disputed,
    failed,
    refund,
    refund_said,
)

ANN = booking_id("ann")
FIRST, OTHER = "Night of Strings", "Night of Brass"


async def confirmed(**event) -> Desk:
    """Return a desk at which ann's two tickets are in the books."""
    desk = Desk(**event)
    desk.sale.bought("ann", ga=2)
    await desk.catch_up()
    return desk


# -- each effect -----------------------------------------------------------------------


async def test_a_confirmation_issues_every_ticket_once_and_is_told():
    desk = await confirmed()
    rows = list(desk.books.rows.values())
    assert [row.ticket_id for row in rows] == [ticket_id(ANN, 0), ticket_id(ANN, 1)]
    for place, row in enumerate(rows):
        assert (row.booking_id, row.event_id, row.customer) == (ANN, EVENT_ID, "ann")
        assert (row.number, row.ticket_type, row.seat) == (f"No. 0{place}", "ga", None)
        assert (row.status, row.sequence) == ("ACTIVE", desk.sale.state.sequence)
    assert desk.books.trail_of(ANN) == [("ACTIVE", "confirmed")] * 2
    (message,) = desk.books.letters.values()
    assert message.dedupe_key == f"order_confirmation:{ANN}:email"
    assert (message.event_id, message.booking_id) == (EVENT_ID, ANN)
    assert desk.books.sealed == {ANN: f"sealed {ANN}".encode()}
    assert desk.books.events == {EVENT_ID: (desk.sale.state.event, 1)}
    assert desk.pokes == 2
    assert [one.kind for one in desk.books.announced.values()] == ["booking.confirmed"]


async def test_every_channel_gets_a_message_of_its_own():
    desk = Desk(channels=("email", "push"))
    desk.sale.bought("ann")
    await desk.catch_up()
    assert sorted(desk.books.letters) == [
        f"order_confirmation:{ANN}:{channel}" for channel in ("email", "push")
    ]


async def test_whoever_gave_no_address_has_tickets_and_no_message():
    desk = Desk()
    desk.contacts.nameless.add(ANN)
    desk.sale.bought("ann")
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["ACTIVE"] * 2
    assert desk.books.letters == {}
    assert desk.pokes == 0


async def test_a_contact_that_waits_no_more_is_in_the_books_by_then():
    desk = await confirmed()
    desk.contacts.nameless.add(ANN)
    desk.sale.ask(refund("ann", ORGANIZER))
    desk.sale.hear(refund_said("succeeded"))
    await desk.catch_up()
    assert desk.books.kinds() == ["order_confirmation", "refund"]


@pytest.mark.parametrize(
    ("happens", "kind"),
    [
        (lambda sale: sale.hear(failed("ch_1")), "payment_failed"),
        (lambda sale: sale.expired(), "booking_expired"),
    ],
    ids=["failed", "expired"],
)
async def test_what_becomes_of_a_hold_is_told_to_an_address_that_is_kept(happens, kind):
    desk = Desk()
    desk.sale.opened("ann")
    happens(desk.sale)
    await desk.catch_up()
    assert desk.books.kinds() == [kind]
    assert desk.books.sealed == {ANN: f"sealed {ANN}".encode()}, "the letter has no address"
    assert desk.books.rows == {}


async def test_each_card_that_fails_is_told_and_the_last_of_them():
    desk = Desk()
    desk.sale.opened("ann")
    for charge in ("ch_1", "ch_2", "ch_3"):
        desk.sale.hear(failed(charge))
    await desk.catch_up()
    assert desk.books.kinds() == ["payment_failed"] * 3


async def test_a_hold_that_is_given_back_leaves_nothing():
    desk = Desk()
    desk.sale.placed("ann", ga=2)
    desk.sale.ask(release("ann"))
    assert desk.effects() == []


async def test_money_that_came_too_late_is_told_once_and_not_again_as_a_refund():
    desk = Desk()
    desk.sale.opened("ann")
    desk.sale.expired()
    desk.sale.placed("bob", ga=6)
    desk.sale.placed("cid", ga=4)
    await desk.catch_up()
    desk.sale.hear(SUCCEEDED)
    await desk.catch_up()
    desk.sale.hear(refund_said("failed"), refund_said("succeeded", number=2))
    await desk.catch_up()
    assert desk.books.kinds() == ["booking_expired", "late_payment_refunded"]
    assert desk.books.rows == {}


async def test_money_that_came_late_and_found_its_tickets_confirms():
    desk = Desk()
    desk.sale.opened("ann")
    desk.sale.expired()
    desk.sale.hear(SUCCEEDED)
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["ACTIVE"] * 2
    assert sorted(desk.books.kinds()) == ["booking_expired", "order_confirmation"]


async def test_a_part_that_goes_back_is_void_from_the_moment_it_is_asked_for():
    desk = await confirmed()
    desk.sale.ask(refund("ann", ORGANIZER, ga=1))
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["ACTIVE", "VOID"]
    assert desk.books.kinds() == ["order_confirmation"]
    desk.sale.hear(refund_said("succeeded", 4_500))
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["ACTIVE", "VOID"]
    assert desk.books.trail_of(ANN)[2:] == [("VOID", "refund_wanted")]
    told = msgspec.json.decode(list(desk.books.letters.values())[-1].facts, type=Details)
    assert (told.amount_minor, told.units[0].quantity) == (4_500, 1)


@pytest.mark.parametrize(
    ("sent", "quantity", "status"),
    [
        (True, 1, Status.TICKETS_DELIVERED),
        (False, 1, Status.CONFIRMED),
        (True, 2, Status.REFUNDED),
    ],
)
async def test_tickets_that_were_sent_while_others_went_back_are_delivered_in_the_end(
    *, sent: bool, quantity: int, status: Status
):
    desk = await confirmed()
    desk.sale.ask(refund("ann", ORGANIZER, ga=quantity))
    await desk.catch_up()
    desk.sale.ask(NoteDelivery(ANN))
    assert desk.sale.status() is Status.REFUND_REQUESTED, "it was noted"
    if sent:
        desk.books.sent.update(desk.books.letters)
    desk.sale.hear(refund_said("succeeded", quantity * 4_500))
    await desk.catch_up()
    assert desk.sale.status() is status


async def test_a_short_message_that_was_sent_meanwhile_has_delivered_no_tickets():
    desk = Desk(channels=("email", "push"))
    desk.sale.bought("ann", ga=2)
    await desk.catch_up()
    desk.sale.ask(refund("ann", ORGANIZER, ga=1))
    await desk.catch_up()
    desk.books.sent.update(one for one in desk.books.letters if one.endswith(":push"))
    desk.sale.hear(refund_said("succeeded", 4_500))
    await desk.catch_up()
    assert desk.sale.status() is Status.CONFIRMED


async def test_a_refund_that_fails_makes_its_tickets_good_again_and_is_not_told():
    desk = await confirmed()
    desk.sale.ask(refund("ann", ORGANIZER))
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["VOID"] * 2
    desk.sale.hear(refund_said("failed", reason="lost_or_stolen_card"))
    await desk.catch_up()
    assert desk.sale.payment().refund.state is RefundState.FAILED
    assert desk.books.statuses_of(ANN) == ["ACTIVE"] * 2
    assert desk.books.kinds() == ["order_confirmation"]


async def test_a_refund_behind_which_another_has_begun_is_told_without_its_amount():
    desk = await confirmed()
    desk.sale.ask(refund("ann", ORGANIZER, ga=1))
    desk.sale.hear(refund_said("succeeded", 4_500))
    desk.sale.ask(refund("ann", ORGANIZER))
    await desk.catch_up()
    told = msgspec.json.decode(list(desk.books.letters.values())[-1].facts, type=Details)
    assert told.amount_minor is None
    assert desk.books.statuses_of(ANN) == ["VOID"] * 2
    desk.sale.hear(refund_said("succeeded", 4_500, number=2))
    await desk.catch_up()
    told = msgspec.json.decode(list(desk.books.letters.values())[-1].facts, type=Details)
    assert told.amount_minor == 4_500
    assert desk.books.kinds() == ["order_confirmation", "refund", "refund"]


async def test_money_that_others_took_back_voids_without_a_word():
    desk = await confirmed()
    desk.sale.hear(charged(9_000))
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["VOID"] * 2
    assert desk.books.trail_of(ANN)[2:] == [("VOID", "taken_back")] * 2
    assert desk.books.kinds() == ["order_confirmation"]


async def test_a_dispute_voids_until_it_is_won_and_its_buyer_hears_of_it_from_the_bank():
    desk = await confirmed()
    for status, worth in (("needs_response", "VOID"), ("won", "ACTIVE")):
        desk.sale.hear(disputed(status))
        await desk.catch_up()
        assert desk.books.statuses_of(ANN) == [worth] * 2
    assert desk.books.trail_of(ANN)[2:] == [("VOID", "disputed")] * 2 + [("ACTIVE", "disputed")] * 2
    assert desk.books.kinds() == ["order_confirmation"]


async def test_who_is_let_in_has_used_their_ticket_and_the_scan_is_logged():
    desk = await confirmed()
    desk.sale.admitted(scan("ann", 1, gate="South"))
    desk.sale.turned_away(scan("ann", 1, gate="North"))
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["ACTIVE", "USED"]
    logged = [(one.result, one.gate, one.flags) for one in desk.books.scans.values()]
    assert logged == [("admitted", "South", ()), ("refused", "North", ("two_gates",))]
    assert "ticket.admitted" in [one.kind for one in desk.books.announced.values()]
    assert desk.books.kinds() == ["order_confirmation"]


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two"])
async def test_a_passage_that_is_taken_back_makes_the_ticket_good_again(*, together: bool):
    desk = await confirmed()
    desk.sale.admitted(scan("ann"))
    if not together:
        await desk.catch_up()
    desk.sale.ask(undo("ann"))
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["ACTIVE"] * 2
    assert [one.result for one in desk.books.scans.values()] == ["admitted", "undone"]
    assert desk.books.trail_of(ANN)[2:] == [("USED", "scanned"), ("ACTIVE", "unscanned")]


async def test_every_effect_is_handled_in_one_of_these_tests():
    covered = {
        BookingConfirmed, DisputeNoted, EventAmended, EventCancelled, HoldExpired, MoneyTakenBack,
        PassageUndone, PaymentFailed, PaymentGivenUp, PaymentReturning, RefundFailed,
        RefundRequested, RefundSettled, TicketScanned,
    }  # fmt: skip
    # The others are steps at Stripe, of which the books say nothing.
    assert covered | PAYMENT_EFFECTS == EFFECTS | DOOR_EFFECTS


# -- what concerns everybody -----------------------------------------------------------


async def test_a_change_is_told_once_to_everybody_who_must_know_it():
    desk = await confirmed()
    desk.sale.bought("bob", ga=1)
    desk.sale.opened("cid", ga=1)
    await desk.catch_up()
    desk.sale.ask(amend(name=OTHER))
    await desk.catch_up()
    changed = [one for one in desk.books.letters.values() if one.kind == "event_changed"]
    assert {one.booking_id for one in changed} == {ANN, booking_id("bob")}
    for one in changed:
        before = msgspec.json.decode(one.facts, type=Details).before
        assert before is not None
        assert (before.name, before.starts_at_ms) == (FIRST, None)
    assert desk.books.events[EVENT_ID][0].name == OTHER
    assert len(changed) == 2


async def test_a_change_of_prices_or_stock_is_told_to_nobody_and_entered():
    desk = await confirmed()
    desk.sale.ask(amend(capacities={"ga": 200}))
    await desk.catch_up()
    assert desk.books.kinds() == ["order_confirmation"]
    assert desk.books.events[EVENT_ID][0] == desk.sale.state.event


async def test_two_changes_in_one_batch_are_told_each_by_what_it_has_changed():
    desk = await confirmed()
    desk.sale.ask(amend(name=OTHER))
    desk.sale.ask(amend(name="Night of Drums"))
    await desk.catch_up()
    changed = [one for one in desk.books.letters.values() if one.kind == "event_changed"]
    befores = [msgspec.json.decode(one.facts, type=Details).before for one in changed]
    assert [before.name for before in befores] == [FIRST, OTHER]
    assert desk.books.events[EVENT_ID][0].name == "Night of Drums"


async def test_who_is_confirmed_with_the_event_as_amended_is_not_told_of_the_amendment():
    """The clerk enters the event as it is, while its amendment is still on the way."""
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    (bought,) = desk.effects()
    desk.sale.ask(amend(name=OTHER))
    await desk.handle([bought])
    assert desk.books.events[EVENT_ID][0].name == OTHER
    await desk.catch_up()
    assert desk.books.kinds() == ["order_confirmation"]


async def with_many_holders() -> Desk:
    """Return a desk with five holders more than one page has."""
    desk = Desk(a_type(max_per_booking=1), capacities={"ga": HOLDERS_PAGE + 5})
    for number in range(HOLDERS_PAGE + 5):
        desk.sale.placed(f"c{number}", ga=1)
        desk.sale.paid(booking_id(f"c{number}"))
    effects = desk.effects()
    for start in range(0, len(effects), 100):
        await desk.once(effects[start : start + 100])
    return desk


async def test_who_perishes_while_everybody_is_told_tells_the_rest_and_only_the_rest():
    desk = await with_many_holders()
    desk.sale.ask(amend(name=OTHER))
    amended = desk.effects()
    desk.books.calls_left = 4  # the event, the books, who was told, a page of holders
    with pytest.raises(RetryLater):
        await desk.once(amended)
    assert "event_changed" not in desk.books.kinds()
    desk.books.calls_left = 6  # the first page is written, the second is not
    with pytest.raises(RetryLater):
        await desk.once(amended)
    assert desk.books.kinds().count("event_changed") == HOLDERS_PAGE
    assert desk.books.events[EVENT_ID][0].name == FIRST, "the rest would not be told"
    desk.books.calls_left = None
    desk.books.pages.clear()
    await desk.handle(amended)
    assert desk.books.kinds().count("event_changed") == HOLDERS_PAGE + 5
    last, end = sorted(desk.books.rows.values(), key=lambda row: row.booking_id)[
        HOLDERS_PAGE - 1 :: 5
    ]
    assert desk.books.pages == [last.booking_id, end.booking_id]


@pytest.mark.parametrize("happens", [amend(name=OTHER), CANCEL], ids=["changed", "cancelled"])
async def test_so_many_holders_that_one_call_does_not_do_are_told_by_several(
    monkeypatch: pytest.MonkeyPatch, happens: Command
):
    monkeypatch.setattr(clerk, "HOLDERS_SECONDS", 0.0)
    desk = await with_many_holders()
    before = len(desk.books.letters)
    desk.sale.ask(happens)
    (effect,) = desk.effects()
    told, announced = [], set(desk.books.announced)
    for _ in range(2):
        with pytest.raises(RetryLater, match="more of") as later:
            await desk.once([effect])
        assert later.value.seconds < 1.0
        told.append(len(desk.books.letters) - before)
    assert told == [HOLDERS_PAGE, HOLDERS_PAGE + 5]
    assert set(desk.books.announced) == announced, "organizers hear of it when it is done"
    await desk.handle([effect])
    assert len(desk.books.letters) - before == HOLDERS_PAGE + 5
    (of_the_event,) = set(desk.books.announced) - announced
    assert of_the_event


async def test_a_channel_that_came_while_everybody_was_told_reaches_everybody(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(clerk, "HOLDERS_SECONDS", 0.0)
    desk = await with_many_holders()
    desk.sale.ask(amend(name=OTHER))
    amended = desk.effects()
    with pytest.raises(RetryLater):
        await desk.once(amended)
    desk.channels.append("push")
    for _ in range(2):
        with pytest.raises(RetryLater):
            await desk.once(amended)
    await desk.handle(amended)
    assert desk.books.kinds().count("event_changed") == 2 * (HOLDERS_PAGE + 5)


async def test_whoever_has_no_address_keeps_nobody_from_being_told():
    desk = await confirmed()
    desk.contacts.nameless.add(booking_id("bob"))
    desk.sale.bought("bob", ga=1)
    desk.sale.bought("cid", ga=1)
    await desk.catch_up()
    desk.sale.ask(amend(name=OTHER))
    await desk.catch_up()
    changed = [one for one in desk.books.letters.values() if one.kind == "event_changed"]
    assert {one.booking_id for one in changed} == {ANN, booking_id("cid")}


async def test_a_cancelled_event_voids_everything_and_everybody_hears_of_it():
    desk = await confirmed()
    desk.sale.bought("bob", ga=1)
    await desk.catch_up()
    desk.sale.ask(CANCEL)
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) + desk.books.statuses_of(booking_id("bob")) == ["VOID"] * 3
    assert desk.books.kinds().count("event_cancelled") == 2
    ((event_id, sequence, _), *again) = desk.books.voids
    assert (event_id, sequence) == (EVENT_ID, desk.sale.entries[-1].sequence)
    assert set(again) <= {desk.books.voids[0]}


async def test_a_buyer_who_was_about_to_pay_hears_that_the_event_was_called_off():
    desk = await confirmed()
    desk.sale.opened("bob", ga=1)
    desk.sale.placed("cid", ga=1)
    await desk.catch_up()
    desk.sale.call_off()
    await desk.catch_up()
    told = {
        one.booking_id: msgspec.json.decode(one.facts, type=Details).held
        for one in desk.books.letters.values()
        if one.kind == "event_cancelled"
    }
    # Nobody knows the address of somebody who has only held something.
    assert told == {ANN: False, booking_id("bob"): True}
    called_off_ms = desk.sale.state.cancelled_at_ms
    assert {
        one.created_ms for one in desk.books.letters.values() if one.kind == "event_cancelled"
    } == {called_off_ms}
    assert desk.books.kinds().count("event_cancelled") == 2


async def test_tickets_that_are_entered_after_the_event_was_called_off_are_void():
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    (bought,) = desk.effects()
    desk.sale.call_off()
    desk.sale.hear(refund_said("succeeded"))
    await desk.handle([bought])
    assert desk.books.statuses_of(ANN) == ["VOID"] * 2
    await desk.catch_up()
    reasons = [
        msgspec.json.decode(one.facts, type=Details).reason
        for one in desk.books.letters.values()
        if one.kind == "refund"
    ]
    assert reasons == ["event_cancelled"]
    assert sorted(desk.books.kinds()) == ["event_cancelled", "order_confirmation", "refund"]


# -- together, late --------------------------------------------------------------------


async def test_a_whole_history_in_one_batch_leaves_the_books_as_the_booking_stands():
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    desk.sale.admitted(scan("ann"))
    desk.sale.ask(refund("ann", ORGANIZER, ga=1))
    desk.sale.hear(refund_said("succeeded", 4_500))
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["USED", "VOID"]
    assert sorted(desk.books.kinds()) == ["order_confirmation", "refund"]


async def test_what_was_decided_behind_the_reading_is_entered_with_its_effect():
    """The owner answers when the whole turn is durable, with the sequence of its end."""
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    desk.behind = lambda: desk.sale.admitted(scan("ann"))
    await desk.once(desk.effects())
    assert desk.books.statuses_of(ANN) == ["ACTIVE"] * 2
    await desk.catch_up()
    assert desk.books.statuses_of(ANN) == ["USED", "ACTIVE"]


async def test_what_two_consumers_bring_of_one_event_is_entered_in_turn():
    """Scans come on a stream of their own."""
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    desk.sale.admitted(scan("ann"))
    bought, scanned = desk.effects()
    await asyncio.gather(desk.once([bought]), desk.once([scanned]))
    assert desk.books.statuses_of(ANN) == ["USED", "ACTIVE"]
    assert desk.books.trail_of(ANN) == [("ACTIVE", "confirmed")] * 2 + [("USED", "scanned")]


async def test_an_effect_that_comes_late_does_not_bring_back_what_was_void():
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    (bought,) = desk.effects()
    desk.sale.ask(refund("ann", ORGANIZER))
    await desk.catch_up()
    await desk.handle([bought])
    assert desk.books.statuses_of(ANN) == ["VOID"] * 2


# -- trouble ---------------------------------------------------------------------------


@pytest.mark.parametrize("calls", range(8))
async def test_whichever_call_the_books_do_not_answer_it_is_tried_again_until_all_is_there(
    calls: int,
):
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    desk.sale.admitted(scan("ann"))
    effects = desk.effects()
    desk.books.calls_left = calls
    try:
        await desk.once(effects)
    except RetryLater as later:
        assert later.seconds > 0  # noqa: PT017 - of the last it is not known that it fails
        assert "database" in later.reason  # noqa: PT017
    else:
        assert desk.books.calls_left is not None, "it never asked so often"
    desk.books.calls_left = None
    await desk.handle(effects)
    assert desk.books.statuses_of(ANN) == ["USED", "ACTIVE"]
    assert desk.books.kinds() == ["order_confirmation"]
    assert len(desk.books.scans) == 1
    kinds = sorted(one.kind for one in desk.books.announced.values())
    assert kinds == ["booking.confirmed", "ticket.admitted"]


@pytest.mark.parametrize("who", ["owner", "catalogue", "contacts"])
async def test_whoever_else_does_not_answer_is_asked_again(who: str):
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    effects = desk.effects()
    desk.lost = who == "owner"
    desk.away = who == "catalogue"
    desk.contacts.away = who == "contacts"
    with pytest.raises(RetryLater) as later:
        await desk.once(effects)
    assert later.value.seconds > 0
    assert desk.books.rows == {}
    assert desk.books.letters == {}
    desk.lost = desk.away = desk.contacts.away = False
    await desk.handle(effects)
    assert desk.books.statuses_of(ANN) == ["ACTIVE"] * 2


@pytest.mark.parametrize(
    "delivery",
    [
        effect(b"\xc1 not a record", 1),
        effect(msgspec.msgpack.encode(["no such record", 1]), 1),
        Delivery(StreamKind.EFFECTS, 0, "1-0", Incoming("evt_1", "x", b"", 0, EVENT_ID)),
    ],
    ids=["no message", "no record", "no effect"],
)
async def test_what_cannot_be_read_is_hopeless_and_leaves_nothing(delivery: Delivery):
    desk = Desk()
    with pytest.raises(Hopeless):
        await desk.once([delivery])
    assert desk._written() == [{}] * 7


async def test_an_effect_of_no_event_is_hopeless():
    desk = Desk()
    desk.sale.bought("ann", ga=2)
    desk.unknown = True
    with pytest.raises(Hopeless, match="no event"):
        await desk.once(desk.effects())
    assert desk._written() == [{}] * 7
